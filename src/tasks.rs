//! Tasks: everything the cache spawns, accounted for.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::task::JoinSet;

/// The spawned tasks of one cache.
#[derive(Debug, Default)]
pub(crate) struct Tasks(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    running: JoinSet<()>,
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
        while state.running.try_join_next().is_some() {}
        state.running.spawn_on(task, &runtime);
        Ok(())
    }

    /// Whether [`close`](Tasks::close) was called.
    pub(crate) fn closed(&self) -> bool {
        self.lock().closed
    }

    /// How many tasks have not ended.
    pub(crate) fn len(&self) -> usize {
        let mut state = self.lock();
        while state.running.try_join_next().is_some() {}
        state.running.len()
    }

    /// Refuses further tasks and takes the running ones.
    pub(crate) fn close(&self) -> JoinSet<()> {
        let mut state = self.lock();
        state.closed = true;
        std::mem::take(&mut state.running)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The set is consistent between its own calls.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
