//! The bulkhead: so many operations at once.
//!
//! What a caller asks for, and finds all permits taken, waits for one: as long as the queue moves, and not as one of too
//! many. What keeps a lease or ends it goes first: work that was begun is done before more is begun, so that no lease
//! runs out in the queue.
//!
//! The writes of what was computed have a queue of their own before that. No caller waits there, so they wait as long as
//! it takes, while their bytes are not too many. They take half of the permits at most: writes of long values leave the
//! other half to callers.
//!
//! A backend whose parts fail alone has a bulkhead for each. A part that hangs holds its permits until its operations
//! time out, so each has only a share of all permits, and of the places in line: one and a half times an equal share,
//! because keys are asked for unequally. A master that has half of the parts and hangs leaves a quarter to the others.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::permits::{self, Permits};
use crate::clock::{Clock, millis, within};
use crate::config::Backpressure as Rules;
use crate::event::Refusal;

/// The bytes of the writes that wait and that no caller waits for. One alone may be longer.
const MOST_BYTES: usize = 64 << 20;

/// The permits of one part of a backend.
#[derive(Debug)]
pub(crate) struct Bulkhead {
    rules: Rules,
    /// How long a caller waits at most, however well the queue moves.
    longest: Duration,
    permits: Permits,
    /// The permits of all parts together, if there are several.
    all: Option<Arc<Permits>>,
    /// How many callers wait.
    waiting: AtomicUsize,
    /// Writes of what was computed that are under way, or next.
    writers: Semaphore,
    /// The bytes of those behind them, and the most there may be.
    bytes: AtomicUsize,
    most_bytes: usize,
    clock: Arc<dyn Clock>,
}

/// A permit of a part, and one of all parts together. Given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit<'a> {
    _all: Option<permits::Permit<'a>>,
    _own: permits::Permit<'a>,
}

impl Bulkhead {
    /// A bulkhead for each of so many parts, which let as much through together as the rules say.
    pub(crate) fn of_parts(
        rules: Rules,
        parts: u16,
        longest: Duration,
        clock: Arc<dyn Clock>,
    ) -> impl Iterator<Item = Self> {
        let share = move |whole: usize| if parts == 1 { whole } else { share(whole, usize::from(parts)) };
        let own = Rules { max_concurrent: share(rules.max_concurrent), queue: share(rules.queue), ..rules };
        let all = (parts > 1).then(|| Arc::new(Permits::new(rules.max_concurrent)));
        (0..parts).map(move |_| Self {
            rules: own,
            longest,
            permits: Permits::new(own.max_concurrent),
            all: all.clone(),
            waiting: AtomicUsize::new(0),
            writers: Semaphore::new((own.max_concurrent / 2).max(1)),
            bytes: AtomicUsize::new(0),
            most_bytes: share(MOST_BYTES),
            clock: Arc::clone(&clock),
        })
    }

    /// How many operations are under way, and how many callers wait.
    #[cfg(feature = "metrics")]
    pub(crate) fn load(&self) -> (usize, usize) {
        (self.rules.max_concurrent.saturating_sub(self.permits.free()), self.waiting.load(Relaxed))
    }

    /// A permit, if one is free.
    pub(crate) fn try_enter(&self) -> Option<Permit<'_>> {
        let own = self.permits.try_take()?;
        let all = match &self.all {
            Some(all) => Some(all.try_take()?),
            None => None,
        };
        Some(Permit { _all: all, _own: own })
    }

    /// A permit, after all who wait in the same line. The part's own comes first, so that those who wait for a part that
    /// hangs keep no permit from the others.
    async fn take(&self, is_first: bool) -> Permit<'_> {
        let own = self.permits.take(is_first).await;
        let all = match &self.all {
            Some(all) => Some(all.take(is_first).await),
            None => None,
        };
        Permit { _all: all, _own: own }
    }

    /// A permit for what a caller asks for.
    pub(crate) async fn enter(&self) -> Result<Permit<'_>, Refusal> {
        let _waiting = Share::of(&self.waiting, 1, self.rules.queue).ok_or(Refusal::QueueFull)?;
        self.in_time(self.take(false)).await
    }

    /// A permit for what keeps a lease, or ends it.
    pub(crate) async fn enter_first(&self) -> Permit<'_> {
        self.take(true).await
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
        let _waiting = Share::of(&self.bytes, bytes, self.most_bytes).ok_or(Refusal::QueueFull)?;
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

/// What one of several parts has of a whole: one and a half times an equal share. Something of what is there at all.
fn share(whole: usize, parts: usize) -> usize {
    whole.saturating_mul(3).div_ceil(2 * parts).min(whole)
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
