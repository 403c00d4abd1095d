//! Tasks: everything the cache spawns, accounted for.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// The spawned tasks of one cache. Dropping this stops them.
#[derive(Debug, Default)]
pub(crate) struct Tasks(Arc<Register>);

/// The tasks that have not ended.
#[derive(Debug, Default)]
struct Register {
    state: Mutex<State>,
    /// How many of them count.
    counted: AtomicUsize,
    ended: Notify,
    /// Set under the lock.
    closed: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// By number. A task has no handle yet while it is being spawned.
    handles: HashMap<u64, Option<AbortHandle>, RandomState>,
    last: u64,
}

impl Tasks {
    /// Spawns `task` on the current runtime. Gives it back if the cache is closed or there is no runtime.
    pub(crate) fn spawn<F>(&self, task: F) -> Result<(), F>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let Ok(runtime) = Handle::try_current() else { return Err(task) };
        let Some(entry) = Entry::new(&self.0, true) else { return Err(task) };
        self.run(&runtime, entry, task);
        Ok(())
    }

    /// Spawns what serves a task of this cache, and is stopped when that ends. It is not counted.
    pub(crate) fn spawn_beside(&self, servant: impl Future<Output = ()> + Send + 'static) -> Option<AbortHandle> {
        let runtime = Handle::try_current().ok()?;
        Some(self.run(&runtime, Entry::new(&self.0, false)?, servant))
    }

    fn run(&self, runtime: &Handle, entry: Entry, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let number = entry.number;
        let task = async move {
            task.await;
            drop(entry);
        };
        // Under no lock: a runtime that shuts down drops the task at once, and with it the entry.
        let handle = runtime.spawn(task).abort_handle();
        if let Some(place) = self.0.lock().handles.get_mut(&number) {
            *place = Some(handle.clone());
        }
        handle
    }

    /// Whether [`close`](Tasks::close) was called.
    pub(crate) fn closed(&self) -> bool {
        self.0.closed.load(SeqCst)
    }

    /// How many tasks have not ended.
    pub(crate) fn len(&self) -> usize {
        self.0.counted.load(SeqCst)
    }

    /// Refuses further tasks.
    pub(crate) fn close(&self) {
        let _state = self.0.lock();
        self.0.closed.store(true, SeqCst);
    }

    /// Waits until no task runs. May be dropped at any moment.
    pub(crate) async fn drained(&self) {
        loop {
            // Made before the look, so that no end falls between.
            let ended = self.0.ended.notified();
            if self.len() == 0 {
                return;
            }
            ended.await;
        }
    }

    /// Stops all tasks where they wait. Returns how many.
    pub(crate) fn stop(&self) -> usize {
        let count = self.len();
        let known = |(number, handle): (&u64, &Option<AbortHandle>)| Some((*number, handle.clone()?));
        let mut handles: Vec<_> = self.0.lock().handles.iter().filter_map(known).collect();
        // In the order in which they came: one seed of a simulation is one order.
        handles.sort_unstable_by_key(|(number, _)| *number);
        // Under no lock, as above.
        handles.iter().for_each(|(_, handle)| handle.abort());
        count
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Register {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of it is one call of a map, or of one field.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A task's place in the register, until it has ended or was dropped.
struct Entry {
    register: Arc<Register>,
    number: u64,
    counts: bool,
}

impl Entry {
    /// `None` if the register is closed.
    fn new(register: &Arc<Register>, counts: bool) -> Option<Self> {
        let mut state = register.lock();
        if register.closed.load(SeqCst) {
            return None;
        }
        state.last += 1;
        let number = state.last;
        state.handles.insert(number, None);
        register.counted.fetch_add(usize::from(counts), SeqCst);
        Some(Self { register: Arc::clone(register), number, counts })
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // Dropped under no lock: the last handle of a task drops it.
        let _handle = self.register.lock().handles.remove(&self.number);
        if self.counts && self.register.counted.fetch_sub(1, SeqCst) == 1 {
            self.register.ended.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn tasks_are_counted_until_they_end_and_stopped_where_they_wait() {
        let (tasks, gate) = (Tasks::default(), Arc::new(Notify::new()));
        let waits = Arc::clone(&gate);
        assert!(tasks.spawn(async move { waits.notified().await }).is_ok());
        assert!(tasks.spawn(pending()).is_ok() && tasks.spawn_beside(pending()).is_some());
        tokio::task::yield_now().await;
        assert_eq!((tasks.len(), tasks.0.lock().handles.len()), (2, 3));
        gate.notify_one();
        tokio::task::yield_now().await;
        assert_eq!((tasks.len(), tasks.stop()), (1, 1));
        tasks.drained().await;
        tokio::task::yield_now().await;
        assert!(tasks.0.lock().handles.is_empty());
        tasks.close();
        assert!(tasks.spawn(pending()).is_err() && tasks.spawn_beside(pending()).is_none() && tasks.closed());
    }

    #[test]
    fn a_task_for_a_runtime_that_has_shut_down_is_dropped_and_forgotten() {
        let tasks = Tasks::default();
        assert!(tasks.spawn(pending()).is_err(), "there is no runtime");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let handle = runtime.handle().clone();
        runtime.block_on(async { assert!(tasks.spawn(pending()).is_ok()) });
        drop(runtime);
        assert_eq!((tasks.len(), tasks.0.lock().handles.len()), (0, 0));
        let _inside = handle.enter();
        assert!(tasks.spawn(pending()).is_ok(), "a runtime takes what it does not run");
        assert_eq!((tasks.len(), tasks.0.lock().handles.len()), (0, 0));
    }

    #[tokio::test]
    async fn tasks_that_are_dropped_stop_their_tasks() {
        let (tasks, alive) = (Tasks::default(), Arc::new(()));
        let held = Arc::clone(&alive);
        let task = async move {
            let _held = held;
            pending::<()>().await;
        };
        assert!(tasks.spawn(task).is_ok());
        tokio::task::yield_now().await;
        assert_eq!(Arc::strong_count(&alive), 2);
        drop(tasks);
        tokio::task::yield_now().await;
        assert_eq!(Arc::strong_count(&alive), 1);
    }
}
