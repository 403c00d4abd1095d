//! A simulator: many processes, one server, trouble, an oracle.
//!
//! What caches promise holds in every order of events, and tests of one order each find the others too late. A
//! simulation plays as many orders as it has seeds, watches every answer, and plays each again exactly.

use std::panic::resume_unwind;
use std::thread;
use std::time::Duration;

use crate::backends::Backend;
use crate::builder::CacheBuilder;
use crate::clock::millis;
use crate::codec::{Codec, Postcard};
use crate::intent::{Preset, Production};

mod backend;
mod batches;
mod bus;
mod calls;
mod computing;
mod deeds;
mod drive;
mod faults;
mod homes;
mod loaders;
mod oracle;
mod plans;
mod process;
mod runtimes;
mod source;
mod violation;
mod work;
mod world;

pub use self::backend::SimulatedBackend;
pub use self::faults::{Faults, Trouble};
pub use self::violation::{Report, Violation};

/// Several caches over one backend and one bus, in random use and in trouble, and an oracle that judges every answer.
///
/// Each cache stands for a process. They have a source of truth in common, whose values count up. In each step a call
/// begins, many of them at once, on a key, a cache and in a form that the seed chooses: reads, computations that are
/// fast, slow, fail or panic, sets, invalidations and expiries of one key, many, tags, a domain and everything; some
/// callers leave half way or stop asking. Some keys live in [domains](crate::Cache::domain), and of those of one domain
/// there is a [loader](crate::Loader), that gathers or does not. Time passes on a [`ManualClock`](super::ManualClock), and the [`Faults`] asked for
/// come and go. After the last step all trouble ends.
///
/// # What is checked
/// - A read that begins after a change of its own cache has returned, with success or a failure of the backend, sees
///   that change or a later one.
/// - With [`max_staleness`](CacheBuilder::max_staleness), a read that begins so long after another cache's change was
///   acknowledged sees it or a later one. Entries that were forgotten by tag or namespace may lag one second more: the
///   ledger is read anew at least that often.
/// - A read that begins after the end of a pause of its L1 sees what was acknowledged by then.
/// - What has expired, by its TTL or by an expiry, is read no more: it stands in for a computation that fails or is
///   late, within its grace. What was invalidated does not even that, nor what was cleared while the computation ran.
/// - No call gets another key's value, or one that never was. Keys of several domains have the same name.
/// - `get_or_compute` returns no error but its computation's own; nothing fails while there is no trouble.
/// - A call of `get_or_compute` ends in the time that its deadline and the limits of the backend leave it, whatever
///   runtime stands still, if its own does not.
/// - A key is computed twice at once in one cache only if it was changed, given up or distrusted between, and no
///   computation is cut short because callers left. What is done to a domain is no change of keys that live elsewhere.
/// - After the last step every call ends; everybody sees what was acknowledged, what its own cache was told, and,
///   after one more change of each key, the truth. Closed caches have nothing left to do and have counted every
///   answer.
///
/// # What is not
/// - Changes that failed, or whose process was closed in the middle, bind no other cache. With the setting `background`
///   off they bind none.
/// - Nothing orders a `set` of one process and a change of the key by another that begins meanwhile; no such change
///   begins.
/// - Where leases are off, a late computation may bring an older value back into the backend. It may last as long as an
///   entry.
///
/// # Exact repetition
/// One seed, one set of numbers and one build give one course of events: a simulation runs on a thread of its own,
/// which seeds every random draw that decides anything. Give L1 room for all keys, at least 1 MB: which entry leaves
/// a full L1 depends on the process.
///
/// # Cost
/// About 5 µs a step in an optimized build.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use cachekit::Intent;
/// use cachekit::testing::{Faults, Simulation};
///
/// for seed in 0..3 {
///     let simulation = Simulation::new(seed).caches(3).keys(4).steps(500).faults(Faults::all());
///     let report = simulation.run(|builder| {
///         builder.intent(Intent::Production).ttl(Duration::from_secs(20)).max_staleness(Duration::from_secs(2))
///     });
///     match report {
///         Ok(report) => assert!(report.reads > 0),
///         Err(violation) => panic!("{violation}"),
///     }
/// }
/// ```
#[derive(Debug, Clone, Copy)]
#[must_use = "a simulation does nothing until it runs"]
pub struct Simulation {
    seed: u64,
    caches: usize,
    keys: usize,
    steps: u64,
    faults: Faults,
    staleness: Option<Duration>,
    patience: Option<Duration>,
}

impl Simulation {
    /// Three caches, eight keys, 10,000 steps, every trouble.
    pub fn new(seed: u64) -> Self {
        Self { seed, caches: 3, keys: 8, steps: 10_000, faults: Faults::all(), staleness: None, patience: None }
    }

    /// How many caches there are at once. At least one.
    pub fn caches(mut self, caches: usize) -> Self {
        self.caches = caches.max(1);
        self
    }

    /// How many keys there are. At least one.
    pub fn keys(mut self, keys: usize) -> Self {
        self.keys = keys.max(1);
        self
    }

    /// How many steps are made before all trouble ends.
    pub fn steps(mut self, steps: u64) -> Self {
        self.steps = steps;
        self
    }

    /// Which trouble is made.
    pub fn faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// Judges by this bound on staleness, whatever the caches were told. Default: their
    /// [`max_staleness`](CacheBuilder::max_staleness).
    pub fn staleness(mut self, bound: Duration) -> Self {
        self.staleness = Some(bound);
        self
    }

    /// Judges by this bound on how long a call of `get_or_compute` takes, whatever the caches were told. Default: as
    /// long as their deadline and the limits of their backend say.
    pub fn patience(mut self, bound: Duration) -> Self {
        self.patience = Some(bound);
        self
    }

    /// Runs, with caches as `settings` makes them of a builder that has its backend, clock and namespace.
    ///
    /// May be called inside a tokio runtime or outside; it blocks its thread until the simulation has ended.
    ///
    /// # Errors
    /// The first [`Violation`].
    ///
    /// # Panics
    /// If `settings` panics, or the caches cannot be built.
    pub fn run<C, P, F>(self, settings: F) -> Result<Report, Violation>
    where
        C: Codec,
        P: Preset,
        F: Fn(CacheBuilder<SimulatedBackend, Postcard, Production>) -> CacheBuilder<SimulatedBackend, C, P>
            + Send
            + Sync,
    {
        self.run_over(|backend| backend, settings)
    }

    /// Like [`run`](Simulation::run), with every cache's way to the server inside another backend.
    ///
    /// # Errors
    /// The first [`Violation`].
    ///
    /// # Panics
    /// As [`run`](Simulation::run).
    pub fn run_over<B, C, P, W, F>(self, wrap: W, settings: F) -> Result<Report, Violation>
    where
        B: Backend,
        C: Codec,
        P: Preset,
        W: Fn(SimulatedBackend) -> B + Send + Sync,
        F: Fn(CacheBuilder<B, Postcard, Production>) -> CacheBuilder<B, C, P> + Send + Sync,
    {
        // A thread of its own has random numbers of its own, and no runtime yet.
        let ran = thread::scope(|scope| scope.spawn(|| drive::run(self, &wrap, &settings)).join());
        ran.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// The call that makes so many steps of this simulation.
    fn again(&self, steps: u64) -> String {
        let mut call = format!("Simulation::new({}).caches({}).keys({})", self.seed, self.caches, self.keys);
        call.push_str(&format!(".steps({steps})"));
        if self.faults != Faults::all() {
            call.push_str(&format!(".faults({:?})", self.faults));
        }
        if let Some(bound) = self.staleness {
            call.push_str(&format!(".staleness(Duration::from_millis({}))", millis(bound)));
        }
        if let Some(bound) = self.patience {
            call.push_str(&format!(".patience(Duration::from_millis({}))", millis(bound)));
        }
        call + ".run(..)"
    }
}
