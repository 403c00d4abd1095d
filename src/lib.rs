//! cachekit: explicit, typed, two-tier caching.
#![forbid(unsafe_code)]

pub mod backends;
mod clock;
pub mod codec;
mod config;
mod error;
mod event;
mod frame;
mod key;
mod memory;
mod negative;
mod schema;
mod stack;

pub use crate::backends::Backend;
pub use crate::clock::{Clock, SystemClock};
pub use crate::codec::Codec;
pub use crate::config::{AdaptiveTimeout, Backpressure, Breaker, FileLimits, Grace, Leases, Policy, Settings, Tracing};
pub use crate::error::{ComputeError, Error, ErrorKind};
pub use crate::event::{Event, Observer, Operation, Outcome, Stats, Unreadable};
pub use crate::key::{IntoKey, Key, KeyPart, KeyWriter, PartWriter};
