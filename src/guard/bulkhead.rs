//! The bulkhead: so many operations at once.
//!
//! What a caller asks for, and finds all permits taken, waits for one: as long as the queue moves, and not as one of too
//! many. What keeps a lease or ends it goes first: work that was begun is done before more is begun, so that no lease
//! runs out in the queue.
//!
//! The writes of what was computed have a queue of their own before that. No caller waits there, so they wait as long as
//! it takes, while their bytes are not too many. They take half of the permits at most: writes of long values leave the
//! other half to callers.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::permits::{Permit, Permits};
use crate::clock::{Clock, millis, within};
use crate::config::Backpressure as Rules;
use crate::event::Refusal;

/// The bytes of the writes that wait and that no caller waits for. One alone may be longer.
const MOST_BYTES: usize = 64 << 20;

/// The permits of one backend.
#[derive(Debug)]
pub(crate) struct Bulkhead {
    rules: Rules,
    /// How long a caller waits at most, however well the queue moves.
    longest: Duration,
    permits: Permits,
    /// How many callers wait.
    waiting: AtomicUsize,
    /// Writes of what was computed that are under way, or next.
    writers: Semaphore,
    /// The bytes of those behind them.
    bytes: AtomicUsize,
    clock: Arc<dyn Clock>,
}

impl Bulkhead {
    pub(crate) fn new(rules: Rules, longest: Duration, clock: Arc<dyn Clock>) -> Self {
        Self {
            rules,
            longest,
            permits: Permits::new(rules.max_concurrent),
            waiting: AtomicUsize::new(0),
            writers: Semaphore::new((rules.max_concurrent / 2).max(1)),
            bytes: AtomicUsize::new(0),
            clock,
        }
    }

    /// A permit, if one is free.
    pub(crate) fn try_enter(&self) -> Option<Permit<'_>> {
        self.permits.try_take()
    }

    /// A permit for what a caller asks for.
    pub(crate) async fn enter(&self) -> Result<Permit<'_>, Refusal> {
        let _waiting = Share::of(&self.waiting, 1, self.rules.queue).ok_or(Refusal::QueueFull)?;
        self.in_time(self.permits.take(false)).await
    }

    /// A permit for what keeps a lease, or ends it.
    pub(crate) async fn enter_first(&self) -> Permit<'_> {
        self.permits.take(true).await
    }

    /// The turn of a write of so many bytes, whose operations then go first. `is_waited_for` by a caller.
    pub(crate) async fn queue_write(&self, bytes: usize, is_waited_for: bool) -> Result<SemaphorePermit<'_>, Refusal> {
        if let Ok(turn) = self.writers.try_acquire() {
            return Ok(turn);
        }
        let turn = async { self.writers.acquire().await.expect("no bulkhead is ever closed") };
        if is_waited_for {
            return self.in_time(turn).await;
        }
        let _waiting = Share::of(&self.bytes, bytes, MOST_BYTES).ok_or(Refusal::QueueFull)?;
        Ok(turn.await)
    }

    /// What a caller waits for, unless the queue stands still or it waits too long.
    async fn in_time<T>(&self, turn: impl Future<Output = T>) -> Result<T, Refusal> {
        let (mut turn, begun) = (pin!(turn), self.clock.ticks());
        let wait = self.rules.wait;
        loop {
            let (asked, returned) = (self.clock.ticks(), self.permits.returned());
            if let Some(turn) = within(&*self.clock, wait, turn.as_mut()).await {
                return Ok(turn);
            }
            if returned != self.permits.returned() {
                break;
            }
            // This task comes late: the process is busy, and answers may have come whose tasks are yet to run.
            let is_late = self.clock.ticks().saturating_sub(asked) > 2 * millis(wait);
            if wait.is_zero() || !is_late {
                return Err(Refusal::QueueTimeout);
            }
        }
        let waited = Duration::from_millis(self.clock.ticks().saturating_sub(begun));
        within(&*self.clock, self.longest.saturating_sub(waited), turn).await.ok_or(Refusal::QueueTimeout)
    }
}

/// A share of a bounded sum.
struct Share<'a> {
    sum: &'a AtomicUsize,
    share: usize,
}

impl<'a> Share<'a> {
    /// Adds a share, unless the sum would be more than `most` with it. One alone may be more.
    fn of(sum: &'a AtomicUsize, share: usize, most: usize) -> Option<Self> {
        let with = |sum: usize| {
            if sum == 0 && most > 0 { Some(share) } else { sum.checked_add(share).filter(|sum| *sum <= most) }
        };
        sum.fetch_update(Relaxed, Relaxed, with).is_ok().then(|| Self { sum, share })
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.sum.fetch_sub(self.share, Relaxed);
    }
}
