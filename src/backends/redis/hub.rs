//! The hub: one reader for all streams that caches over one backend listen to.
//!
//! One connection waits for news of any of them, so that twenty caches cost what one does. What it is told is only that
//! there is news; what stands in a stream, and whether anything was lost, is read then. The reader is a task on the
//! runtime of a caller who waits; where it gives no sign of life, the next who waits on another runtime takes over.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

use super::followers::{Followers, Heard, SILENT};
use super::listener::Listener;
use super::stream::Id;
use super::{Shared, append};
use crate::error::Error;
use crate::key::Key;

/// What waits for news of streams. Clones are the same hub.
#[derive(Clone, Default)]
pub(super) struct Hub(Arc<Followers>);

impl Hub {
    /// A number for a stream to follow.
    pub(super) fn join(&self) -> u64 {
        self.0.join()
    }

    /// Follows no longer. The reader ends with the last.
    pub(super) fn leave(&self, follower: u64) {
        self.0.leave(follower);
    }

    /// Waits for what stands in a stream behind `after`, which was of this run if that is known.
    pub(super) async fn receive(
        &self,
        shared: &Arc<Shared>,
        (follower, name): (u64, &Key),
        (after, run): (Id, &str),
        wait: Duration,
    ) -> Result<Heard, Error> {
        let (asked, mut waiting) = (Instant::now(), Waiting { followers: &self.0, follower, ended: false });
        loop {
            let mut changed = pin!(self.0.changed());
            changed.as_mut().enable();
            if let Some(stream) = self.0.follow((follower, name), (after, run), wait) {
                // An entry that says nothing wakes the reader. If it cannot be made, the wait ends by itself.
                let _ = append::mark(shared, &stream).await;
            }
            if let Some(heard) = self.0.heard(follower, asked) {
                waiting.ended = true;
                return heard;
            }
            self.start(shared);
            // This may be the only task that can notice a silent reader.
            let _ = timeout_at(Instant::now() + SILENT, changed).await;
        }
    }

    /// Sees to it that a task reads.
    fn start(&self, shared: &Arc<Shared>) {
        let Ok(runtime) = Handle::try_current() else { return };
        let Some(reading) = self.0.begin(runtime.id()) else { return };
        let number = reading.number();
        // A runtime that ends drops the task at once, and the reading with it.
        let task = runtime.spawn(Listener::new(Arc::clone(shared), reading).run()).abort_handle();
        self.0.attend(number, task);
    }
}

/// A receiver. One that is dropped while it waits follows no longer.
struct Waiting<'a> {
    followers: &'a Followers,
    follower: u64,
    ended: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.followers.leave(self.follower);
        }
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
