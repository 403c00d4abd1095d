//! Forgetting, at all its ranges: what users call.
//!
//! One key is changed in `keys`, all of a tag or of the namespace in `many`.

use super::Cache;
use crate::backends::Backend;
use crate::codec::Codec;
use crate::error::Error;
use crate::event::Effect;
use crate::key::{IntoKey, Key};

mod keys;
mod many;

impl<B: Backend, C: Codec> Cache<B, C> {
    /// Forgets `key` in both tiers.
    ///
    /// Once this has returned, no call of this process returns a value whose computation or backend read began before,
    /// and no flight stores such a value. With a backend the work is done on a task: once polled, it goes on if this
    /// future is dropped.
    ///
    /// # Errors
    /// If the key is unusable, or the backend fails: this process has forgotten the entry, the backend may not have. It
    /// is told again until it is back, where the policy's `background` is on.
    pub async fn invalidate(&self, key: impl IntoKey) -> Result<(), Error> {
        self.inner.invalidate(&key).await
    }

    /// Forgets every entry of the namespace, in this process, in the backend and in other processes, at the price of a
    /// small write: entries of the backend stay until they expire, and are not found any more.
    ///
    /// Of the handle of a [domain](Cache::domain) it forgets the entries of the domain, in all tenants.
    ///
    /// The promise is that of [`invalidate`](Cache::invalidate), for all keys. Other caches of the namespace follow by
    /// the bus; those that hear nothing ask the backend at least once a second.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) where there is a backend and the setting
    /// `namespace_index` is off. If the backend fails: this process has forgotten the entries, others may not have.
    ///
    /// # Examples
    /// ```
    /// use cachekit::{CacheBuilder, Intent};
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let pages = CacheBuilder::new().intent(Intent::Production).namespace("pages").build()?;
    /// pages.set("home", 1u32).await?;
    /// pages.entry("news").tags(["author:7"]).set(2u32).await?;
    /// pages.invalidate_tag("author:7").await?;
    /// assert_eq!((pages.get::<u32>("home").await?, pages.get::<u32>("news").await?), (Some(1), None));
    /// pages.invalidate_namespace().await?;
    /// assert_eq!(pages.get::<u32>("home").await?, None);
    /// # Ok::<(), cachekit::Error>(()) }).unwrap();
    /// ```
    pub async fn invalidate_namespace(&self) -> Result<(), Error> {
        self.inner.forget_whole(Effect::Invalidated).await
    }

    /// Forgets every entry of the namespace that was stored with this tag, as
    /// [`invalidate_namespace`](Cache::invalidate_namespace) forgets all. Entries without the tag stay. In this process the
    /// order takes the same short time however many entries have the tag, and a task gives their memory back afterwards.
    ///
    /// In the backend the order is noted in a ledger, which takes at most 17 MB in each part of it, however many tags there
    /// are: entries with other tags stay, until about a million different tags were forgotten within the life of an entry.
    /// Where a part of the ledger is lost, entries from before are lost with it.
    ///
    /// # Errors
    /// As [`invalidate_namespace`](Cache::invalidate_namespace).
    pub async fn invalidate_tag(&self, tag: &str) -> Result<(), Error> {
        self.inner.forget_tags([tag]).await
    }

    /// Forgets many keys in both tiers, with the promise of [`invalidate`](Cache::invalidate) for each.
    ///
    /// All keys are read off when this is called, and forgotten by this process at once when it is first polled. Then
    /// the backend is told in batches, and other processes by one message for each key.
    ///
    /// # Errors
    /// If a key is unusable: nothing has changed then. If the backend fails, with the first failure: this process has
    /// forgotten every key, the backend may not have. It is told again of each until it is back, where the policy's
    /// `background` is on; it remembers at most 10,000 changes.
    ///
    /// # Cost
    /// Some hundred bytes a key until it is done, one backend operation for each 128 keys, and one message a key where
    /// there is a bus.
    ///
    /// # Examples
    /// ```
    /// use cachekit::{CacheBuilder, Intent};
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let users = CacheBuilder::new().intent(Intent::Production).namespace("users").build()?;
    /// for id in 1..=3u64 {
    ///     users.set(id, format!("user {id}")).await?;
    /// }
    /// users.invalidate_many([1u64, 3]).await?;
    /// assert_eq!(users.get::<String>(1).await?, None);
    /// assert_eq!(users.get::<String>(2).await?.as_deref(), Some("user 2"));
    /// # Ok::<(), cachekit::Error>(()) }).unwrap();
    /// ```
    pub fn invalidate_many<K: IntoKey>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        let keys: Result<Vec<Key>, Error> = keys.into_iter().map(|key| self.inner.key(&key)).collect();
        async move { self.inner.invalidate_many(keys?).await }
    }

    /// Forgets every entry of the namespace that was stored with one of these tags, as
    /// [`invalidate_tag`](Cache::invalidate_tag) does for one. No tags: nothing happens.
    ///
    /// # Errors
    /// As [`invalidate_namespace`](Cache::invalidate_namespace).
    ///
    /// # Cost
    /// One write to the backend for each 94 tags, which tells other processes where there is a bus.
    ///
    /// # Examples
    /// ```
    /// use cachekit::{CacheBuilder, Intent};
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let pages = CacheBuilder::new().intent(Intent::Production).namespace("pages").build()?;
    /// pages.entry("home").tags(["news"]).set(1u32).await?;
    /// pages.entry("team").tags(["author:7"]).set(2u32).await?;
    /// pages.invalidate_tags(["news", "author:7"]).await?;
    /// assert_eq!((pages.get::<u32>("home").await?, pages.get::<u32>("team").await?), (None, None));
    /// # Ok::<(), cachekit::Error>(()) }).unwrap();
    /// ```
    pub fn invalidate_tags<'t>(
        &self,
        tags: impl IntoIterator<Item = &'t str>,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        let tags: Vec<&str> = tags.into_iter().collect();
        async move { self.inner.forget_tags(tags).await }
    }

    /// Forgets every entry of the namespace as [`invalidate_namespace`](Cache::invalidate_namespace) does, and leaves
    /// nothing that calls of this process could fall back on.
    ///
    /// The memory of L1 is given back at once. A computation under way that fails is answered with its error, not with
    /// an older value, and keys that are left alone because they failed lately are tried again. Reaches all tenants of
    /// the namespace. Other processes hear of an invalidation of the namespace; they give the memory back in
    /// the background. Of the handle of a [domain](Cache::domain) it forgets the entries of the domain, as
    /// [`invalidate_namespace`](Cache::invalidate_namespace) does, and their memory is given back in the background.
    ///
    /// # Errors
    /// As [`invalidate_namespace`](Cache::invalidate_namespace). Without a backend there are none.
    ///
    /// # Cost
    /// One small write to the backend, and a drop of each value that L1 holds.
    ///
    /// # Examples
    /// ```
    /// use cachekit::{CacheBuilder, Intent};
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let pages = CacheBuilder::new().intent(Intent::Minimal).build()?;
    /// pages.set("home", vec![0u8; 10_000]).await?;
    /// assert!(pages.l1_bytes() > 10_000);
    /// pages.clear().await?;
    /// assert_eq!((pages.l1_bytes(), pages.get::<Vec<u8>>("home").await?), (0, None));
    /// # Ok::<(), cachekit::Error>(()) }).unwrap();
    /// ```
    pub async fn clear(&self) -> Result<(), Error> {
        self.inner.forget_whole(Effect::Cleared).await
    }

    /// Lets the entry of `key` expire now. It is not read any more, but stands in for a computation that fails or is
    /// slow, as an entry does that expired by itself, as long as its grace (`stale_if_error`) lasts from now.
    ///
    /// So the next call computes, and while the origin is down callers keep the last known value. In this process, in
    /// the backend and in others. Computations under way store nothing, as with [`invalidate`](Cache::invalidate).
    /// While somebody computes the key the backend keeps no fallback, as nothing would tell there of a change by
    /// another process at the same moment; L1 does. Where the backend has no leases, a `set` of another process at
    /// the same moment may be lost.
    ///
    /// # Errors
    /// As [`invalidate`](Cache::invalidate). After a failure of the backend the entry is removed from it, not kept as a
    /// fallback.
    ///
    /// # Cost
    /// Reads the entry from the backend and writes it once, by four operations.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use cachekit::{CacheBuilder, Intent};
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let grace = Duration::from_secs(600);
    /// let rates = CacheBuilder::new().intent(Intent::Production).namespace("rates").stale_if_error(grace).build()?;
    /// rates.set("eur", 108u32).await?;
    /// rates.expire("eur").await?;
    /// assert_eq!(rates.get::<u32>("eur").await?, None);
    /// let down = || async { Err::<u32, _>(std::io::Error::other("the bank is closed")) };
    /// assert_eq!(rates.get_or_compute("eur", down).await?, 108);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub async fn expire(&self, key: impl IntoKey) -> Result<(), Error> {
        self.inner.expire(&key).await
    }

    /// Lets every entry of the namespace expire now, as [`expire`](Cache::expire) does for one, at the price of a few
    /// small writes. Reaches all tenants of the namespace.
    ///
    /// The last of these is remembered: what an earlier one has let expire is gone, and so is everything from before a
    /// later [`invalidate_namespace`](Cache::invalidate_namespace) or [`clear`](Cache::clear). A backend without
    /// leases keeps no fallbacks, as nothing would tell there of an invalidation by another process at the same
    /// moment; L1 does. Of the handle of a [domain](Cache::domain) it lets the entries of the domain expire, in all
    /// tenants; fallbacks are kept by the L1 of this process alone.
    ///
    /// # Errors
    /// As [`invalidate_namespace`](Cache::invalidate_namespace). After a failure of the backend its entries are
    /// invalidated, not kept as fallbacks.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use cachekit::{CacheBuilder, Intent};
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let grace = Duration::from_secs(600);
    /// let rates = CacheBuilder::new().intent(Intent::Production).namespace("rates").stale_if_error(grace).build()?;
    /// rates.set("eur", 108u32).await?;
    /// rates.expire_all().await?;
    /// assert!(!rates.exists("eur").await?);
    /// let down = || async { Err::<u32, _>(std::io::Error::other("the bank is closed")) };
    /// assert_eq!(rates.get_or_compute("eur", down).await?, 108);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub async fn expire_all(&self) -> Result<(), Error> {
        self.inner.forget_whole(Effect::Expired).await
    }
}
