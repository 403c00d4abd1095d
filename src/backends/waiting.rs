//! Waiting: what a backend tells of those who wait for a lease.
//!
//! A backend that can notes that a process was refused a lease, beside the lease, in the step that refuses it; and it
//! tells the holder so when that ends the lease. So a holder learns without a question of its own whether another process
//! waits to hear of it. Both are told beside the answer, as a [late one](super::late) is asked about, so that wrappers need
//! not know of it, and a backend that notes nothing need not say so.

use std::cell::Cell;
use std::future::Future;

tokio::task_local! {
    /// What the backend tells of the operation that this task waits for.
    static NOTED: Cell<bool>;
}

/// Runs an operation on a lease. With what it gives comes whether the backend noted that another process waits: the
/// caller who is refused the lease, or others for the lease that the caller ends.
pub(crate) async fn told<F: Future>(operation: F) -> (F::Output, bool) {
    let told = async {
        let output = operation.await;
        (output, NOTED.with(Cell::get))
    };
    NOTED.scope(Cell::new(false), told).await
}

/// Another process waits for the lease that the operation is about.
pub(crate) fn note() {
    let _ = NOTED.try_with(|noted| noted.set(true));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_noted_belongs_to_the_operation_that_notes_it() {
        note();
        assert_eq!(told(async { 1 }).await, (1, false));
        assert_eq!(told(async { note() }).await, ((), true));
        let within = told(async { told(async { note() }).await.1 });
        assert_eq!(within.await, (true, false));
    }
}
