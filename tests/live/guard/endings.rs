//! How things end while the backend is away and changes wait for it.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use cachekit::ComputeError;
use tokio::runtime::{Builder as Runtime, Runtime as Running};
use tokio::task::JoinSet;

use super::*;
use crate::servers::eventually;

/// A cache over a backend that is away: the breaker is open, and a change waits.
async fn away(build: impl FnOnce(Builder) -> Builder) -> Setup {
    let setup = setup(|builder| build(builder.failure_threshold(1).retries(0)));
    setup.control.inject_all(Fault::Refuse);
    assert!(setup.cache.invalidate("changed").await.is_err());
    let health = setup.cache.health().await;
    assert_eq!((health.breaker, health.waiting_changes), (Some(BreakerState::Open), 1));
    setup
}

fn runtime() -> Running {
    Runtime::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

#[tokio::test]
async fn a_computation_that_never_ends_is_given_up_and_blocks_nobody() {
    let Setup { clock, cache, .. } = away(|builder| builder.l1_enabled(true).deadline(SECOND)).await;
    for stale in [false, true] {
        let key = if stale { "stale" } else { "absent" };
        if stale {
            let set = cache.entry(key).ttl(SECOND).stale_if_error(60 * SECOND).skip_l2_write().set(1u32);
            set.await.unwrap();
            clock.advance(2 * SECOND);
        }
        let stuck = tokio::spawn({
            let cache = cache.clone();
            async move { cache.get_or_compute(key, std::future::pending::<Result<u32, Broken>>).await }
        });
        settle().await;
        assert!(!stuck.is_finished());
        clock.advance(SECOND);
        match (stuck.await.unwrap(), stale) {
            (Ok(1), true) | (Err(ComputeError::TimedOut), false) => {}
            (other, _) => panic!("{other:?}"),
        }
        clock.advance(60 * SECOND);
        assert_eq!(cache.get_or_compute(key, || async { Ok::<_, Broken>(2u32) }).await.unwrap(), 2);
        assert_eq!(cache.get_or_compute(key, || async { Ok::<_, Broken>(3u32) }).await.unwrap(), 2);
    }
}

#[tokio::test]
async fn a_cache_that_is_dropped_takes_what_waits_with_it() {
    let Setup { clock, told, cache, control, .. } = away(|builder| builder).await;
    drop(cache);
    clock.advance(60 * SECOND);
    settle().await;
    assert_eq!((Arc::strong_count(&told), control.count(Operation::Remove)), (1, 1), "nothing is left that could try");
}

#[test]
fn what_waits_is_seen_to_on_the_next_runtime() {
    let [first, second] = [(); 2].map(|()| Runtime::new_current_thread().enable_all().build().unwrap());
    let Setup { clock, control, cache, .. } = first.block_on(away(|builder| builder));
    drop(first);
    control.heal();
    second.block_on(async {
        assert_eq!(compute(&cache, 1).await, 1);
        for _ in 0..120 {
            settle().await;
            clock.advance(SECOND);
        }
        assert_eq!(cache.health().await.waiting_changes, 0);
        assert_eq!(cache.pending(), 0);
    });
}

/// A cache on the system's clock, over a backend that fails half of the time.
fn poor() -> (Users, ChaosControl) {
    let chaos = Chaos::new(Memory::new(1 << 20));
    let control = chaos.control();
    control.randomly(7, [(0.3, Fault::Refuse), (0.2, Fault::FailAfter)]);
    let builder = CacheBuilder::new().intent(Intent::Production).codec(Postcard).backend(chaos);
    (builder.recovery_timeout(SECOND / 20).build().unwrap(), control)
}

/// Tasks that change keys and ask for them, until `ended`. Whoever asks is answered.
fn crowd(cache: &Users, ended: &Arc<AtomicBool>) -> JoinSet<()> {
    let mut crowd = JoinSet::new();
    for task in 0..32u32 {
        let (cache, ended) = (cache.clone(), Arc::clone(ended));
        crowd.spawn(async move {
            for round in 0u32.. {
                if ended.load(SeqCst) {
                    return;
                }
                let key = (task + round) % 16;
                let slow = move || async move {
                    tokio::time::sleep(SECOND / 500).await;
                    Ok::<_, Broken>(key)
                };
                assert_eq!(cache.entry(key).skip_l1_read().get_or_compute(slow).await.unwrap(), key);
                let _ = if round % 2 == 0 { cache.invalidate(key).await } else { cache.set(key, key).await };
            }
        });
    }
    crowd
}

#[test]
fn the_end_of_one_runtime_is_unseen_on_another() {
    let (cache, control) = poor();
    let ended = Arc::<AtomicBool>::default();
    let second = runtime();
    for _ in 0..5 {
        let first = runtime();
        let crowds = [&first, &second].map(|runtime| runtime.block_on(async { crowd(&cache, &ended) }));
        let [doomed, crowd] = crowds;
        let calls = cache.stats().calls();
        second.block_on(eventually("the cache is used", async || cache.stats().calls() > calls + 200));
        first.shutdown_background();
        let calls = cache.stats().calls();
        second.block_on(eventually("the cache is still used", async || cache.stats().calls() > calls + 200));
        ended.store(true, SeqCst);
        second.block_on(crowd.join_all());
        ended.store(false, SeqCst);
        drop(doomed);
    }
    control.heal();
    second.block_on(eventually("nothing is left", async || {
        let _ = compute(&cache, 1).await;
        let _ = cache.get::<u32>(100u32).await;
        cache.health().await.waiting_changes == 0 && cache.pending() == 0
    }));
}

#[test]
fn cache_closed_in_use_finishes_its_work_and_keeps_answering() {
    let runtime = runtime();
    runtime.block_on(async {
        let (cache, control) = poor();
        let ended = Arc::<AtomicBool>::default();
        let crowd = crowd(&cache, &ended);
        eventually("the cache is used", async || cache.stats().calls() > 500).await;
        let closing = tokio::spawn({
            let cache = cache.clone();
            async move { cache.close(30 * SECOND).await }
        });
        let calls = cache.stats().calls();
        eventually("the cache is still used", async || cache.stats().calls() > calls + 500).await;
        control.heal();
        // Changes that fail once it is closed are not made again, and say so.
        closing.await.unwrap().unwrap();
        ended.store(true, SeqCst);
        crowd.join_all().await;
        assert_eq!((cache.pending(), cache.health().await.waiting_changes), (0, 0));
    });
}
