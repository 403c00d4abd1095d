//! What metrics need beyond the counters of [`Stats`](super::Stats): how long things took, and what failed how.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::histogram::Histogram;
use super::{Effect, Event, Operation, Origin, Refusal, Scope, Staleness};
use crate::error::ErrorKind;

/// The meters of a cache, or of a domain of it.
#[derive(Default)]
pub(crate) struct Meters {
    /// Of lookups in L1: one in [`SAMPLE`](Self::SAMPLE).
    pub(crate) lookups: Histogram,
    /// Those that failed, and those that succeeded.
    pub(crate) computations: [Histogram; 2],
    /// The same, of each operation of the backend.
    pub(crate) operations: [[Histogram; 2]; Operation::ALL.len()],
    /// How long flights waited for a computation of another process.
    pub(crate) lease_waits: Histogram,
    errors: [[AtomicU64; ErrorKind::ALL.len()]; Operation::ALL.len()],
    refusals: [[AtomicU64; Refusal::ALL.len()]; Operation::ALL.len()],
    invalidations: [[[AtomicU64; Effect::ALL.len()]; Origin::ALL.len()]; SCOPES.len()],
    told: Mutex<Staleness>,
}

/// What an invalidation can be about.
pub(crate) const SCOPES: [&str; 4] = ["key", "tag", "namespace", "domain"];

impl Meters {
    /// One lookup in L1 out of so many is timed: whose key's hash, and the time, say so.
    const SAMPLE: u64 = 1_024;

    #[inline]
    pub(crate) fn is_sampled(hash: u64, tick: u64) -> bool {
        (hash ^ tick).is_multiple_of(Self::SAMPLE)
    }

    pub(crate) fn event(&self, event: &Event<'_>) {
        match event {
            Event::Computed { elapsed, succeeded, .. } => {
                self.computations[usize::from(*succeeded)].add(nanos(*elapsed))
            }
            Event::BackendFailed { operation, error, .. } => {
                self.errors[*operation as usize][error.kind() as usize].fetch_add(1, Relaxed);
            }
            Event::Refused { operation, reason, .. } => {
                self.refusals[*operation as usize][*reason as usize].fetch_add(1, Relaxed);
            }
            Event::Invalidated { scope, effect, origin, .. } => {
                let counters = &self.invalidations[number_of(scope)][*origin as usize];
                counters[*effect as usize].fetch_add(1, Relaxed);
            }
            _ => {}
        }
    }

    /// A sampled lookup in L1 ended.
    pub(crate) fn looked(&self, elapsed: Duration) {
        self.lookups.add(nanos(elapsed));
    }

    /// A flight has waited for a computation of another process.
    pub(crate) fn waited(&self, elapsed: Duration) {
        self.lease_waits.add(nanos(elapsed));
    }

    /// An operation of the backend ended.
    pub(crate) fn operated(&self, operation: Operation, succeeded: bool, elapsed: Duration) {
        self.operations[operation as usize][usize::from(succeeded)].add(nanos(elapsed));
    }

    /// What each operation failed with, and how often.
    pub(crate) fn errors(&self) -> impl Iterator<Item = (Operation, ErrorKind, u64)> {
        each(&self.errors, Operation::ALL, ErrorKind::ALL)
    }

    /// Why each operation was not tried, and how often.
    pub(crate) fn refusals(&self) -> impl Iterator<Item = (Operation, Refusal, u64)> {
        each(&self.refusals, Operation::ALL, Refusal::ALL)
    }

    /// How often entries were invalidated: what kind, by whom, and what became of them.
    pub(crate) fn invalidations(&self) -> impl Iterator<Item = (&'static str, Origin, Effect, u64)> {
        let scopes = SCOPES.iter().zip(&self.invalidations);
        scopes.flat_map(|(scope, counts)| {
            each(counts, Origin::ALL, Effect::ALL).map(|(origin, effect, count)| (*scope, origin, effect, count))
        })
    }

    /// What was added to the staleness of answers since the last time.
    pub(crate) fn news_of(&self, staleness: Staleness) -> Staleness {
        let mut told = self.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        staleness - std::mem::replace(&mut *told, staleness)
    }
}

fn nanos(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
}

/// The number of a scope among [`SCOPES`].
fn number_of(scope: &Scope<'_>) -> usize {
    match scope {
        Scope::Key(_) => 0,
        Scope::Tag { .. } => 1,
        Scope::Namespace => 2,
        Scope::Domain { .. } => 3,
    }
}

/// The counts above zero, each with what it counts.
fn each<'a, A: Copy, B: Copy, const N: usize>(
    counts: &'a [[AtomicU64; N]],
    rows: &'a [A],
    columns: &'a [B],
) -> impl Iterator<Item = (A, B, u64)> + 'a {
    let cells = counts.iter().zip(rows).flat_map(move |(counts, row)| {
        counts.iter().zip(columns).map(move |(count, column)| (*row, *column, count.load(Relaxed)))
    });
    cells.filter(|(.., count)| *count > 0)
}

impl fmt::Debug for Meters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meters")
    }
}
