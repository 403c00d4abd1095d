//! What is under way when something expires.

use super::*;
use harness::support::Late;

#[tokio::test]
async fn computation_begun_before_an_expire_stores_nothing_anywhere() {
    for (all, there, leases) in
        [(false, false, true), (false, true, true), (true, false, true), (true, true, true), (false, false, false)]
    {
        let clock = ManualClock::new();
        let memory = memory(&clock);
        let pages = || builder(&clock, memory.clone()).leases(leases).build().unwrap();
        let (one, two, three) = (pages(), pages(), bare(&clock, memory.clone()));
        one.set("home", 1u32).await.unwrap();
        assert_eq!(two.get("home").await.unwrap(), Some(1u32));
        heard(&clock, &one, &two).await;
        clock.advance(TTL);
        let (slow, computing) = (Slow::new(), if there { &two } else { &one });
        let call = start(computing, &slow, Ok(2));
        slow.wait_for_start().await;
        if all { one.expire_all().await } else { one.expire("home").await }.unwrap();
        settle().await;
        slow.finish(1);
        assert_eq!(call.await.unwrap().unwrap(), 2, "who asked before gets it");
        settle().await;
        clock.advance(SECOND);
        let what = format!("all: {all}, there: {there}, leases: {leases}");
        for found in [one.get::<u32>("home").await, two.get("home").await, three.get("home").await] {
            assert_eq!(found.unwrap(), None, "{what}");
        }
        for found in [in_l1(&one, "home").await, in_l1(&two, "home").await] {
            assert_eq!(found, None, "{what}");
        }
    }
}

#[tokio::test]
async fn while_somebody_computes_l1_alone_keeps_the_fallback() {
    for there in [true, false] {
        let clock = ManualClock::new();
        let memory = memory(&clock);
        let (one, two) = (bare(&clock, memory.clone()), bare(&clock, memory.clone()));
        let three = pages(&clock, memory);
        one.set("home", 1u32).await.unwrap();
        assert_eq!(three.get("home").await.unwrap(), Some(1u32));
        let slow = Slow::new();
        let (cache, run) = (if there { &two } else { &one }.clone(), slow.clone());
        let call = tokio::spawn(async move {
            let entry = cache.entry("home").skip_l2_read();
            entry.get_or_compute(move || run.run(Ok(2u32))).await.unwrap()
        });
        slow.wait_for_start().await;
        one.expire("home").await.unwrap();
        slow.finish(1);
        assert_eq!(call.await.unwrap(), 2);
        settle().await;
        for (cache, left) in [(&one, None), (&two, None), (&three, Some(1))] {
            assert_eq!((cache.get::<u32>("home").await.unwrap(), fallback(cache, "home").await), (None, left));
        }
    }
}

/// The expiry of one process while another computes the key and a third invalidates it.
#[tokio::test]
async fn what_another_process_invalidates_meanwhile_does_not_stand_in() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let (chaos, control) = chaos(&clock, memory.clone());
    let (one, two, three) = (bare(&clock, chaos), bare(&clock, memory.clone()), bare(&clock, memory));
    one.set("home", 1u32).await.unwrap();
    let slow = Slow::new();
    let (cache, run) = (two, slow.clone());
    let call = tokio::spawn(async move {
        let entry = cache.entry("home").skip_l2_read();
        entry.get_or_compute(move || run.run(Ok(2u32))).await.unwrap()
    });
    slow.wait_for_start().await;
    let gate = control.gate(Operation::Remove);
    let expiry = tokio::spawn(async move { one.expire("home").await });
    gate.wait_for(1).await;
    three.invalidate("home").await.unwrap();
    gate.open();
    expiry.await.unwrap().unwrap();
    assert_eq!((three.get::<u32>("home").await.unwrap(), fallback(&three, "home").await), (None, None));
    slow.finish(1);
    assert_eq!(call.await.unwrap(), 2);
}

#[tokio::test]
async fn caller_of_a_failed_older_computation_gets_the_expired_value() {
    let clock = ManualClock::new();
    let cache = pages(&clock, memory(&clock));
    cache.set("home", 1u32).await.unwrap();
    clock.advance(TTL);
    let slow = Slow::new();
    let call = start(&cache, &slow, Err(Broken("down")));
    slow.wait_for_start().await;
    cache.expire("home").await.unwrap();
    slow.finish(1);
    assert_eq!(call.await.unwrap().unwrap(), 1);
}

#[tokio::test]
async fn what_another_process_sets_meanwhile_stays() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let (chaos, control) = chaos(&clock, memory.clone());
    let (one, two) = (bare(&clock, chaos), bare(&clock, memory.clone()));
    one.set("home", 1u32).await.unwrap();
    let gate = control.gate(Operation::Set);
    let expiry = expire(&one);
    gate.wait_for(1).await;
    two.set("home", 2u32).await.unwrap();
    gate.open();
    expiry.await.unwrap().unwrap();
    assert_eq!(two.get("home").await.unwrap(), Some(2u32));
}

#[tokio::test]
async fn a_lease_that_ran_out_leaves_nothing_fresh_behind() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let (chaos, control) = chaos(&clock, memory.clone());
    let one = builder(&clock, chaos).l1_enabled(false).operation_timeout(60 * SECOND).build().unwrap();
    one.set("home", 1u32).await.unwrap();
    let gate = control.gate(Operation::Set);
    let expiry = expire(&one);
    gate.wait_for(1).await;
    clock.advance(6 * SECOND);
    gate.open();
    expiry.await.unwrap().unwrap();
    assert_eq!(bare(&clock, memory).get::<u32>("home").await.unwrap(), None);
}

#[tokio::test]
async fn a_read_from_before_the_end_keeps_nothing_fresh_in_l1() {
    for all in [true, false] {
        let clock = ManualClock::new();
        let memory = memory(&clock);
        let (chaos, control) = chaos(&clock, memory.clone());
        let cache = pages(&clock, chaos);
        cache.set("home", 1u32).await.unwrap();
        let gate = control.gate(Operation::Set);
        let expiry = tokio::spawn({
            let cache = cache.clone();
            async move { if all { cache.expire_all().await } else { cache.expire("home").await } }
        });
        gate.wait_for(1).await;
        assert_eq!(cache.get("home").await.unwrap(), Some(1u32), "the backend does not know yet");
        assert_eq!(in_l1(&cache, "home").await, Some(1));
        gate.open();
        expiry.await.unwrap().unwrap();
        assert_eq!(in_l1(&cache, "home").await, None, "all: {all}");
        assert_eq!((cache.get::<u32>("home").await.unwrap(), fallback(&cache, "home").await), (None, Some(1)));
    }
}

#[tokio::test]
async fn a_read_that_outlasts_an_expiry_keeps_nothing_fresh_in_l1() {
    for many in [true, false] {
        let clock = ManualClock::new();
        let (chaos, control) = chaos(&clock, memory(&clock));
        let late = Late::new(chaos);
        let cache = pages(&clock, late.clone());
        cache.set("home", 1u32).await.unwrap();
        let gate = control.gate(if many { Operation::Remove } else { Operation::Set });
        let change = tokio::spawn({
            let cache = cache.clone();
            async move { if many { cache.invalidate_many(["home"]).await } else { cache.expire("home").await } }
        });
        gate.wait_for(1).await;
        late.hold(Operation::Get);
        let read = tokio::spawn({
            let cache = cache.clone();
            async move { cache.get::<u32>("home").await.unwrap() }
        });
        late.wait_until_done().await;
        gate.open();
        change.await.unwrap().unwrap();
        late.let_go();
        assert_eq!((read.await.unwrap(), in_l1(&cache, "home").await), (None, None), "many: {many}");
    }
}
