//! One entry of a blocking cache, and how one call treats it.

use std::fmt;
use std::sync::Arc;

use super::ask;
use super::runtime::{check, wait};
use crate::backends::Backend;
use crate::cache::{self, Begun, Computed, Explanation, Fetched, Previous, Revalidated, entry_options};
use crate::codec::Codec;
use crate::error::{ComputeError, Error};
use crate::key::IntoKey;
use crate::seal::Value;
use crate::sensitive::Storable;

/// A call with options of its own: [`cachekit::Entry`](crate::Entry) for a thread that waits.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use cachekit::CacheBuilder;
/// let pages = CacheBuilder::new().namespace("pages").build_blocking()?;
/// let entry = pages.entry("home").ttl(Duration::from_secs(60)).tags(["news"]);
/// let page: String = entry.get_or_compute(|| Ok::<_, std::io::Error>("<html>".to_owned()))?;
/// pages.invalidate_tag("news")?;
/// assert_eq!(pages.get::<String>("home")?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "an entry does nothing until it is read, computed or set"]
pub struct Entry<'a, B: Backend, C: Codec, K>(pub(super) cache::Entry<'a, B, C, K>);

impl<B: Backend, C: Codec, K: IntoKey> Entry<'_, B, C, K> {
    entry_options!(0);

    /// As [`Cache::get`](super::Cache::get).
    ///
    /// # Errors
    /// As [`Cache::get`](super::Cache::get).
    pub fn get<T: Storable<C, Form: Clone>>(self) -> Result<Option<T>, Error> {
        wait(self.0.get())?
    }

    /// As [`Cache::get_arc`](super::Cache::get_arc).
    ///
    /// # Errors
    /// As [`Cache::get`](super::Cache::get).
    pub fn get_arc<T: Value>(self) -> Result<Option<Arc<T>>, Error> {
        wait(self.0.get_arc())?
    }

    /// As [`Entry::explain`](crate::Entry::explain).
    ///
    /// # Errors
    /// As [`Entry::explain`](crate::Entry::explain).
    pub fn explain(self) -> Result<Explanation, Error> {
        wait(self.0.explain())?
    }

    /// As [`Cache::set`](super::Cache::set).
    ///
    /// # Errors
    /// As [`Cache::set`](super::Cache::set).
    pub fn set<T: Storable<C>>(self, value: T) -> Result<(), Error> {
        wait(self.0.set(value))?
    }

    /// As [`Cache::get_or_compute`](super::Cache::get_or_compute).
    ///
    /// # Errors
    /// As [`Cache::get_or_compute`](super::Cache::get_or_compute).
    pub fn get_or_compute<T, E>(self, compute: impl FnOnce() -> Result<T, E>) -> Result<T, ComputeError<E>>
    where
        T: Storable<C, Form: Clone>,
        E: Send + Sync + 'static,
    {
        let form = self.compute(|_| compute().map(|value| value.into_form().into()))?;
        Ok(T::from_form(Arc::unwrap_or_clone(form)))
    }

    /// As [`Cache::get_or_compute_arc`](super::Cache::get_or_compute_arc).
    ///
    /// # Errors
    /// As [`Cache::get_or_compute`](super::Cache::get_or_compute).
    pub fn get_or_compute_arc<T, E>(self, compute: impl FnOnce() -> Result<T, E>) -> Result<Arc<T>, ComputeError<E>>
    where
        T: Value,
        E: Send + Sync + 'static,
    {
        self.compute(|_| compute().map(Revalidated::from))
    }

    /// As [`Cache::fetch`](super::Cache::fetch).
    ///
    /// # Errors
    /// As [`Cache::get_or_compute`](super::Cache::get_or_compute).
    pub fn fetch<T, E>(self, compute: impl FnOnce() -> Result<T, E>) -> Result<Fetched<T>, ComputeError<E>>
    where
        T: Storable<C, Form: Clone>,
        E: Send + Sync + 'static,
    {
        let fetched = self.fetch_by(|_| compute().map(|value| value.into_form().into()))?;
        Ok(fetched.map(|form| T::from_form(Arc::unwrap_or_clone(form))))
    }

    /// As [`Entry::fetch_or_decide`](crate::Entry::fetch_or_decide).
    ///
    /// # Errors
    /// As [`Cache::get_or_compute`](super::Cache::get_or_compute).
    pub fn fetch_or_decide<T, E>(
        self,
        compute: impl FnOnce() -> Result<Computed<T>, E>,
    ) -> Result<Fetched<Arc<T>>, ComputeError<E>>
    where
        T: Value,
        E: Send + Sync + 'static,
    {
        self.fetch_by(|_| compute().map(Revalidated::from))
    }

    /// As [`Entry::fetch_or_revalidate`](crate::Entry::fetch_or_revalidate).
    ///
    /// # Errors
    /// As [`Cache::get_or_compute`](super::Cache::get_or_compute).
    pub fn fetch_or_revalidate<T, E>(
        self,
        compute: impl FnOnce(Option<Previous<T>>) -> Result<Revalidated<T>, E>,
    ) -> Result<Fetched<Arc<T>>, ComputeError<E>>
    where
        T: Value,
        E: Send + Sync + 'static,
    {
        self.fetch_by(compute)
    }

    fn fetch_by<T, E>(
        self,
        compute: impl FnOnce(Option<Previous<T>>) -> Result<Revalidated<T>, E>,
    ) -> Result<Fetched<Arc<T>>, ComputeError<E>>
    where
        T: Value,
        E: Send + Sync + 'static,
    {
        let (asker, thread) = ask::pair();
        let held = asker.clone();
        let call = self.0.fetch_if_any::<T, E, _, _>(move |previous| asker.ask(previous), held);
        thread.serve(call, once(compute))
    }

    /// As [`Cache::refresh`](super::Cache::refresh).
    ///
    /// # Errors
    /// As [`Cache::get_or_compute`](super::Cache::get_or_compute).
    pub fn refresh<T, E>(self, compute: impl FnOnce() -> Result<T, E>) -> Result<T, ComputeError<E>>
    where
        T: Storable<C, Form: Clone>,
        E: Send + Sync + 'static,
    {
        Self(self.0.anew()).get_or_compute(compute)
    }

    /// As [`Entry::get_or_decide`](crate::Entry::get_or_decide).
    ///
    /// # Errors
    /// As [`Cache::get_or_compute`](super::Cache::get_or_compute).
    pub fn get_or_decide<T, E>(
        self,
        compute: impl FnOnce() -> Result<Computed<T>, E>,
    ) -> Result<Arc<T>, ComputeError<E>>
    where
        T: Value,
        E: Send + Sync + 'static,
    {
        self.compute(|_| compute().map(Revalidated::from))
    }

    /// As [`Entry::get_or_revalidate`](crate::Entry::get_or_revalidate).
    ///
    /// # Errors
    /// As [`Cache::get_or_compute`](super::Cache::get_or_compute).
    pub fn get_or_revalidate<T, E>(
        self,
        compute: impl FnOnce(Option<Previous<T>>) -> Result<Revalidated<T>, E>,
    ) -> Result<Arc<T>, ComputeError<E>>
    where
        T: Value,
        E: Send + Sync + 'static,
    {
        self.compute(compute)
    }

    fn compute<T, E>(
        self,
        compute: impl FnOnce(Option<Previous<T>>) -> Result<Revalidated<T>, E>,
    ) -> Result<Arc<T>, ComputeError<E>>
    where
        T: Value,
        E: Send + Sync + 'static,
    {
        check()?;
        let rest = match self.0.begin::<T, E>()? {
            Begun::Hit(value) => return Ok(value),
            Begun::Rest(rest) => rest,
        };
        let (asker, thread) = ask::pair();
        let held = asker.clone();
        thread.serve(rest.answer(move |previous| asker.ask(previous), held), once(compute))
    }
}

/// What runs once, as what might run again.
fn once<I, O>(compute: impl FnOnce(I) -> O) -> impl FnMut(I) -> O {
    let mut compute = Some(compute);
    move |input| {
        let compute = compute.take().expect("a flight begins its computation once");
        compute(input)
    }
}

/// Without the key, which often carries personal data.
impl<B: Backend, C: Codec, K> fmt::Debug for Entry<'_, B, C, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
