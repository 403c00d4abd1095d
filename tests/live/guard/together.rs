//! Caches over one backend judge it together.

use super::*;

type Minimal = CacheBuilder<Chaos<Memory>, Postcard, Intent::Minimal>;
type Plain = Cache<Chaos<Memory>, Postcard>;

struct Pair {
    clock: ManualClock,
    control: ChaosControl,
    told: [Arc<Told>; 2],
    caches: [Plain; 2],
}

/// Two caches over clones of one backend, whose second may differ.
fn pair(second: impl FnOnce(Minimal, Memory) -> Plain) -> Pair {
    let clock = ManualClock::new();
    let handed: Arc<dyn cachekit::Clock> = Arc::new(clock.clone());
    let memory = Memory::with_clock(1 << 20, Arc::clone(&handed));
    let chaos = Chaos::with_clock(memory.clone(), Arc::clone(&handed));
    let control = chaos.control();
    let told = [Arc::<Told>::default(), Arc::default()];
    let build = |name: &str, told: &Arc<Told>| {
        let builder = CacheBuilder::new().intent(Intent::Minimal).namespace(name).backend(chaos.clone());
        let builder = builder.l1_enabled(false).breaker_enabled(true).failure_threshold(3).retries(0).stats(true);
        builder.clock(Arc::clone(&handed)).observer(Arc::clone(told) as _)
    };
    let caches = [build("one", &told[0]).build().unwrap(), second(build("two", &told[1]), memory)];
    Pair { clock, control, told, caches }
}

async fn fail(cache: &Plain) {
    assert_eq!(cache.get::<u32>(1u32).await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn breaker_opened_by_one_cache_holds_for_all_and_each_reports() {
    let Pair { clock, control, told, caches: [one, two] } = pair(|builder, _| builder.build().unwrap());
    control.inject_all(Fault::Refuse);
    fail(&one).await;
    fail(&two).await;
    fail(&one).await;
    let asked = control.count(Operation::Get);
    fail(&two).await;
    assert_eq!(control.count(Operation::Get), asked, "the backend was not asked");
    control.heal();
    clock.advance(SECOND / 4);
    for cache in [&one, &two, &two, &one] {
        assert_eq!(cache.get::<u32>(1u32).await.unwrap(), None);
    }
    let [open, half, closed] = [BreakerState::Open, BreakerState::HalfOpen, BreakerState::Closed];
    for told in told {
        assert_eq!(*told.breaker.lock().unwrap(), [open, half, closed]);
    }
    assert_eq!((one.stats().breaker_opened, two.stats().breaker_opened), (1, 1));
}

#[tokio::test]
async fn caches_with_other_settings_clock_or_handle_judge_apart() {
    let apart: [fn(Minimal, Memory) -> Plain; 3] = [
        |builder, _| builder.failure_threshold(4).build().unwrap(),
        |builder, _| builder.clock(Arc::new(ManualClock::new())).build().unwrap(),
        |builder, memory| builder.backend(Chaos::new(memory)).build().unwrap(),
    ];
    for second in apart {
        let Pair { control, told, caches: [one, two], .. } = pair(second);
        control.inject_all(Fault::Refuse);
        for _ in 0..3 {
            fail(&one).await;
        }
        control.heal();
        assert_eq!(two.get::<u32>(1u32).await.unwrap(), None);
        assert_eq!(one.get::<u32>(1u32).await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!((told[0].breaker.lock().unwrap().len(), told[1].breaker.lock().unwrap().len()), (1, 0));
    }
}

#[tokio::test]
async fn all_together_have_no_more_operations_under_way_than_one_may() {
    let Pair { control, caches, .. } = pair(|builder, _| builder.build().unwrap());
    let gate = control.gate(Operation::Get);
    let mut calls: Vec<_> = (0..300u32)
        .map(|key| {
            let cache = caches[key as usize % 2].clone();
            tokio::spawn(async move { cache.get::<u32>(key).await })
        })
        .collect();
    gate.wait_for(100).await;
    settle().await;
    assert_eq!(control.count(Operation::Get), 100, "as many as Memory is made for");
    gate.open();
    for call in calls.drain(..) {
        assert_eq!(call.await.unwrap().unwrap(), None);
    }
}
