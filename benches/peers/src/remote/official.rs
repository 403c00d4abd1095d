//! cachekit-rs, the official client, without its memory.

use std::time::Duration;

use peer::{CacheKit, CacheKitBuilder};

use super::way::{Operation, Pages, Way, cannot, wrong};
use crate::Failure;
use crate::load::Page;

pub(crate) struct Official {
    pages: Pages,
    cache: CacheKit,
}

/// As its preset for production makes it.
pub(crate) async fn production(url: &str, pages: Pages) -> Result<Official, Failure> {
    let builder: CacheKitBuilder = CacheKit::production(url).await?;
    let cache = builder.namespace("official").no_l1().default_ttl(Duration::from_secs(3_600)).build()?;
    Ok(Official { pages, cache })
}

impl Way for Official {
    async fn get(&self, id: usize) -> Result<(), Failure> {
        let page: Page = self.cache.get(self.pages.name(id)).await?.ok_or_else(|| wrong(id))?;
        if page.is(id) { Ok(()) } else { Err(wrong(id)) }
    }

    async fn set(&self, id: usize) -> Result<(), Failure> {
        Ok(self.cache.set(self.pages.name(id), self.pages.page(id)).await?)
    }

    async fn invalidate(&self, id: usize) -> Result<(), Failure> {
        self.cache.delete(self.pages.name(id)).await?;
        Ok(())
    }

    async fn invalidate_tag(&self, _: usize) -> Result<(), Failure> {
        Err(cannot())
    }

    /// In the steps that its manual names for a computation of which there is one.
    async fn miss(&self, id: usize) -> Result<(), Failure> {
        let name = self.pages.fresh(id);
        if self.cache.get::<Page>(&name).await?.is_some() {
            return Err(wrong(id));
        }
        let mut flight = self.cache.single_flight(&name).await;
        while flight.wait_for_fill().await {
            if self.cache.get::<Page>(&name).await?.is_some() {
                flight.release().await;
                return Ok(());
            }
        }
        self.cache.set(&name, self.pages.page(id)).await?;
        flight.release().await;
        Ok(())
    }

    fn can(&self, operation: Operation) -> bool {
        operation != Operation::InvalidateTag
    }
}
