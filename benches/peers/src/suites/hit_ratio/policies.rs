//! The policies: caches of a capacity, run over requests.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::loads::{Load, Sizes};
use crate::Failure;
use crate::local::lru::Sharded;
use crate::local::{Store, foyer, ours, runtime};

/// Keys of ours have as many digits each, so that they weigh the same.
pub(super) const FIRST: u64 = 10_000_000;
const MIB: usize = 1 << 20;

/// What a cache may hold.
pub(super) enum Room {
    /// So many entries: for ours, values of so many bytes in so large a budget.
    Entries { count: usize, value: usize, budget: usize },
    /// So many bytes, of which each entry takes so many beside its value.
    Bytes { budget: usize, beside: usize },
}

impl Room {
    pub(super) fn entries(count: usize) -> Result<Self, Failure> {
        let beside = beside()?;
        // The least budget of ours is a mebibyte.
        let weight = (MIB.div_ceil(count)).max(beside + 8);
        Ok(Self::Entries { count, value: weight - beside, budget: weight * count })
    }

    /// So many bytes of values. An entry of ours may take an eighth of the budget.
    pub(super) fn bytes(values: usize) -> Result<Self, Failure> {
        Ok(Self::Bytes { budget: values.max(MIB), beside: beside()? })
    }

    pub(super) fn name(&self, load: &Load) -> String {
        match self {
            Self::Entries { count, .. } => {
                format!("{count} entries, {:.0} %", *count as f64 * 100.0 / load.distinct as f64)
            }
            Self::Bytes { budget, .. } => format!("{:.1} MiB", *budget as f64 / MIB as f64),
        }
    }
}

/// What ours counts for an entry beside the bytes of its value.
fn beside() -> Result<usize, Failure> {
    let value = "v".repeat(100);
    Ok(ours::weight(FIRST, value)? - 100)
}

/// The hits of a whole cache of ours.
pub(super) fn ours(load: &Load, room: &Room) -> Result<usize, Failure> {
    let (budget, value) = match room {
        Room::Entries { budget, value, .. } => (*budget, *value),
        Room::Bytes { budget, .. } => (*budget, 0),
    };
    let cache = ours::production(budget)?;
    let computed = Arc::new(AtomicUsize::new(0));
    runtime()?.block_on(async {
        for id in &load.requests {
            let length = if let Sizes::Differing(size) = &load.sizes { size(*id) as usize } else { value };
            let computed = Arc::clone(&computed);
            let compute = move || async move {
                computed.fetch_add(1, Ordering::Relaxed);
                Ok::<_, Infallible>("v".repeat(length))
            };
            cache.get_or_compute_arc(FIRST + u64::from(*id), compute).await?;
        }
        Ok::<_, Failure>(load.requests.len() - computed.load(Ordering::Relaxed))
    })
}

type Hits<'a> = Box<dyn Fn() -> usize + 'a>;

/// The peers that can count as this room asks.
pub(super) fn peers<'a>(load: &'a Load, room: &'a Room) -> Vec<(&'static str, Hits<'a>)> {
    match (room, &load.sizes) {
        (Room::Bytes { budget, beside }, Sizes::Differing(size)) => weighing(load, *budget, *beside, *size),
        (Room::Entries { count, .. }, _) => counting(load, *count),
        (Room::Bytes { .. }, Sizes::Equal(_)) => Vec::new(),
    }
}

fn counting(load: &Load, count: usize) -> Vec<(&'static str, Hits<'_>)> {
    vec![
        ("quick_cache", Box::new(move || hits(load, &quick_cache::sync::Cache::new(count), |_| 0))),
        ("moka", Box::new(move || hits(load, &moka::sync::Cache::new(count as u64), |_| 0))),
        ("foyer S3-FIFO", Box::new(move || hits(load, &foyer(count), |_| 0))),
        ("lru, mutex, shards", Box::new(move || hits(load, &Sharded::new(count), |_| 0))),
    ]
}

/// Values are what their entries weigh.
fn weighing(load: &Load, budget: usize, beside: usize, size: fn(u32) -> u32) -> Vec<(&'static str, Hits<'_>)> {
    let weight = move |id: u32| size(id) + beside as u32;
    let usual = budget / 500;
    vec![
        (
            "quick_cache",
            Box::new(move || {
                hits(load, &quick_cache::sync::Cache::with_weighter(usual, budget as u64, Weigher), weight)
            }),
        ),
        (
            "moka",
            Box::new(move || {
                let builder = moka::sync::Cache::builder().max_capacity(budget as u64);
                hits(load, &builder.weigher(|_: &u64, weight: &u32| *weight).build(), weight)
            }),
        ),
        (
            "foyer S3-FIFO",
            Box::new(move || {
                let builder =
                    foyer_memory::CacheBuilder::new(budget).with_weighter(|_: &u64, weight: &u32| *weight as usize);
                let builder = builder.with_eviction_config(foyer_memory::S3FifoConfig::default());
                hits(load, &builder.build(), weight)
            }),
        ),
    ]
}

#[derive(Clone)]
struct Weigher;

impl quick_cache::Weighter<u64, u32> for Weigher {
    fn weight(&self, _: &u64, weight: &u32) -> u64 {
        u64::from(*weight)
    }
}

fn hits(load: &Load, store: &impl Store<u64, u32>, value: impl Fn(u32) -> u32) -> usize {
    let mut hits = 0;
    for id in &load.requests {
        let key = u64::from(*id);
        if store.read(&key).is_some() {
            hits += 1;
        } else {
            store.write(&key, value(*id));
        }
    }
    hits
}
