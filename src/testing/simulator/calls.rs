//! Calls and the computations they lead to, as the oracle keeps them.

use serde::{Deserialize, Serialize};

use super::deeds::Deed;
use super::source::Floor;

/// What caches hold: which key and version it is of, the cache that computed or set it, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Value {
    pub(super) key: usize,
    pub(super) version: u64,
    pub(super) maker: usize,
    pub(super) made: u64,
}

/// When: in the order of events, and by the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Moment {
    pub(super) order: u64,
    pub(super) tick: u64,
}

/// A call under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub(super) number: u64,
    pub(super) cache: usize,
    pub(super) key: usize,
    pub(super) deed: Deed,
    pub(super) begun: Moment,
    pub(super) own: Floor,
    pub(super) others: Floor,
    /// The version that a change makes of its key.
    pub(super) version: u64,
}

impl Call {
    /// Its own computation has failed, and so may not fall back on versions below `cleared`.
    pub(super) fn fails(mut self, cleared: u64) -> Self {
        self.own = self.own.max(Floor { gone: cleared, expired: cleared });
        self
    }
}

/// What the caches promise of computations, in ticks.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Promised {
    pub(super) deadline: u64,
    /// For how long a computation is shared while others are not heard.
    pub(super) trusted: u64,
    /// Whether every computation has a place among the flights.
    pub(super) shared: bool,
    /// Past this callers get an older value, if there is one.
    pub(super) soft: Option<u64>,
    /// For how long a key is left alone that failed.
    pub(super) throttle: u64,
    /// Whether runtimes stand still, so that what runs on them is late without a sign of it.
    pub(super) stalls: bool,
    /// The longest that a call on a runtime which is driven may take.
    pub(super) patience: u64,
}

/// What one cache does of one key.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Computing {
    /// When what was under way was last made void, or barred from others.
    pub(super) void: u64,
    /// Changes under way: at its end each makes void what began meanwhile.
    pub(super) changing: u64,
    /// When a computation last failed, or was given up.
    pub(super) failed: Moment,
    pub(super) given_up: Option<u64>,
    /// When one last ended that had run past the soft timeout.
    pub(super) slow: u64,
    /// The tick until which the key is left alone, and the moment in the order of events at which that was last over
    /// ahead of time.
    pub(super) throttled: u64,
    pub(super) freed: u64,
}

impl Computing {
    pub(super) fn change(&mut self, order: u64) {
        self.void = order;
        self.changing += 1;
    }

    pub(super) fn changed(&mut self, order: u64) {
        self.void = order;
        self.changing -= 1;
    }

    /// A change returned after which the key is tried again, unless a computation failed after that began.
    pub(super) fn tries_again(&mut self, begun: Moment, order: u64) {
        if self.failed.order < begun.order {
            self.freed = order;
        }
    }

    /// Whether the key was left alone at some moment since.
    pub(super) fn was_throttled(&self, since: Moment) -> bool {
        self.throttled > since.tick && (self.freed < self.failed.order || self.freed > since.order)
    }
}

/// A computation under way.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) id: u64,
    pub(super) cache: usize,
    pub(super) key: usize,
    pub(super) anew: bool,
    /// When the call began whose computation this is.
    pub(super) begun: Moment,
    pub(super) started: u64,
}

/// How a computation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Well,
    Failed,
    /// Before it could end.
    Dropped,
}
