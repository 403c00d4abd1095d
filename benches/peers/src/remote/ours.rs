//! cachekit over a server, without its memory: every call goes there.

use std::sync::Arc;
use std::time::Duration;

use cachekit::backends::Redis;
use cachekit::codec::{Checked, Postcard};
use cachekit::intent::Preset;
use cachekit::{Backend, Cache, CacheBuilder, Codec, Intent};

use super::Contender;
use super::way::{Operation, Pages, Way, wrong};
use crate::Failure;
use crate::load::Page;

const TTL: Duration = Duration::from_secs(3_600);

/// A cache, asked by the same texts as the peers.
pub(crate) struct Whole<B: Backend, C: Codec> {
    cache: Cache<B, C>,
    pages: Arc<Pages>,
}

impl<B: Backend, C: Codec> Whole<B, C> {
    pub(crate) fn new(cache: Cache<B, C>, pages: Pages) -> Self {
        Self { cache, pages: Arc::new(pages) }
    }
}

/// Two caches as contenders, each with values of its own.
pub(crate) async fn both<B: Backend>(
    production: Cache<B, impl Codec>,
    minimal: Cache<B, impl Codec>,
    keys: usize,
    size: usize,
) -> Result<Vec<Contender>, Failure> {
    let pages = |prefix| Pages::new(prefix, keys, size);
    Ok(vec![
        Contender::filled("cachekit Production", keys, Whole::new(production, pages("w"))).await?,
        Contender::filled("cachekit Minimal", keys, Whole::new(minimal, pages("m"))).await?,
    ])
}

/// A builder of caches that go to their backend for everything.
pub(crate) fn builder<B: Backend, P: Preset>(backend: B, intent: P) -> CacheBuilder<B, Postcard, P> {
    CacheBuilder::new().namespace("ours").ttl(TTL).l1_enabled(false).backend(backend).intent(intent)
}

pub(crate) fn production(url: &str) -> Result<Cache<Redis, Checked<Postcard>>, Failure> {
    Ok(builder(Redis::from_url(url)?, Intent::Production).build()?)
}

pub(crate) fn minimal(url: &str) -> Result<Cache<Redis, Postcard>, Failure> {
    Ok(builder(Redis::from_url(url)?, Intent::Minimal).namespace("minimal").build()?)
}

impl<B: Backend, C: Codec> Way for Whole<B, C> {
    async fn get(&self, id: usize) -> Result<(), Failure> {
        let page: Page = self.cache.get(self.pages.name(id)).await?.ok_or_else(|| wrong(id))?;
        if page.is(id) { Ok(()) } else { Err(wrong(id)) }
    }

    async fn set(&self, id: usize) -> Result<(), Failure> {
        Ok(self.cache.set(self.pages.name(id), self.pages.page(id).clone()).await?)
    }

    async fn invalidate(&self, id: usize) -> Result<(), Failure> {
        Ok(self.cache.invalidate(self.pages.name(id)).await?)
    }

    async fn invalidate_tag(&self, id: usize) -> Result<(), Failure> {
        Ok(self.cache.invalidate_tag(&self.pages.tag(id)).await?)
    }

    async fn miss(&self, id: usize) -> Result<(), Failure> {
        let pages = Arc::clone(&self.pages);
        let compute = move || async move { Ok::<_, std::convert::Infallible>(pages.page(id).clone()) };
        let page: Page = self.cache.get_or_compute(self.pages.fresh(id), compute).await?;
        if page.is(id % self.pages.pages.len()) { Ok(()) } else { Err(wrong(id)) }
    }

    /// Tags need the ledger, which `Minimal` does not keep.
    fn can(&self, operation: Operation) -> bool {
        operation != Operation::InvalidateTag || self.cache.policy().namespace_index
    }
}
