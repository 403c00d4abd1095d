//! Invalidation: how far forgetting reaches.
//!
//! Three distances: what this process holds (`local`), what the backend holds for everybody (`ledgers`), and what
//! other processes hold (`bulletin`). What could not be forgotten yet waits in `retries`.

mod bulletin;
mod known;
mod ledgers;
mod local;
mod reader;
mod reclaim;
mod retries;

pub(crate) use self::bulletin::{Bulletin, Subscription};
pub(crate) use self::known::Verdict;
pub(crate) use self::ledgers::{Boxed, Ledgers, Reached};
pub(crate) use self::local::Local;
pub(crate) use self::retries::{Pending, RetryQueue, Target, Work};
