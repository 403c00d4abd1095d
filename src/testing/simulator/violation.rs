//! What a simulation finds, and how to find it again.

use std::fmt;
use std::time::Duration;

use super::deeds::Deed;
use crate::error::ErrorKind;
use crate::event::Tier;

/// A promise that was broken.
///
/// Its `Display` says what was seen, where and when, what led to it, and how to see it again.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Violation {
    /// The seed of the simulation.
    pub seed: u64,
    /// The step in which it was seen.
    pub step: u64,
    /// What was seen.
    pub what: String,
    /// The last operations on the key by all caches, the oldest first.
    pub history: Vec<String>,
    /// The call that runs the simulation again up to there.
    pub again: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, step {}: {}", self.seed, self.step, self.what)?;
        self.history.iter().try_for_each(|line| writeln!(f, "  {line}"))?;
        write!(f, "again: {}", self.again)
    }
}

impl std::error::Error for Violation {}

/// What a simulation did, and saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Calls begun.
    pub operations: u64,
    /// Values that were judged.
    pub reads: u64,
    /// Values among them that stood in for computations that failed or were late.
    pub fallbacks: u64,
    /// Computations begun.
    pub computations: u64,
    /// Changes that returned `Ok`.
    pub changes: u64,
    /// Changes that returned an error.
    pub failed_changes: u64,
    /// Operations of backend and bus that met trouble, restarts of servers and processes, and pauses.
    pub faults: u64,
    /// Caches that were closed and built anew.
    pub replaced: u64,
    /// The longest that a value had been out of date when a read of it began: since another one was acknowledged.
    pub staleness: Duration,
    /// How long the simulated clock ran.
    pub time: Duration,
    /// Tells one course of events from another: two runs of one seed have the same.
    pub fingerprint: u64,
}

/// What happens to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Happening {
    Begins(Deed),
    Value,
    Nothing,
    Done,
    Failed(ErrorKind),
    Fails,
    Left,
    Computes,
    Computed,
    ComputationFailed,
    ComputationDropped,
    Hears,
    HearsOfGap,
    Restart,
    Closes,
    Pauses(Tier),
    Resumes,
}

/// One line of a key's history.
#[derive(Debug, Clone, Copy, Hash)]
pub(super) struct Record {
    pub(super) step: u64,
    pub(super) tick: u64,
    /// The cache, by the order in which they were built.
    pub(super) cache: usize,
    /// The number of the call; zero is none.
    pub(super) call: u64,
    pub(super) happening: Happening,
    /// The version that it is about; zero is none.
    pub(super) version: u64,
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, tick, cache, call, happening, version } = self;
        write!(f, "step {step}, {tick} ms: cache {cache}")?;
        if *call > 0 {
            write!(f, ", call {call}")?;
        }
        write!(f, ": {happening:?}")?;
        if *version > 0 {
            write!(f, ", version {version}")?;
        }
        Ok(())
    }
}
