//! Hits in L1: whole calls of ours beside bare look-ups of the peers.

use std::borrow::Borrow;
use std::hash::Hash;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use cachekit::{Backend, Cache, Codec, IntoKey};
use tokio::runtime::Runtime;

use crate::Failure;
use crate::arguments::Arguments;
use crate::load::{Order, User, texts};
use crate::local::lru::Sharded;
use crate::local::ours::{self, absent, now};
use crate::local::{Key, Payload, Store, drive, foyer, runtime_beside};
use crate::report::{Case, Report, less};
use crate::rounds::{Candidate, interleave};

const ABOUT: &str = "One call that finds its value in the memory of the process. Ours is `get_or_compute` \
    (`get_or_compute_arc` where the value is an `Arc`) of a cache from the builder, polled once; the peers' is `get`. With \
    two threads both make calls all the time, and the figures are of the calls of one.";
const TURN: Duration = Duration::from_millis(240);
/// Room for all.
const BUDGET: usize = 256 << 20;

pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    let many = 100_000;
    let names = texts(many);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (hot, zipf) = (Order::hot(), Order::zipf(many, 0.99));
    let (mut cases, runtime) = (Vec::new(), runtime_beside()?);
    for threads in [1, 2] {
        let load = |what: &str, order| Load {
            name: format!("{what}, {threads} thread{}", if threads == 1 { "" } else { "s" }),
            threads,
            time: arguments.turn(TURN),
            rounds: arguments.rounds,
            order,
            runtime: &runtime,
        };
        cases.push(load("one hot key, &str of 24 B to u64", &hot).measure::<_, u64>(&names[..1])?);
        cases.push(load("one hot key, u64 to u64", &hot).measure::<u64, u64>(&[0])?);
        cases.push(load("one hot key, &str of 24 B to Arc<User>", &hot).measure::<_, Arc<User>>(&names[..1])?);
        cases.push(load("Zipf 0.99 over 100,000 keys, &str of 24 B to u64", &zipf).measure::<_, u64>(&names)?);
    }
    Ok(Report {
        suite: "hit",
        about: ABOUT,
        metrics: vec![less("CPU ns"), less("wall ns")],
        references: vec!["quick_cache", "moka"],
        cases,
        remarks: Vec::new(),
    })
}

/// A key as ours and as the peers take it.
trait Name: IntoKey + Copy + Sync {
    type Owned: Key + Borrow<Self::Plain>;
    type Plain: ?Sized + Eq + Hash + ToOwned<Owned = Self::Owned>;
    fn plain(&self) -> &Self::Plain;
}

impl Name for &str {
    type Owned = String;
    type Plain = str;
    fn plain(&self) -> &str {
        self
    }
}

impl Name for u64 {
    type Owned = u64;
    type Plain = u64;
    fn plain(&self) -> &u64 {
        self
    }
}

/// What is found.
trait Found: Payload {
    fn make(id: u64) -> Self;
    async fn put<B: Backend, C: Codec>(cache: &Cache<B, C>, key: impl IntoKey, id: u64) -> Result<(), Failure>;
    fn ask<B: Backend, C: Codec>(cache: &Cache<B, C>, key: impl IntoKey) -> Self;
}

impl Found for u64 {
    fn make(id: u64) -> Self {
        id
    }

    async fn put<B: Backend, C: Codec>(cache: &Cache<B, C>, key: impl IntoKey, id: u64) -> Result<(), Failure> {
        Ok(cache.set(key, id).await?)
    }

    #[inline]
    fn ask<B: Backend, C: Codec>(cache: &Cache<B, C>, key: impl IntoKey) -> Self {
        now(cache.get_or_compute(key, absent)).expect("a hit")
    }
}

impl Found for Arc<User> {
    fn make(id: u64) -> Self {
        Self::new(User::new(id))
    }

    async fn put<B: Backend, C: Codec>(cache: &Cache<B, C>, key: impl IntoKey, id: u64) -> Result<(), Failure> {
        Ok(cache.set(key, User::new(id)).await?)
    }

    #[inline]
    fn ask<B: Backend, C: Codec>(cache: &Cache<B, C>, key: impl IntoKey) -> Self {
        now(cache.get_or_compute_arc(key, absent)).expect("a hit")
    }
}

/// So many threads that ask for keys in an order.
struct Load<'a> {
    name: String,
    threads: usize,
    time: Duration,
    rounds: usize,
    order: &'a Order,
    runtime: &'a Runtime,
}

impl Load<'_> {
    fn measure<K: Name, V: Found>(&self, keys: &[K]) -> Result<Case, Failure> {
        let room = keys.len() * 2;
        let all = vec![
            self.ours::<K, V>("cachekit Production", keys, ours::production(BUDGET)?)?,
            self.ours::<K, V>("cachekit Minimal", keys, ours::minimal(BUDGET)?)?,
            self.ours::<K, V>("cachekit over Memory", keys, ours::over_memory(BUDGET)?)?,
            self.peer("quick_cache", keys, quick_cache::sync::Cache::<K::Owned, V>::new(room)),
            self.peer("moka", keys, moka::sync::Cache::<K::Owned, V>::new(room as u64)),
            self.peer("foyer S3-FIFO", keys, foyer::<K::Owned, V>(room)),
            self.peer("lru, mutex, shards", keys, Sharded::<K::Owned, V>::new(room)),
        ];
        interleave(&self.name, self.rounds, all)
    }

    fn ours<'a, K: Name, V: Found>(
        &'a self,
        name: &'static str,
        keys: &'a [K],
        cache: Cache<impl Backend, impl Codec>,
    ) -> Result<Candidate<'a>, Failure> {
        self.runtime.block_on(async {
            for (id, key) in (0..).zip(keys) {
                V::put(&cache, *key, id).await?;
            }
            Ok::<_, Failure>(())
        })?;
        Ok(Candidate::sure(name, move || {
            drive(self.threads, self.time, |turn| {
                black_box(V::ask(&cache, keys[self.order.at(turn)]));
            })
        }))
    }

    fn peer<'a, K: Name, V: Found>(
        &'a self,
        name: &'static str,
        keys: &'a [K],
        store: impl Store<K::Plain, V> + 'a,
    ) -> Candidate<'a> {
        (0..).zip(keys).for_each(|(id, key)| store.write(key.plain(), V::make(id)));
        Candidate::sure(name, move || {
            drive(self.threads, self.time, |turn| {
                black_box(store.read(keys[self.order.at(turn)].plain()).expect("a hit"));
            })
        })
    }
}
