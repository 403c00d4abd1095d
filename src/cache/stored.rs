//! Looking at what is stored, whatever its type: for tools.

use super::Cache;
use crate::backends::{Backend, Cursor};
use crate::codec::Codec;
use crate::error::{Error, ErrorKind};
use crate::event::Why;
use crate::guard::Guard;
use crate::key::{IntoKey, Key};
use crate::stored::{Stored, is_entry};

/// Some entries of a cache, as [`Cache::sample`] gives them.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Sample {
    /// The entries.
    pub entries: Vec<Stored>,
    /// Where the next ones come; `None` behind the last.
    pub next: Option<Cursor>,
}

impl<B: Backend, C: Codec> Cache<B, C> {
    /// What the backend has under `key`, of whatever type, by whatever codec. Nothing is renewed, L1 is not looked at, and
    /// nothing is counted.
    ///
    /// # Errors
    /// If the key is unusable, the cache has no backend, or that fails.
    ///
    /// # Examples
    /// ```
    /// use cachekit::{CacheBuilder, EntryState, Intent, Plain, backends::Memory, codec::Json};
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let cache = CacheBuilder::new().backend(Memory::new(1 << 20)).codec(Json).intent(Intent::Production).build()?;
    /// cache.set("tea", vec![3u32, 4]).await?;
    /// let stored = cache.stored("tea").await?.expect("it was set");
    /// assert_eq!((stored.state(), stored.stack().as_deref()), (EntryState::Fresh, Some("checked(json)")));
    /// assert_eq!(stored.open(), Ok(Plain::Text("[3,4]".to_owned())));
    /// # Ok::<(), cachekit::Error>(()) }).unwrap();
    /// ```
    pub async fn stored(&self, key: impl IntoKey) -> Result<Option<Stored>, Error> {
        let key = self.inner.key(&key)?;
        let found = self.guard()?.get(&key).await?;
        Ok(found.map(|bytes| Stored::new(key, bytes, self.inner.clock.wall())))
    }

    /// Some entries of this cache, or of its domain if the handle is one's, about `count`, as the backend lists them:
    /// from the beginning, or behind an earlier sample. Like [`stored`](Cache::stored), it changes nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if the backend cannot list its keys; if the cache has no backend, or that fails.
    ///
    /// # Cost
    /// A round trip for the names and one for each 64 entries, all of which are read.
    ///
    /// # Examples
    /// ```
    /// use cachekit::{CacheBuilder, backends::Memory};
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let cache = CacheBuilder::new().backend(Memory::new(1 << 20)).namespace("teas").build()?;
    /// cache.set("green", 1u32).await?;
    /// cache.set("black", 2u32).await?;
    /// let sample = cache.sample(None, 100).await?;
    /// let names: Vec<&str> = sample.entries.iter().map(|entry| entry.key().as_str()).collect();
    /// assert_eq!((names, sample.next), (vec!["teas:black", "teas:green"], None));
    /// # Ok::<(), cachekit::Error>(()) }).unwrap();
    /// ```
    pub async fn sample(&self, after: Option<Cursor>, count: usize) -> Result<Sample, Error> {
        let (guard, namespace) = (self.guard()?, self.inner.name());
        let page = guard.scan(&self.inner.namespace.prefix(), after, count).await?;
        let keys: Vec<Key> = page.keys.into_iter().filter(|key| is_entry(namespace, key.as_str())).collect();
        let mut entries = Vec::with_capacity(keys.len());
        for keys in keys.chunks(64) {
            for (key, bytes) in keys.iter().zip(guard.get_many(keys).await?) {
                if let Some(bytes) = guard.whole(key, bytes, &Why::default()).await? {
                    entries.push(Stored::new(key.clone(), bytes, self.inner.clock.wall()));
                }
            }
        }
        Ok(Sample { entries, next: page.next })
    }

    fn guard(&self) -> Result<&Guard<B>, Error> {
        let nothing = || Error::new(ErrorKind::Unsupported, "this cache has no backend: nothing is stored beyond L1");
        self.inner.tiers.l2.guard.as_ref().ok_or_else(nothing)
    }
}
