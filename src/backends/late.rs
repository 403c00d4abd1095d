//! Late answers: whether one is long, and on its way.
//!
//! Whoever bounds the time of an operation cannot tell a silent server from a long answer over a slow network. A backend
//! that can find out is asked for it once the answer is late, and before it is given up.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

/// The length from which on a value is long: its time depends on the network above all.
pub(crate) const LONG: usize = 64 * 1024;

tokio::task_local! {
    /// The operation that this task waits for.
    static OPERATION: Operation;
}

#[derive(Default)]
struct Operation {
    /// Whether its backend can find out what becomes of a late answer.
    can_tell: Cell<bool>,
    is_late: Cell<bool>,
    is_long: Cell<bool>,
}

/// Runs an operation, and lets [`mark`] and [`is_long`] speak of it within.
pub(crate) async fn scope<F: Future>(operation: F) -> F::Output {
    OPERATION.scope(Operation::default(), operation).await
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
        scope(async {
            let pending = pin!(pending::<()>());
            let mut answer = pin!(or_ask(pending, async || is_long));
            let mut wait = async || within(&SystemClock, std::time::Duration::from_millis(1), answer.as_mut()).await;
            assert_eq!(wait().await, None);
            let before = super::is_long();
            assert!(mark() && wait().await.is_none());
            (before, super::is_long())
        })
        .await
    }

    #[tokio::test]
    async fn a_late_answer_is_asked_for_once_it_is_late() {
        assert_eq!(asked(true).await, (false, true));
        assert_eq!(asked(false).await, (false, false));
    }

    #[tokio::test]
    async fn without_a_backend_that_can_tell_nothing_is_long() {
        assert!(!mark() && !super::is_long());
        scope(async { assert!(!mark() && !super::is_long()) }).await;
        assert_eq!(or_ask(pin!(async { 7 }), async || true).await, 7, "outside of an operation it is only the answer");
    }
}
