//! Writes of what was computed wait for their turn; callers do not wait for them.

use super::*;
use crate::servers::eventually;

/// A cache with L1 over a backend that takes one write of what was computed at a time, and where nothing takes too long.
fn few(build: impl FnOnce(Builder) -> Builder) -> Setup {
    setup(|builder| {
        let builder = builder.l1_enabled(true).max_concurrent(2).max_queued(1_000);
        build(builder.adaptive_timeout_enabled(false).operation_timeout(60 * SECOND))
    })
}

/// Computes so many keys, whose callers are answered while no write is let through.
async fn computed(cache: &Users, keys: u32) {
    for key in 0..keys {
        assert_eq!(compute(cache, key).await, key);
    }
    settle().await;
    assert_eq!(cache.pending(), keys as usize, "all wait to be stored");
}

#[tokio::test]
async fn writes_wait_as_long_as_it_takes_and_callers_do_not() {
    let Setup { clock, control, memory, told, cache } = few(|builder| builder.max_queued(5));
    let gate = control.gate(Operation::Set);
    computed(&cache, 100).await;
    clock.advance(10 * SECOND);
    settle().await;
    assert_eq!((memory.len(), control.count(Operation::Set)), (0, 1), "writes leave half of the places to callers");
    assert_eq!(cache.get::<u32>(1_000u32).await.unwrap(), None, "the other place is free");
    gate.open();
    cache.close(SECOND).await.unwrap();
    assert_eq!((memory.len(), cache.stats().fenced), (100, 0));
    assert_eq!(*told.refusals.lock().unwrap(), []);
}

#[tokio::test]
async fn leases_are_kept_while_their_writes_wait() {
    let Setup { clock, control, memory, cache, .. } = few(|builder| builder.leases(true));
    let gate = control.gate(Operation::Set);
    computed(&cache, 20).await;
    for _ in 0..60 {
        clock.advance(SECOND / 4);
        settle().await;
    }
    gate.open();
    cache.close(SECOND).await.unwrap();
    let answers = (memory.len(), cache.stats().fenced);
    assert_eq!(answers, (19, 1), "after ten times as long as a lease holds, all but the one that was sent");
}

#[tokio::test]
async fn value_invalidated_while_its_write_is_queued_is_not_stored() {
    for leases in [false, true] {
        let Setup { control, memory, cache, .. } = few(|builder| builder.leases(leases));
        let gate = control.gate(Operation::Set);
        computed(&cache, 10).await;
        for key in 2..10u32 {
            cache.invalidate(key).await.unwrap();
        }
        gate.open();
        cache.close(SECOND).await.unwrap();
        assert_eq!((memory.len(), cache.stats().fenced), (2, 8), "leases: {leases}");
    }
}

#[tokio::test]
async fn writes_that_are_too_many_bytes_together_are_not_stored() {
    const WRITES: usize = 80;
    let Setup { control, told, cache, .. } = few(|builder| builder);
    let gate = control.gate(Operation::Set);
    for key in 0..WRITES {
        let value = cache.get_or_compute(key, || async { Ok::<_, Broken>("x".repeat(1_000_000)) }).await.unwrap();
        assert_eq!(value.len(), 1_000_000);
    }
    let waiting = (64 << 20) / 1_000_100;
    eventually("one is under way, and as many wait as may", async || cache.pending() == 1 + waiting).await;
    let refused = told.refusals.lock().unwrap().clone();
    assert_eq!(refused, vec![Refusal::QueueFull; WRITES - 1 - waiting]);
    gate.open();
    cache.close(SECOND).await.unwrap();
    assert_eq!(control.count(Operation::Set), 1 + waiting as u64);
}

#[tokio::test]
async fn queued_writes_are_dropped_once_the_breaker_opens() {
    let Setup { control, told, cache, .. } = few(|builder| builder.failure_threshold(1).retries(0));
    let gate = control.gate(Operation::Set);
    computed(&cache, 100).await;
    control.inject(Operation::Get, Fault::Refuse);
    assert!(cache.get::<u32>(1_000u32).await.is_err());
    assert_eq!(*told.breaker.lock().unwrap(), [BreakerState::Open]);
    gate.open();
    cache.close(SECOND).await.unwrap();
    assert_eq!(control.count(Operation::Set), 1, "the one that was under way");
    let refused = told.refusals.lock().unwrap().clone();
    assert_eq!(refused, vec![Refusal::BreakerOpen; 99]);
}
