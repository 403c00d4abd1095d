//! Tasks: everything the cache spawns, accounted for.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};

/// The spawned tasks of one cache.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    state: Mutex<State>,
    running: Arc<Count>,
}

/// How many tasks have not ended.
#[derive(Debug, Default)]
struct Count {
    running: AtomicUsize,
    ended: Notify,
}

#[derive(Debug, Default)]
struct State {
    set: JoinSet<()>,
    closed: bool,
}

impl Tasks {
    /// Spawns `task` on the current runtime. Gives it back if the cache is closed or there is no runtime.
    pub(crate) fn spawn<F>(&self, task: F) -> Result<(), F>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return Err(task) };
        let mut state = self.lock();
        if state.closed {
            return Err(task);
        }
        while state.set.try_join_next().is_some() {}
        let running = Running::start(&self.running);
        let task = async move {
            task.await;
            drop(running);
        };
        state.set.spawn_on(task, &runtime);
        Ok(())
    }

    /// Spawns what serves a task of this cache, and is stopped when that ends. It is not counted.
    pub(crate) fn spawn_beside(&self, servant: impl Future<Output = ()> + Send + 'static) -> Option<AbortHandle> {
        let runtime = tokio::runtime::Handle::try_current().ok()?;
        let mut state = self.lock();
        (!state.closed).then(|| state.set.spawn_on(servant, &runtime))
    }

    /// Whether [`close`](Tasks::close) was called.
    pub(crate) fn closed(&self) -> bool {
        self.lock().closed
    }

    /// How many tasks have not ended.
    pub(crate) fn len(&self) -> usize {
        self.running.running.load(SeqCst)
    }

    /// Refuses further tasks.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
    }

    /// Waits until no task runs. May be dropped at any moment.
    pub(crate) async fn drained(&self) {
        loop {
            // Made before the look, so that no end falls between.
            let ended = self.running.ended.notified();
            if self.len() == 0 {
                return;
            }
            ended.await;
        }
    }

    /// Stops all tasks where they wait. Returns how many.
    pub(crate) fn stop(&self) -> usize {
        let count = self.len();
        self.lock().set.abort_all();
        count
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The set is consistent between its own calls.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a task until it has ended or was dropped.
struct Running(Arc<Count>);

impl Running {
    fn start(count: &Arc<Count>) -> Self {
        count.running.fetch_add(1, SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.running.fetch_sub(1, SeqCst) == 1 {
            self.0.ended.notify_waiters();
        }
    }
}
