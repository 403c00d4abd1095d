//! Reading back the first value of each type.
//!
//! Some codecs write types they cannot read: postcard writes `#[serde(untagged)]` enums and fails on them afterwards.
//! Without a check every store succeeds and every read is a miss; with it the first store says what is wrong.

use std::any::{TypeId, type_name};
use std::collections::HashSet;
use std::sync::{PoisonError, RwLock};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Codec, Context};
use crate::error::{Error, ErrorKind};

/// The types whose values the codec of a cache is known to read back. Grows with the types of the program, not its
/// data.
#[derive(Debug, Default)]
pub(crate) struct Verified(RwLock<HashSet<TypeId>>);

impl Verified {
    /// Decodes `bytes`, which `codec` wrote, unless a value of this type has passed before.
    ///
    /// Costs one read lock once the type has passed.
    ///
    /// # Errors
    /// [`ErrorKind::Encode`] if `codec` cannot read the bytes. The next call for the type tries again.
    pub(crate) fn check<T, C>(&self, codec: &C, bytes: &[u8], context: Context<'_>) -> Result<(), Error>
    where
        T: Serialize + DeserializeOwned + 'static,
        C: Codec,
    {
        let id = TypeId::of::<T>();
        if self.0.read().unwrap_or_else(PoisonError::into_inner).contains(&id) {
            return Ok(());
        }
        codec.decode::<T>(bytes, context).map_err(|error| unreadable::<T>(&codec.name(), error))?;
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(id);
        Ok(())
    }
}

fn unreadable<T>(codec: &str, error: Error) -> Error {
    let message = format!(
        "the codec `{codec}` writes `{}` but cannot read it back: `#[serde(untagged)]`, `#[serde(tag)]` and \
         `skip_serializing_if` need a self-describing codec, such as `MessagePack` or `Json`",
        type_name::<T>()
    );
    Error::with_source(ErrorKind::Encode, message, error)
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::Verified;
    use crate::codec::{Checked, Codec, Context, Json, Postcard};
    use crate::error::ErrorKind;

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Loose {
        Number(u32),
    }

    fn bytes_of<T: Serialize>(codec: &impl Codec, value: &T, context: Context<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        codec.encode(value, context, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_type_the_codec_cannot_read_is_refused_every_time() {
        let (verified, codec, context) = (Verified::default(), Checked::new(Postcard), Context::new("n:k", b"h"));
        let bytes = bytes_of(&codec, &Loose::Number(7), context);
        for _ in 0..2 {
            let error = verified.check::<Loose, _>(&codec, &bytes, context).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Encode);
            let message = error.to_string();
            assert!(message.contains("checked(postcard)") && message.contains("Loose"), "{message}");
        }
        let bytes = bytes_of(&Json, &Loose::Number(7), context);
        verified.check::<Loose, _>(&Json, &bytes, context).unwrap();
    }

    #[test]
    fn a_type_that_passed_is_not_decoded_again() {
        let (verified, context) = (Verified::default(), Context::new("n:k", b"h"));
        assert!(verified.check::<u32, _>(&Postcard, b"", context).is_err());
        verified.check::<u32, _>(&Postcard, &bytes_of(&Postcard, &7u32, context), context).unwrap();
        verified.check::<u32, _>(&Postcard, b"", context).unwrap();
        assert!(verified.check::<String, _>(&Postcard, b"", context).is_err(), "another type starts afresh");
    }
}
