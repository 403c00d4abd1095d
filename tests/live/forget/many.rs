//! Many keys at once.

use super::*;

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("k{n}")).collect()
}

async fn fill<B: Backend>(cache: &Pages<B>, names: &[String]) {
    for name in names {
        cache.set(name, 1u32).await.unwrap();
    }
}

#[tokio::test]
async fn many_keys_leave_both_tiers_here_and_there_in_a_few_batches() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let (chaos, control) = chaos(&clock, memory.clone());
    let (one, two) = (pages(&clock, chaos), pages(&clock, memory.clone()));
    let names = names(300);
    fill(&one, &names).await;
    one.set("other", 2u32).await.unwrap();
    for name in &names {
        assert_eq!(two.get(name).await.unwrap(), Some(1u32));
    }
    assert_eq!(two.get("other").await.unwrap(), Some(2u32));
    heard(&clock, &one, &two).await;
    let (removals, messages) = (control.count(Operation::Remove), control.count(Operation::Publish));
    let twice = names.iter().chain(names.iter().rev());
    one.invalidate_many(twice).await.unwrap();
    assert_eq!(control.count(Operation::Remove) - removals, 3, "batches of 128");
    assert_eq!(control.count(Operation::Publish) - messages, 300);
    for name in &names {
        assert_eq!((in_l1(&one, name).await, one.get::<u32>(name).await.unwrap()), (None, None));
    }
    settle().await;
    for name in &names {
        assert_eq!(in_l1(&two, name).await, None);
    }
    assert_eq!((in_l1(&one, "other").await, in_l1(&two, "other").await), (Some(2), Some(2)));
    assert_eq!(two.get("other").await.unwrap(), Some(2u32));
}

#[tokio::test]
async fn an_unusable_key_changes_nothing() {
    let clock = ManualClock::new();
    let (chaos, control) = chaos(&clock, memory(&clock));
    let cache = pages(&clock, chaos);
    cache.set("a", 1u32).await.unwrap();
    let refused = cache.invalidate_many(["a", "", "b"]).await.unwrap_err();
    assert_eq!((refused.kind(), control.count(Operation::Remove)), (ErrorKind::Key, 0));
    assert_eq!(in_l1(&cache, "a").await, Some(1));
    cache.invalidate_many([] as [&str; 0]).await.unwrap();
    assert_eq!(in_l1(&cache, "a").await, Some(1));
}

#[tokio::test]
async fn without_a_backend_many_keys_are_forgotten_too() {
    let clock = ManualClock::new();
    let cache = alone(&clock);
    for key in [1u32, 2, 3] {
        cache.set(key, key).await.unwrap();
    }
    cache.invalidate_many([1u32, 2]).await.unwrap();
    let found = [1u32, 2, 3].map(|key| cache.get::<u32>(key));
    let mut values = Vec::new();
    for value in found {
        values.push(value.await.unwrap());
    }
    assert_eq!(values, [None, None, Some(3)]);
}

#[tokio::test]
async fn all_keys_are_forgotten_before_the_backend_hears_of_the_first() {
    let clock = ManualClock::new();
    let (chaos, control) = chaos(&clock, memory(&clock));
    let cache = builder(&clock, chaos).leases(false).build().unwrap();
    let names = names(300);
    fill(&cache, &names).await;
    let slow = Slow::new();
    let flights: Vec<_> = (0..300)
        .step_by(10)
        .map(|n| {
            let (cache, name, slow) = (cache.clone(), names[n].clone(), slow.clone());
            let call = async move {
                let entry = cache.entry(name).skip_l1_read().skip_l2_read();
                entry.get_or_compute(move || slow.run(Ok(2u32))).await.unwrap()
            };
            tokio::spawn(call)
        })
        .collect();
    until(&clock, "all compute", async || slow.started() == 30).await;
    let gate = control.gate(Operation::Remove);
    let all = names.clone();
    let change = tokio::spawn({
        let cache = cache.clone();
        async move { cache.invalidate_many(all).await }
    });
    gate.wait_for(1).await;
    for name in &names {
        assert_eq!(in_l1(&cache, name).await, None);
    }
    slow.finish(30);
    for flight in flights {
        assert_eq!(flight.await.unwrap(), 2, "who asked before gets it");
    }
    settle().await;
    for name in &names {
        assert_eq!(in_l1(&cache, name).await, None, "{name}");
    }
    assert_eq!(cache.stats().fenced, 30);
    gate.open();
    change.await.unwrap().unwrap();
    for name in &names {
        assert_eq!(cache.get::<u32>(name).await.unwrap(), None);
    }
}

#[tokio::test]
async fn two_that_meet_in_the_middle_of_opposite_orders_both_end() {
    let clock = ManualClock::new();
    let (chaos, control) = chaos(&clock, memory(&clock));
    let cache = pages(&clock, chaos);
    for middle in names(8) {
        let gate = control.gate(Operation::Set);
        let set = tokio::spawn({
            let (cache, middle) = (cache.clone(), middle.clone());
            async move { cache.set(middle, 1u32).await }
        });
        // Of the set itself: it has the turn of its key now.
        gate.wait_for(1).await;
        let forward = names(8);
        let orders = [forward.clone(), forward.into_iter().rev().collect::<Vec<_>>()];
        let changes = orders.map(|keys| {
            let cache = cache.clone();
            tokio::spawn(async move { cache.invalidate_many(keys).await })
        });
        settle().await;
        gate.open();
        control.heal();
        set.await.unwrap().unwrap();
        for change in changes {
            until(&clock, "it ends", async || change.is_finished()).await;
            change.await.unwrap().unwrap();
        }
        assert_eq!(cache.get::<u32>(&middle).await.unwrap(), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn overlapping_changes_of_many_threads_end_and_leave_nothing() {
    let chaos = Chaos::new(Memory::new(16 << 20));
    chaos.control().randomly(7, [(0.3, Fault::Slow(Duration::from_millis(1)))]);
    let builder = CacheBuilder::new().intent(Intent::Production).backend(chaos).namespace("pages");
    let cache = builder.operation_timeout(Duration::from_secs(60)).build().unwrap();
    let work = (0..4usize).map(|thread| {
        let cache = cache.clone();
        tokio::spawn(async move {
            for round in 0..15 {
                let mut keys = names(200);
                keys.rotate_left(thread * 50 + round);
                if thread % 2 == 0 {
                    keys.reverse();
                }
                keys.extend(names(20));
                cache.set(&keys[round], 1u32).await.unwrap();
                cache.invalidate_many(keys).await.unwrap();
            }
        })
    });
    let work: Vec<_> = work.collect();
    for task in work {
        tokio::time::timeout(Duration::from_secs(120), task).await.expect("no deadlock").unwrap();
    }
    cache.invalidate_many(names(200)).await.unwrap();
    for name in names(200) {
        assert_eq!(cache.get::<u32>(&name).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_set_that_began_later_stays() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let (chaos, control) = chaos(&clock, memory.clone());
    let cache = pages(&clock, chaos);
    let names = names(3);
    let gate = control.gate(Operation::Set);
    let holding = tokio::spawn({
        let (cache, name) = (cache.clone(), names[0].clone());
        async move { cache.set(name, 1u32).await }
    });
    gate.wait_for(1).await;
    let change = tokio::spawn({
        let (cache, names) = (cache.clone(), names.clone());
        async move { cache.invalidate_many(names).await }
    });
    settle().await;
    gate.open();
    control.heal();
    for name in &names {
        cache.set(name, 2u32).await.unwrap();
    }
    holding.await.unwrap().unwrap();
    change.await.unwrap().unwrap();
    for name in &names {
        assert_eq!(bare(&clock, memory.clone()).get(name).await.unwrap(), Some(2u32));
    }
}

#[tokio::test]
async fn what_the_backend_refuses_is_removed_later_once_for_each_key() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let (chaos, control) = chaos(&clock, memory.clone());
    let cache = pages(&clock, chaos);
    let names = names(300);
    fill(&cache, &names).await;
    control.inject(Operation::Remove, Fault::Refuse);
    let refused = cache.invalidate_many(&names).await.unwrap_err();
    assert_eq!(
        (refused.kind(), control.count(Operation::Remove)),
        (ErrorKind::Unavailable, 1),
        "it is not asked again"
    );
    for name in &names {
        assert_eq!(cache.get::<u32>(name).await.unwrap(), None, "hidden, as long as the backend has it");
    }
    control.heal();
    let before = control.count(Operation::Remove);
    until(&clock, "all are removed", async || cache.pending() == 0).await;
    assert_eq!(control.count(Operation::Remove) - before, 300);
    for name in &names {
        assert_eq!(memory.get(&Key::new("pages", name).unwrap()).await.unwrap(), None);
    }
}

#[tokio::test]
async fn where_nothing_is_made_again_every_batch_is_tried() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let (chaos, control) = chaos(&clock, memory.clone());
    let cache = builder(&clock, chaos).background(false).build().unwrap();
    let names = names(300);
    fill(&cache, &names).await;
    control.inject_next(1, Operation::Remove, Fault::Refuse);
    assert!(cache.invalidate_many(&names).await.is_err());
    let mut left = 0;
    for name in &names {
        left += usize::from(memory.get(&Key::new("pages", name).unwrap()).await.unwrap().is_some());
    }
    assert_eq!((left, control.count(Operation::Remove)), (128, 3));
}

#[tokio::test]
async fn messages_travel_together_and_those_that_fail_are_sent_again() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let (chaos, control) = chaos(&clock, memory.clone());
    let (one, two) = (pages(&clock, chaos), pages(&clock, memory));
    let names = names(100);
    fill(&one, &names).await;
    for name in &names {
        assert_eq!(two.get(name).await.unwrap(), Some(1u32));
    }
    heard(&clock, &one, &two).await;
    let gate = control.gate(Operation::Publish);
    control.inject(Operation::Publish, Fault::Refuse);
    let change = tokio::spawn({
        let (one, names) = (one.clone(), names.clone());
        async move { one.invalidate_many(names).await }
    });
    gate.wait_for(32).await;
    gate.open();
    assert_eq!(change.await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    control.heal();
    until(&clock, "all are told", async || one.pending() == 0).await;
    settle().await;
    for name in &names {
        assert_eq!(in_l1(&two, name).await, None);
    }
}
