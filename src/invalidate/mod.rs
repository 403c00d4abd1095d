//! Invalidation: how far forgetting reaches.
//!
//! Three distances: what this process holds (`local`), what the backend holds for everybody (`versions`), and what
//! other processes hold (`bulletin`).

mod bulletin;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod known;
mod local;
mod reader;
mod reclaim;
mod record;
mod versions;

pub(crate) use self::bulletin::{Bulletin, Subscription};
pub(crate) use self::known::Admission;
pub(crate) use self::local::Local;
pub(crate) use self::versions::{Stamp, Versions};
