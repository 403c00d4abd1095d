//! The source of a key: its versions, and which of them were acknowledged.

use std::collections::{BTreeMap, VecDeque};

use super::deeds::Deed;
use super::violation::Record;

/// What may no longer be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Floor {
    /// Lower versions are gone.
    pub(super) gone: u64,
    /// Lower versions have expired: they only stand in for computations that fail or are late.
    pub(super) expired: u64,
}

impl Floor {
    /// After a change of this kind to a version.
    pub(super) fn raise(&mut self, deed: Deed, version: u64) {
        self.expired = self.expired.max(version);
        if !deed.expires() {
            self.gone = self.gone.max(version);
        }
    }

    pub(super) fn max(self, other: Self) -> Self {
        Self { gone: self.gone.max(other.gone), expired: self.expired.max(other.expired) }
    }
}

/// Acknowledged changes: when, and of which version.
type Log = VecDeque<(u64, u64)>;

/// One key.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) version: u64,
    /// The version that the last change made that left nothing.
    pub(super) gone: u64,
    /// Of the key alone, and of more than it; those that leave nothing, and expiries.
    acknowledged: [Log; 4],
    /// When a computation last found that these versions are not modified.
    confirmed: BTreeMap<u64, u64>,
    /// Caches with a `set` under way, each as often as it has one.
    pub(super) setting: Vec<usize>,
    pub(super) history: VecDeque<Record>,
}

/// Acknowledgements that are kept of each kind.
const ACKNOWLEDGED: usize = 1_024;
/// Versions that were found not to be modified and are remembered.
const CONFIRMED: usize = 256;
/// Lines of history that are kept.
const LINES: usize = 40;

impl Default for Source {
    fn default() -> Self {
        let (confirmed, setting, history) = Default::default();
        Self { version: 1, gone: 1, acknowledged: Default::default(), confirmed, setting, history }
    }
}

impl Source {
    /// A change begins. Returns the version it makes.
    pub(super) fn change(&mut self, deed: Deed) -> u64 {
        self.version += 1;
        if !deed.expires() {
            self.gone = self.version;
        }
        self.version
    }

    pub(super) fn acknowledge(&mut self, deed: Deed, version: u64, tick: u64) {
        let log = &mut self.acknowledged[usize::from(deed.sweeps()) + 2 * usize::from(deed.expires())];
        if log.back().is_some_and(|(_, newest)| *newest >= version) {
            return;
        }
        if log.len() >= ACKNOWLEDGED {
            log.pop_front();
        }
        log.push_back((tick, version));
    }

    /// When a value was made, or last found not to be modified.
    pub(super) fn made(&self, version: u64, made: u64) -> u64 {
        self.confirmed.get(&version).map_or(made, |tick| made.max(*tick))
    }

    /// A computation finds that this version is not modified.
    pub(super) fn confirm(&mut self, version: u64, tick: u64) {
        self.confirmed.insert(version, tick);
        if self.confirmed.len() > CONFIRMED {
            self.confirmed.pop_first();
        }
    }

    /// What may no longer be read at `tick`, if what was acknowledged is seen `bound` ticks later, and `lag` more
    /// where it concerned more than the key.
    pub(super) fn floor(&self, tick: u64, bound: u64, lag: u64) -> Floor {
        let at = |log: usize, slack: u64| {
            let seen = |(acknowledged, _): &&(u64, u64)| acknowledged.saturating_add(slack) <= tick;
            self.acknowledged[log].iter().rev().find(seen).map_or(0, |(_, version)| *version)
        };
        let of = |log: usize| at(log, bound).max(at(log + 1, bound.saturating_add(lag)));
        let gone = of(0);
        Floor { gone, expired: gone.max(of(2)) }
    }

    /// How long before `tick` the first change was acknowledged that is newer than `version`.
    pub(super) fn age(&self, version: u64, tick: u64) -> u64 {
        let newer = |log: &Log| log.iter().find(|(_, newer)| *newer > version).map(|(tick, _)| *tick);
        let since = self.acknowledged.iter().filter_map(newer).map(|acknowledged| tick.saturating_sub(acknowledged));
        since.max().unwrap_or_default()
    }

    pub(super) fn note(&mut self, record: Record) {
        if self.history.len() >= LINES {
            self.history.pop_front();
        }
        self.history.push_back(record);
    }
}
