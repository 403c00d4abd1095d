//! Reclaiming: the memory of what L1 has forgotten is given back in the background.
//!
//! An order to forget by tag or by namespace takes the same short time however much it is about, and what it is about
//! stays in L1 until it is met. After such an order a task looks at all entries, a few under each lock, and takes out
//! what is void. There is one task at most: an order that comes while it runs lets it begin anew once it is through.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::task::yield_now;

use super::local::Local;
use crate::clock::Clock;
use crate::memory::Progress;
use crate::tasks::Tasks;

/// How many locks the task takes before it lets others run.
const LOCKS: usize = 16;

/// How many times as long as it worked the task rests before it begins anew, and how long at most.
const REST: u64 = 4;
const LONGEST_REST: u64 = 1_000;
/// How long it rests at a time: a cache that is closed waits for no more.
const NAP: Duration = Duration::from_millis(20);

/// The task of one cache, which does not keep the cache.
#[derive(Debug)]
pub(super) struct Reclaim {
    local: Weak<Local>,
    /// Ended with the cache.
    tasks: Weak<Tasks>,
    clock: Arc<dyn Clock>,
    running: Mutex<bool>,
}

impl Reclaim {
    pub(super) fn new(local: &Weak<Local>, tasks: &Arc<Tasks>, clock: Arc<dyn Clock>) -> Self {
        Self { local: Weak::clone(local), tasks: Arc::downgrade(tasks), clock, running: Mutex::default() }
    }

    /// Sees to it that the memory of what was forgotten by now is given back. Outside of a runtime, and in a cache that
    /// is closed, it is when it is met.
    pub(super) fn begin(&self) {
        let runs = std::mem::replace(&mut *self.running(), true);
        if let (false, Some(tasks)) = (runs, self.tasks.upgrade()) {
            let task = Task { local: Weak::clone(&self.local), clock: Arc::clone(&self.clock), ended: false };
            // What is not spawned is dropped, and lets the next order try.
            let _ = tasks.spawn(task.run());
        }
    }

    fn is_over(&self) -> bool {
        self.tasks.upgrade().is_none_or(|tasks| tasks.closed())
    }

    fn running(&self) -> MutexGuard<'_, bool> {
        // It is one assignment: there is nothing half done to find.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the task may end, because nothing was forgotten since the epoch `begun`. If so, the next order starts
    /// another.
    fn end(&self, local: &Local, begun: u64) -> bool {
        let mut running = self.running();
        // Under the lock: an order raises the epoch before it looks whether a task runs.
        let ends = local.epochs.now() == begun;
        *running = !ends;
        ends
    }
}

struct Task {
    local: Weak<Local>,
    clock: Arc<dyn Clock>,
    ended: bool,
}

impl Task {
    async fn run(mut self) {
        while let Some(local) = self.local.upgrade() {
            let (begun, started) = (local.epochs.now(), self.clock.ticks());
            drop(local);
            if !self.pass().await {
                return;
            }
            let Some(local) = self.local.upgrade() else { return };
            if local.reclaim.end(&local, begun) {
                self.ended = true;
                return;
            }
            drop(local);
            let worked = self.clock.ticks().saturating_sub(started);
            self.rest(worked.saturating_mul(REST).min(LONGEST_REST)).await;
        }
    }

    /// Looks at all entries. Returns whether it came to the end.
    async fn pass(&self) -> bool {
        let mut progress = Progress::default();
        loop {
            {
                let Some(local) = self.local.upgrade() else { return false };
                let Some(l1) = local.l1.as_ref().filter(|_| !local.reclaim.is_over()) else { return false };
                let now = self.clock.ticks();
                if (0..LOCKS).any(|_| l1.reclaim(&mut progress, now)) {
                    return true;
                }
            }
            yield_now().await;
        }
    }

    /// So that orders without end do not keep a core busy.
    async fn rest(&self, ticks: u64) {
        let end = self.clock.ticks().saturating_add(ticks);
        while self.clock.ticks() < end && self.local.upgrade().is_some_and(|local| !local.reclaim.is_over()) {
            self.clock.sleep(NAP).await;
        }
    }
}

impl Drop for Task {
    /// If it was cut short: lets the next order start another.
    fn drop(&mut self) {
        if !self.ended
            && let Some(local) = self.local.upgrade()
        {
            *local.reclaim.running() = false;
        }
    }
}
