//! What a full cache saves where values differ in what they take to compute.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cachekit::testing::ManualClock;

use super::loads::{Load, Sizes};
use super::policies::{FIRST, Room};
use crate::Failure;
use crate::arguments::Arguments;
use crate::local::lru::Sharded;
use crate::local::{Store, foyer, ours, runtime};
use crate::report::{Case, Report, more};
use crate::rounds::{Candidate, interleave};

const ABOUT: &str = "How many hundredths a cache saves of the time that all requests would take without it. A value takes between a millisecond and a second to compute: which, its key says by a hash, so costs have nothing \
    to do with how often a key is asked for. Ours is a whole cache with L1 alone and a clock that computations move.";
/// No entry expires.
const TTL: Duration = Duration::from_secs(1_000 * 24 * 3_600);

pub(in crate::suites) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    let (loads, remarks) = super::all_loads(arguments)?;
    let mut cases = Vec::new();
    for load in loads.iter().filter(|load| matches!(load.sizes, Sizes::Equal(None))) {
        for part in [100, 10] {
            cases.push(measure(load, (load.distinct / part).max(64))?);
        }
    }
    cases.insert(0, super::mean(&cases));
    let metrics = vec![more("time saved %"), more("hit ratio %")];
    Ok(Report { suite: "costs", about: ABOUT, metrics, references: vec!["quick_cache", "moka"], cases, remarks })
}

fn measure(load: &Load, count: usize) -> Result<Case, Failure> {
    let all = vec![
        Candidate::new("cachekit, cost-aware", move || our_part(load, count, true)),
        Candidate::new("cachekit", move || our_part(load, count, false)),
        Candidate::sure("quick_cache", move || part(load, &quick_cache::sync::Cache::new(count))),
        Candidate::sure("moka", move || part(load, &moka::sync::Cache::new(count as u64))),
        Candidate::sure("foyer S3-FIFO", move || part(load, &foyer(count))),
        Candidate::sure("lru, mutex, shards", move || part(load, &Sharded::new(count))),
    ];
    interleave(&format!("{}, {count} entries", load.name), 1, all)
}

/// Microseconds: as many keys between one and ten milliseconds as between ten and a hundred.
fn cost(id: u32) -> u64 {
    let mixed = (u64::from(id) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let drawn = (mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 40;
    (1_000.0 * 1_000_f64.powf(drawn as f64 / (1 << 24) as f64)) as u64
}

/// Of so many misses that took so long.
fn percents(load: &Load, (misses, spent): (u64, u64)) -> Vec<f64> {
    let (requests, all) = (load.requests.len() as f64, load.requests.iter().map(|id| cost(*id)).sum::<u64>() as f64);
    vec![100.0 * (1.0 - spent as f64 / all), 100.0 * (1.0 - misses as f64 / requests)]
}

fn our_part(load: &Load, count: usize, is_aware: bool) -> Result<Vec<f64>, Failure> {
    let Room::Entries { value, budget, .. } = Room::entries(count)? else { return Err("a room for entries".into()) };
    let clock = ManualClock::new();
    let cache = ours::builder(budget).ttl(TTL).l1_cost_aware(is_aware).clock(Arc::new(clock.clone())).build()?;
    let counts = Arc::new([const { AtomicU64::new(0) }; 2]);
    runtime()?.block_on(async {
        for id in &load.requests {
            let (cost, clock, counts) = (cost(*id), clock.clone(), Arc::clone(&counts));
            let compute = move || async move {
                clock.advance(Duration::from_micros(cost));
                counts[0].fetch_add(1, Ordering::Relaxed);
                counts[1].fetch_add(cost, Ordering::Relaxed);
                Ok::<_, Infallible>("v".repeat(value))
            };
            cache.get_or_compute_arc(FIRST + u64::from(*id), compute).await?;
        }
        Ok::<_, Failure>(())
    })?;
    Ok(percents(load, (counts[0].load(Ordering::Relaxed), counts[1].load(Ordering::Relaxed))))
}

fn part(load: &Load, store: &impl Store<u64, u32>) -> Vec<f64> {
    let (mut misses, mut spent) = (0, 0);
    for id in &load.requests {
        let key = u64::from(*id);
        if store.read(&key).is_none() {
            (misses, spent) = (misses + 1, spent + cost(*id));
            store.write(&key, 0);
        }
    }
    percents(load, (misses, spent))
}
