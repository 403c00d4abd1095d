//! Retries: once more, where that is safe and spares a caller an error.
//!
//! A budget keeps them a small share of all operations, so that a backend in trouble is not asked twice as much.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use crate::error::{Error, ErrorKind};

/// Who may try again.
#[derive(Debug)]
pub(crate) struct Retries {
    /// After the first attempt.
    most: u32,
    budget: AtomicU32,
}

/// What a retry takes from the budget, and what each success adds to it.
const PRICE: u32 = 10;
/// Ten retries.
const FULL: u32 = 10 * PRICE;
/// The longest pause before the second retry; twice that before the next. The first does not wait.
const PAUSE: Duration = Duration::from_millis(10);

impl Retries {
    pub(crate) fn new(most: u32) -> Self {
        Self { most, budget: AtomicU32::new(FULL) }
    }

    /// How long to wait before another attempt, after `tried` of them and this failure; `None` if that was the last.
    ///
    /// Only what the backend was not there for is tried again: what took too long would take too long together.
    pub(crate) fn pause(&self, tried: u32, error: &Error) -> Option<Duration> {
        if tried > self.most || error.kind() != ErrorKind::Unavailable {
            return None;
        }
        let pay = |budget: u32| budget.checked_sub(PRICE);
        self.budget.fetch_update(Relaxed, Relaxed, pay).ok()?;
        Some((PAUSE * (tried - 1)).mul_f64(fastrand::f64()))
    }

    pub(crate) fn succeeded(&self) {
        let budget = self.budget.load(Relaxed);
        if budget < FULL {
            // Two at once may count as one.
            self.budget.store(budget + 1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_not_there_is_tried_again_and_not_for_ever() {
        let retries = Retries::new(2);
        let error = |kind| Error::new(kind, "-");
        let gone = error(ErrorKind::Unavailable);
        assert_eq!(retries.pause(1, &gone), Some(Duration::ZERO));
        assert!(retries.pause(2, &gone).is_some_and(|pause| pause <= PAUSE));
        assert_eq!(retries.pause(3, &gone), None);
        for kind in [ErrorKind::Timeout, ErrorKind::Denied, ErrorKind::Backend, ErrorKind::TooLarge] {
            assert_eq!(retries.pause(1, &error(kind)), None, "{kind:?}");
        }
        assert_eq!(Retries::new(0).pause(1, &gone), None);
    }

    #[test]
    fn ten_in_a_row_and_then_one_for_ten_successes() {
        let retries = Retries::new(1);
        let gone = Error::new(ErrorKind::Unavailable, "-");
        let tries = |retries: &Retries| (0..50).filter(|_| retries.pause(1, &gone).is_some()).count();
        assert_eq!(tries(&retries), 10);
        (0..25).for_each(|_| retries.succeeded());
        assert_eq!(tries(&retries), 2);
        (0..1_000).for_each(|_| retries.succeeded());
        assert_eq!(tries(&retries), 10, "no more than that is saved");
    }
}
