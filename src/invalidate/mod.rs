//! Invalidation: how far forgetting reaches.
//!
//! Three distances: what this process holds (`local`), what the backend holds for everybody (`ledgers`), and what
//! other processes hold (`bus_reader`). What could not be forgotten yet waits in `retries`.

mod bus_reader;
mod known;
mod ledgers;
mod local;
mod reader_state;
mod reclaim;
mod retries;

pub(crate) use self::bus_reader::{BusReader, Subscription};
pub(crate) use self::known::Verdict;
pub(crate) use self::ledgers::{Boxed, Ledgers, Reached};
pub(crate) use self::local::Local;
pub(crate) use self::retries::{Pending, RetryQueue, Target, Work};
