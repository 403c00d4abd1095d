//! Whether what is asked of the backend is mostly there.
//!
//! A question for the value and the lease costs a server more than a plain read, and is one question less where nothing
//! is there. So a flight begins with the one that was right for most answers before.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// A moving average of answers, from 0, nothing was there, to [`ALL`].
#[derive(Debug, Default)]
pub(super) struct Habit(AtomicU32);

const ALL: u32 = 1 << 16;
/// The share of the average that one answer makes.
const SHARE: u32 = 16;

impl Habit {
    /// Notes whether something was there. Of answers at the same moment one may be lost.
    pub(super) fn note(&self, found: bool) {
        let before = self.0.load(Relaxed);
        let target = if found { ALL } else { 0 };
        let after = before - before / SHARE + target / SHARE;
        if after != before {
            self.0.store(after, Relaxed);
        }
    }

    /// Whether most of the last answers had a value.
    pub(super) fn is_to_find(&self) -> bool {
        self.0.load(Relaxed) > ALL / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dozen_answers_make_a_habit_and_as_many_end_it() {
        let habit = Habit::default();
        assert!(!habit.is_to_find());
        (0..5).for_each(|_| habit.note(true));
        assert!(!habit.is_to_find());
        (0..1_000).for_each(|_| habit.note(true));
        assert!(habit.is_to_find() && habit.0.load(Relaxed) <= ALL);
        (0..5).for_each(|_| habit.note(false));
        assert!(habit.is_to_find());
        (0..7).for_each(|_| habit.note(false));
        assert!(!habit.is_to_find());
    }
}
