//! One entry of a cache, and how one call treats it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Cache;
use super::answered::Fetched;
use super::computation::{self, Computation, IS_NO_BATCH};
use super::computed::{Computed, Decided, add_tags};
use super::failures::ErrorTtl;
use super::path::Look;
use super::previous::{Previous, Revalidated};
use crate::backends::Backend;
use crate::codec::Codec;
use crate::config::Grace;
use crate::error::{ComputeError, Error};
use crate::key::IntoKey;
use crate::seal::Value;
use crate::sensitive::Storable;
use crate::tiers::Options;

#[cfg(feature = "blocking")]
mod begun;
mod explain;
mod options;

#[cfg(feature = "blocking")]
pub(crate) use self::begun::Begun;
pub use self::explain::Explanation;
pub(crate) use self::options::entry_options;

/// A call under way: a key, and what this call asks for beyond the cache's policy.
///
/// Made by [`Cache::entry`]. Callers who share a flight get what the one who started it asked for; calls that skip
/// different reads do not share one. `get` heeds only what is said about reading and keeping, `set` only what is said
/// about keeping and writing. A `ttl`, `soft_timeout` or `deadline` of zero is an error of the call. `Debug` shows no
/// key.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use cachekit::{CacheBuilder, Computed, Intent};
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let pages = CacheBuilder::new().intent(Intent::Minimal).build()?;
/// let page = pages
///     .entry(("home", "en"))
///     .ttl(Duration::from_secs(60))
///     .stale_if_error(Duration::from_secs(600))
///     .get_or_decide(|| async {
///         let body = String::from("<html>");
///         let busy = body.is_empty();
///         Ok::<_, std::io::Error>(if busy { Computed::new(body).do_not_store() } else { Computed::new(body) })
///     })
///     .await?;
/// assert_eq!(*page, "<html>");
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[must_use = "an entry does nothing until it is read, computed or set"]
pub struct Entry<'a, B: Backend, C: Codec, K> {
    cache: &'a Cache<B, C>,
    key: K,
    options: Options,
    tags: Vec<u64>,
    error_ttl: Option<Box<ErrorTtl>>,
}

#[expect(
    clippy::manual_async_fn,
    reason = "unoptimized, an async fn copies what a closure owns once more on the stack"
)]
impl<'a, B: Backend, C: Codec, K: IntoKey> Entry<'a, B, C, K> {
    pub(super) fn new(cache: &'a Cache<B, C>, key: K) -> Self {
        Self { cache, key, options: Options::default(), tags: Vec::new(), error_ttl: None }
    }

    /// How long the entry lives, if this call stores it. Above zero. Default: the policy's, or the computation's own
    /// decision.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.options.ttl = Some(ttl);
        self
    }

    /// How long after its expiry the entry may stand in for a failing computation. Zero: not at all. Default: the
    /// policy's.
    pub fn stale_if_error(mut self, grace: impl Into<Grace>) -> Self {
        self.options.stale_if_error = Some(grace.into());
        self
    }

    /// How long an error of this call's computation is kept: so long, calls of the key in this process, with the same
    /// type of error, are answered with it at once. Zero: not at all. Default: the policy's.
    ///
    /// It is shared as a failure is, until the key, or a tag that the call names, is changed. What the tiers could answer
    /// with after a failure they answer with, so only an error that a caller was told is kept.
    pub fn error_ttl(mut self, ttl: Duration) -> Self {
        self.error_ttl = Some(Box::new(ErrorTtl::For(ttl)));
        self
    }

    /// Like [`error_ttl`](Entry::error_ttl), for each error as long as `rule` says.
    ///
    /// `E` is the error of the computation; with another the call is refused.
    ///
    /// # Examples
    /// ```
    /// use std::io::{Error, ErrorKind};
    /// use std::time::Duration;
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let users = cachekit::CacheBuilder::new().namespace("users").build()?;
    /// let brief = |error: &Error| match error.kind() {
    ///     ErrorKind::NotFound => Duration::from_secs(5),
    ///     _ => Duration::ZERO,
    /// };
    /// let gone = || async { Err::<u32, _>(Error::from(ErrorKind::NotFound)) };
    /// assert!(users.entry(42).error_ttl_by(brief).get_or_compute(gone).await.is_err());
    /// let not_called = || async { Ok::<u32, Error>(1) };
    /// assert!(users.get_or_compute(42, not_called).await.is_err());
    /// # Ok::<(), cachekit::Error>(()) }).unwrap();
    /// ```
    pub fn error_ttl_by<E: 'static>(mut self, rule: impl Fn(&E) -> Duration + Send + Sync + 'static) -> Self {
        self.error_ttl = Some(Box::new(ErrorTtl::by(rule)));
        self
    }

    /// Marks the entry with tags, by which [`Cache::invalidate_tag`] forgets it, if this call stores it. Up to 1,024;
    /// more are an error of `set`, and of a computation, whose own are counted in, the value is returned, not stored.
    /// Each takes 8 bytes in L1, and 8 in the backend.
    pub fn tags<'t>(mut self, tags: impl IntoIterator<Item = &'t str>) -> Self {
        add_tags(&mut self.tags, tags);
        self
    }

    /// After this long, answer with an older value if there is one, and let the computation go on. Default: the
    /// policy's.
    ///
    /// Without effect where the policy's `background` is off.
    pub fn soft_timeout(mut self, timeout: Duration) -> Self {
        self.options.soft_timeout = Some(timeout);
        self
    }

    /// After this long, give the computation up. Default: the policy's.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.options.deadline = Some(deadline);
        self
    }

    /// Whether to answer only after the backend has stored what was computed, or tried to. Default: the policy's.
    ///
    /// A call whose read of the backend failed does not wait for the write.
    pub fn wait_for_write(mut self, wait: bool) -> Self {
        self.options.wait_for_write = Some(wait);
        self
    }

    /// Does not look in L1: the backend answers, or the computation.
    pub fn skip_l1_read(mut self) -> Self {
        self.options.skip_l1_read = true;
        self
    }

    /// Does not look in the backend: L1 answers, or the computation.
    pub fn skip_l2_read(mut self) -> Self {
        self.options.skip_l2_read = true;
        self
    }

    /// Keeps nothing in L1.
    pub fn skip_l1_write(mut self) -> Self {
        self.options.skip_l1_write = true;
        self
    }

    /// Stores nothing in the backend.
    pub fn skip_l2_write(mut self) -> Self {
        self.options.skip_l2_write = true;
        self
    }

    /// Like [`Cache::get`].
    ///
    /// # Errors
    /// As [`Cache::get`].
    pub async fn get<T: Storable<C, Form: Clone>>(self) -> Result<Option<T>, Error> {
        Ok(self.get_arc().await?.map(|form| T::from_form(Arc::unwrap_or_clone(form))))
    }

    /// Like [`Cache::get_arc`].
    ///
    /// # Errors
    /// As [`Cache::get`].
    pub async fn get_arc<T: Value>(self) -> Result<Option<Arc<T>>, Error> {
        self.cache.inner.fetch(&self.key, self.options).await
    }

    /// Like [`Cache::set`].
    ///
    /// # Errors
    /// As [`Cache::set`].
    pub async fn set<T: Storable<C>>(self, value: T) -> Result<(), Error> {
        let decided = Decided { tags: self.tags, ..Decided::default() };
        self.cache.inner.set(&self.key, self.options, decided, Arc::new(value.into_form())).await
    }

    /// Like [`Cache::get_or_compute`].
    ///
    /// # Errors
    /// As [`Cache::get_or_compute`].
    pub fn get_or_compute<T, E, F, Fut>(self, compute: F) -> impl Future<Output = Result<T, ComputeError<E>>>
    where
        T: Storable<C, Form: Clone>,
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        async move {
            self.check::<E>()?;
            let form = match self.seek() {
                Look::Hit(form) => T::Form::clone(&form),
                Look::Miss(miss) => {
                    let finish = |value: T| Computed::new(value.into_form()).also(self.tags);
                    let compute = computation::boxed(compute, finish).keeping_errors(self.error_ttl);
                    self.cache.inner.answer(miss, self.options, compute).await.map(Arc::unwrap_or_clone)?
                }
            };
            Ok(T::from_form(form))
        }
    }

    /// Like [`Cache::get_or_compute_arc`].
    ///
    /// # Errors
    /// As [`Cache::get_or_compute`].
    pub fn get_or_compute_arc<T, E, F, Fut>(self, compute: F) -> impl Future<Output = Result<Arc<T>, ComputeError<E>>>
    where
        T: Value,
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        self.compute(compute, Computed::new)
    }

    /// Like [`Cache::fetch`].
    ///
    /// # Errors
    /// As [`Cache::get_or_compute`].
    pub fn fetch<T, E, F, Fut>(self, compute: F) -> impl Future<Output = Result<Fetched<T>, ComputeError<E>>>
    where
        T: Storable<C, Form: Clone>,
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        async move {
            let tags = self.tags.clone();
            let compute = computation::boxed(compute, |value: T| Computed::new(value.into_form()).also(tags));
            self.fetch_by(compute, |form| T::from_form(Arc::unwrap_or_clone(form))).await
        }
    }

    /// Like [`get_or_decide`](Entry::get_or_decide), and says whence the value came, as [`fetch`](Entry::fetch) does.
    ///
    /// # Errors
    /// As [`Cache::get_or_compute`].
    pub fn fetch_or_decide<T, E, F, Fut>(
        self,
        compute: F,
    ) -> impl Future<Output = Result<Fetched<Arc<T>>, ComputeError<E>>>
    where
        T: Value,
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Computed<T>, E>> + Send + 'static,
    {
        async move {
            let tags = self.tags.clone();
            self.fetch_by(computation::boxed(compute, |computed: Computed<T>| computed.also(tags)), |value| value).await
        }
    }

    /// Like [`get_or_revalidate`](Entry::get_or_revalidate), and says whence the value came, as [`fetch`](Entry::fetch)
    /// does. A value that was found not to be modified counts as computed, and its age begins anew.
    ///
    /// # Errors
    /// As [`Cache::get_or_compute`].
    ///
    /// # Examples
    /// ```
    /// use cachekit::{CacheBuilder, Computed, Outcome, Previous};
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let pages = CacheBuilder::new().namespace("pages").build()?;
    /// let page = pages.entry("home").fetch_or_revalidate(|previous: Option<Previous<String>>| async move {
    ///     Ok::<_, std::io::Error>(match previous {
    ///         Some(previous) if previous.validator() == Some(b"v1") => previous.not_modified(),
    ///         _ => Computed::new("<html>".to_owned()).validator("v1").tags(["user:42"]).into(),
    ///     })
    /// });
    /// let page = page.await?;
    /// assert!(page.outcome() == Outcome::Computed && page.has_tag("user:42"));
    /// assert_eq!(page.value().as_str(), "<html>");
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub fn fetch_or_revalidate<T, E, F, Fut>(
        self,
        compute: F,
    ) -> impl Future<Output = Result<Fetched<Arc<T>>, ComputeError<E>>>
    where
        T: Value,
        E: Send + Sync + 'static,
        F: FnOnce(Option<Previous<T>>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Revalidated<T>, E>> + Send + 'static,
    {
        async move {
            let compute = computation::revalidating(compute, self.tags.clone());
            self.fetch_by(compute, |value| value).await
        }
    }

    /// What `make` makes of the answer, and whence that came, by this computation if need be.
    async fn fetch_by<T, V, E>(
        self,
        compute: Computation<T, E>,
        make: impl FnOnce(Arc<T>) -> V,
    ) -> Result<Fetched<V>, ComputeError<E>>
    where
        T: Value,
        E: Send + Sync + 'static,
    {
        self.check::<E>()?;
        let (inner, compute) = (&self.cache.inner, compute.keeping_errors(self.error_ttl));
        let answered = inner.answer_whole(&self.key, self.options, &self.tags, compute).await?;
        Ok(answered.expect(IS_NO_BATCH).seen(inner.clock.ticks(), make))
    }

    /// Like [`Cache::refresh`].
    ///
    /// # Errors
    /// As [`Cache::get_or_compute`].
    pub fn refresh<T, E, F, Fut>(self, compute: F) -> impl Future<Output = Result<T, ComputeError<E>>>
    where
        T: Storable<C, Form: Clone>,
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        self.anew().get_or_compute(compute)
    }

    /// Like [`refresh`](Self::refresh), with a computation that also decides how its value is kept.
    pub(crate) async fn refresh_by<T, E, F, Fut>(self, compute: F) -> Result<T, ComputeError<E>>
    where
        T: Storable<C, Form: Clone>,
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Computed<T>, E>> + Send + 'static,
    {
        let form = self.anew().compute(compute, |computed: Computed<T>| computed.map(T::into_form)).await?;
        Ok(T::from_form(Arc::unwrap_or_clone(form)))
    }

    /// The call that computes whatever the tiers have, and tells others.
    pub(crate) fn anew(mut self) -> Self {
        self.options.tells_others = true;
        self.options.wait_for_write.get_or_insert(true);
        self.skip_l1_read().skip_l2_read()
    }

    /// Like [`Cache::get_or_compute_arc`], with a computation that also decides whether, and for how long, its value is
    /// kept.
    ///
    /// # Errors
    /// As [`Cache::get_or_compute`].
    pub fn get_or_decide<T, E, F, Fut>(self, compute: F) -> impl Future<Output = Result<Arc<T>, ComputeError<E>>>
    where
        T: Value,
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Computed<T>, E>> + Send + 'static,
    {
        self.compute(compute, |computed| computed)
    }

    /// Like [`get_or_decide`](Entry::get_or_decide), with a computation that is given what was there before, so that it
    /// can ask its origin whether that has changed, and need not fetch what has not.
    ///
    /// [`Previous`] has the value, stale, near its end, or expired and within its grace, its age, and the validator that
    /// its computation named; there is none where nothing is left of it, or it was invalidated. So give entries a
    /// [`stale_if_error`](Entry::stale_if_error) as long as asking is worth while. The computation answers with another
    /// value, or by [`Previous::not_modified`] that the value is as it was: then the entry gets new dates in both tiers, of
    /// which other processes hear as of those of a new value, and keeps its tags and its validator.
    ///
    /// It is a computation like any other: invalidations while it runs keep its answer out of the tiers, what it says of a
    /// value that was forgotten meanwhile included, and its failure is answered with the previous value within its grace.
    ///
    /// # Errors
    /// As [`Cache::get_or_compute`].
    ///
    /// # Cost
    /// A value that is not modified is written to the backend once more, as a whole.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use cachekit::{CacheBuilder, Computed, Previous};
    ///
    /// /// What a server answers to a request with this `If-None-Match`: nothing new, or a body and its ETag.
    /// async fn fetch(known: Option<&[u8]>) -> std::io::Result<Option<(String, &'static str)>> {
    ///     Ok((known != Some(b"\"v1\"")).then(|| ("<html>".to_owned(), "\"v1\"")))
    /// }
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let pages = CacheBuilder::new().namespace("pages").stale_if_error(Duration::from_secs(86_400)).build()?;
    /// let home = pages.entry("home").get_or_revalidate(|previous: Option<Previous<String>>| async move {
    ///     let known = previous.as_ref().and_then(Previous::validator);
    ///     match (fetch(known).await?, previous) {
    ///         (None, Some(previous)) => Ok(previous.not_modified()),
    ///         (None, None) => Err(std::io::Error::other("304 to a request without If-None-Match")),
    ///         (Some((body, etag)), _) => Ok(Computed::new(body).validator(etag).into()),
    ///     }
    /// });
    /// assert_eq!(*home.await?, "<html>");
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub fn get_or_revalidate<T, E, F, Fut>(self, compute: F) -> impl Future<Output = Result<Arc<T>, ComputeError<E>>>
    where
        T: Value,
        E: Send + Sync + 'static,
        F: FnOnce(Option<Previous<T>>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Revalidated<T>, E>> + Send + 'static,
    {
        async move {
            self.check::<E>()?;
            match self.seek() {
                Look::Hit(value) => Ok(value),
                Look::Miss(miss) => {
                    let compute = computation::revalidating(compute, self.tags).keeping_errors(self.error_ttl);
                    self.cache.inner.answer(miss, self.options, compute).await
                }
            }
        }
    }

    /// Refuses what no call can mean whose computation has errors of this type.
    fn check<E: 'static>(&self) -> Result<(), Error> {
        self.error_ttl.as_deref().map_or(Ok(()), ErrorTtl::check::<E>)?;
        self.options.check()
    }

    /// Looks in L1 for a call that can compute, and that names these tags.
    #[inline]
    fn seek<T: Value>(&self) -> Look<T> {
        let mut look = self.cache.inner.seek(&self.key, &self.options);
        if let Look::Miss(miss) = &mut look {
            miss.tags = self.cache.inner.tiers.tags(&self.tags);
        }
        look
    }

    /// The shared value, by what `decide` makes of what is computed.
    fn compute<V, T, E, F, Fut>(
        self,
        compute: F,
        decide: impl FnOnce(V) -> Computed<T> + Send + 'static,
    ) -> impl Future<Output = Result<Arc<T>, ComputeError<E>>>
    where
        T: Value,
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
    {
        async move {
            self.check::<E>()?;
            match self.seek() {
                Look::Hit(value) => Ok(value),
                Look::Miss(miss) => {
                    let compute = computation::boxed(compute, |value| decide(value).also(self.tags));
                    let compute = compute.keeping_errors(self.error_ttl);
                    self.cache.inner.answer(miss, self.options, compute).await
                }
            }
        }
    }
}

/// Without the key, which often carries personal data.
impl<B: Backend, C: Codec, K> fmt::Debug for Entry<'_, B, C, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("cache", &self.cache).field("options", &self.options).finish_non_exhaustive()
    }
}
