//! Reading values back that were just written.
//!
//! What a codec writes is watched while it is written. What only reading can show, a `Deserialize` that refuses what
//! `Serialize` wrote, is shown by the first value of each type, and by each value that the writer is in doubt of.

use std::any::{TypeId, type_name};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{PoisonError, RwLock};

use foldhash::fast::RandomState;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Codec, Context};
use crate::error::{Error, ErrorKind};

/// The types whose values the codec of a cache is known to read back. Grows with the types of the program, not its
/// data.
#[derive(Debug, Default)]
pub(crate) struct Verified(RwLock<HashSet<TypeId>>);

impl Verified {
    /// Decodes `bytes`, which `codec` wrote, if no value of this type has passed before, or this one `is_doubtful`.
    ///
    /// Costs one read lock once the type has passed.
    ///
    /// # Errors
    /// [`ErrorKind::Encode`] if `codec` cannot read the bytes. The next call for the type tries again.
    pub(crate) fn check<T, C>(
        &self,
        codec: &C,
        bytes: &[u8],
        context: Context<'_>,
        is_doubtful: bool,
    ) -> Result<(), Error>
    where
        T: Serialize + DeserializeOwned + 'static,
        C: Codec,
    {
        let id = TypeId::of::<T>();
        let has_passed = self.0.read().unwrap_or_else(PoisonError::into_inner).contains(&id);
        if has_passed && !is_doubtful {
            return Ok(());
        }
        codec.decode::<T>(bytes, context).map_err(|error| unreadable::<T>(&codec.name(), error))?;
        if !has_passed {
            self.0.write().unwrap_or_else(PoisonError::into_inner).insert(id);
        }
        Ok(())
    }
}

/// Which values of a cache without a backend are written for a trial.
///
/// Such a cache writes nothing, and a backend that is added later should be no surprise. The first value of a type is
/// tried, and then ever fewer, until one is refused.
#[derive(Debug, Default)]
pub(crate) struct Trials(RwLock<HashMap<TypeId, AtomicU64, RandomState>>);

/// A count that is never reached: the type was found out.
const OVER: u64 = u64::MAX / 2;

impl Trials {
    /// Counts a value. Whether it is the turn of this one: the first, second, fourth, eighth and so on.
    pub(crate) fn is_due<T: 'static>(&self) -> bool {
        let id = TypeId::of::<T>();
        if let Some(count) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&id) {
            return (count.fetch_add(1, Relaxed) + 1).is_power_of_two();
        }
        self.0.write().unwrap_or_else(PoisonError::into_inner).entry(id).or_default().fetch_add(1, Relaxed) == 0
    }

    /// Ends the trials of a type.
    pub(crate) fn end<T: 'static>(&self) -> bool {
        let id = TypeId::of::<T>();
        let trials = self.0.read().unwrap_or_else(PoisonError::into_inner);
        trials.get(&id).is_some_and(|count| count.swap(OVER + 1, Relaxed) <= OVER)
    }
}

fn unreadable<T>(codec: &str, error: Error) -> Error {
    let message = format!(
        "the codec `{codec}` writes this `{}` but cannot read it back ({error}): its `Deserialize` refuses what its \
         `Serialize` wrote, or cannot read it through `#[serde(untagged)]`, `tag` or `flatten`; another of `Postcard`, \
         `MessagePack` and `Json` may carry it",
        type_name::<T>()
    );
    Error::with_source(ErrorKind::Encode, message, error)
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::{Trials, Verified};
    use crate::codec::{Checked, Codec, Context, Postcard};
    use crate::error::ErrorKind;

    /// Refuses what it wrote, unless it is small.
    #[derive(Serialize, Deserialize)]
    #[serde(into = "u32", try_from = "u32")]
    struct Small(u32);

    impl From<Small> for u32 {
        fn from(small: Small) -> Self {
            small.0
        }
    }

    impl TryFrom<u32> for Small {
        type Error = &'static str;

        fn try_from(number: u32) -> Result<Self, Self::Error> {
            if number < 10 { Ok(Self(number)) } else { Err("too large") }
        }
    }

    impl Clone for Small {
        fn clone(&self) -> Self {
            Self(self.0)
        }
    }

    fn bytes_of<T: Serialize>(codec: &impl Codec, value: &T, context: Context<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        codec.encode(value, context, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_type_the_codec_cannot_read_is_refused_every_time() {
        let (verified, codec, context) = (Verified::default(), Checked::new(Postcard), Context::new("n:k", b"h"));
        let bytes = bytes_of(&codec, &Small(70), context);
        for _ in 0..2 {
            let error = verified.check::<Small, _>(&codec, &bytes, context, false).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Encode);
            let message = error.to_string();
            assert!(message.contains("checked(postcard)") && message.contains("Small"), "{message}");
        }
    }

    #[test]
    fn a_type_that_passed_is_decoded_again_only_in_doubt() {
        let (verified, context) = (Verified::default(), Context::new("n:k", b"h"));
        assert!(verified.check::<u32, _>(&Postcard, b"", context, false).is_err());
        verified.check::<u32, _>(&Postcard, &bytes_of(&Postcard, &7u32, context), context, false).unwrap();
        verified.check::<u32, _>(&Postcard, b"", context, false).unwrap();
        assert!(verified.check::<u32, _>(&Postcard, b"", context, true).is_err(), "this one is in doubt");
        assert!(verified.check::<String, _>(&Postcard, b"", context, false).is_err(), "another type starts afresh");
    }

    #[test]
    fn trials_become_rare_and_end() {
        let trials = Trials::default();
        let due: Vec<_> = (1..=20).filter(|_| trials.is_due::<u32>()).collect();
        assert_eq!(due, [1, 2, 4, 8, 16]);
        assert!(trials.is_due::<String>(), "each type has its own");
        assert!(trials.end::<u32>());
        assert!(!trials.end::<u32>(), "told once");
        assert!(!(0..1_000).any(|_| trials.is_due::<u32>()));
    }
}
