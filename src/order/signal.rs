//! Signals: another process says that a key is worth a new look.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use tokio::sync::Notify;

/// What is heard of one key, for those who wait to hear of it.
#[derive(Debug, Default)]
pub(super) struct Signal {
    count: AtomicU64,
    news: Notify,
}

impl Signal {
    /// Wakes all who wait, and those who begin to and have not seen this.
    pub(super) fn raise(&self) {
        self.count.fetch_add(1, SeqCst);
        self.news.notify_waiters();
    }

    /// How often it was raised.
    pub(super) fn seen(&self) -> u64 {
        self.count.load(SeqCst)
    }

    /// Waits until it is raised once more than was `seen`.
    pub(super) async fn after(&self, seen: u64) {
        let mut news = pin!(self.news.notified());
        news.as_mut().enable();
        if self.seen() == seen {
            news.await;
        }
    }
}
