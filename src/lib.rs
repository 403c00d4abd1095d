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
//! Where the backend is chosen at run time, or not there at all, the type is one: [`AnyBackend`](backends::AnyBackend).
//! A test fills the same field with [`intent::Deterministic`]:
//!
//! ```
//! use cachekit::backends::AnyBackend;
//! use cachekit::codec::Standard;
//! use cachekit::{Cache, CacheBuilder, Environment, Intent};
//!
//! struct App {
//!     users: Cache<AnyBackend, Standard>,
//! }
//!
//! fn app(environment: Environment, shared: bool) -> Result<App, cachekit::Error> {
//!     let backend = if shared { AnyBackend::from_environment(&environment)? } else { AnyBackend::none() };
//!     Ok(App { users: CacheBuilder::from_environment(environment).backend(backend).namespace("users").build()? })
//! }
//!
//! fn app_of_a_test() -> Result<App, cachekit::Error> {
//!     let test = CacheBuilder::from_environment(Environment::default()).backend(AnyBackend::memory());
//!     Ok(App { users: test.intent(Intent::Deterministic(Intent::Production)).build()? })
//! }
//! # app(Environment::default(), false)?;
//! # app_of_a_test()?;
//! # Ok::<(), cachekit::Error>(())
//! ```
//!
//! # Warnings
//! What is wrong is an error of `build`; what is only odd, or not as good as it could be, is a warning: a default Redis
//! that does not answer, a variable that is misspelt, a key that encrypts nothing, a backend that lacks what the intent
//! turns on. A library prints nothing, so a program shows them: by any subscriber of `tracing` (level `WARN`, target
//! `cachekit`), by an [`Observer`], or by a line of its own over [`Cache::warnings`] or [`Environment::warnings`].
//!
//! # Features
//! A feature adds items and changes nothing else.
//!
//! | feature | adds |
//! |---|---|
//! | `advisor` | how often L1 would be hit at other sizes: `Cache::hit_curve` |
//! | `anyhow` (default) | the sources of an `anyhow::Error` in a `ComputeError` |
//! | `file` (default) | `backends::File` |
//! | `encryption` (default) | `codec::Encrypted`, `codec::Keyring`, `intent::Secure`, `Sensitive`, tenants |
//! | `redis` (default) | `backends::Redis` |
//! | `redis-tls` | `rediss://`, by rustls with ring |
//! | `redis-cluster` | `redis-cluster://` |
//! | `redis-sentinel` | `redis-sentinel://` |
//! | `memcached` | `backends::Memcached` |
//! | `cachekitio` | `backends::CachekitIo` and what `intent::Io` needs, by ureq and rustls with ring |
//! | `metrics` | what a cache does and how it is, to the recorder of the `metrics` crate that a program installs; `Cache::record_metrics` |
//! | `messagepack` | `codec::MessagePack` |
//! | `tracing` (default) | events to `tracing`, target `cachekit`, as [`Tracing`] says, and the caller's span around a computation; no subscriber |
//! | `blocking` | `blocking`: caches for programs without async |
//! | `testing` | `testing` |
//! | `cli` | the command `cachekit`, which examines a setup and shows what is stored: `cargo install --features cli`, `cachekit --help`. Nothing for programs |
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod backends;
#[cfg(feature = "blocking")]
pub mod blocking;
mod builder;
mod bus;
mod cache;
mod chunks;
mod clock;
pub mod codec;
mod config;
mod error;
mod event;
mod finding;
mod flight;
mod frame;
#[cfg(all(
    any(test, fuzzing),
    feature = "cachekitio",
    feature = "encryption",
    feature = "file",
    feature = "memcached",
    feature = "messagepack",
    feature = "redis"
))]
#[doc(hidden)]
pub mod fuzzing;
mod guard;
mod home;
pub mod intent;
mod invalidate;
mod key;
mod ledger;
mod memory;
mod message;
mod negative;
mod order;
mod random;
mod schema;
mod seal;
mod sensitive;
mod slots;
mod stack;
mod stored;
mod switches;
mod tasks;
#[cfg(feature = "testing")]
pub mod testing;
mod tiers;
mod typed;
mod warnings;

#[doc(no_inline)]
pub use self::intent as Intent;
pub use crate::backends::{Backend, Capabilities, Cursor, Lease, LeaseToken, Page};
pub use crate::builder::CacheBuilder;
pub use crate::bus::{AnyBus, Batch, Bus, Position};
pub use crate::cache::{
    Cache, Computed, DomainSettings, Entry, Explanation, Fetched, Health, Loaded, Notice, Previous, Revalidated,
    Sample, Told, Watch,
};
#[cfg(feature = "metrics")]
pub use crate::cache::{METRICS, Metric, MetricKind};
pub use crate::clock::{Clock, SystemClock};
pub use crate::codec::Codec;
pub use crate::config::{
    AdaptiveTimeout, ApiUrl, Backpressure, Breaker, CachekitIoSettings, Credentials, Environment, FileLimits,
    FileSettings, Grace, Leases, LogLevel, MemcachedSettings, Overload, Policy, RedisSettings, RedisUrl, Report,
    ReportRow, Secret, SettingRow, Settings, Source, Tracing, VariableRow,
};
pub use crate::error::{ComputeError, Error, ErrorKind, WithSources};
pub use crate::event::{
    BreakerState, Effect, Event, Failure, MissReason, Observer, Operation, Origin, Outcome, Refusal, Scope, Staleness,
    Stats, Tier, Unreadable,
};
pub use crate::finding::{Finding, Severity};
pub use crate::flight::Context;
pub use crate::key::{Digits, FromKey, IntoKey, Key, KeyPart, KeyWriter, PartText, PartWriter};
pub use crate::ledger::{Forgotten, Order};
#[cfg(feature = "advisor")]
pub use crate::memory::HitCurve;
pub use crate::seal::Value;
#[cfg(feature = "encryption")]
pub use crate::sensitive::Sensitive;
pub use crate::sensitive::Storable;
pub use crate::stored::{EntryState, Plain, Stored};
pub use crate::tiers::TierEntry;
pub use crate::typed::{Loader, LoadingCache, TypedCache, TypedEntry};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(all(doctest, feature = "advisor", feature = "metrics"))]
#[doc = include_str!("../docs/metrics.md")]
struct Metrics;

/// The chapters of the book in `docs/`, whose code is tested with everything that it shows.
#[cfg(all(doctest, feature = "encryption", feature = "messagepack", feature = "redis", feature = "testing"))]
mod book {
    macro_rules! chapters {
        ($($name:ident: $file:literal,)*) => {$(
            #[doc = include_str!(concat!("../docs/", $file))]
            struct $name;
        )*};
    }

    chapters! {
        Comparison: "comparison.md",
        Configuration: "configuration.md",
        Extending: "extending.md",
        Failures: "failures.md",
        GettingStarted: "getting-started.md",
        Introduction: "introduction.md",
        Invalidation: "invalidation.md",
        Keys: "keys.md",
        Migrating: "migrating.md",
        Operating: "operating.md",
        Performance: "performance.md",
        Security: "security.md",
        Staleness: "staleness.md",
        Testing: "testing.md",
        Troubleshooting: "troubleshooting.md",
        Values: "values.md",
    }
}
