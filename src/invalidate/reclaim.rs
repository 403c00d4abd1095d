//! Reclaiming: the memory of what L1 has forgotten is given back in the background.
//!
//! An order to forget by tag or by namespace takes the same short time however much it is about, and what it is about
//! stays in L1 until it is met. After such an order a task looks at all entries, a few under each lock, and takes out
//! what is void. There is one task at most: an order that comes while it runs lets it begin anew once it is through.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::task::yield_now;

use crate::clock::Clock;
use crate::memory::{L1, Progress};
use crate::order::{Moment, Orders};
use crate::tasks::Tasks;

/// How many locks the task takes before it lets others run.
const LOCKS: usize = 16;

/// How many times as long as it worked the task rests before it begins anew, and how long at most.
const REST: u64 = 4;
const LONGEST_REST: u64 = 1_000;
/// How long it rests at a time: a cache that is closed waits for no more.
const NAP: Duration = Duration::from_millis(20);

/// The task of one L1, which does not keep L1. Clones are of the same task.
#[derive(Debug, Clone)]
pub(super) struct Reclaim {
    l1: Weak<L1>,
    orders: Arc<Orders>,
    /// Ended with the cache.
    tasks: Weak<Tasks>,
    clock: Arc<dyn Clock>,
    running: Arc<Mutex<bool>>,
}

impl Reclaim {
    pub(super) fn new(l1: &Arc<L1>, orders: &Arc<Orders>, tasks: &Arc<Tasks>, clock: &Arc<dyn Clock>) -> Self {
        let (l1, tasks) = (Arc::downgrade(l1), Arc::downgrade(tasks));
        Self { l1, orders: Arc::clone(orders), tasks, clock: Arc::clone(clock), running: Arc::default() }
    }

    /// Sees to it that the memory of what was forgotten by now is given back. Outside of a runtime, and in a cache that
    /// is closed, it is when it is met.
    pub(super) fn begin(&self) {
        let runs = std::mem::replace(&mut *self.running(), true);
        if let (false, Some(tasks)) = (runs, self.tasks.upgrade()) {
            // What is not spawned is dropped, and lets the next order try.
            let _ = tasks.spawn(Task { reclaim: self.clone(), ended: false }.run());
        }
    }

    /// L1, unless the cache is closed.
    fn l1(&self) -> Option<Arc<L1>> {
        let is_open = self.tasks.upgrade().is_some_and(|tasks| !tasks.closed());
        self.l1.upgrade().filter(|_| is_open)
    }

    fn running(&self) -> MutexGuard<'_, bool> {
        // It is one assignment: there is nothing half done to find.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the task may end, because there was no order since the last one that `begun` knew. If so, the next order starts
    /// another.
    fn end(&self, begun: Moment) -> bool {
        let mut running = self.running();
        // Under the lock: an order counts before it looks whether a task runs.
        let ends = self.orders.latest() == begun;
        *running = !ends;
        ends
    }
}

struct Task {
    reclaim: Reclaim,
    ended: bool,
}

impl Task {
    async fn run(mut self) {
        loop {
            let (begun, started) = (self.reclaim.orders.latest(), self.reclaim.clock.ticks());
            if !self.pass().await {
                return;
            }
            if self.reclaim.end(begun) {
                self.ended = true;
                return;
            }
            let worked = self.reclaim.clock.ticks().saturating_sub(started);
            self.rest(worked.saturating_mul(REST).min(LONGEST_REST)).await;
        }
    }

    /// Looks at all entries. Returns whether it came to the end.
    async fn pass(&self) -> bool {
        let mut progress = Progress::default();
        loop {
            {
                let Some(l1) = self.reclaim.l1() else { return false };
                let now = self.reclaim.clock.ticks();
                if (0..LOCKS).any(|_| l1.reclaim(&mut progress, now)) {
                    return true;
                }
            }
            yield_now().await;
        }
    }

    /// So that orders without end do not keep a core busy.
    async fn rest(&self, ticks: u64) {
        let clock = &self.reclaim.clock;
        let end = clock.ticks().saturating_add(ticks);
        while clock.ticks() < end && self.reclaim.l1().is_some() {
            clock.sleep(NAP).await;
        }
    }
}

impl Drop for Task {
    /// If it was cut short: lets the next order start another.
    fn drop(&mut self) {
        if !self.ended {
            *self.reclaim.running() = false;
        }
    }
}
