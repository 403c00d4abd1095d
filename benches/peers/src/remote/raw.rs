//! Clients of Redis used directly: one connection for all tasks as it comes, one that writes more at once, two, and a
//! pool that is asked for one for each command.

use std::sync::atomic::{AtomicUsize, Ordering};

use deadpool_redis::{Config, Pool, Runtime};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, SetExpiry, SetOptions};

use super::way::{Pages, Way, check, wrong};
use crate::Failure;

const TTL_MILLIS: u64 = 3_600_000;
/// Connections of the pool that is asked for one for each command.
const POOLED: usize = 16;

/// Connections in turn, or a pool.
enum Link {
    Shared { all: Vec<MultiplexedConnection>, turn: AtomicUsize },
    Pool(Pool),
}

pub(crate) struct Raw {
    pages: Pages,
    link: Link,
}

impl Raw {
    /// So many connections, which gather so many commands for a write.
    pub(crate) async fn shared(
        url: &str,
        connections: usize,
        buffer: Option<usize>,
        pages: Pages,
    ) -> Result<Self, Failure> {
        let mut config = AsyncConnectionConfig::new();
        if let Some(buffer) = buffer {
            config = config.set_pipeline_buffer_size(buffer);
        }
        let mut all = Vec::new();
        for _ in 0..connections {
            all.push(Client::open(url)?.get_multiplexed_async_connection_with_config(&config).await?);
        }
        Ok(Self { pages, link: Link::Shared { all, turn: AtomicUsize::new(0) } })
    }

    pub(crate) fn pooled(url: &str, pages: Pages) -> Result<Self, Failure> {
        let pool = Config::from_url(url).builder()?.max_size(POOLED).runtime(Runtime::Tokio1).build()?;
        Ok(Self { pages, link: Link::Pool(pool) })
    }

    async fn query<T: FromRedisValue>(&self, command: Cmd) -> Result<T, Failure> {
        match &self.link {
            Link::Pool(pool) => Ok(command.query_async(&mut pool.get().await?).await?),
            Link::Shared { all, turn } => {
                let index = if all.len() == 1 { 0 } else { turn.fetch_add(1, Ordering::Relaxed) % all.len() };
                Ok(command.query_async(&mut all[index].clone()).await?)
            }
        }
    }

    async fn write(&self, name: &str, id: usize) -> Result<(), Failure> {
        let options = SetOptions::default().with_expiration(SetExpiry::PX(TTL_MILLIS));
        let bytes = postcard::to_stdvec(self.pages.page(id))?;
        self.query(Cmd::set_options(name, bytes, options)).await
    }
}

impl Way for Raw {
    async fn get(&self, id: usize) -> Result<(), Failure> {
        let found: Option<Vec<u8>> = self.query(Cmd::get(self.pages.name(id))).await?;
        check(&found.ok_or_else(|| wrong(id))?, id)
    }

    async fn set(&self, id: usize) -> Result<(), Failure> {
        self.write(self.pages.name(id), id).await
    }

    async fn invalidate(&self, id: usize) -> Result<(), Failure> {
        self.query(Cmd::unlink(self.pages.name(id))).await
    }

    /// As programs do it by hand: each tag has a version in a key, which is replaced.
    async fn invalidate_tag(&self, id: usize) -> Result<(), Failure> {
        self.query(Cmd::set(self.pages.tag(id), fastrand::u64(..))).await
    }

    async fn miss(&self, id: usize) -> Result<(), Failure> {
        let name = self.pages.fresh(id);
        let found: Option<Vec<u8>> = self.query(Cmd::get(&name)).await?;
        if found.is_some() { Err(wrong(id)) } else { self.write(&name, id).await }
    }
}
