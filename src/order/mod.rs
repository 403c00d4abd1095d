//! The clock of changes in this process.
//!
//! Each change, each order to forget and each fence takes a moment of one sequence. What is kept or under way knows the
//! moment of the last order before it, so that a comparison says whether it is older than a change.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

mod belief;
mod fences;
mod orders;
mod signal;
mod turn;

pub(crate) use self::belief::Belief;
pub(crate) use self::fences::{Fence, Fences};
pub(crate) use self::orders::{Fate, ForgottenBy, Orders};
pub(crate) use self::turn::WriteTurn;

/// A moment of the sequence; the first is before all changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

/// A moment that several threads share.
#[derive(Debug, Default)]
pub(crate) struct AtomicMoment(AtomicU64);

impl AtomicMoment {
    pub(crate) fn new(moment: Moment) -> Self {
        Self(AtomicU64::new(moment.0))
    }

    #[inline]
    pub(crate) fn load(&self) -> Moment {
        Moment(self.0.load(SeqCst))
    }

    pub(crate) fn store(&self, moment: Moment) {
        self.0.store(moment.0, SeqCst);
    }

    /// Moves on to `moment`, unless it is there or later.
    fn move_to(&self, moment: Moment) {
        self.0.fetch_max(moment.0, SeqCst);
    }

    /// The next moment of a sequence that stands here.
    fn next(&self) -> Moment {
        Moment(self.0.fetch_add(1, SeqCst) + 1)
    }
}
