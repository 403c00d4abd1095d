//! A deadline: a limit of time, where there is none.
//!
//! A timer takes the lock that all timers of a runtime share, twice, which is more than all else that a caller does for
//! a request that travels with others. Their batch has a timer, and so has what travels alone; a caller needs one of its
//! own only for what comes before, such as a connect.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// Watches the time of a future, but for the parts of it that have a limit themselves.
pub(super) struct Deadline {
    begun: Instant,
    limit: Duration,
    paused: AtomicBool,
}

impl Deadline {
    /// Starts now.
    pub(super) fn new(limit: Duration) -> Self {
        Self { begun: Instant::now(), limit, paused: AtomicBool::new(false) }
    }

    /// When it started.
    pub(super) fn begun(&self) -> Instant {
        self.begun
    }

    /// When the time is up.
    pub(super) fn end(&self) -> Instant {
        self.begun + self.limit
    }

    /// What `future` gives, if it ends within the limit. Where the deadline is paused then, the limit is that of the part.
    pub(super) async fn limit<F: Future>(&self, mut future: Pin<&mut F>) -> Option<F::Output> {
        let mut timer = pin!(None::<Sleep>);
        poll_fn(|context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Some(output));
            }
            if self.paused.load(Ordering::Relaxed) {
                return Poll::Pending;
            }
            if timer.is_none() {
                timer.set(Some(sleep_until(self.end())));
            }
            match timer.as_mut().as_pin_mut() {
                Some(timer) => timer.poll(context).map(|()| None),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// A part that has a limit itself.
    pub(super) async fn pause<F: Future>(&self, part: F) -> F::Output {
        self.paused.store(true, Ordering::Relaxed);
        let output = part.await;
        self.paused.store(false, Ordering::Relaxed);
        output
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::time::sleep;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn what_has_no_limit_of_its_own_ends_at_this_one() {
        let deadline = Deadline::new(SECOND);
        assert_eq!(deadline.limit(pin!(ready(7))).await, Some(7));
        let begun = Instant::now();
        assert_eq!(deadline.limit(pin!(pending::<()>())).await, None);
        assert_eq!(begun.elapsed(), SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_with_a_limit_of_its_own_is_waited_for_and_counts() {
        let deadline = Deadline::new(SECOND);
        let begun = Instant::now();
        let parts = async {
            deadline.pause(sleep(SECOND * 3 / 4)).await;
            pending::<()>().await;
        };
        assert_eq!(deadline.limit(pin!(parts)).await, None);
        assert_eq!(begun.elapsed(), SECOND);
        let slow = async { deadline.pause(sleep(SECOND * 2)).await };
        assert_eq!(deadline.limit(pin!(slow)).await, Some(()));
    }
}
