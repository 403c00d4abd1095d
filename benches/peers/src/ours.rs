//! cachekit, without its memory: every read goes to the server.

use std::time::Duration;

use bytes::Bytes;
use cachekit::backends::Redis;
use cachekit::{Backend, Cache, CacheBuilder, Codec, Intent, Key};

use crate::case::Case;
use crate::contender::{Contender, Kind};
use crate::page::Page;
use crate::server::Server;
use crate::way::{Failure, Pages, Way, wrong};

const TTL: Duration = Duration::from_secs(3_600);

pub(crate) fn contenders(server: &Server, case: &Case) -> Result<Vec<Contender>, Failure> {
    let redis = || Redis::from_url(&server.url());
    let builder = |namespace| CacheBuilder::new().namespace(namespace).ttl(TTL).l1_enabled(false);
    let pages = || Pages::new("", case.keys, case.size).pages;
    let minimal = builder("minimal").backend(redis()?).intent(Intent::Minimal).build()?;
    let production = builder("production").backend(redis()?).intent(Intent::Production).build()?;
    let bare = Bare::new(redis()?, &pages())?;
    let kind = Kind::Compared;
    Ok(vec![
        Contender::new("cachekit minimal", kind, case.keys, Whole { cache: minimal, pages: pages() }),
        Contender::new("cachekit production", kind, case.keys, Whole { cache: production, pages: pages() }),
        Contender::new("cachekit backend, bytes", kind, case.keys, bare),
    ])
}

/// A cache, asked by number.
struct Whole<B: Backend, C: Codec> {
    cache: Cache<B, C>,
    pages: Vec<Page>,
}

impl<B: Backend, C: Codec> Way for Whole<B, C> {
    async fn get(&self, id: usize) -> Result<(), Failure> {
        let page: Page = self.cache.get(id as u64).await?.ok_or_else(|| wrong(id))?;
        if page.is(id) { Ok(()) } else { Err(wrong(id)) }
    }

    async fn set(&self, id: usize) -> Result<(), Failure> {
        Ok(self.cache.set(id as u64, self.pages[id].clone()).await?)
    }
}

/// The backend alone.
struct Bare {
    redis: Redis,
    keys: Vec<Key>,
    values: Vec<Bytes>,
}

impl Bare {
    fn new(redis: Redis, pages: &[Page]) -> Result<Self, Failure> {
        let keys = (0..pages.len()).map(|id| Key::new("bare", id as u64)).collect::<Result<_, _>>()?;
        let values = pages.iter().map(|page| Ok(postcard::to_stdvec(page)?.into())).collect::<Result<_, Failure>>()?;
        Ok(Self { redis, keys, values })
    }
}

impl Way for Bare {
    async fn get(&self, id: usize) -> Result<(), Failure> {
        let bytes = self.redis.get(&self.keys[id]).await?;
        if bytes.is_some_and(|bytes| bytes.len() == self.values[id].len()) { Ok(()) } else { Err(wrong(id)) }
    }

    async fn set(&self, id: usize) -> Result<(), Failure> {
        Ok(self.redis.set(&self.keys[id], self.values[id].clone(), TTL).await?)
    }
}
