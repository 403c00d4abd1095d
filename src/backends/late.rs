//! Operations: what the guard and a backend tell one another of one.
//!
//! A caller that bounds the time of an operation cannot tell a silent server from a long answer over a slow network. A
//! backend that can find out is asked for it once the answer is late, and before it is given up. It also learns here
//! how long an entry the cache takes, and tells of a failure that it got over by itself.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use crate::error::Error;

/// The length from which on a value is long: its time depends on the network above all.
pub(crate) const LONG: usize = 64 * 1024;

tokio::task_local! {
    /// The operation that this task waits for.
    static OPERATION: Operation;
}

#[derive(Default)]
struct Operation {
    /// The longest entry that the cache takes, in bytes.
    accepted: usize,
    /// What failed within, and was got over.
    mended: Cell<Option<Error>>,
    /// Whether its backend can find out what becomes of a late answer.
    can_tell: Cell<bool>,
    is_late: Cell<bool>,
    is_long: Cell<bool>,
}

/// Runs an operation of a cache that takes entries of so many bytes, and lets the functions of this module speak of it
/// within. With what it gives comes what its backend got over.
pub(crate) async fn scope<F: Future>(accepted: usize, operation: F) -> (F::Output, Option<Error>) {
    let told = async {
        let output = operation.await;
        (output, OPERATION.with(|operation| operation.mended.take()))
    };
    OPERATION.scope(Operation { accepted, ..Operation::default() }, told).await
}

/// The longest entry that the cache takes, in bytes. `None` outside of an operation of a cache.
#[cfg_attr(
    not(any(feature = "redis", feature = "memcached", feature = "cachekitio")),
    allow(dead_code, reason = "other backends have a bound of their own")
)]
pub(crate) fn accepted() -> Option<usize> {
    OPERATION.try_with(|operation| operation.accepted).ok()
}

/// Tells of a failure that the operation gets over, if it does. One is told.
#[cfg_attr(
    not(any(feature = "redis", feature = "memcached")),
    allow(dead_code, reason = "other backends get over nothing")
)]
pub(crate) fn mended(failure: impl FnOnce() -> Error) {
    let _ = OPERATION.try_with(|operation| operation.mended.set(Some(failure())));
}

/// The answer to the operation is late. Returns whether its backend can find out why.
pub(crate) fn mark() -> bool {
    OPERATION
        .try_with(|operation| {
            operation.is_late.set(true);
            operation.can_tell.get()
        })
        .unwrap_or(false)
}

/// Whether the answer to the operation is known to be long.
pub(crate) fn is_long() -> bool {
    OPERATION.try_with(|operation| operation.is_long.get()).unwrap_or(false)
}

/// What `answer` gives. If it is late, `ask` tells whether it is long.
#[cfg_attr(
    not(any(feature = "redis", feature = "memcached", feature = "file", feature = "cachekitio")),
    allow(dead_code, reason = "what is in this process is not late")
)]
pub(crate) async fn or_ask<F, A>(mut answer: Pin<&mut F>, ask: impl FnOnce() -> A + Send) -> F::Output
where
    F: Future,
    A: Future<Output = bool> + Send,
{
    let _ = OPERATION.try_with(|operation| operation.can_tell.set(true));
    let mut ask = Some(ask);
    // Boxed: it is rare, and every read would have to carry room for it.
    let mut question: Option<Pin<Box<A>>> = None;
    poll_fn(|context| {
        if let Poll::Ready(output) = answer.as_mut().poll(context) {
            return Poll::Ready(output);
        }
        if OPERATION.try_with(|operation| operation.is_late.get()).unwrap_or(false)
            && let Some(ask) = ask.take()
        {
            question = Some(Box::pin(ask()));
        }
        if let Some(asked) = &mut question
            && let Poll::Ready(is_long) = asked.as_mut().poll(context)
        {
            question = None;
            let _ = OPERATION.try_with(|operation| operation.is_long.set(is_long));
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::pin::pin;

    use super::*;
    use crate::clock::{SystemClock, within};

    async fn asked(is_long: bool) -> (bool, bool) {
        let (asked, _) = scope(0, async {
            let pending = pin!(pending::<()>());
            let mut answer = pin!(or_ask(pending, async || is_long));
            let mut wait = async || within(&SystemClock, std::time::Duration::from_millis(1), answer.as_mut()).await;
            assert_eq!(wait().await, None);
            let before = super::is_long();
            assert!(mark() && wait().await.is_none());
            (before, super::is_long())
        })
        .await;
        asked
    }

    #[tokio::test]
    async fn a_late_answer_is_asked_for_once_it_is_late() {
        assert_eq!(asked(true).await, (false, true));
        assert_eq!(asked(false).await, (false, false));
    }

    #[tokio::test]
    async fn without_a_backend_that_can_tell_nothing_is_long() {
        assert!(!mark() && !super::is_long());
        scope(0, async { assert!(!mark() && !super::is_long()) }).await;
        assert_eq!(or_ask(pin!(async { 7 }), async || true).await, 7, "outside of an operation it is only the answer");
    }

    #[tokio::test]
    async fn a_backend_learns_what_is_taken_and_tells_what_it_got_over() {
        assert_eq!(accepted(), None);
        let failure = || Error::new(crate::error::ErrorKind::Unavailable, "-");
        mended(failure);
        let (taken, told) = scope(7, async {
            mended(failure);
            accepted()
        })
        .await;
        assert_eq!((taken, told.map(|error| error.kind())), (Some(7), Some(crate::error::ErrorKind::Unavailable)));
        assert!(scope(7, async {}).await.1.is_none());
    }
}
