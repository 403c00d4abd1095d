//! The spans of `tracing`: that of a caller, handed on to the task that computes for it, and those of what the cache does.
//!
//! Without feature `tracing`, or where nothing listens, they are nothing. All are of level `DEBUG` and target `cachekit`;
//! their fields follow the semantic conventions of OpenTelemetry where these have a name.

use std::future::Future;

use super::{MissReason, Operation, Outcome};
use crate::error::ErrorKind;
use crate::key::Key;

/// A span, or none.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    #[cfg(feature = "tracing")]
    span: tracing::Span,
}

/// Whose spans are made: a cache, or a part of it. Off where the setting `tracing` is.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(feature = "tracing"), expect(dead_code, reason = "what reads it makes spans"))]
pub(crate) struct Traced<'a> {
    pub(crate) is_on: bool,
    pub(crate) namespace: &'a str,
    pub(crate) domain: &'a str,
}

/// Makes a span, or none where tracing is off or nothing listens.
macro_rules! span {
    ($is_on:expr, $($described:tt)*) => {
        #[cfg(feature = "tracing")]
        if $is_on {
            return Self { span: tracing::debug_span!(target: "cachekit", $($described)*) };
        }
    };
}

#[cfg_attr(not(feature = "tracing"), expect(unused_variables, reason = "there are no spans to fill"))]
impl Span {
    /// The span of the code that runs.
    pub(crate) fn current() -> Self {
        Self {
            #[cfg(feature = "tracing")]
            span: tracing::Span::current(),
        }
    }

    pub(crate) fn none() -> Self {
        Self {
            #[cfg(feature = "tracing")]
            span: tracing::Span::none(),
        }
    }

    /// That of a call that L1 does not answer.
    pub(crate) fn of_call(traced: Traced<'_>, key: &Key) -> Self {
        span!(
            traced.is_on,
            "cachekit.call",
            cachekit.namespace = traced.namespace,
            cachekit.domain = traced.domain,
            cachekit.key = %key,
            cachekit.outcome = tracing::field::Empty,
            cachekit.miss = tracing::field::Empty,
        );
        Self::none()
    }

    /// That of a read of so many keys that L1 does not have.
    pub(crate) fn of_batch(traced: Traced<'_>, keys: usize) -> Self {
        span!(
            traced.is_on,
            "cachekit.batch",
            cachekit.namespace = traced.namespace,
            cachekit.domain = traced.domain,
            cachekit.keys = keys as u64,
        );
        Self::none()
    }

    /// That of a flight which this call, or caller, starts.
    pub(crate) fn of_flight(&self, traced: Traced<'_>, key: &Key, renews: bool) -> Self {
        self.over(|| {
            span!(
                traced.is_on,
                "cachekit.flight",
                cachekit.namespace = traced.namespace,
                cachekit.domain = traced.domain,
                cachekit.key = %key,
                cachekit.renewal = renews,
                cachekit.miss = tracing::field::Empty,
            );
            Self::none()
        })
    }

    /// That of the computation of this flight.
    pub(crate) fn of_computation(&self, is_on: bool) -> Self {
        self.over(|| {
            span!(is_on, "cachekit.compute", otel.status_code = tracing::field::Empty);
            Self::none()
        })
    }

    /// A child of this span. Its parent is found by the subscriber, and not named: one that was installed after this span
    /// was made does not know it, and may panic.
    fn over(&self, child: impl FnOnce() -> Self) -> Self {
        #[cfg(feature = "tracing")]
        return self.span.in_scope(child);
        #[cfg(not(feature = "tracing"))]
        child()
    }

    /// That of one operation of the backend.
    pub(crate) fn of_operation(is_on: bool, backend: &str, operation: Operation) -> Self {
        span!(
            is_on,
            "cachekit.backend",
            otel.name = format_args!("{} {backend}", operation.name()),
            otel.kind = "client",
            db.system.name = backend,
            db.operation.name = operation.name(),
            error.type = tracing::field::Empty,
            otel.status_code = tracing::field::Empty,
        );
        Self::none()
    }

    /// This span, or the other where this one is none.
    pub(crate) fn or(self, other: &Self) -> Self {
        #[cfg(feature = "tracing")]
        if self.span.is_none() {
            return other.clone();
        }
        self
    }

    /// Whether anything hears of it.
    pub(crate) fn is_some(&self) -> bool {
        #[cfg(feature = "tracing")]
        return !self.span.is_none();
        #[cfg(not(feature = "tracing"))]
        false
    }

    /// Links this span to another that it waits for.
    pub(crate) fn link(&self, other: &Self) {
        #[cfg(feature = "tracing")]
        self.span.follows_from(&other.span);
    }

    /// Notes how a call ended.
    pub(crate) fn outcome(&self, outcome: Outcome) {
        #[cfg(feature = "tracing")]
        self.span.record("cachekit.outcome", outcome.name());
    }

    /// Notes why neither tier answered.
    pub(crate) fn missed(&self, reason: MissReason) {
        #[cfg(feature = "tracing")]
        self.span.record("cachekit.miss", reason.name());
    }

    /// Notes that what the span stands for failed, with an error of this kind if it is one of the cache.
    pub(crate) fn failed(&self, kind: Option<ErrorKind>) {
        #[cfg(feature = "tracing")]
        if self.is_some() {
            self.span.record("otel.status_code", "ERROR");
            if let Some(kind) = kind {
                self.span.record("error.type", kind.name());
            }
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
