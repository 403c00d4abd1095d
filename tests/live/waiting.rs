//! Waiting: nobody waits for what cannot come.

mod holders;
mod long;
mod lost;
mod rings;
mod runtimes;
mod void;

use std::time::{Duration, Instant};

use cachekit::backends::Memory;
use cachekit::codec::Postcard;
use cachekit::testing::ManualClock;
use cachekit::{Backend, Cache, CacheBuilder, Intent};

/// Far longer than what is asserted takes, on any machine, and far shorter than the default deadline of 60 s.
const SOON: Duration = Duration::from_secs(15);

/// Another process, as far as a cache can tell: it shares the backend alone.
fn process<B: Backend>(backend: B) -> Cache<B, Postcard> {
    CacheBuilder::new().intent(Intent::Minimal).leases(true).backend(backend).stats(true).build().unwrap()
}

fn timed<B: Backend>(backend: B, clock: &ManualClock) -> Cache<B, Postcard> {
    let builder = CacheBuilder::new().intent(Intent::Minimal).leases(true).backend(backend).stats(true);
    builder.clock(std::sync::Arc::new(clock.clone())).build().unwrap()
}

fn memory(clock: &ManualClock) -> Memory {
    Memory::with_clock(1 << 20, std::sync::Arc::new(clock.clone()))
}

/// A runtime that stands still unless the test is in its `block_on`.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn assert_soon(since: Instant) {
    assert!(since.elapsed() < SOON, "took {:?}", since.elapsed());
}

/// Lets time pass in small steps while tasks run, as long as `until` says no.
async fn pass_time(clock: &ManualClock, mut until: impl FnMut() -> bool) {
    for _ in 0..5_000 {
        if until() {
            return;
        }
        harness::support::settle().await;
        clock.advance(Duration::from_millis(10));
    }
    panic!("nothing happened in 50 s of the manual clock");
}
