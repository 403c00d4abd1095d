//! The pulse: whether the backend is heard.
//!
//! An operation that is cut short says that one answer is late. Whether the backend is in trouble depends on what else
//! was heard meanwhile: an answer to anybody shows that it works. While nothing is heard, further operations get more
//! time, so that a backend that stands still for a moment costs each caller one computation or two, and not one for
//! each time that a fast answer would have taken.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What is heard from one backend.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    /// Answers to operations, refusals included.
    answers: AtomicU64,
    /// How often operations were cut short since the last answer. Those that overlap count once.
    cuts: AtomicU32,
}

/// What had been heard when an operation began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beat {
    answers: u64,
    cuts: u32,
}

/// How much more time operations get after each cut.
const MORE: u32 = 4;
/// The cuts after which they get no more; each operation has a limit that this is far above.
const MOST: u32 = 8;

impl Pulse {
    /// What has been heard by now.
    pub(super) fn beat(&self) -> Beat {
        Beat { answers: self.answers.load(Relaxed), cuts: self.cuts.load(Relaxed) }
    }

    /// The backend answered an operation.
    pub(super) fn answered(&self) {
        self.answers.fetch_add(1, Relaxed);
        if self.cuts.load(Relaxed) > 0 {
            self.cuts.store(0, Relaxed);
        }
    }

    /// Whether an operation was answered since then.
    pub(super) fn was_answered(&self, since: Beat) -> bool {
        self.answers.load(Relaxed) != since.answers
    }

    /// An operation that began `since` then was cut short. Returns whether nothing was heard meanwhile.
    pub(super) fn cut(&self, since: Beat) -> bool {
        if self.was_answered(since) {
            return false;
        }
        // Operations that began before the last cut was known are part of the same silence.
        let _ = self.cuts.compare_exchange(since.cuts, since.cuts.saturating_add(1).min(MOST), Relaxed, Relaxed);
        true
    }
}

impl Beat {
    /// How long an operation may take that began then and usually takes at most `limit`.
    pub(super) fn patience(self, limit: Duration) -> Duration {
        limit.saturating_mul(MORE.saturating_pow(self.cuts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn pulse_lengthens_later_limits_after_a_cut_until_an_answer() {
        let pulse = Pulse::default();
        let together = [pulse.beat(); 32];
        assert!(together.iter().all(|beat| pulse.cut(*beat)), "nothing was heard");
        assert_eq!(pulse.beat().patience(SECOND), 4 * SECOND, "they were cut together");
        assert!(pulse.cut(pulse.beat()));
        assert_eq!(pulse.beat().patience(SECOND), 16 * SECOND);
        pulse.answered();
        assert_eq!(pulse.beat().patience(SECOND), SECOND);
    }

    #[test]
    fn what_is_cut_while_others_are_answered_says_nothing() {
        let pulse = Pulse::default();
        let slow = pulse.beat();
        pulse.answered();
        assert!(!pulse.cut(slow));
        assert_eq!(pulse.beat().patience(SECOND), SECOND);
        assert!(pulse.cut(pulse.beat()), "after the answer nothing was heard");
    }

    #[test]
    fn more_time_has_an_end() {
        let pulse = Pulse::default();
        (0..100).for_each(|_| assert!(pulse.cut(pulse.beat())));
        assert_eq!(pulse.beat().patience(SECOND), SECOND * MORE.pow(MOST));
    }
}
