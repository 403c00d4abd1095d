//! The conformance suites: what passes them, and what does not.

mod broken;
mod buses;
mod chaos;
mod chaos_bus;
mod clock;
mod codecs;

use std::sync::Arc;
use std::time::Duration;

use cachekit::FileLimits;
use cachekit::backends::{AnyBackend, File, Memory};
use cachekit::testing::conformance::{BackendOptions, backend};
use cachekit::testing::{Chaos, ManualClock};

use harness::support::contract;

fn memory(clock: &ManualClock) -> Memory {
    Memory::with_clock(4 << 20, Arc::new(clock.clone()))
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    let clock = ManualClock::new();
    let kept = backend(|| async { memory(&clock) }, BackendOptions::manual(clock.clone())).await;
    assert_eq!(kept.len(), 68);
    assert!(kept.contains(&"A lease ends after `hold`."));
    assert!(kept.contains(&"A value above the item limit is `TooLarge`, and the old one stays."));
}

#[tokio::test]
async fn file_keeps_the_contract() {
    let (clock, parent) = (ManualClock::new(), tempfile::tempdir().unwrap());
    let opened = std::sync::atomic::AtomicUsize::new(0);
    let make = || async {
        let number = opened.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut limits = FileLimits::default();
        limits.max_value = 2 << 20;
        File::open_with_clock(parent.path().join(number.to_string()), limits, Arc::new(clock.clone())).unwrap()
    };
    let options = BackendOptions::manual(clock.clone()).precision(Duration::from_secs(1));
    let kept = backend(make, options).await;
    assert_eq!(kept, contract(false).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_keeps_the_contract_on_many_threads() {
    let clock = ManualClock::new();
    let kept = backend(|| async { memory(&clock) }, BackendOptions::manual(clock.clone())).await;
    assert_eq!(kept.len(), 68);
}

#[tokio::test]
async fn one_memory_serves_every_check() {
    let clock = ManualClock::new();
    let shared = memory(&clock);
    let moved = clock.clone();
    let options = BackendOptions::advanced_by(move |duration| {
        let clock = moved.clone();
        async move { clock.advance(duration) }
    });
    assert_eq!(backend(|| async { shared.clone() }, options.clone()).await.len(), 68);
    assert_eq!(backend(|| async { shared.clone() }, options).await.len(), 68, "a second run over the same store");
}

#[tokio::test]
async fn memory_keeps_the_contract_in_real_time() {
    let options = BackendOptions::real().precision(Duration::from_millis(10));
    assert_eq!(backend(|| async { Memory::new(4 << 20) }, options).await.len(), 68);
}

#[tokio::test]
async fn an_erased_backend_keeps_the_contract() {
    let clock = ManualClock::new();
    let make = || async { AnyBackend::new(memory(&clock)) };
    assert_eq!(backend(make, BackendOptions::manual(clock.clone())).await.len(), 68);
}

#[tokio::test]
async fn chaos_without_faults_keeps_the_contract() {
    let clock = ManualClock::new();
    let make = || async { Chaos::new(memory(&clock)) };
    assert_eq!(backend(make, BackendOptions::manual(clock.clone())).await.len(), 68);
    let make = || async { AnyBackend::new(Chaos::new(AnyBackend::new(memory(&clock)))) };
    assert_eq!(backend(make, BackendOptions::manual(clock.clone())).await.len(), 68);
}
