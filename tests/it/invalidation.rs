//! Forgetting across caches, namespaces and tags: two caches over clones of one `Memory` are two processes over one
//! server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use cachekit::backends::Memory;
use cachekit::codec::{Checked, Postcard};
use cachekit::testing::{Chaos, Fault, ManualClock};
use cachekit::{
    AnyBus, Backend, Bus, Cache, CacheBuilder, Computed, Error, ErrorKind, Intent, Key, Operation, Outcome, Unreadable,
};

use harness::support::{Broken, Journal, Note, Slow, forward, settle};

mod exact;
mod hearing;
mod ledger;
mod overtaken;
mod staleness;
mod unheard;

type Pages<B> = Cache<B, Checked<Postcard>>;

fn memory(clock: &ManualClock) -> Memory {
    Memory::with_clock(16 << 20, Arc::new(clock.clone()))
}

fn builder<B: Backend>(clock: &ManualClock, backend: B) -> CacheBuilder<B, Postcard, cachekit::intent::Production> {
    let builder = CacheBuilder::new().backend(backend).intent(Intent::Production).namespace("pages");
    builder.clock(Arc::new(clock.clone())).swr_enabled(false)
}

fn pages<B: Backend>(clock: &ManualClock, backend: B) -> Pages<B> {
    builder(clock, backend).build().unwrap()
}

/// Without L1 and the bus: what only the versions in the backend tell.
fn quiet<B: Backend>(clock: &ManualClock, backend: B) -> Pages<B> {
    builder(clock, backend).invalidation_enabled(false).l1_enabled(false).build().unwrap()
}

/// Lets tasks run until `done`.
async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    for _ in 0..500 {
        if done().await {
            return;
        }
        settle().await;
    }
    panic!("never happened: {what}");
}

/// What L1 holds, whatever the backend has.
async fn in_l1<B: Backend>(cache: &Pages<B>, key: &str) -> Option<u32> {
    cache.entry(key).skip_l2_read().get().await.unwrap()
}

#[tokio::test]
async fn entry_changed_by_one_process_leaves_the_l1_of_the_other() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let (one, two) = (pages(&clock, memory.clone()), pages(&clock, memory));
    one.set("home", 1u32).await.unwrap();
    one.set("news", 1u32).await.unwrap();
    assert_eq!((two.get("home").await.unwrap(), two.get("news").await.unwrap()), (Some(1u32), Some(1u32)));
    assert_eq!(in_l1(&two, "home").await, Some(1));
    one.set("home", 2u32).await.unwrap();
    until("the set arrives", async || in_l1(&two, "home").await.is_none()).await;
    assert_eq!(two.get("home").await.unwrap(), Some(2u32));
    one.invalidate("home").await.unwrap();
    until("the invalidation arrives", async || in_l1(&two, "home").await.is_none()).await;
    assert_eq!(two.get::<u32>("home").await.unwrap(), None);
    assert_eq!(in_l1(&two, "news").await, Some(1), "others stay");
    assert_eq!((in_l1(&one, "news").await, one.stats().gaps), (Some(1), 0));
}

#[tokio::test]
async fn an_own_echo_forgets_nothing() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let (one, two) = (pages(&clock, memory.clone()), pages(&clock, memory));
    assert_eq!(two.get::<u32>("last").await.unwrap(), None);
    one.set("home", 1u32).await.unwrap();
    two.set("last", 1u32).await.unwrap();
    until("one has read up to the end", async || {
        one.set("probe", 1u32).await.unwrap();
        two.get::<u32>("probe").await.unwrap().is_some()
    })
    .await;
    settle().await;
    assert_eq!(in_l1(&one, "home").await, Some(1), "its own message came back by now");
}

#[tokio::test]
async fn without_the_bus_the_other_process_keeps_its_l1() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let quiet = || builder(&clock, memory.clone()).invalidation_enabled(false).build().unwrap();
    let (one, two) = (quiet(), quiet());
    one.set("home", 1u32).await.unwrap();
    assert_eq!(two.get("home").await.unwrap(), Some(1u32));
    one.invalidate("home").await.unwrap();
    settle().await;
    assert_eq!(in_l1(&two, "home").await, Some(1));
}

#[tokio::test]
async fn computation_in_another_process_is_voided_by_invalidation() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let (one, two) = (pages(&clock, memory.clone()), pages(&clock, memory.clone()));
    let slow = Slow::new();
    let old = tokio::spawn({
        let (two, slow) = (two.clone(), slow.clone());
        async move { two.get_or_compute("home", move || slow.run(Ok(1u32))).await }
    });
    slow.wait_for_start().await;
    one.invalidate("home").await.unwrap();
    settle().await;
    slow.finish(1);
    assert_eq!(old.await.unwrap().unwrap(), 1);
    assert_eq!(in_l1(&two, "home").await, None);
    assert_eq!((one.get::<u32>("home").await.unwrap(), two.get::<u32>("home").await.unwrap()), (None, None));
}

#[tokio::test]
async fn a_namespace_is_forgotten_here_there_and_in_the_backend() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let (one, two) = (pages(&clock, memory.clone()), pages(&clock, memory.clone()));
    let other = builder(&clock, memory.clone()).namespace("users").build().unwrap();
    for n in 0..50u32 {
        one.set(n, n).await.unwrap();
        other.set(n, n).await.unwrap();
        assert_eq!(two.get(n).await.unwrap(), Some(n));
    }
    let before = memory.len();
    one.invalidate_namespace().await.unwrap();
    for n in 0..50u32 {
        assert_eq!(one.get::<u32>(n).await.unwrap(), None);
        assert_eq!(other.get(n).await.unwrap(), Some(n));
    }
    assert!(!one.exists(7).await.unwrap());
    assert!(memory.len() >= before, "nothing was deleted one by one");
    until("the other process follows", async || two.get::<u32>(0).await.unwrap().is_none()).await;
    for n in 0..50u32 {
        assert_eq!(two.get::<u32>(n).await.unwrap(), None);
    }
    two.set(3, 33u32).await.unwrap();
    assert_eq!((one.get(3).await.unwrap(), one.exists(3).await.unwrap()), (Some(33u32), true));
}

#[tokio::test]
async fn a_tag_forgets_what_has_it_and_nothing_else() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let (one, two) = (pages(&clock, memory.clone()), pages(&clock, memory.clone()));
    one.entry("set").tags(["a"]).set(1u32).await.unwrap();
    let computed = || async { Ok::<_, Broken>(Computed::new(2u32).tags(["b"])) };
    one.entry("decided").tags(["a"]).get_or_decide(computed).await.unwrap();
    one.entry("asked").tags(["b"]).get_or_compute(|| async { Ok::<_, Broken>(3u32) }).await.unwrap();
    one.set("plain", 4u32).await.unwrap();
    settle().await;
    let all = ["set", "decided", "asked", "plain"];
    for (key, value) in all.into_iter().zip(1u32..) {
        assert_eq!(two.get(key).await.unwrap(), Some(value));
    }
    one.invalidate_tag("a").await.unwrap();
    let fresh = pages(&clock, memory.clone());
    for cache in [&one, &fresh] {
        for (key, value) in all.into_iter().zip([None, None, Some(3u32), Some(4)]) {
            assert_eq!(cache.get(key).await.unwrap(), value, "{key}");
        }
    }
    until("the tag arrives", async || two.get::<u32>("set").await.unwrap().is_none()).await;
    assert_eq!(two.get::<u32>("decided").await.unwrap(), None);
    assert_eq!((in_l1(&two, "asked").await, in_l1(&two, "plain").await), (Some(3), Some(4)));
    one.invalidate_tag("b").await.unwrap();
    assert_eq!((one.get::<u32>("asked").await.unwrap(), one.get("plain").await.unwrap()), (None, Some(4u32)));
}

#[tokio::test]
async fn without_a_backend_namespaces_and_tags_are_forgotten_as_well() {
    let cache = CacheBuilder::new().intent(Intent::Minimal).build().unwrap();
    cache.entry("a").tags(["t"]).set(1u32).await.unwrap();
    cache.entry("b").tags(["u"]).set(2u32).await.unwrap();
    cache.invalidate_tag("t").await.unwrap();
    assert_eq!((cache.get::<u32>("a").await.unwrap(), cache.get("b").await.unwrap()), (None, Some(2u32)));
    cache.invalidate_namespace().await.unwrap();
    assert_eq!(cache.get::<u32>("b").await.unwrap(), None);
}

/// Starts a computation whose result has the tag `t`, which nobody knows before it ends.
async fn start<B: Backend>(
    cache: &Pages<B>,
    slow: &Slow,
    value: u32,
) -> tokio::task::JoinHandle<Result<Arc<u32>, cachekit::ComputeError<Broken>>> {
    let (cache, slow) = (cache.clone(), slow.clone());
    tokio::spawn(async move {
        let compute = move || async move { slow.run(Ok(value)).await.map(|value| Computed::new(value).tags(["t"])) };
        cache.entry("home").get_or_decide(compute).await
    })
}

#[tokio::test]
async fn result_that_declares_a_tag_invalidated_meanwhile_is_void() {
    let clock = ManualClock::new();
    for remote in [false, true] {
        let memory = memory(&clock);
        // Without the bus only the versions in the backend can tell.
        let build = || builder(&clock, memory.clone()).invalidation_enabled(false).build().unwrap();
        let (one, two) = (build(), build());
        let slow = Slow::new();
        let old = start(&one, &slow, 1).await;
        slow.wait_for_start().await;
        let by = if remote { &two } else { &one };
        by.invalidate_tag("t").await.unwrap();
        slow.finish(1);
        assert_eq!(*old.await.unwrap().unwrap(), 1, "who asked before gets it");
        settle().await;
        assert_eq!(two.get::<u32>("home").await.unwrap(), None, "it did not reach the backend (remote: {remote})");
        if !remote {
            assert_eq!(one.get::<u32>("home").await.unwrap(), None);
        }
    }
}

#[tokio::test]
async fn caller_after_a_tag_invalidation_gets_no_older_result() {
    let clock = ManualClock::new();
    let cache = pages(&clock, memory(&clock));
    let slow = Slow::new();
    let old = start(&cache, &slow, 1).await;
    slow.wait_for_start().await;
    cache.invalidate_tag("t").await.unwrap();
    let new = start(&cache, &slow, 2).await;
    settle().await;
    slow.finish(2);
    assert_eq!((*old.await.unwrap().unwrap(), *new.await.unwrap().unwrap()), (1, 2));
    settle().await;
    assert_eq!(cache.get("home").await.unwrap(), Some(2u32));
}

#[tokio::test]
async fn namespace_invalidated_during_a_computation_voids_its_value() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let (one, two) = (pages(&clock, memory.clone()), pages(&clock, memory));
    let slow = Slow::new();
    let old = start(&one, &slow, 1).await;
    slow.wait_for_start().await;
    two.invalidate_namespace().await.unwrap();
    let later = start(&one, &slow, 2).await;
    settle().await;
    slow.finish(2);
    assert_eq!(*old.await.unwrap().unwrap(), 1);
    until("the later one has its turn", async || {
        clock.advance(Duration::from_millis(100));
        later.is_finished()
    })
    .await;
    assert_eq!(*later.await.unwrap().unwrap(), 2);
    settle().await;
    assert_ne!(two.get("home").await.unwrap(), Some(1u32));
    assert_ne!(one.get("home").await.unwrap(), Some(1u32));
}

#[tokio::test]
async fn process_without_a_bus_rereads_versions_within_a_second() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let quiet = || builder(&clock, memory.clone()).invalidation_enabled(false).l1_enabled(false).build().unwrap();
    let (one, two) = (quiet(), quiet());
    one.entry("home").tags(["t"]).set(1u32).await.unwrap();
    one.entry("news").set(2u32).await.unwrap();
    assert_eq!(two.get("home").await.unwrap(), Some(1u32));
    one.invalidate_tag("t").await.unwrap();
    assert_eq!(one.get::<u32>("home").await.unwrap(), None, "the one who did it knows at once");
    clock.advance(Duration::from_millis(1_000));
    assert_eq!((two.get::<u32>("home").await.unwrap(), two.get("news").await.unwrap()), (None, Some(2u32)));
    one.invalidate_namespace().await.unwrap();
    clock.advance(Duration::from_millis(1_000));
    assert_eq!(two.get::<u32>("news").await.unwrap(), None);
}

#[tokio::test]
async fn versions_travel_with_a_read_at_most_once_a_second() {
    let clock = ManualClock::new();
    let chaos = Chaos::new(memory(&clock));
    let control = chaos.control();
    let cache = builder(&clock, chaos).l1_enabled(false).build().unwrap();
    cache.set("home", 1u32).await.unwrap();
    assert_eq!(cache.get("home").await.unwrap(), Some(1u32));
    let reads = async |count: usize| {
        let before = control.count(Operation::Get);
        for _ in 0..count {
            assert_eq!(cache.get("home").await.unwrap(), Some(1u32));
        }
        control.count(Operation::Get) - before
    };
    assert_eq!(reads(10).await, 10, "one operation each");
    clock.advance(Duration::from_secs(2));
    assert_eq!(reads(10).await, 10, "the generation comes with the first of them");
}

/// Chooses keys.
type Which = fn(&str) -> bool;

/// Loses the next of its keys that is asked for, on demand.
#[derive(Debug, Clone)]
struct Leaky {
    inner: Memory,
    what: Which,
    leaks: Arc<AtomicBool>,
}

impl Backend for Leaky {
    forward!(inner: capabilities set remove ttl set_many remove_many part forget lease renew fill release ping bus);
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, Error> {
        if (self.what)(key.as_str()) && self.leaks.swap(false, SeqCst) {
            self.inner.remove(key).await?;
        }
        self.inner.get(key).await
    }
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, Error> {
        let mut found = Vec::new();
        for key in keys {
            found.push(self.get(key).await?);
        }
        Ok(found)
    }
}

#[tokio::test]
async fn a_ledger_that_the_backend_lost_revives_nothing() {
    let whats: [(&str, Which); 2] =
        [("the head", |key| key.ends_with("}:0")), ("a record", |key| key.contains("}:0:"))];
    for (name, what) in whats {
        let clock = ManualClock::new();
        let leaks = Arc::new(AtomicBool::new(false));
        let leaky = Leaky { inner: memory(&clock), what, leaks: Arc::clone(&leaks) };
        let build = || builder(&clock, leaky.clone()).l1_enabled(false).build().unwrap();
        let cache = build();
        cache.entry("old").tags(["t"]).set(1u32).await.unwrap();
        cache.invalidate_tag("t").await.unwrap();
        cache.entry("new").tags(["t"]).set(2u32).await.unwrap();
        leaks.store(true, SeqCst);
        let fresh = build();
        let _ = fresh.get::<u32>("old").await.unwrap();
        assert!(!leaks.load(SeqCst), "{name} was lost");
        for cache in [&cache, &fresh] {
            clock.advance(Duration::from_secs(2));
            assert_eq!(cache.get::<u32>("old").await.unwrap(), None, "{name} was lost");
        }
        clock.advance(Duration::from_secs(60));
        let value = fresh.get_or_compute("new", || async { Ok::<_, Broken>(3u32) }).await.unwrap();
        settle().await;
        assert_eq!(cache.get("new").await.unwrap(), Some(value), "and both go on together ({name})");
    }
}

#[tokio::test]
async fn many_processes_that_start_at_once_agree_on_the_ledger() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let caches: Vec<_> = (0..8).map(|_| pages(&clock, memory.clone())).collect();
    let writers: Vec<_> = caches
        .iter()
        .zip(0u32..)
        .map(|(cache, n)| {
            let cache = cache.clone();
            tokio::spawn(async move { cache.entry(n).tags(["t"]).set(n).await.unwrap() })
        })
        .collect();
    for _ in 0..50 {
        settle().await;
        clock.advance(Duration::from_millis(20));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    for cache in &caches {
        for n in 0..8u32 {
            assert_eq!(cache.get(n).await.unwrap(), Some(n));
        }
    }
}

#[tokio::test]
async fn a_reader_that_was_away_catches_up() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let chaos = Chaos::with_clock(memory.clone(), Arc::new(clock.clone()));
    let control = chaos.control();
    let (one, two) = (pages(&clock, memory), pages(&clock, chaos));
    for (count, gaps) in [(1_000u32, 0), (11_000, 1)] {
        for n in 0..1_000u32 {
            one.set(n, n).await.unwrap();
        }
        settle().await;
        for n in 0..1_000u32 {
            assert_eq!(two.get(n).await.unwrap(), Some(n));
        }
        control.inject(Operation::Receive, Fault::Refuse);
        until("the bus is cut", async || {
            one.set("probe", 1u32).await.unwrap();
            settle().await;
            clock.advance(Duration::from_millis(100));
            two.stats().backend_failures > 0
        })
        .await;
        for n in 0..count {
            // The first are no longer in the log when it is long.
            one.invalidate(n.min(999)).await.unwrap();
        }
        assert_eq!(two.entry(7u32).skip_l2_read().get::<u32>().await.unwrap(), Some(7), "it hears nothing");
        control.heal();
        until("it catches up", async || {
            clock.advance(Duration::from_millis(500));
            two.entry(999u32).skip_l2_read().get::<u32>().await.unwrap().is_none()
        })
        .await;
        settle().await;
        for n in 0..1_000u32 {
            assert_eq!(two.get::<u32>(n).await.unwrap(), None, "{n} of {count}");
        }
        assert_eq!(two.stats().gaps, gaps, "after {count} messages");
    }
}

#[tokio::test]
async fn entry_read_before_the_bus_answered_is_not_trusted_later() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let chaos = Chaos::with_clock(memory.clone(), Arc::new(clock.clone()));
    let control = chaos.control();
    control.inject(Operation::Receive, Fault::Refuse);
    let (one, two) = (pages(&clock, memory), pages(&clock, chaos));
    one.set("home", 1u32).await.unwrap();
    assert_eq!(two.get("home").await.unwrap(), Some(1u32));
    assert_eq!(in_l1(&two, "home").await, Some(1), "an outage of the bus does not stop the cache");
    one.invalidate("home").await.unwrap();
    control.heal();
    until("it listens", async || {
        clock.advance(Duration::from_millis(500));
        in_l1(&two, "home").await.is_none()
    })
    .await;
    assert_eq!(two.get::<u32>("home").await.unwrap(), None);
}

#[tokio::test]
async fn hung_bus_delays_a_call_no_longer_than_its_patience() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    memory.set(&Key::new("pages", "else").unwrap(), "x".into(), Duration::from_secs(9)).await.unwrap();
    let chaos = Chaos::with_clock(memory, Arc::new(clock.clone()));
    chaos.control().inject(Operation::Receive, Fault::Hang);
    let cache = pages(&clock, chaos);
    let call = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_or_compute("home", || async { Ok::<_, Broken>(1u32) }).await.unwrap() }
    });
    settle().await;
    assert!(!call.is_finished());
    clock.advance(Duration::from_millis(250));
    assert_eq!(call.await.unwrap(), 1);
}

#[tokio::test]
async fn bytes_that_are_no_message_are_counted_and_dropped() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let journal = Arc::new(Journal::default());
    let cache = builder(&clock, memory.clone()).observer(Arc::clone(&journal) as _).build().unwrap();
    cache.set("home", 1u32).await.unwrap();
    let bus = std::sync::Mutex::new(None);
    let spy = Spy { inner: memory, bus: Arc::new(bus) };
    let other = pages(&clock, spy.clone());
    other.set("away", 1u32).await.unwrap();
    let bus = spy.bus.lock().unwrap().clone().unwrap();
    for bytes in [&b""[..], b"\x03short", &[0xC1; 1_024], &[3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF]] {
        bus.publish(Bytes::copy_from_slice(bytes)).await.unwrap();
    }
    bus.publish(Bytes::from_static(&[4, 0, 0])).await.unwrap();
    let malformed = |note: &Note| *note == Note::Unreadable(Unreadable::Foreign);
    until("they arrive", async || journal.count(malformed) == 3).await;
    other.invalidate("home").await.unwrap();
    until("and it goes on", async || cache.entry("home").skip_l2_read().get::<u32>().await.unwrap().is_none()).await;
    assert_eq!(journal.count(malformed), 3);
}

/// Shows the bus it hands out.
#[derive(Debug, Clone)]
struct Spy {
    inner: Memory,
    bus: Arc<std::sync::Mutex<Option<AnyBus>>>,
}

impl Backend for Spy {
    forward!(inner: capabilities get set remove ttl get_many set_many remove_many part forget lease renew fill release ping);
    fn bus(&self, name: &Key) -> Option<AnyBus> {
        let bus = self.inner.bus(name);
        *self.bus.lock().unwrap() = bus.clone();
        bus
    }
}

#[tokio::test]
async fn a_change_that_others_cannot_be_told_of_is_an_error() {
    let clock = ManualClock::new();
    let chaos = Chaos::with_clock(memory(&clock), Arc::new(clock.clone()));
    let control = chaos.control();
    let cache = pages(&clock, chaos);
    cache.set("home", 1u32).await.unwrap();
    control.inject(Operation::Publish, Fault::Refuse);
    assert_eq!(cache.invalidate("home").await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(cache.set("home", 2u32).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(cache.invalidate_tag("t").await.is_ok(), "the backend tells of it in the same step");
    assert_eq!(cache.get("home").await.unwrap(), Some(2u32));
    let value = cache.get_or_compute("new", || async { Ok::<_, Broken>(3u32) }).await.unwrap();
    assert_eq!((value, cache.stats().failed), (3, 0), "what is computed is told to nobody");
}

#[tokio::test]
async fn what_the_backend_cannot_do_is_said_at_once() {
    let clock = ManualClock::new();
    let without = builder(&clock, memory(&clock)).namespace_index(false).build().unwrap();
    without.set("home", 1u32).await.unwrap();
    let refused = without.invalidate_namespace().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert!(refused.to_string().contains("namespace_index"), "{refused}");
    assert_eq!(without.invalidate_tag("t").await.unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(without.get("home").await.unwrap(), Some(1u32));
    let deaf = builder(&clock, Deaf(memory(&clock))).invalidation_enabled(true).build().unwrap_err();
    assert!(deaf.to_string().contains("invalidation_enabled: the memory backend has no bus"), "{deaf}");
    assert!(builder(&clock, Deaf(memory(&clock))).build().is_ok(), "the intent alone asks for nothing");
}

/// Has no bus.
#[derive(Debug)]
struct Deaf(Memory);

impl Backend for Deaf {
    forward!(0: capabilities get set remove ttl get_many set_many remove_many part forget lease renew fill release ping);
    fn bus(&self, _: &Key) -> Option<AnyBus> {
        None
    }
}

#[tokio::test]
async fn a_closed_cache_believes_nothing_and_listens_no_more() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = alive();
    let (one, two) = (pages(&clock, memory.clone()), pages(&clock, memory));
    one.set("home", 1u32).await.unwrap();
    assert_eq!(two.get("home").await.unwrap(), Some(1u32));
    assert!(alive() > before, "somebody listens");
    two.close(Duration::from_secs(1)).await.unwrap();
    one.set("home", 2u32).await.unwrap();
    assert_eq!(two.get("home").await.unwrap(), Some(2u32));
    assert_eq!(two.pending(), 0);
    drop(one);
    until("no task is left", async || alive() == before).await;
}

#[test]
fn a_second_runtime_listens_on() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let (one, two) = (pages(&clock, memory.clone()), pages(&clock, memory));
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime().block_on(async {
        one.set("home", 1u32).await.unwrap();
        assert_eq!(two.get("home").await.unwrap(), Some(1u32));
    });
    runtime().block_on(async {
        one.invalidate("home").await.unwrap();
        assert_eq!(in_l1(&two, "home").await, Some(1), "nobody listened");
        assert_eq!(two.get::<u32>("other").await.unwrap(), None);
        until("it catches up", async || in_l1(&two, "home").await.is_none()).await;
    });
}

#[tokio::test]
async fn first_value_is_stored_and_hit_though_the_bus_joins_meanwhile() {
    let clock = ManualClock::new();
    let journal = Arc::new(Journal::default());
    let cache = builder(&clock, memory(&clock)).observer(Arc::clone(&journal) as _).build().unwrap();
    for _ in 0..2 {
        assert_eq!(cache.get_or_compute("home", || async { Ok::<_, Broken>(1u32) }).await.unwrap(), 1);
        settle().await;
    }
    let answered = [Outcome::Computed, Outcome::L1Hit].map(Note::Answered);
    let notes: Vec<_> = journal.notes().into_iter().filter(|note| matches!(note, Note::Answered(_))).collect();
    assert_eq!(notes, answered);
}
