//! Memcached: whole caches without L1 beside the bare client.

use std::time::Duration;

use cachekit::Intent;
use cachekit::backends::{AnyBackend, Memcached};

use super::redis::{bytes, workers};
use crate::Failure;
use crate::arguments::Arguments;
use crate::remote::way::{Operation, Pages, check, wrong};
use crate::remote::{Contender, Load, beside, metrics, ours};
use crate::report::Report;
use crate::rounds::Candidate;
use crate::servers::Server;
use crate::threads::{self, Blocking};

const ABOUT: &str = "One memcached on loopback, L1 off. The bare client is `memcache`, which blocks: a thread for each task, up \
    to 10, each with a connection of the pool. Ours has up to 10 connections as well.";
const TURN: Duration = Duration::from_millis(500);
const CONNECTIONS: usize = 10;

pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    let (runtime, keys) = (workers()?, 1_000);
    let sizes: &[usize] = if arguments.quick { &[200] } else { &[200, 16 << 10] };
    let mut cases = Vec::new();
    for size in sizes {
        let server = Server::memcached()?;
        let all = runtime.block_on(contenders(&server, keys, *size))?;
        let client = memcache::Client::with_pool_size(server.memcache_url(), CONNECTIONS as u32)?;
        let bare = Bare { client, pages: Pages::new("bare", keys, *size) };
        (0..keys).try_for_each(|id| bare.set(id))?;
        for (name, operation) in [("GET", Operation::Get), ("SET", Operation::Set)] {
            for tasks in [1, 64] {
                let load = Load { operation, tasks, keys, time: arguments.turn(TURN) };
                let threads = Load { tasks: tasks.min(CONNECTIONS), ..load };
                let bare = Candidate::new("bare memcache", || threads::drive(&bare, threads));
                cases.push(beside(&runtime, &all, bare, &format!("{name}, {}", bytes(*size)), load, arguments.rounds)?);
            }
        }
    }
    let remarks = Vec::new();
    Ok(Report { suite: "memcached", about: ABOUT, metrics: metrics(), references: vec!["bare"], cases, remarks })
}

async fn contenders(server: &Server, keys: usize, size: usize) -> Result<Vec<Contender>, Failure> {
    let place = format!("127.0.0.1:{}", server.port);
    let backend = || Ok::<_, Failure>(AnyBackend::new(Memcached::from_servers([&*place])?));
    let production = ours::builder(backend()?, Intent::Production).build()?;
    let minimal = ours::builder(backend()?, Intent::Minimal).namespace("minimal").build()?;
    ours::both(production, minimal, keys, size).await
}

struct Bare {
    client: memcache::Client,
    pages: Pages,
}

impl Blocking for Bare {
    fn get(&self, id: usize) -> Result<(), Failure> {
        let found: Option<Vec<u8>> = self.client.get(self.pages.name(id))?;
        check(&found.ok_or_else(|| wrong(id))?, id)
    }

    fn set(&self, id: usize) -> Result<(), Failure> {
        let bytes = postcard::to_stdvec(self.pages.page(id))?;
        Ok(self.client.set(self.pages.name(id), &bytes[..], 3_600)?)
    }
}
