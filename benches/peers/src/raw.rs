//! The client that cachekit is built on, used directly.
//!
//! The reference is the fastest of these that read values, not bytes: one connection for all tasks as it comes, one that
//! writes more at once, and two.

use std::sync::atomic::{AtomicUsize, Ordering};

use deadpool_redis::{Config, Pool, Runtime};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, SetExpiry, SetOptions};

use crate::case::Case;
use crate::contender::{Contender, Kind};
use crate::page::Page;
use crate::server::Server;
use crate::way::{Failure, Pages, Way, wrong};

const TTL_MILLIS: u64 = 3_600_000;
/// Connections of the pool that is asked for one for each command.
const POOLED: usize = 16;

pub(crate) async fn contenders(server: &Server, case: &Case) -> Result<Vec<Contender>, Failure> {
    let raw = async |prefix, connections, buffer, decodes| -> Result<Raw, Failure> {
        let mut all = Vec::new();
        for _ in 0..connections {
            let mut config = AsyncConnectionConfig::new();
            if let Some(buffer) = buffer {
                config = config.set_pipeline_buffer_size(buffer);
            }
            all.push(server.client()?.get_multiplexed_async_connection_with_config(&config).await?);
        }
        Ok(Raw { pages: Pages::new(prefix, case.keys, case.size), all, turn: AtomicUsize::new(0), decodes })
    };
    let pool = Config::from_url(server.url()).builder()?.max_size(POOLED).runtime(Runtime::Tokio1).build()?;
    let pooled = Pooled { pages: Pages::new("pooled", case.keys, case.size), pool };
    let new = |name, kind, raw| Contender::new(name, kind, case.keys, raw);
    Ok(vec![
        new("raw redis", Kind::Reference, raw("raw", 1, None, true).await?),
        new("raw redis, buffer 512", Kind::Reference, raw("buffered", 1, Some(512), true).await?),
        new("raw redis, 2 connections", Kind::Reference, raw("two", 2, None, true).await?),
        new("raw redis, bytes", Kind::Compared, raw("bytes", 1, None, false).await?),
        Contender::new("deadpool-redis, per command", Kind::Compared, case.keys, pooled),
    ])
}

struct Raw {
    pages: Pages,
    all: Vec<MultiplexedConnection>,
    turn: AtomicUsize,
    /// Whether bytes are read back into a value.
    decodes: bool,
}

impl Raw {
    fn connection(&self) -> MultiplexedConnection {
        match &self.all[..] {
            [one] => one.clone(),
            all => all[self.turn.fetch_add(1, Ordering::Relaxed) % all.len()].clone(),
        }
    }
}

impl Way for Raw {
    async fn get(&self, id: usize) -> Result<(), Failure> {
        let found: Option<Vec<u8>> = Cmd::get(&self.pages.names[id]).query_async(&mut self.connection()).await?;
        let bytes = found.ok_or_else(|| wrong(id))?;
        if self.decodes { check(&bytes, id) } else { Ok(()) }
    }

    async fn set(&self, id: usize) -> Result<(), Failure> {
        Ok(write(&self.pages, id)?.query_async(&mut self.connection()).await?)
    }
}

/// A connection of the pool for each command.
struct Pooled {
    pages: Pages,
    pool: Pool,
}

impl Way for Pooled {
    async fn get(&self, id: usize) -> Result<(), Failure> {
        let mut connection = self.pool.get().await?;
        let found: Option<Vec<u8>> = Cmd::get(&self.pages.names[id]).query_async(&mut connection).await?;
        check(&found.ok_or_else(|| wrong(id))?, id)
    }

    async fn set(&self, id: usize) -> Result<(), Failure> {
        let command = write(&self.pages, id)?;
        Ok(command.query_async(&mut self.pool.get().await?).await?)
    }
}

fn write(pages: &Pages, id: usize) -> Result<Cmd, Failure> {
    let options = SetOptions::default().with_expiration(SetExpiry::PX(TTL_MILLIS));
    Ok(Cmd::set_options(&pages.names[id], postcard::to_stdvec(&pages.pages[id])?, options))
}

fn check(bytes: &[u8], id: usize) -> Result<(), Failure> {
    let page: Page = postcard::from_bytes(bytes)?;
    if page.is(id) { Ok(()) } else { Err(wrong(id)) }
}
