//! What blocking caches forget.

use super::Cache;
use super::runtime::wait;
use crate::backends::Backend;
use crate::codec::Codec;
use crate::error::Error;
use crate::key::IntoKey;

impl<B: Backend, C: Codec> Cache<B, C> {
    /// Like [`Cache::invalidate`](crate::Cache::invalidate).
    ///
    /// # Errors
    /// As there, and inside a tokio runtime.
    pub fn invalidate(&self, key: impl IntoKey) -> Result<(), Error> {
        wait(self.0.invalidate(key))?
    }

    /// Like [`Cache::invalidate_many`](crate::Cache::invalidate_many).
    ///
    /// # Errors
    /// As there, and inside a tokio runtime.
    pub fn invalidate_many<K: IntoKey>(&self, keys: impl IntoIterator<Item = K>) -> Result<(), Error> {
        wait(self.0.invalidate_many(keys))?
    }

    /// Like [`Cache::invalidate_tag`](crate::Cache::invalidate_tag).
    ///
    /// # Errors
    /// As there, and inside a tokio runtime.
    pub fn invalidate_tag(&self, tag: &str) -> Result<(), Error> {
        wait(self.0.invalidate_tag(tag))?
    }

    /// Like [`Cache::invalidate_tags`](crate::Cache::invalidate_tags).
    ///
    /// # Errors
    /// As there, and inside a tokio runtime.
    pub fn invalidate_tags<'t>(&self, tags: impl IntoIterator<Item = &'t str>) -> Result<(), Error> {
        wait(self.0.invalidate_tags(tags))?
    }

    /// Like [`Cache::invalidate_namespace`](crate::Cache::invalidate_namespace).
    ///
    /// # Errors
    /// As there, and inside a tokio runtime.
    pub fn invalidate_namespace(&self) -> Result<(), Error> {
        wait(self.0.invalidate_namespace())?
    }

    /// Like [`Cache::clear`](crate::Cache::clear).
    ///
    /// # Errors
    /// As there, and inside a tokio runtime.
    pub fn clear(&self) -> Result<(), Error> {
        wait(self.0.clear())?
    }

    /// Like [`Cache::expire`](crate::Cache::expire).
    ///
    /// # Errors
    /// As there, and inside a tokio runtime.
    pub fn expire(&self, key: impl IntoKey) -> Result<(), Error> {
        wait(self.0.expire(key))?
    }

    /// Like [`Cache::expire_all`](crate::Cache::expire_all).
    ///
    /// # Errors
    /// As there, and inside a tokio runtime.
    pub fn expire_all(&self) -> Result<(), Error> {
        wait(self.0.expire_all())?
    }
}
