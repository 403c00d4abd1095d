//! Orphans: leases that the backend has, or may have, granted, and that no flight needs.
//!
//! They end by themselves after a while. Until then other processes would wait for a value that does not come, so they
//! are given back: on a task, or on a thread where the runtime has ended.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Shared;
use crate::backends::{Backend, LeaseToken, join};
use crate::clock::{Clock, millis};
use crate::key::Key;

/// Leases that wait for the thread. Further ones end by themselves.
const MOST: usize = 10_000;
/// How many leases are given back at once.
const WIDTH: usize = 32;
/// How long the thread may take for those.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(200);

/// A lease that is to be given back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unneeded {
    pub(super) token: LeaseToken,
    /// After so long it has ended by itself.
    pub(super) hold: Duration,
    /// How often it is given back.
    pub(super) times: u8,
}

/// The leases of flights that were dropped.
#[derive(Debug, Default)]
pub(super) struct Orphans(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    all: Vec<(Key, LeaseToken)>,
    /// Whether a thread works on them.
    running: bool,
}

impl Orphans {
    /// Sees to it that a lease is given back, whatever became of the runtime.
    fn add<B: Backend>(&self, shared: &Arc<Shared<B>>, key: Key, token: LeaseToken) {
        let mut queue = self.lock();
        if queue.all.len() < MOST {
            queue.all.push((key, token));
        }
        if !queue.running {
            let shared = Arc::clone(shared);
            let thread = std::thread::Builder::new().name("cachekit-leases".to_owned());
            queue.running = thread.spawn(move || shared.give_back_orphans()).is_ok();
        }
    }

    fn take(&self) -> Vec<(Key, LeaseToken)> {
        let mut queue = self.lock();
        let most = queue.all.len().min(WIDTH);
        queue.running = most > 0;
        queue.all.drain(..most).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing under the lock panics half way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A lease that is given back on a task, and goes to the thread if that is dropped first.
struct Orphan<B: Backend> {
    shared: Arc<Shared<B>>,
    lease: Option<(Key, LeaseToken)>,
}

impl<B: Backend> Orphan<B> {
    async fn give_back(mut self) {
        if let Some((key, token)) = &self.lease {
            // What cannot be given back ends by itself.
            let _ = self.shared.release(key, *token).await;
        }
        self.lease = None;
    }
}

impl<B: Backend> Drop for Orphan<B> {
    fn drop(&mut self) {
        if let Some((key, token)) = self.lease.take() {
            self.shared.orphans.add(&self.shared, key, token);
        }
    }
}

impl<B: Backend> Shared<B> {
    /// Gives back the lease of a flight whose task is dropped, such as by the end of its runtime. Those of a cache that
    /// was closed end by themselves: it begins nothing more.
    pub(super) fn abandon(self: &Arc<Self>, key: Key, token: LeaseToken) {
        if !self.tasks.closed() {
            let orphan = Orphan { shared: Arc::clone(self), lease: Some((key, token)) };
            // A runtime that ends drops the task at once.
            drop(self.tasks.spawn(orphan.give_back()));
        }
    }

    fn give_back_orphans(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok();
        loop {
            let leases = self.orphans.take();
            if leases.is_empty() {
                return;
            }
            if let (Some(runtime), Some(guard)) = (&runtime, &self.l2.guard) {
                let all = async { join::all(leases.iter().map(|(key, token)| guard.release(key, *token))).await };
                // What cannot be given back ends by itself.
                let _ = runtime.block_on(async { tokio::time::timeout(PATIENCE, all).await });
            }
        }
    }

    /// Gives back the lease of a void flight, or one whose answer was lost, on a task. Tried `times` times until it has
    /// ended by itself: the first may overtake the request that it is to undo.
    pub(super) fn give_back(self: &Arc<Self>, clock: &Arc<dyn Clock>, key: &Key, lease: Unneeded) {
        let Unneeded { token, hold, mut times } = lease;
        let Ok(place) = Arc::clone(&self.returns).try_acquire_owned() else { return };
        let (shared, clock, key) = (Arc::clone(self), Arc::clone(clock), key.clone());
        let until = clock.ticks().saturating_add(millis(hold));
        // Where nothing can be spawned, it ends by itself.
        let _ = self.tasks.spawn(async move {
            let _place = place;
            loop {
                times -= u8::from(shared.release(&key, token).await.is_ok());
                if times == 0 || clock.ticks() >= until {
                    return;
                }
                clock.sleep(PAUSE).await;
            }
        });
    }
}
