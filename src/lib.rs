//! Explicit, typed, two-tier caching.
//!
//! A program wraps slow work in one call. The value comes from the memory of the process (L1), else from a shared
//! backend (L2), else from the closure, which runs once however many callers wait:
//!
//! ```
//! use cachekit::{CacheBuilder, Intent};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! let users = CacheBuilder::new().intent(Intent::Production).namespace("users").build()?;
//! let name: String = users.get_or_compute(42, || async { Ok::<_, std::io::Error>("ada".to_owned()) }).await?;
//! assert_eq!(name, "ada");
//! # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
//! ```
//!
//! What the cache does to the bytes and where they go is in the type [`Cache<B, C>`](Cache); how it behaves is settings, filled by an
//! [`Intent`] and by `CACHEKIT_*` variables. A failing cache never fails the program.
//!
//! # Where to look
//! - [`CacheBuilder`] makes a cache, [`Cache`] is one, [`Entry`] is one call with options of its own.
//! - [`backends`] keep bytes, [`codec`]s make them, [`intent`] says what a cache is for.
//! - `testing` (feature `testing`) has a manual clock, a conformance suite and a backend that fails on demand.
//!
//! # Features
//! | feature | adds |
//! |---|---|
//! | `file` (default) | [`backends::File`](backends) |
//! | `compression` (default) | `codec::Compressed`, `CacheBuilder::from_env` |
//! | `encryption` (default) | the type `codec::Encrypted` and `intent::Secure` |
//! | `redis` (default) | nothing yet but its name in messages |
//! | `messagepack` | `codec::MessagePack` |
//! | `tracing` | events to `tracing` |
//! | `testing` | `testing` |
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod backends;
mod builder;
mod cache;
mod chunks;
mod clock;
pub mod codec;
mod config;
mod error;
mod event;
mod fence;
mod flight;
mod frame;
mod guard;
pub mod intent;

mod key;
mod memory;
mod negative;
mod schema;
mod seal;
mod stack;
mod tasks;
#[cfg(feature = "testing")]
pub mod testing;

#[doc(no_inline)]
pub use self::intent as Intent;
pub use crate::backends::{Backend, Capabilities, Lease, LeaseToken};
pub use crate::builder::CacheBuilder;
pub use crate::cache::{Cache, Computed, Entry};
pub use crate::clock::{Clock, SystemClock};
pub use crate::codec::Codec;
pub use crate::config::{
    AdaptiveTimeout, ApiUrl, Backpressure, Breaker, CachekitIoSettings, Environment, FileLimits, FileSettings, Grace,
    Leases, LogLevel, MemcachedSettings, Policy, RedisSettings, RedisUrl, Secret, Settings, Tracing,
};
pub use crate::error::{ComputeError, Error, ErrorKind};
pub use crate::event::{Event, Observer, Operation, Outcome, Stats, Unreadable};
pub use crate::key::{IntoKey, Key, KeyPart, KeyWriter, PartWriter};
pub use crate::seal::Value;

#[cfg(all(doctest, feature = "compression"))]
#[doc = include_str!("../README.md")]
struct Readme;
