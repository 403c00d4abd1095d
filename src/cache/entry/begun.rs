//! Calls in two steps, for threads that wait: what L1 answers, and the rest.

use std::sync::Arc;

use super::Entry;
use crate::backends::Backend;
use crate::cache::failures::ErrorTtl;
use crate::cache::path::{Look, Miss};
use crate::cache::{Cache, Fetched, Previous, Revalidated, computation};
use crate::codec::Codec;
use crate::error::{ComputeError, Error};
use crate::key::IntoKey;
use crate::seal::Value;
use crate::tiers::Options;

/// A call that has looked in L1.
pub(crate) enum Begun<'a, B: Backend, C: Codec, T> {
    Hit(Arc<T>),
    Rest(Rest<'a, B, C, T>),
}

/// What is left of a call that L1 does not answer.
pub(crate) struct Rest<'a, B: Backend, C: Codec, T> {
    cache: &'a Cache<B, C>,
    miss: Box<Miss<T>>,
    options: Options,
    tags: Vec<u64>,
    error_ttl: Option<Box<ErrorTtl>>,
}

impl<'a, B: Backend, C: Codec, K: IntoKey> Entry<'a, B, C, K> {
    /// Looks in L1, for a computation whose errors are of type `E`.
    pub(crate) fn begin<T: Value, E: 'static>(self) -> Result<Begun<'a, B, C, T>, Error> {
        self.check::<E>()?;
        let look = self.seek();
        let Self { cache, options, tags, error_ttl, .. } = self;
        Ok(match look {
            Look::Hit(value) => Begun::Hit(value),
            Look::Miss(miss) => Begun::Rest(Rest { cache, miss, options, tags, error_ttl }),
        })
    }

    /// Like [`fetch`](Entry::fetch), by a computation that gives a value whenever this call waits for one. `held` is
    /// dropped once L1 has that.
    pub(crate) async fn fetch_if_any<T, E, F, Fut>(
        self,
        compute: F,
        held: impl Send + 'static,
    ) -> Result<Fetched<Arc<T>>, ComputeError<E>>
    where
        T: Value,
        E: Send + Sync + 'static,
        F: FnOnce(Option<Previous<T>>) -> Fut + Send + 'static,
        Fut: Future<Output = Option<Result<Revalidated<T>, E>>> + Send + 'static,
    {
        let compute = computation::revalidating_if_any(compute, self.tags.clone()).holding(held);
        self.fetch_by(compute, |value| value).await
    }
}

impl<B: Backend, C: Codec, T: Value> Rest<'_, B, C, T> {
    /// Answers by `compute` if need be, which gives a value whenever this call waits for one. `held` is dropped once L1 has
    /// that.
    pub(crate) async fn answer<E, F, Fut>(
        self,
        compute: F,
        held: impl Send + 'static,
    ) -> Result<Arc<T>, ComputeError<E>>
    where
        E: Send + Sync + 'static,
        F: FnOnce(Option<Previous<T>>) -> Fut + Send + 'static,
        Fut: Future<Output = Option<Result<Revalidated<T>, E>>> + Send + 'static,
    {
        let Self { cache, miss, options, tags, error_ttl } = self;
        let compute = computation::revalidating_if_any(compute, tags).keeping_errors(error_ttl).holding(held);
        cache.inner.answer(miss, options, compute).await
    }
}
