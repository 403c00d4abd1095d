//! What a moment's trouble costs: as long as it lasts, and little.

use std::time::Instant;

use cachekit::backends::{AnyBackend, Redis};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::*;
use crate::servers::{Server, eventually};

#[tokio::test]
async fn callers_of_one_stall_are_one_failure() {
    let Setup { clock, control, told, cache, .. } = setup(|builder| builder.retries(0).adaptive_max(SECOND));
    for key in 0..20u32 {
        cache.set(key, key).await.unwrap();
        assert_eq!(cache.get(key).await.unwrap(), Some(key));
    }
    for stall in 1..=4 {
        control.inject(Operation::Get, Fault::Hang);
        let mut callers = JoinSet::new();
        for key in 0..20u32 {
            let cache = cache.clone();
            callers.spawn(async move { compute(&cache, key).await });
        }
        control.hanging().wait_for(20).await;
        clock.advance(SECOND);
        callers.join_all().await;
        assert_eq!(cache.stats().backend_failures, stall * 20);
        control.heal();
        assert_eq!(cache.get(1u32).await.unwrap(), Some(1u32), "the backend is asked again at once");
    }
    assert_eq!(*told.breaker.lock().unwrap(), [], "four failures");
    control.inject(Operation::Get, Fault::Refuse);
    assert!(cache.get::<u32>(1u32).await.is_err());
    assert_eq!(*told.breaker.lock().unwrap(), [BreakerState::Open], "the fifth");
}

#[tokio::test]
async fn hung_backend_opens_the_breaker_under_constant_traffic() {
    let Setup { clock, control, told, cache, .. } = setup(|builder| builder);
    control.inject_all(Fault::Hang);
    let mut callers = JoinSet::new();
    for key in 0u32.. {
        if !told.breaker.lock().unwrap().is_empty() {
            break;
        }
        assert!(key < 500, "25 seconds");
        let cache = cache.clone();
        callers.spawn(async move { compute(&cache, key).await });
        settle().await;
        clock.advance(SECOND / 20);
        settle().await;
    }
    assert_eq!(*told.breaker.lock().unwrap(), [BreakerState::Open]);
}

#[tokio::test]
async fn late_answer_among_punctual_ones_does_not_open_the_breaker() {
    let Setup { clock, control, told, cache, .. } =
        setup(|builder| builder.failure_threshold(1).retries(0).adaptive_max(SECOND));
    let late = async |key: u32, heard: bool| {
        control.inject_next(1, Operation::Get, Fault::Hang);
        let call = tokio::spawn({
            let cache = cache.clone();
            async move { cache.get::<u32>(key).await }
        });
        control.hanging().wait_for(1).await;
        if heard {
            assert_eq!(cache.get::<u32>(100u32).await.unwrap(), None);
        }
        clock.advance(SECOND);
        assert_eq!(call.await.unwrap().unwrap_err().kind(), ErrorKind::Timeout);
        told.breaker.lock().unwrap().clone()
    };
    for key in 0..5 {
        assert_eq!(late(key, true).await, []);
    }
    assert_eq!(late(5, false).await, [BreakerState::Open], "nothing was heard");
}

#[tokio::test]
async fn the_first_probe_comes_early_and_further_ones_ever_later() {
    let Setup { clock, control, cache, .. } = setup(|builder| builder.failure_threshold(1).retries(0));
    control.inject(Operation::Get, Fault::Refuse);
    let mut asked = Vec::new();
    for quarter in 0..160u32 {
        let before = control.count(Operation::Get);
        assert!(cache.get::<u32>(1u32).await.is_err());
        if control.count(Operation::Get) > before {
            asked.push(quarter);
        }
        clock.advance(SECOND / 4);
    }
    assert_eq!(asked, [0, 1, 3, 7, 15, 31, 63, 127], "in quarters of a second");
}

/// Many callers of a server that stands still, as for a fork or a large `DEL`.
#[cfg(unix)]
async fn costs_a_moment(backend: impl Backend, stall: Duration, pause: impl FnOnce(), resume: impl FnOnce()) {
    const CALLERS: u32 = 32;
    let builder = CacheBuilder::new().intent(Intent::Production).namespace("users").l1_enabled(false);
    let cache = builder.backend(AnyBackend::new(backend)).build().unwrap();
    for key in 0..200u32 {
        cache.set(key, key).await.unwrap();
        assert_eq!(cache.get(key).await.unwrap(), Some(key));
    }
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let cache = cache.clone();
        callers.spawn(async move {
            for turn in 0u32.. {
                let key = (caller * 7 + turn) % 200;
                let value = cache.get_or_compute(key, move || async move { Ok::<_, Broken>(key) }).await.unwrap();
                assert_eq!(value, key);
                sleep(SECOND / 50).await;
            }
        });
    }
    eventually("all are at it", async || cache.stats().l2_hits > 500).await;
    pause();
    sleep(stall).await;
    resume();
    let (back, hits) = (Instant::now(), cache.stats().l2_hits);
    eventually("entries are read again", async || cache.stats().l2_hits > hits + 500).await;
    let computed = cache.stats().computations;
    assert_eq!(cache.stats().breaker_opened, 0);
    assert!(computed <= u64::from(2 * CALLERS), "{computed} computations for a stall of {stall:?}");
    assert!(back.elapsed() < 10 * SECOND, "{:?}", back.elapsed());
    callers.shutdown().await;
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_pause_of_a_moment_costs_callers_only_a_moment() {
    for stall in [SECOND / 4, SECOND * 6 / 10] {
        let server = Server::start();
        let redis = Redis::from_url(&server.url()).unwrap();
        costs_a_moment(redis, stall, || server.pause(), || server.resume()).await;
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memcached_pause_of_a_moment_costs_callers_only_a_moment() {
    for stall in [SECOND / 4, SECOND * 6 / 10] {
        let server = crate::servers::Memcached::start();
        let memcached = cachekit::backends::Memcached::from_servers([server.address()]).unwrap();
        costs_a_moment(memcached, stall, || server.pause(), || server.resume()).await;
    }
}
