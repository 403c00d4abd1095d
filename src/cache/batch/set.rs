//! Setting many values.

use std::collections::HashSet;
use std::sync::Arc;

use super::{AT_ONCE, Call, each};
use crate::backends::Backend;
use crate::cache::{Cache, Computed};
use crate::codec::Codec;
use crate::error::Error;
use crate::key::{IntoKey, Key};
use crate::sensitive::Storable;
use crate::tiers::Options;

impl<B: Backend, C: Codec> Cache<B, C> {
    /// Stores many values, each as [`set`](Cache::set) does. Of two for one key the last stays.
    ///
    /// # Errors
    /// The first error of [`set`](Cache::set). The values of other keys are stored.
    ///
    /// # Cost
    /// As of `set` for each, with up to 256 under way at once, which backends take in few round trips, and no more than
    /// `max_concurrent`: a batch alone never waits in the queue for operations of the backend.
    ///
    /// # Examples
    /// ```
    /// use cachekit::{CacheBuilder, Intent};
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let pages = CacheBuilder::new().intent(Intent::Production).namespace("pages").build()?;
    /// pages.set_many([("home", 1u32), ("team", 2)]).await?;
    /// assert_eq!(pages.get_many::<u32, _>(["team", "home", "news"]).await?, [Some(2), Some(1), None]);
    /// # Ok::<(), cachekit::Error>(()) }).unwrap();
    /// ```
    pub fn set_many<K: IntoKey + 'static, T: Storable<C>>(
        &self,
        items: impl IntoIterator<Item = (K, T)>,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        self.set_many_with(items.into_iter().map(|(key, value)| (key, Computed::new(value))))
    }

    /// Like [`set_many`](Cache::set_many), with a TTL and tags for each value.
    ///
    /// # Errors
    /// As [`set_many`](Cache::set_many).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use cachekit::{CacheBuilder, Computed, Intent};
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let pages = CacheBuilder::new().intent(Intent::Production).namespace("pages").build()?;
    /// let news = Computed::new(3u32).ttl(Duration::from_secs(60)).tags(["news"]);
    /// pages.set_many_with([("news", news), ("team", Computed::new(2))]).await?;
    /// pages.invalidate_tag("news").await?;
    /// assert_eq!(pages.get_many::<u32, _>(["news", "team"]).await?, [None, Some(2)]);
    /// # Ok::<(), cachekit::Error>(()) }).unwrap();
    /// ```
    pub fn set_many_with<K: IntoKey + 'static, T: Storable<C>>(
        &self,
        items: impl IntoIterator<Item = (K, Computed<T>)>,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        let items: Vec<(K, Computed<T>)> = items.into_iter().collect();
        async move {
            let items = last_of_each(items, |key| self.inner.key(key).ok());
            let stored = items.into_iter().filter(|(_, computed)| computed.decided.store);
            let set = |(key, computed): (K, Computed<T>)| -> Call<Result<(), Error>> {
                let inner = Arc::clone(&self.inner);
                Box::pin(async move {
                    let Computed { value, decided } = computed;
                    inner.set(&key, Options::default(), decided, Arc::new(value.into_form())).await
                })
            };
            each(stored.map(set).collect(), self.inner.at_once(AT_ONCE))
                .await
                .into_iter()
                .flatten()
                .fold(Ok(()), Result::and)
        }
    }
}

/// Of several items of one key the last: those that are under way at once have no order.
fn last_of_each<K, T>(items: Vec<(K, T)>, name: impl Fn(&K) -> Option<Key>) -> Vec<(K, T)> {
    let mut named = HashSet::new();
    let last = items.into_iter().rev().filter(|(key, _)| name(key).is_none_or(|name| named.insert(name)));
    last.collect()
}
