//! Whether counts tell which entry to keep.
//!
//! Where the load shifts, what was read often is not read again, and counts keep what is stale. So some decisions are
//! remembered: which key had to go, and which one stayed in its place. It was right if the one that stayed is read
//! before the other is asked for again. While most decisions by counts are wrong, the newer key stays.

/// How many decisions are remembered.
const REMEMBERED: usize = 16;
/// All decisions by counts were right.
const FULL: i32 = 1 << 12;
/// The part of the last decision in the mean of all.
const PART: i32 = 16;

/// A key that had to go, and the one that stayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) gone: u64,
    pub(super) stayed: u64,
    /// Whether it followed the counts.
    pub(super) by_counts: bool,
}

/// What came of the last decisions.
pub(super) struct Trial {
    last: Vec<Decision>,
    oldest: usize,
    trust: i32,
}

impl Default for Trial {
    fn default() -> Self {
        Self { last: Vec::new(), oldest: 0, trust: FULL }
    }
}

impl Trial {
    /// Whether to follow the counts.
    pub(super) fn trusts_counts(&self) -> bool {
        self.trust >= FULL / 2
    }

    /// Remembers a decision. Returns the one that is forgotten for it.
    pub(super) fn remember(&mut self, decision: Decision) -> Option<Decision> {
        if self.last.len() < REMEMBERED {
            self.last.push(decision);
            return None;
        }
        let older = std::mem::replace(&mut self.last[self.oldest], decision);
        self.oldest = (self.oldest + 1) % REMEMBERED;
        Some(older)
    }

    /// Takes out a decision by which this key had to go, if one is remembered.
    pub(super) fn take(&mut self, gone: u64) -> Option<Decision> {
        let place = self.last.iter().position(|decision| decision.gone == gone)?;
        self.oldest = 0;
        Some(self.last.swap_remove(place))
    }

    /// Learns what came of a decision.
    pub(super) fn learn(&mut self, decision: Decision, was_right: bool) {
        let goal = if decision.by_counts == was_right { FULL } else { 0 };
        self.trust += (goal - self.trust) / PART;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(gone: u64, by_counts: bool) -> Decision {
        Decision { gone, stayed: gone + 1_000, by_counts }
    }

    #[test]
    fn eleven_wrong_decisions_end_the_trust_and_as_many_right_ones_restore_it() {
        let mut trial = Trial::default();
        let mut tell = |times, by_counts, was_right| {
            (0..times).for_each(|_| trial.learn(decision(1, by_counts), was_right));
            trial.trusts_counts()
        };
        assert!(tell(10, true, false));
        assert!(!tell(1, true, false));
        // Decisions against the counts that are right keep it so, and wrong ones speak for the counts.
        assert!(!tell(100, false, true));
        assert!(!tell(10, false, false));
        assert!(tell(1, false, false));
    }

    #[test]
    fn the_last_decisions_are_remembered() {
        let mut trial = Trial::default();
        let count = REMEMBERED as u64;
        assert!((0..count).all(|gone| trial.remember(decision(gone, true)).is_none()));
        assert_eq!(trial.remember(decision(count, true)), Some(decision(0, true)));
        assert_eq!((trial.take(0), trial.take(7)), (None, Some(decision(7, true))));
        assert_eq!((trial.take(7), trial.remember(decision(99, false))), (None, None));
        assert_eq!(trial.take(99), Some(decision(99, false)));
    }
}
