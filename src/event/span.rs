//! The span of a caller, handed on to the task that computes for it.

use std::future::Future;

/// The `tracing` span that a call was made in. Without feature `tracing` it is nothing.
#[derive(Debug, Clone)]
pub(crate) struct CallerSpan {
    #[cfg(feature = "tracing")]
    span: tracing::Span,
}

impl CallerSpan {
    /// The span of the code that runs.
    pub(crate) fn current() -> Self {
        Self {
            #[cfg(feature = "tracing")]
            span: tracing::Span::current(),
        }
    }

    /// A future that runs in this span.
    #[cfg(feature = "tracing")]
    pub(crate) fn around<F: Future>(self, future: F) -> impl Future<Output = F::Output> + use<F> {
        tracing::Instrument::instrument(future, self.span)
    }

    /// A future that runs in this span.
    #[cfg(not(feature = "tracing"))]
    pub(crate) fn around<F: Future>(self, future: F) -> F {
        future
    }

    /// Runs `work` on this thread in this span.
    #[cfg(feature = "blocking")]
    pub(crate) fn run<R>(self, work: impl FnOnce() -> R) -> R {
        #[cfg(feature = "tracing")]
        let _entered = self.span.entered();
        work()
    }
}
