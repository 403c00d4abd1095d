//! fred: one client, one connection.

use fred::prelude::{Builder, Client, ClientLike, Config, Expiration, KeysInterface};

use super::way::{Pages, Way, check, wrong};
use crate::Failure;

pub(crate) struct Fred {
    pages: Pages,
    client: Client,
}

impl Fred {
    pub(crate) async fn connect(url: &str, pages: Pages) -> Result<Self, Failure> {
        let client = Builder::from_config(Config::from_url(url)?).build()?;
        client.init().await?;
        Ok(Self { pages, client })
    }

    async fn write(&self, name: &str, id: usize) -> Result<(), Failure> {
        let bytes = postcard::to_stdvec(self.pages.page(id))?;
        let bytes = bytes::Bytes::from(bytes);
        Ok(self.client.set::<(), _, _>(name, bytes, Some(Expiration::PX(3_600_000)), None, false).await?)
    }
}

impl Way for Fred {
    async fn get(&self, id: usize) -> Result<(), Failure> {
        let found: Option<bytes::Bytes> = self.client.get(self.pages.name(id)).await?;
        check(&found.ok_or_else(|| wrong(id))?, id)
    }

    async fn set(&self, id: usize) -> Result<(), Failure> {
        self.write(self.pages.name(id), id).await
    }

    async fn invalidate(&self, id: usize) -> Result<(), Failure> {
        Ok(self.client.del::<(), _>(self.pages.name(id)).await?)
    }

    async fn invalidate_tag(&self, id: usize) -> Result<(), Failure> {
        Ok(self.client.set::<(), _, _>(self.pages.tag(id), fastrand::i64(..), None, None, false).await?)
    }

    async fn miss(&self, id: usize) -> Result<(), Failure> {
        let name = self.pages.fresh(id);
        let found: Option<bytes::Bytes> = self.client.get(&name).await?;
        if found.is_some() { Err(wrong(id)) } else { self.write(&name, id).await }
    }
}
