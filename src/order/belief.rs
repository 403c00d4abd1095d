//! For how long L1 is believed.

use std::time::Duration;

use crate::clock::millis;

/// For how long L1 is believed while no other process is heard.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Belief {
    pub(super) time: Duration,
    /// Whether a setting says so.
    pub(super) is_asked: bool,
}

/// The belief of a cache that listens, where no setting says so.
const USUAL: Duration = Duration::from_secs(3);

impl Belief {
    /// What the setting says; for a cache that `listens` to a bus, never for ever.
    pub(crate) fn of(max_staleness: Option<Duration>, listens: bool) -> Option<Self> {
        let usual = || listens.then_some(Self { time: USUAL, is_asked: false });
        max_staleness.map(|time| Self { time, is_asked: true }).or_else(usual)
    }

    /// For how long what was heard is believed.
    pub(crate) fn time(self) -> Duration {
        self.time
    }

    /// For how many ticks what was heard is believed.
    pub(crate) fn ticks(self) -> u64 {
        millis(self.time)
    }

    /// How long one answer of the bus may take, its way included: two may lie between what L1 knows and the next. Of a
    /// bound that is asked for, half is left for what goes wrong on the way.
    pub(crate) fn wait(self) -> Duration {
        if self.is_asked { self.time / 4 } else { self.time * 9 / 20 }
    }
}
