//! Why a miss is a miss.

use std::fmt;

use super::Unreadable;
use crate::error::Error;

/// Declares the reasons once: their variants, their names and the counters of [`Stats`](super::Stats) that count them.
macro_rules! reasons {
    ($($(#[$doc:meta])+ $reason:ident $name:literal,)+) => {
        /// Why neither tier answered a call: the last thing that stood in the way, L1 first, then the backend.
        ///
        /// [`Event::Missed`](crate::Event::Missed) tells it, [`Stats`](crate::Stats) counts each.
        ///
        /// # Examples
        /// ```
        /// use cachekit::MissReason;
        /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
        /// let users = cachekit::CacheBuilder::new().namespace("users").build()?;
        /// users.entry(42).tags(["team:7"]).set("Ada".to_owned()).await?;
        /// users.invalidate_tag("team:7").await?;
        /// assert_eq!(users.get::<String>(42).await?, None);
        /// assert_eq!((users.stats().missed_tag, MissReason::Tag.name()), (1, "tag"));
        /// # Ok::<(), cachekit::Error>(()) }).unwrap();
        /// ```
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum MissReason {
            $($(#[$doc])+ $reason,)+
        }

        impl MissReason {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$reason,)+];

            /// Its number, which is not zero.
            pub(crate) fn code(self) -> u8 {
                self as u8 + 1
            }

            /// The one with this number.
            pub(crate) fn of_code(code: u8) -> Option<Self> {
                Self::ALL.get(usize::from(code).checked_sub(1)?).copied()
            }

            /// Its name, as metrics and spans have it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$reason => $name,)+ }
            }
        }
    };
}

reasons! {
    /// Neither tier has an entry of the key, and nothing is known of one: it was never stored, it was invalidated by its
    /// key, or it is gone and its memory was given back, as happens soon after an order where there is no backend.
    New "new",
    /// L1 had an entry and gave it up for others a short while ago, and no backend has it. L1 remembers about as many
    /// keys as it holds entries, by 16 bits each, so one in thousands of new keys is taken for one of these.
    Evicted "evicted",
    /// The entry has expired, or is stale where nothing is renewed in the background.
    Expired "expired",
    /// The entry has a tag that was invalidated.
    Tag "tag",
    /// The entry belongs to a domain that was invalidated.
    Domain "domain",
    /// The whole namespace was invalidated.
    Namespace "namespace",
    /// A change of this process overtook the entry while it was read, or is yet to reach the backend.
    Fenced "fenced",
    /// L1 holds an entry that it does not believe, because messages of other processes may have been lost, and the
    /// backend has none.
    Doubted "doubted",
    /// The entry is of another type, or of another version of it.
    Schema "schema",
    /// The entry was written by another codec stack.
    Stack "stack",
    /// The entry is cut short, changed, too large, or no entry of this library.
    Unreadable "unreadable",
    /// The entry is not authentic: its checksum or its seal does not hold, or it was made for another key or tenant.
    Unauthentic "unauthentic",
    /// A tier is paused.
    Paused "paused",
    /// The call asked for neither tier, as [`Cache::refresh`](crate::Cache::refresh) does.
    Skipped "skipped",
    /// The backend was not asked: its breaker was open, or too many operations were under way.
    Refused "refused",
    /// The backend failed, or did not answer in time.
    BackendFailed "backend_failed",
}

/// Its [`name`](MissReason::name).
impl fmt::Display for MissReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<Unreadable> for MissReason {
    fn from(reason: Unreadable) -> Self {
        match reason {
            Unreadable::Stack => Self::Stack,
            Unreadable::Schema => Self::Schema,
            Unreadable::Unauthentic => Self::Unauthentic,
            Unreadable::Foreign | Unreadable::Corrupt | Unreadable::Torn | Unreadable::TooLarge => Self::Unreadable,
        }
    }
}

/// That of a backend which gave this error, or was not asked.
impl From<&Error> for MissReason {
    fn from(error: &Error) -> Self {
        if error.is_refusal() { Self::Refused } else { Self::BackendFailed }
    }
}
