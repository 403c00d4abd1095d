//! Caches over the service: the laws, while it works and while it does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use cachekit::backends::CachekitIo;
use cachekit::codec::{Checked, Postcard};
use cachekit::{Cache, CacheBuilder, ErrorKind, Intent, Operation};

use super::support::{HASTE, at_once, count, hasty, patient, start, with};
use crate::servers::{Api, Fault, PATIENCE, SOON, eventually};
use harness::support::{Broken, Journal, Note, Slow, settle};

type Io = Cache<CachekitIo, Checked<Postcard>>;

fn cache(io: CachekitIo) -> Io {
    CacheBuilder::new().intent(Intent::Io).backend(io).namespace("users").build().unwrap()
}

fn without_l1(io: CachekitIo, journal: &Arc<Journal>) -> Io {
    let builder = CacheBuilder::new().intent(Intent::Io).backend(io).namespace("users").l1_enabled(false);
    let builder = builder.recovery_timeout(Duration::from_millis(250));
    builder.observer(Arc::<Journal>::clone(journal) as _).build().unwrap()
}

async fn ask(cache: &Io, id: usize, loads: &Arc<AtomicUsize>) -> String {
    let loads = Arc::clone(loads);
    let load = move || async move {
        loads.fetch_add(1, SeqCst);
        Ok::<_, Broken>(format!("user {id}"))
    };
    cache.get_or_compute(id, load).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_callers_of_one_missing_key_cost_one_load() {
    let api = start();
    let (cache, loads) = (cache(patient(&api)), Arc::<AtomicUsize>::default());
    let answers = at_once(1_000, |_| {
        let (cache, loads) = (cache.clone(), Arc::clone(&loads));
        async move { ask(&cache, 7, &loads).await }
    });
    assert!(answers.await.iter().all(|answer| answer == "user 7"));
    assert_eq!(loads.load(SeqCst), 1);
    cache.close(Duration::from_secs(10)).await.unwrap();
    assert!(api.peek("users:7").is_some());
}

#[tokio::test]
async fn an_invalidation_during_a_load_is_kept_by_both_tiers() {
    let api = start();
    let (cache, slow) = (cache(patient(&api)), Slow::new());
    let load = tokio::spawn({
        let (cache, slow) = (cache.clone(), slow.clone());
        async move { cache.get_or_compute(1, move || slow.run(Ok(1u32))).await }
    });
    slow.wait_for_start().await;
    cache.invalidate(1).await.unwrap();
    slow.finish(1);
    assert_eq!(load.await.unwrap().unwrap(), 1);
    settle().await;
    cache.close(Duration::from_secs(10)).await.unwrap();
    assert_eq!((cache.get::<u32>(1).await.unwrap(), api.peek("users:1")), (None, None));
}

/// The service can fail in every way; nobody but the observers may notice, and a failed read is no reason to pay for a
/// failed write too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_of_the_service_are_failures_of_nobody() {
    for (fault, kind) in [
        (Fault::status(401), ErrorKind::Denied),
        (Fault::status(500), ErrorKind::Unavailable),
        (Fault::status(429), ErrorKind::Unavailable),
        (Fault::Close, ErrorKind::Unavailable),
        (Fault::Garbage, ErrorKind::Backend),
        (Fault::Hang, ErrorKind::Timeout),
    ] {
        let (api, journal) = (start(), Arc::<Journal>::default());
        let timeout = if kind == ErrorKind::Timeout { HASTE } else { PATIENCE };
        let io = with(&api, |settings| (settings.timeout, settings.max_retries) = (timeout, 0));
        let (cache, loads) = (without_l1(io, &journal), Arc::<AtomicUsize>::default());
        api.fault(fault.clone());
        let start = Instant::now();
        assert_eq!(ask(&cache, 1, &loads).await, "user 1");
        assert!(start.elapsed() < SOON, "{fault:?}: {:?}", start.elapsed());
        assert_eq!(loads.load(SeqCst), 1, "{fault:?}");
        assert!(
            journal.count(|note| matches!(note, Note::BackendFailed(_, own) if *own == kind)) > 0,
            "{:?}",
            journal.notes()
        );
        assert_eq!(count(&api, "PUT"), 0, "{fault:?}: what was not read is not written");
        assert_eq!(cache.set(1, "anew".to_owned()).await.unwrap_err().kind(), kind);
        api.clear();
        eventually("the service is used again", async || {
            ask(&cache, 2, &loads).await;
            cache.close(Duration::ZERO).await.is_ok() || api.peek("users:2").is_some()
        })
        .await;
    }
}

/// Bytes that are not what was stored are misses.
#[tokio::test]
async fn bytes_of_somebody_else_are_misses() {
    let (api, journal) = (start(), Arc::<Journal>::default());
    let (cache, loads) = (without_l1(patient(&api), &journal), Arc::<AtomicUsize>::default());
    for body in ["", "\0", "not an entry", "\u{c1}\u{1}", r#"{"success":true}"#] {
        api.fault(Fault::body(200, body).on("GET"));
        assert_eq!(ask(&cache, 1, &loads).await, "user 1");
        api.clear();
    }
    assert_eq!(loads.load(SeqCst), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_and_comes_back_is_used_again() {
    let (api, journal) = (start(), Arc::<Journal>::default());
    let (cache, loads) = (without_l1(hasty(&api), &journal), Arc::<AtomicUsize>::default());
    let round = async |api: &Api, first: usize| {
        let answers = at_once(32, |id| {
            let (cache, loads) = (cache.clone(), Arc::clone(&loads));
            async move { ask(&cache, first + id, &loads).await }
        });
        assert_eq!(answers.await.len(), 32);
        api.open()
    };
    round(&api, 0).await;
    api.fault(Fault::Hang);
    round(&api, 0).await;
    assert!(journal.count(|note| matches!(note, Note::BackendFailed(Operation::Get, ErrorKind::Timeout))) > 0);
    api.clear();
    api.cut();
    let hits = cache.stats().l2_hits;
    eventually("entries are found again", async || {
        round(&api, 0).await;
        cache.stats().l2_hits > hits
    })
    .await;
}

/// 60 MB are three values of the service, and a manifest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_larger_than_a_value_is_split() {
    let api = start();
    let io = with(&api, |settings| settings.timeout = Duration::from_secs(60));
    let builder = CacheBuilder::new().intent(Intent::Io).backend(io).namespace("users").l1_enabled(false);
    let cache = builder.compression_enabled(false).build().unwrap();
    let value: Vec<u8> = (0..60_000_000u32).map(|index| index as u8).collect();
    cache.set(1, value.clone()).await.unwrap();
    assert!(api.entries() >= 4, "{}", api.entries());
    assert!(cache.get::<Vec<u8>>(1).await.unwrap() == Some(value));
}
