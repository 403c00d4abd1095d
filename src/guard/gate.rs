//! The gate: so many operations at once.
//!
//! What comes when all places are taken waits for one, not long, and not as one of too many.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::clock::{Clock, within};
use crate::config::Backpressure as Rules;
use crate::event::Refusal;

/// The places of one backend.
#[derive(Debug)]
pub(crate) struct Gate {
    rules: Rules,
    places: Semaphore,
    waiting: AtomicUsize,
    clock: Arc<dyn Clock>,
}

impl Gate {
    pub(crate) fn new(rules: Rules, clock: Arc<dyn Clock>) -> Self {
        Self { rules, places: Semaphore::new(rules.max_concurrent), waiting: AtomicUsize::new(0), clock }
    }

    /// A place, held until dropped.
    pub(crate) async fn enter(&self) -> Result<SemaphorePermit<'_>, Refusal> {
        if let Ok(place) = self.places.try_acquire() {
            return Ok(place);
        }
        self.wait().await
    }

    async fn wait(&self) -> Result<SemaphorePermit<'_>, Refusal> {
        let _waiting = Waiting::join(&self.waiting, self.rules.queue).ok_or(Refusal::QueueFull)?;
        match within(&*self.clock, self.rules.wait, self.places.acquire()).await {
            Some(Ok(place)) => Ok(place),
            _ => Err(Refusal::QueueTimeout),
        }
    }
}

/// One of those who wait.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn join(count: &'a AtomicUsize, most: usize) -> Option<Self> {
        let joined = Self(count);
        (count.fetch_add(1, Relaxed) < most).then_some(joined)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
