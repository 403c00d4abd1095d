//! Why a miss is a miss.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use cachekit::backends::Memory;
use cachekit::codec::{Checked, Keyring, MessagePack, Postcard};
use cachekit::intent::Production;
use cachekit::testing::{Chaos, ChaosControl, Fault, ManualClock};
use cachekit::{
    Backend, Cache, CacheBuilder, Event, Intent, Key, MissReason, Observer, Operation, Outcome, Stats, Tier,
};

use harness::support::{Broken, Slow, settle};

type Builder = CacheBuilder<Chaos<Memory>, Postcard, Production>;
type Users = Cache<Chaos<Memory>, Checked<Postcard>>;

/// The reasons that were told.
#[derive(Debug, Default)]
struct Reasons(Mutex<Vec<MissReason>>);

impl Observer for Reasons {
    fn event(&self, event: &Event<'_>) {
        if let Event::Missed { reason, .. } = event {
            self.0.lock().unwrap().push(*reason);
        }
    }
}

impl Reasons {
    fn take(&self) -> Vec<MissReason> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// Two processes over one backend.
struct Setup {
    clock: ManualClock,
    memory: Memory,
    control: ChaosControl,
    reasons: Arc<Reasons>,
    cache: Users,
    other: Cache<Memory, Checked<Postcard>>,
}

fn setup(build: impl FnOnce(Builder) -> Builder) -> Setup {
    let (clock, reasons) = (ManualClock::new(), Arc::<Reasons>::default());
    let time = || Arc::new(clock.clone());
    let memory = Memory::with_clock(1 << 20, time());
    let chaos = Chaos::with_clock(memory.clone(), time());
    let control = chaos.control();
    let builder = CacheBuilder::new().intent(Intent::Production).namespace("users").clock(time()).retries(0);
    let cache = builder.backend(chaos).jitter(false).observer(Arc::clone(&reasons) as _);
    let cache = build(cache).build().unwrap();
    let other = CacheBuilder::new().intent(Intent::Production).namespace("users").clock(time());
    let other = other.backend(memory.clone()).build().unwrap();
    Setup { clock, memory, control, reasons, cache, other }
}

impl Setup {
    /// Why a `get` finds nothing.
    async fn get(&self) -> Vec<MissReason> {
        assert_eq!(self.cache.get::<u32>(7).await.unwrap_or(None), None);
        self.reasons.take()
    }

    async fn compute(&self) -> Vec<MissReason> {
        assert_eq!(self.cache.get_or_compute(7, || async { Ok::<_, Broken>(8u32) }).await.unwrap(), 8);
        settle().await;
        self.reasons.take()
    }

    async fn set(&self) {
        self.cache.entry(7).tags(["team"]).set(1u32).await.unwrap();
    }
}

#[tokio::test]
async fn a_key_of_which_nothing_is_known_is_new_and_told_once_for_all_who_wait() {
    let setup = setup(|builder| builder);
    assert_eq!(setup.get().await, [MissReason::New]);
    let slow = Slow::new();
    let call = |number| {
        let (cache, slow) = (setup.cache.clone(), slow.clone());
        tokio::spawn(async move { cache.get_or_compute(7, move || slow.run(Ok(number))).await })
    };
    let calls: Vec<_> = (0..5).map(call).collect();
    slow.wait_for_start().await;
    settle().await;
    slow.finish(1);
    for call in calls {
        assert!(call.await.unwrap().is_ok());
    }
    assert_eq!(setup.reasons.take(), [MissReason::New]);
    let Stats { missed_new, computed, joined, absent, .. } = setup.cache.stats();
    assert_eq!((missed_new, computed, joined, absent), (2, 1, 4, 1));
    assert_eq!(setup.compute_other(9).await, [MissReason::New], "invalidated by its key, it is new, too");
}

impl Setup {
    async fn compute_other(&self, key: u32) -> Vec<MissReason> {
        self.cache.set(key, 1u32).await.unwrap();
        self.cache.invalidate(key).await.unwrap();
        self.cache.get_or_compute(key, || async { Ok::<_, Broken>(8u32) }).await.unwrap();
        self.reasons.take()
    }
}

#[tokio::test]
async fn a_key_that_l1_gave_up_for_others_was_evicted() {
    let reasons = Arc::<Reasons>::default();
    let builder = CacheBuilder::new().namespace("pages").l1_max_size_mb(1.0);
    let cache = builder.observer(Arc::clone(&reasons) as _).build().unwrap();
    for page in 0..2_000u32 {
        cache.set(page, vec![0u8; 1_000]).await.unwrap();
    }
    let evicted = |page: &u32| cache.exists(*page);
    let mut gone = Vec::new();
    for page in 1_000..1_500 {
        if !evicted(&page).await.unwrap() {
            gone.push(page);
        }
    }
    assert!(gone.len() > 100, "{}", gone.len());
    for page in &gone {
        assert_eq!(cache.get::<Vec<u8>>(*page).await.unwrap(), None);
    }
    let evicted = reasons.take().iter().filter(|reason| **reason == MissReason::Evicted).count();
    assert!(evicted * 10 > gone.len() * 6, "{evicted} of {} were remembered", gone.len());
    assert_eq!(cache.stats().missed_evicted, evicted as u64);
}

#[tokio::test]
async fn an_entry_that_expired_says_so_from_l1_and_from_the_backend() {
    let ttl = Duration::from_secs(10);
    for l1 in [true, false] {
        let setup = setup(|builder| builder.ttl(ttl).stale_if_error(ttl).l1_enabled(l1));
        setup.set().await;
        setup.clock.advance(Duration::from_secs(11));
        assert_eq!(setup.compute().await, [MissReason::Expired], "it could stand in");
    }
    let setup = setup(|builder| builder.ttl(ttl).stale_if_error(Duration::ZERO));
    setup.set().await;
    setup.clock.advance(Duration::from_secs(11));
    assert_eq!(setup.get().await, [MissReason::Expired]);
}

#[tokio::test]
async fn a_stale_entry_that_is_renewed_in_the_background_is_no_miss() {
    let setup = setup(|builder| builder.ttl(Duration::from_secs(10)).swr_enabled(true).invalidation_enabled(false));
    setup.set().await;
    setup.clock.advance(Duration::from_secs(6));
    assert_eq!(setup.cache.get_or_compute(7, || async { Ok::<_, Broken>(2u32) }).await.unwrap(), 1);
    settle().await;
    assert_eq!((setup.cache.get::<u32>(7).await.unwrap(), setup.reasons.take()), (Some(2), vec![]));
}

#[tokio::test]
async fn tags_domains_and_the_namespace_are_named_by_l1() {
    let setup = setup(|builder| builder);
    let shop = setup.cache.domain("shop").unwrap();
    setup.set().await;
    setup.cache.invalidate_tag("team").await.unwrap();
    assert_eq!(setup.get().await, [MissReason::Tag]);
    setup.set().await;
    setup.cache.invalidate_namespace().await.unwrap();
    assert_eq!(setup.get().await, [MissReason::Namespace]);
    shop.set(7, 1u32).await.unwrap();
    shop.invalidate_namespace().await.unwrap();
    assert_eq!(shop.get::<u32>(7).await.unwrap(), None);
    assert_eq!(setup.reasons.take(), [MissReason::Domain]);
    assert_eq!((shop.stats().missed_domain, shop.stats().misses(), setup.cache.stats().misses()), (1, 1, 3));
}

#[tokio::test]
async fn tags_domains_and_the_namespace_are_named_by_the_ledger() {
    let setup = setup(|builder| builder.l1_enabled(false).invalidation_enabled(false));
    let (shop, others) = (setup.cache.domain("shop").unwrap(), setup.other.domain("shop").unwrap());
    let later = || setup.clock.advance(Duration::from_secs(2));
    setup.set().await;
    setup.other.invalidate_tag("team").await.unwrap();
    later();
    assert_eq!(setup.compute().await, [MissReason::Tag]);
    setup.other.invalidate_namespace().await.unwrap();
    later();
    assert_eq!(setup.get().await, [MissReason::Namespace]);
    shop.set(7, 1u32).await.unwrap();
    others.invalidate_namespace().await.unwrap();
    later();
    assert_eq!(shop.get::<u32>(7).await.unwrap(), None);
    assert_eq!(setup.reasons.take(), [MissReason::Domain]);
}

#[tokio::test]
async fn an_entry_that_a_change_overtook_is_fenced() {
    let setup = setup(|builder| builder);
    setup.set().await;
    setup.control.inject_next(1, Operation::Remove, Fault::Refuse);
    assert!(setup.cache.invalidate(7).await.is_err());
    assert_eq!(setup.get().await, [MissReason::Fenced], "the backend has it still");
}

#[tokio::test]
async fn l1_says_that_it_does_not_believe_what_it_holds() {
    let reasons = Arc::<Reasons>::default();
    let cache = CacheBuilder::new().observer(Arc::clone(&reasons) as _).build().unwrap();
    cache.set(7, 1u32).await.unwrap();
    cache.pause_tier(Tier::L1);
    assert_eq!(cache.get::<u32>(7).await.unwrap(), None);
    cache.resume();
    assert_eq!(cache.get::<u32>(7).await.unwrap(), None);
    assert_eq!(reasons.take(), [MissReason::Paused, MissReason::Doubted]);
}

#[tokio::test]
async fn entries_of_another_type_stack_or_key_say_so() {
    let setup = setup(|builder| builder);
    setup.cache.set(7, "text".to_owned()).await.unwrap();
    assert_eq!(setup.get().await, [MissReason::Schema]);
    let packed = CacheBuilder::new().intent(Intent::Production).namespace("users").codec(MessagePack);
    packed
        .backend(setup.memory.clone())
        .clock(Arc::new(setup.clock.clone()))
        .build()
        .unwrap()
        .set(7, 1u32)
        .await
        .unwrap();
    setup.clock.advance(Duration::from_secs(2));
    assert_eq!(setup.get().await, [MissReason::Stack]);
    let key = Key::new("users", 7).unwrap();
    setup.memory.set(&key, Bytes::from_static(b"no entry"), Duration::from_secs(9)).await.unwrap();
    assert_eq!(setup.compute().await, [MissReason::Unreadable]);
    let setup = setup_flipped().await;
    assert_eq!(setup.get().await, [MissReason::Unauthentic]);
}

/// An entry with a changed bit.
async fn setup_flipped() -> Setup {
    let setup = setup(|builder| builder.l1_enabled(false));
    setup.set().await;
    setup.control.inject(Operation::Get, Fault::Flip(300));
    setup
}

#[tokio::test]
async fn an_entry_sealed_with_another_key_is_not_authentic() {
    let (memory, reasons) = (Memory::new(1 << 20), Arc::<Reasons>::default());
    let sealed = |key: &str| {
        let builder = CacheBuilder::new().intent(Intent::Secure).keyring(Keyring::from_hex(&key.repeat(32)).unwrap());
        builder.backend(memory.clone()).observer(Arc::clone(&reasons) as _).build().unwrap()
    };
    sealed("ab").set(7, 1u32).await.unwrap();
    assert_eq!(sealed("cd").get::<u32>(7).await.unwrap(), None);
    assert_eq!(reasons.take(), [MissReason::Unauthentic]);
}

#[tokio::test]
async fn a_paused_cache_and_a_call_that_skips_both_tiers_say_so() {
    let setup = setup(|builder| builder);
    setup.set().await;
    setup.cache.refresh(7, || async { Ok::<_, Broken>(8u32) }).await.unwrap();
    assert_eq!(setup.reasons.take(), [MissReason::Skipped]);
    setup.cache.pause();
    assert_eq!(setup.get().await, [MissReason::Paused]);
    assert_eq!(setup.compute().await, [MissReason::Paused]);
}

#[tokio::test]
async fn a_backend_that_fails_is_named_and_one_that_is_left_alone() {
    let setup = setup(|builder| builder.l1_enabled(false).failure_threshold(1).adaptive_timeout_enabled(false));
    setup.set().await;
    setup.control.inject_all(Fault::Refuse);
    assert_eq!(setup.get().await, [MissReason::BackendFailed]);
    assert_eq!(setup.get().await, [MissReason::Refused]);
    assert_eq!(setup.compute().await, [MissReason::Refused]);
    let Stats { missed_backend_failed, missed_refused, .. } = setup.cache.stats();
    assert_eq!((missed_backend_failed, missed_refused), (1, 2));
}

#[tokio::test]
async fn a_batch_tells_the_reason_of_each_key() {
    let setup = setup(|builder| builder.invalidation_enabled(false).l1_enabled(false));
    setup.cache.entry(1).tags(["team"]).set(1u32).await.unwrap();
    setup.cache.set(2, "text".to_owned()).await.unwrap();
    setup.cache.set(3, 3u32).await.unwrap();
    setup.other.invalidate_tag("team").await.unwrap();
    setup.clock.advance(Duration::from_secs(2));
    assert_eq!(setup.cache.get_many::<u32, _>([1, 2, 3, 4]).await.unwrap(), [None, None, Some(3), None]);
    assert_eq!(setup.reasons.take(), [MissReason::Tag, MissReason::Schema, MissReason::New]);
    let computed = setup.cache.get_or_compute_many([1, 2, 3, 4], |missing| async move {
        Ok::<cachekit::Loaded<u32, u32, Broken>, _>(missing.into_iter().map(|key| (key, key)).collect())
    });
    assert!(computed.await.into_iter().all(|value| value.is_ok()));
    let mut reasons = setup.reasons.take();
    reasons.sort_by_key(|reason| reason.name());
    assert_eq!(reasons, [MissReason::New, MissReason::Schema, MissReason::Tag]);
}

#[test]
fn reasons_are_named_once_each() {
    let mut names: Vec<_> = MissReason::ALL.iter().map(|reason| reason.to_string()).collect();
    let stats = Stats::default();
    for name in &names {
        assert!(stats.iter().any(|(counter, _)| counter == format!("missed_{name}")), "{name}");
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), MissReason::ALL.len());
    assert!(!Outcome::Absent.is_hit());
}
