//! The user's computation, on the heap from the first miss on.
//!
//! The bytes that a closure owns, and those of the future that it makes, move once; whatever leads from the call to the
//! flight holds a pointer, and is compiled once for each type of value and error, not for each closure.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use super::computed::Computed;
use super::failures::ErrorTtl;
use super::previous::{Previous, Revalidated};
use crate::error::panic_message;
use crate::event::{Span, Why};
use crate::flight::Context;

/// A computation that has not begun.
pub(super) struct Computation<T, E> {
    /// With the value that was there before, if there is one.
    pub(super) begin: Begin<T, E>,
    /// Boxed: few have any of it, and all that wait would keep room for it.
    pub(super) beside: Option<Box<Beside>>,
}

/// What some computations have beside what they compute.
#[derive(Default)]
pub(super) struct Beside {
    /// What it waits for before it begins: those that it is to begin together with.
    pub(super) gather: Option<Box<dyn FnOnce() -> Gathering + Send>>,
    /// Others that are to be computed together with it, and wait for it.
    pub(super) party: Option<Arc<dyn Party>>,
    /// For how long its error is kept, if the call says so.
    pub(super) error_ttl: Option<Box<ErrorTtl>>,
    /// What is dropped once L1 has the value, or it is known that there will be none.
    pub(super) until_kept: Option<Box<dyn Send>>,
}

/// Begins a computation.
type Begin<T, E> = Box<dyn FnOnce(Option<Previous<T>>) -> Running<T, E> + Send>;

/// The wait for others.
pub(super) type Gathering = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A computation that has begun. One of a batch may find that there is no value.
pub(super) type Running<T, E> = Pin<Box<dyn Future<Output = Result<Option<Computed<Arc<T>>>, Arc<E>>> + Send>>;

/// Why the answer of a call that is no batch's is a value.
pub(super) const IS_NO_BATCH: &str = "only a batch computes no value, and takes that for an answer";

/// The computations that begin together with one.
pub(super) trait Party: Send + Sync {
    /// The others wait for this computation no longer: first, its call waits for something else.
    fn leave(&self);
}

impl<T, E> Computation<T, E> {
    /// The same, whose error is kept for so long.
    pub(super) fn keeping_errors(self, error_ttl: Option<Box<ErrorTtl>>) -> Self {
        if error_ttl.is_none() {
            return self;
        }
        let beside = Beside { error_ttl, ..self.beside.map(|beside| *beside).unwrap_or_default() };
        Self { beside: Some(Box::new(beside)), ..self }
    }

    /// The same, which drops `held` once L1 has the value.
    #[cfg(feature = "blocking")]
    pub(super) fn holding(self, held: impl Send + 'static) -> Self {
        let until_kept: Option<Box<dyn Send>> = Some(Box::new(held));
        let beside = Beside { until_kept, ..self.beside.map(|beside| *beside).unwrap_or_default() };
        Self { beside: Some(Box::new(beside)), ..self }
    }

    /// Those that are to be computed together with it, if there are any.
    pub(super) fn party(&self) -> Option<&dyn Party> {
        self.beside.as_ref()?.party.as_deref()
    }

    /// The call waits for something else before it computes.
    pub(super) fn step_aside(&self) {
        if let Some(party) = self.party() {
            party.leave();
        }
    }
}

/// Boxes what computes a value and what makes of it the value that is kept.
pub(super) fn boxed<V, T, E, F, Fut>(
    compute: F,
    finish: impl FnOnce(V) -> Computed<T> + Send + 'static,
) -> Computation<T, E>
where
    T: Send + Sync + 'static,
    E: Send + Sync + 'static,
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = Result<V, E>> + Send + 'static,
{
    let begin = move |_| -> Running<T, E> {
        // Boxed by itself: an `async` block would hold what it waits for twice.
        let running = Box::pin(compute());
        Box::pin(async move { running.await.map(|value| Some(finish(value).shared())).map_err(Arc::new) })
    };
    Computation { begin: Box::new(begin), beside: None }
}

/// Boxes what computes a value with regard to the one that was there before, and adds the tags of the call.
pub(super) fn revalidating<T, E, F, Fut>(compute: F, tags: Vec<u64>) -> Computation<T, E>
where
    T: Send + Sync + 'static,
    E: Send + Sync + 'static,
    F: FnOnce(Option<Previous<T>>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Revalidated<T>, E>> + Send + 'static,
{
    let begin = move |previous| -> Running<T, E> {
        let running = Box::pin(compute(previous));
        Box::pin(async move { running.await.map(|Revalidated(computed)| Some(computed.also(tags))).map_err(Arc::new) })
    };
    Computation { begin: Box::new(begin), beside: None }
}

/// Like [`revalidating`], of a computation that finds that it cannot begin: then what waits for it computes for itself.
#[cfg(feature = "blocking")]
pub(super) fn revalidating_if_any<T, E, F, Fut>(compute: F, tags: Vec<u64>) -> Computation<T, E>
where
    T: Send + Sync + 'static,
    E: Send + Sync + 'static,
    F: FnOnce(Option<Previous<T>>) -> Fut + Send + 'static,
    Fut: Future<Output = Option<Result<Revalidated<T>, E>>> + Send + 'static,
{
    let begin = move |previous| -> Running<T, E> {
        let running = Box::pin(compute(previous));
        let finish = |Revalidated(computed): Revalidated<T>| computed.also(tags);
        Box::pin(async move { running.await.transpose().map(|value| value.map(finish)).map_err(Arc::new) })
    };
    Computation { begin: Box::new(begin), beside: None }
}

/// The call that starts a flight.
pub(super) struct Job<T, E> {
    pub(super) context: Context,
    /// The parent of what the computation does.
    pub(super) span: Span,
    pub(super) why: Why,
    pub(super) compute: Computation<T, E>,
}

/// Runs a future. If it panics, what it said.
pub(super) async fn caught<F: Future>(future: F) -> Result<F::Output, Arc<str>> {
    let mut future = pin!(future);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(polled) => polled.map(Ok),
        Err(payload) => Poll::Ready(Err(panic_message(payload))),
    })
    .await
}
