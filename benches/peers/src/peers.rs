//! The official client, without its memory.

use std::time::Duration;

use peer::CacheKit;

use crate::case::Case;
use crate::contender::{Contender, Kind};
use crate::page::Page;
use crate::server::Server;
use crate::way::{Failure, Pages, Way, wrong};

const TTL: Duration = Duration::from_secs(3_600);

pub(crate) async fn contenders(server: &Server, case: &Case) -> Result<Vec<Contender>, Failure> {
    let url = server.url();
    let minimal = CacheKit::minimal(&url).await?.namespace("peer-minimal");
    let production = CacheKit::production(&url).await?.namespace("peer-production");
    let new = |name, builder: peer::CacheKitBuilder| -> Result<Contender, Failure> {
        let cache = builder.no_l1().default_ttl(TTL).build()?;
        let pages = Pages::new("page", case.keys, case.size);
        Ok(Contender::new(name, Kind::Compared, case.keys, Official { cache, pages }))
    };
    Ok(vec![new("cachekit-rs minimal", minimal)?, new("cachekit-rs production", production)?])
}

struct Official {
    cache: CacheKit,
    pages: Pages,
}

impl Way for Official {
    async fn get(&self, id: usize) -> Result<(), Failure> {
        let page: Page = self.cache.get(&self.pages.names[id]).await?.ok_or_else(|| wrong(id))?;
        if page.is(id) { Ok(()) } else { Err(wrong(id)) }
    }

    async fn set(&self, id: usize) -> Result<(), Failure> {
        Ok(self.cache.set(&self.pages.names[id], &self.pages.pages[id]).await?)
    }
}
