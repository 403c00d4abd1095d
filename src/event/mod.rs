//! Events: what happened, for those who observe a cache.
//!
//! The cache tells; [`Stats`] counts, and an [`Observer`] may log, meter or react.

use std::fmt;
use std::time::Duration;

use crate::error::Error;
use crate::key::Key;

mod counters;
mod failure;
#[cfg(feature = "metrics")]
mod histogram;
mod invalidation;
#[cfg_attr(not(feature = "metrics"), path = "unmetered.rs")]
mod meters;
mod miss;
mod names;
mod observers;
mod span;
mod stats;
#[cfg(test)]
mod tests;
mod tier;
#[cfg(feature = "tracing")]
mod trace;
mod why;

pub(crate) use self::counters::Counters;
pub use self::failure::Failure;
#[cfg(feature = "metrics")]
pub(crate) use self::histogram::Histogram;
pub use self::invalidation::{Effect, Origin, Scope};
pub(crate) use self::meters::Meters;
pub use self::miss::MissReason;
pub(crate) use self::observers::Observers;
pub(crate) use self::span::{Span, Traced};
pub use self::stats::{Staleness, Stats};
pub use self::tier::Tier;
#[cfg(feature = "tracing")]
pub(crate) use self::trace::TracingObserver;
pub(crate) use self::why::Why;

/// Hears of everything a cache does.
///
/// Called on the task that did it, so it must not block. A key's `Display` is a short hash; think twice before writing
/// its text anywhere. An observer that panics breaks no call and keeps no other observer from hearing; the first panic
/// of each is told to the others as an [`Event::Warning`].
///
/// # Examples
/// ```
/// use std::sync::{Arc, Mutex};
/// use cachekit::{CacheBuilder, Event, Observer, Outcome};
///
/// #[derive(Debug, Default)]
/// struct Outcomes(Mutex<Vec<Outcome>>);
///
/// impl Observer for Outcomes {
///     fn event(&self, event: &Event<'_>) {
///         if let Event::Answered { outcome, .. } = event {
///             self.0.lock().unwrap().push(*outcome);
///         }
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let outcomes = Arc::new(Outcomes::default());
/// let users = CacheBuilder::new().observer(Arc::clone(&outcomes) as _).build()?;
/// for _ in 0..2 {
///     users.get_or_compute(42, || async { Ok::<_, std::io::Error>("ada".to_owned()) }).await?;
/// }
/// assert_eq!(*outcomes.0.lock().unwrap(), [Outcome::Computed, Outcome::L1Hit]);
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
pub trait Observer: fmt::Debug + Send + Sync + 'static {
    /// Takes note of an event.
    fn event(&self, event: &Event<'_>);
}

/// Something a cache did or met.
///
/// Variants and fields may be added, so match with `..` and `_`.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A call was answered.
    ///
    /// Every `get` and every `get_or_compute` in all its forms gives exactly one of these, unless its future is dropped
    /// before, or it is refused for an unusable option or, of `get`, an unusable key.
    #[non_exhaustive]
    Answered {
        /// The key asked for.
        key: &'a Key,
        /// Where the answer came from.
        outcome: Outcome,
    },
    /// Neither tier had a fresh value. Told once by each flight that computes for a caller, before the computation begins,
    /// however many callers wait for it, and by each `get` that finds nothing. A renewal in the background is no miss.
    #[non_exhaustive]
    Missed {
        /// The key asked for.
        key: &'a Key,
        /// Why.
        reason: MissReason,
    },
    /// A computation ended, for one or many callers or in the background.
    #[non_exhaustive]
    Computed {
        /// The key computed.
        key: &'a Key,
        /// How long it took, by the cache's clock; of the system's to the microsecond.
        elapsed: Duration,
        /// Whether there is a value.
        succeeded: bool,
        /// Why there is none.
        failure: Option<Failure<'a>>,
        /// Whether no caller is told of the failure: an older value stands in for it, or no caller waits for the
        /// computation, which renews an entry. With feature `tracing` these are warnings, the others are told by
        /// [`Tracing::Verbose`](crate::Tracing::Verbose) alone.
        hidden: bool,
    },
    /// A computed value was not stored, because its key was invalidated or set meanwhile, or its deadline or its lease
    /// had ended.
    #[non_exhaustive]
    Fenced {
        /// The key computed.
        key: &'a Key,
    },
    /// A backend operation failed or took too long.
    #[non_exhaustive]
    BackendFailed {
        /// The key it was about.
        key: &'a Key,
        /// Which operation.
        operation: Operation,
        /// Why.
        error: &'a Error,
    },
    /// A backend operation was not tried, to spare the caller and the backend.
    #[non_exhaustive]
    Refused {
        /// The key it was about.
        key: &'a Key,
        /// Which operation.
        operation: Operation,
        /// Why.
        reason: Refusal,
    },
    /// The circuit breaker changed its state. Where parts of the backend fail alone, such as the masters of a Redis
    /// cluster, each part has one: the sixteen parts of a cluster are 1,024 slots in a row each.
    #[non_exhaustive]
    Breaker {
        /// The part of the backend, below [`Capabilities::parts`](crate::Capabilities::parts).
        part: u16,
        /// What it is now.
        state: BreakerState,
    },
    /// Stored bytes were not used.
    #[non_exhaustive]
    Unreadable {
        /// The key they were stored under.
        key: &'a Key,
        /// Why.
        reason: Unreadable,
    },
    /// A value was returned but not stored, or a call has a key that names no entry and computes for itself.
    #[non_exhaustive]
    NotStored {
        /// The key it belongs to; where a key cannot be used, one that stands in for it in the events of the call.
        key: &'a Key,
        /// Why: too large, not to be given back exactly by its codec, or with a TTL that cannot be kept.
        error: &'a Error,
    },
    /// A change that the backend did not take is not tried again: there were too many, the backend refuses it, or what
    /// it would replace has expired.
    #[non_exhaustive]
    GivenUp {
        /// The key changed, or the name of the namespace.
        key: &'a Key,
    },
    /// Entries were invalidated, expired or cleared. A `set` of another process counts as an invalidation of its key,
    /// an own one does not.
    ///
    /// Told once for each key, tag or namespace, when this process has forgotten, and the backend has been told. If
    /// that failed the call returns an error; the backend follows when it is back. Other processes hear of it
    /// afterwards.
    ///
    /// # Examples
    /// ```
    /// use std::sync::{Arc, Mutex};
    /// use cachekit::{CacheBuilder, Event, Observer, Origin, Scope};
    ///
    /// /// Hands every own invalidation of a key on to a bus of the program.
    /// #[derive(Debug, Default)]
    /// struct Forward(Mutex<Vec<String>>);
    ///
    /// impl Observer for Forward {
    ///     fn event(&self, event: &Event<'_>) {
    ///         if let Event::Invalidated { scope: Scope::Key(key), origin: Origin::Here, .. } = event {
    ///             self.0.lock().unwrap().push(key.as_str().to_owned());
    ///         }
    ///     }
    /// }
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let forward = Arc::new(Forward::default());
    /// let users = CacheBuilder::new().namespace("users").observer(Arc::clone(&forward) as _).build()?;
    /// users.invalidate(42).await?;
    /// assert_eq!(*forward.0.lock().unwrap(), ["users:42"]);
    /// # Ok::<(), cachekit::Error>(()) }).unwrap();
    /// ```
    #[non_exhaustive]
    Invalidated {
        /// The name of the namespace; its keys begin with it.
        namespace: &'a Key,
        /// Which entries.
        scope: Scope<'a>,
        /// What became of them.
        effect: Effect,
        /// Who asked for it.
        origin: Origin,
    },
    /// Messages of other processes may be lost, so everything that L1 holds is read anew when it is next asked for.
    #[non_exhaustive]
    Gap {
        /// The name of the bus.
        name: &'a Key,
    },
    /// A tier was paused, or is used again.
    #[non_exhaustive]
    Switched {
        /// Which.
        tier: Tier,
        /// Whether it is paused now.
        paused: bool,
    },
    /// A call went by a tier that is paused: it neither reads nor keeps anything there.
    #[non_exhaustive]
    Bypassed {
        /// The key asked for.
        key: &'a Key,
        /// The tier that is paused.
        tier: Tier,
    },
    /// Something in the configuration deserves attention.
    ///
    /// No cache tells the same one twice, nor do caches of one [`Environment`](crate::Environment);
    /// [`Cache::warnings`](crate::Cache::warnings) lists them for each. With the feature `tracing` it is an event of
    /// level `WARN` and target `cachekit`, unless the intent turns tracing off.
    #[non_exhaustive]
    Warning {
        /// What, and what to do.
        message: &'a str,
    },
}

/// Where the answer to a call came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// A fresh value in process memory.
    L1Hit,
    /// A value in the backend.
    L2Hit,
    /// A stale value while it is renewed, or an expired one because the computation failed or is slow.
    Stale,
    /// The computation this call started.
    Computed,
    /// The flight another call started.
    Joined,
    /// Nothing: there is no entry, and no computation was asked for.
    Absent,
    /// No value: the call returned an error.
    Failed,
}

impl Outcome {
    /// Whether a tier had the value, fresh or stale.
    pub fn is_hit(self) -> bool {
        matches!(self, Self::L1Hit | Self::L2Hit | Self::Stale)
    }
}

/// An operation on a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Reading an entry.
    Get,
    /// Storing an entry.
    Set,
    /// Removing an entry.
    Remove,
    /// Asking for or returning a lease.
    Lease,
    /// Checking that the backend answers.
    Ping,
    /// Telling other processes of a change.
    Publish,
    /// Hearing of the changes of other processes.
    Receive,
}

/// Why a backend operation was not tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The backend failed too often, or the part of it that has the key.
    BreakerOpen,
    /// Too many operations were under way, and too many waiting.
    QueueFull,
    /// Too many operations were under way for as long as this one may wait.
    QueueTimeout,
}

/// What a circuit breaker does with operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BreakerState {
    /// Lets them through.
    Closed,
    /// Lets none through.
    Open,
    /// Lets a few through to see whether the backend is back.
    HalfOpen,
}

/// Why stored bytes were not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unreadable {
    /// Not a frame of this version.
    Foreign,
    /// Written by another codec stack.
    Stack,
    /// Written for another type, or another version of it.
    Schema,
    /// Cut short, changed, or not what the codec writes.
    Corrupt,
    /// Stored for another key, or failed a checksum or an encryption key.
    Unauthentic,
    /// Chunks are missing or of different writes.
    Torn,
    /// Larger than [`max_value_size`](crate::Settings::max_value_size), or would be once it is decompressed or decoded.
    TooLarge,
}
