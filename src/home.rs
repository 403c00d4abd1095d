//! The runtime that drives a flight, or a write to the backend.
//!
//! A runtime may stand still for as long as its owner likes: it is driven only within `block_on`, or a computation
//! keeps its worker busy. Callers on the same runtime stand still with it; those on others need not.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::clock::{Clock, SystemClock};

/// How long a runtime may take to run a task that does nothing.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where a task was begun.
#[derive(Debug, Clone)]
pub(crate) struct Home(Option<Handle>);

impl Home {
    /// The runtime of the caller.
    pub(crate) fn here() -> Self {
        Self(Handle::try_current().ok())
    }

    /// Whether both are the same.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.0.as_ref().map(Handle::id) == other.0.as_ref().map(Handle::id)
    }

    /// Whether it is not the caller's.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.elsewhere().is_some()
    }

    /// The runtime, if it is not the caller's.
    fn elsewhere(&self) -> Option<&Handle> {
        let here = Handle::try_current().ok()?;
        self.0.as_ref().filter(|home| home.id() != here.id())
    }

    /// Runs a task there. It is dropped where there is no runtime, or that has ended.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.0 {
            runtime.spawn(task);
        }
    }

    /// What `future` gives; `None` once the runtime is found to stand still before. Asks nothing of the caller's own.
    pub(crate) async fn while_driven<F: Future>(&self, future: F) -> Option<F::Output> {
        while_driven(std::slice::from_ref(self), future).await.ok()
    }
}

/// What `future` gives; or which of these runtimes was found to stand still before. Asks nothing of the caller's own.
pub(crate) async fn while_driven<F: Future>(homes: &[Home], future: F) -> Result<F::Output, usize> {
    let mut future = pin!(future);
    // Most answers are there at once, or come from the caller's own runtime.
    let mut watched: Option<Vec<_>> = None;
    poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Ok(output));
        }
        let watched = watched.get_or_insert_with(|| {
            let elsewhere =
                homes.iter().enumerate().filter_map(|(index, home)| Some((index, home.elsewhere()?.clone())));
            elsewhere.map(|(index, home)| (index, Box::pin(stands_still_until_now(home)))).collect()
        });
        let found =
            watched.iter_mut().find_map(|(index, still)| still.as_mut().poll(context).is_ready().then_some(*index));
        found.map_or(Poll::Pending, |index| Poll::Ready(Err(index)))
    })
    .await
}

/// Asks the runtime time and again to run something small. In real time, whatever the cache's clock says: that is what
/// runtimes take. One that has ended answers: what it was to run is dropped, which others notice.
async fn stands_still_until_now(home: Handle) {
    if !SystemClock.can_sleep() {
        // A runtime without time cannot tell.
        return std::future::pending().await;
    }
    loop {
        let asked = home.spawn(async {});
        SystemClock.sleep(PATIENCE).await;
        if !asked.is_finished() {
            asked.abort();
            return;
        }
    }
}
