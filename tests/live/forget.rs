//! The operations that forget more than one key, and those that leave a fallback: two caches over clones of one
//! `Memory` are two processes over one server.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cachekit::backends::Memory;
use cachekit::codec::{Checked, Postcard};
use cachekit::intent::Production;
use cachekit::testing::{Chaos, ChaosControl, Fault, ManualClock};
use cachekit::{
    Backend, Cache, CacheBuilder, ComputeError, Effect, Error, ErrorKind, Event, Intent, Key, Observer, Operation,
    Origin, Scope,
};

use tokio::task::JoinHandle;

use harness::support::{Broken, NoLeases, Slow, settle};

mod clearing;
mod expiring;
mod expiring_all;
mod many;
mod overlapping;
mod reclaimed;
#[cfg(unix)]
mod shared;
mod tagged;
mod told;
mod under_way;
mod wrapped;

type Pages<B> = Cache<B, Checked<Postcard>>;
type Chaotic = Chaos<Memory>;
type Computing = JoinHandle<Result<u32, ComputeError<Broken>>>;

const SECOND: Duration = Duration::from_secs(1);
const TTL: Duration = Duration::from_secs(100);
const GRACE: Duration = Duration::from_secs(50);

fn memory(clock: &ManualClock) -> Memory {
    Memory::with_clock(16 << 20, Arc::new(clock.clone()))
}

fn chaos(clock: &ManualClock, memory: Memory) -> (Chaotic, ChaosControl) {
    let chaos = Chaos::with_clock(memory, Arc::new(clock.clone()));
    let control = chaos.control();
    (chaos, control)
}

fn builder<B: Backend>(clock: &ManualClock, backend: B) -> CacheBuilder<B, Postcard, Production> {
    let builder = CacheBuilder::new().backend(backend).intent(Intent::Production).namespace("pages");
    let builder = builder.ttl(TTL).stale_if_error(GRACE).swr_enabled(false).breaker_enabled(false).retries(0);
    builder.clock(Arc::new(clock.clone()))
}

fn pages<B: Backend>(clock: &ManualClock, backend: B) -> Pages<B> {
    builder(clock, backend).build().unwrap()
}

/// Sees only what the backend has.
fn bare<B: Backend>(clock: &ManualClock, backend: B) -> Pages<B> {
    builder(clock, backend).l1_enabled(false).build().unwrap()
}

/// A cache whose way to the backend is controlled, and one that sees only what the backend has.
fn troubled() -> (ManualClock, ChaosControl, Pages<Chaotic>, Pages<Memory>) {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let (chaos, control) = chaos(&clock, memory.clone());
    let (cache, other) = (pages(&clock, chaos), bare(&clock, memory));
    (clock, control, cache, other)
}

/// Without a backend.
fn alone(clock: &ManualClock) -> Cache<cachekit::backends::NoBackend, Checked<Postcard>> {
    let builder = CacheBuilder::new().intent(Intent::Production).namespace("pages").ttl(TTL).stale_if_error(GRACE);
    builder.swr_enabled(false).clock(Arc::new(clock.clone())).build().unwrap()
}

/// Lets tasks run until `done`, while time passes.
async fn until(clock: &ManualClock, what: &str, mut done: impl AsyncFnMut() -> bool) {
    for _ in 0..600 {
        settle().await;
        if done().await {
            return;
        }
        clock.advance(Duration::from_millis(50));
    }
    panic!("never happened: {what}");
}

/// What L1 holds fresh, whatever the backend has.
async fn in_l1<B: Backend>(cache: &Pages<B>, key: &str) -> Option<u32> {
    cache.entry(key).skip_l2_read().get().await.unwrap()
}

/// What a call gets whose computation fails.
async fn fallback<B: Backend, C: cachekit::Codec>(cache: &Cache<B, C>, key: &str) -> Option<u32> {
    match cache.get_or_compute(key, || async { Err::<u32, _>(Broken("down")) }).await {
        Ok(value) => Some(value),
        Err(ComputeError::Failed(_)) => None,
        Err(other) => panic!("{other}"),
    }
}

/// What a call gets from L1 alone whose computation fails.
async fn fallback_in_l1<B: Backend>(cache: &Pages<B>, key: &str) -> Option<u32> {
    let call = cache.entry(key).skip_l2_read().skip_l2_write();
    call.get_or_compute(|| async { Err::<u32, _>(Broken("down")) }).await.ok()
}

/// What a call gets whose computation gives `value`.
async fn compute<B: Backend>(cache: &Pages<B>, key: &str, value: u32) -> u32 {
    cache.get_or_compute(key, move || async move { Ok::<_, Broken>(value) }).await.unwrap()
}

/// A computation of `home` that gives `result` when it is let.
fn start<B: Backend>(cache: &Pages<B>, slow: &Slow, result: Result<u32, Broken>) -> Computing {
    let (cache, slow) = (cache.clone(), slow.clone());
    tokio::spawn(async move { cache.get_or_compute("home", move || slow.run(result)).await })
}

/// An expiry of `home` under way.
fn expire<B: Backend>(cache: &Pages<B>) -> JoinHandle<Result<(), Error>> {
    let cache = cache.clone();
    tokio::spawn(async move { cache.expire("home").await })
}

/// Waits until `two` has heard of what `one` did last. Both listen by then.
async fn heard<A: Backend, B: Backend>(clock: &ManualClock, one: &Pages<A>, two: &Pages<B>) {
    one.set("probe", 1u32).await.unwrap();
    assert_eq!(two.get("probe").await.unwrap(), Some(1u32));
    one.invalidate("probe").await.unwrap();
    until(clock, "the probe arrives", async || in_l1(two, "probe").await.is_none()).await;
}
