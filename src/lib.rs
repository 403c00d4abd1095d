//! Explicit, typed, two-tier caching.
//!
//! A program wraps slow work in one call. The value comes from the memory of the process (L1), else from a shared
//! backend (L2), else from the closure, which runs once however many callers wait:
//!
//! ```
//! use cachekit::{CacheBuilder, Intent};
//!
//! # async fn load(id: u64) -> std::io::Result<String> { Ok(format!("user {id}")) }
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! let users = CacheBuilder::new().intent(Intent::Production).namespace("users").build()?;
//! let id = 42;
//! let name: String = users.get_or_compute(id, move || async move { load(id).await }).await?;
//! assert_eq!(name, "user 42");
//! # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
//! ```
//!
//! What the cache does to the bytes and where they go is in the type [`Cache<B, C>`](Cache); how it behaves is
//! settings, filled by an
//! [`Intent`] and by `CACHEKIT_*` variables. A failing cache never fails the program.
//!
//! # Where to look
//! - [`CacheBuilder`] makes a cache, [`Cache`] is one, [`Entry`] is one call with options of its own.
//! - [`backends`] keep bytes, [`codec`]s make them, [`intent`] says what a cache is for.
//! - A [`Value`] is anything serde reads and writes; an [`IntoKey`] names it: text, integers, tuples of these.
//! - [`Settings`] is what can be asked, [`Policy`] what was decided, [`Environment`] what the variables say.
//! - [`Stats`] counts what happened, an [`Observer`] hears of each [`Event`].
//! - `Intent::Secure` encrypts, with a `codec::Keyring`; `docs/security.md` says against whom. What a cache takes is
//!   [`Storable`] with its codec; a `Sensitive` value only with `Encrypted<_>`.
//! - A [`Bus`] carries what one process forgets to the others; backends bring their own.
//! - [`ComputeError`] is why a call has no value, [`Error`] everything else that goes wrong.
//! - `testing` (feature `testing`) has a manual clock, conformance suites and a backend that fails on demand.
//!
//! # In a struct, in a signature
//! A function that cares what happens to its values asks by type; one that does not is generic; a struct names a type:
//!
//! ```
//! use cachekit::backends::Memory;
//! use cachekit::codec::{Checked, Postcard};
//! use cachekit::{Backend, Cache, CacheBuilder, Codec};
//!
//! struct App {
//!     users: Cache<Memory, Checked<Postcard>>,
//! }
//!
//! fn whatever_it_does<B: Backend, C: Codec>(users: &Cache<B, C>) {}
//! fn with_checksums<B: Backend, C: Codec>(users: &Cache<B, Checked<C>>) {}
//!
//! let app = App { users: CacheBuilder::new().backend(Memory::new(64 << 20)).build()? };
//! whatever_it_does(&app.users);
//! with_checksums(&app.users);
//! # Ok::<(), cachekit::Error>(())
//! ```
//!
//! # Features
//! A feature adds items and changes nothing else.
//!
//! | feature | adds |
//! |---|---|
//! | `file` (default) | `backends::File` |
//! | `compression` (default) | `codec::Compressed`, `codec::Standard`, `CacheBuilder::from_env`, `CacheBuilder::from_vars` |
//! | `encryption` (default) | `codec::Encrypted`, `codec::Keyring`, `intent::Secure`, `Sensitive`, tenants |
//! | `redis` (default) | `backends::Redis` |
//! | `redis-tls` | `rediss://`, by rustls with ring |
//! | `redis-cluster` | `redis-cluster://` |
//! | `redis-sentinel` | `redis-sentinel://` |
//! | `memcached` | `backends::Memcached` |
//! | `cachekitio` | `backends::CachekitIo` and what `intent::Io` needs, by ureq and rustls with ring |
//! | `messagepack` | `codec::MessagePack` |
//! | `tracing` | events to `tracing`, target `cachekit`, as [`Tracing`] says |
//! | `testing` | `testing` |
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod backends;
mod builder;
mod bus;
mod cache;
mod chunks;
mod clock;
pub mod codec;
mod config;
mod epochs;
mod error;
mod event;
mod fence;
mod flight;
mod frame;
mod guard;
pub mod intent;
mod invalidate;
mod key;
mod memory;
mod message;
mod negative;
mod random;
mod schema;
mod seal;
mod sensitive;
mod stack;
mod tasks;
#[cfg(feature = "testing")]
pub mod testing;

#[doc(no_inline)]
pub use self::intent as Intent;
pub use crate::backends::{Backend, Capabilities, Lease, LeaseToken};
pub use crate::builder::CacheBuilder;
pub use crate::bus::{AnyBus, Batch, Bus, Position};
pub use crate::cache::{Cache, Computed, Entry, Health};
pub use crate::clock::{Clock, SystemClock};
pub use crate::codec::Codec;
pub use crate::config::{
    AdaptiveTimeout, ApiUrl, Backpressure, Breaker, CachekitIoSettings, Environment, FileLimits, FileSettings, Grace,
    Leases, LogLevel, MemcachedSettings, Policy, RedisSettings, RedisUrl, Secret, Settings, Tracing,
};
pub use crate::error::{ComputeError, Error, ErrorKind};
pub use crate::event::{
    BreakerState, Effect, Event, Observer, Operation, Origin, Outcome, Refusal, Scope, Staleness, Stats, Unreadable,
};
pub use crate::key::{IntoKey, Key, KeyPart, KeyWriter, PartWriter};
pub use crate::seal::Value;
#[cfg(feature = "encryption")]
pub use crate::sensitive::Sensitive;
pub use crate::sensitive::Storable;

#[cfg(all(doctest, feature = "compression"))]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(all(doctest, feature = "compression", feature = "encryption"))]
#[doc = include_str!("../docs/security.md")]
struct Security;
