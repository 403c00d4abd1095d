//! Announcements: what a write tells other processes by itself.
//!
//! A cache hands the message for others along with a change of a key. A backend that has the entries and the bus in one
//! place sends both at once, the message behind the change, and says so; else the cache publishes it afterwards. It
//! travels beside the operation, as its [time limit](super::late) does, so that wrappers need not know of it.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;

use crate::ledger::Announcement;

tokio::task_local! {
    /// The change that this task makes.
    static CHANGE: Change;
}

struct Change {
    #[cfg_attr(not(feature = "redis"), allow(dead_code, reason = "other backends tell of nothing by themselves"))]
    announcement: Announcement,
    is_told: Cell<bool>,
}

/// Makes a change, and says whether others were told with it.
///
/// The change is pinned by the caller: handed over by value, it would take its room several times.
pub(crate) async fn with<F: Future>(announcement: Option<Announcement>, change: Pin<&mut F>) -> (F::Output, bool) {
    let Some(announcement) = announcement else { return (change.await, false) };
    let told = async {
        let output = change.await;
        (output, CHANGE.with(|change| change.is_told.get()))
    };
    CHANGE.scope(Change { announcement, is_told: Cell::new(false) }, told).await
}

/// What the change that this task makes tells others.
#[cfg(feature = "redis")]
pub(crate) fn get() -> Option<Announcement> {
    CHANGE.try_with(|change| change.announcement.clone()).ok()
}

/// Others were told.
#[cfg(feature = "redis")]
pub(crate) fn told() {
    let _ = CHANGE.try_with(|change| change.is_told.set(true));
}

#[cfg(all(test, feature = "redis"))]
mod tests {
    use std::pin::pin;

    use super::*;
    use crate::key::Key;

    #[tokio::test]
    async fn backend_learns_what_to_tell_and_says_that_it_did() {
        assert!(get().is_none(), "outside of a change there is nothing to tell");
        told();
        let bus = Key::new("users", "bus").expect("neither empty nor long");
        let announcement = || Some(Announcement { bus: bus.clone(), message: "one".into() });
        let change = async || get().map(|announcement| announcement.message);
        assert_eq!(with(announcement(), pin!(change())).await, (Some("one".into()), false));
        assert_eq!(with(announcement(), pin!(async { told() })).await, ((), true));
        assert_eq!(with(None, pin!(change())).await, (None, false));
    }
}
