//! The table of intents, row by row.

use std::cell::RefCell;
use std::io;
use std::sync::{Arc, Once};
use std::time::Duration;

use bytes::Bytes;
use cachekit::backends::{Memory, NoBackend};
use cachekit::codec::{Checked, Postcard};
use cachekit::intent::Preset;
use cachekit::testing::{Chaos, ChaosControl, ManualClock};
use cachekit::{Backend, Cache, CacheBuilder, ErrorKind, Grace, Intent, Key, Operation, Policy, Settings, Tracing};

use harness::support::{Broken, Slow, settle};

const TTL: Duration = Duration::from_secs(100);

struct Bench<P: Preset> {
    clock: ManualClock,
    memory: Memory,
    control: ChaosControl,
    cache: Cache<P::Backend<Chaos<Memory>>, P::Codec<Postcard>>,
}

fn bench<P: Preset>(intent: P) -> Bench<P> {
    let clock = ManualClock::new();
    let memory = Memory::with_clock(1 << 20, Arc::new(clock.clone()));
    let chaos = Chaos::with_clock(memory.clone(), Arc::new(clock.clone()));
    let control = chaos.control();
    let cache =
        CacheBuilder::new().intent(intent).backend(chaos).clock(Arc::new(clock.clone())).ttl(TTL).build().unwrap();
    Bench { clock, memory, control, cache }
}

impl<P: Preset> Bench<P> {
    async fn computes(&self, value: u32) -> u32 {
        let value = self.cache.get_or_compute("key", move || async move { Ok::<_, Broken>(value) }).await.unwrap();
        settle().await;
        value
    }

    async fn stored(&self) -> Bytes {
        self.memory.get(&Key::new("default", "key").unwrap()).await.unwrap().unwrap()
    }
}

/// The stack around the base codec shows in the stored bytes: header, value, and eight bytes of checksum.
async fn stored_length<P: Preset>(intent: P) -> usize {
    let bench = bench(intent);
    bench.computes(1).await;
    bench.stored().await.len()
}

#[tokio::test]
async fn the_codec_is_wrapped_as_the_intent_says() {
    let bare = 86 + 1;
    assert_eq!(stored_length(Intent::Minimal).await, bare);
    assert_eq!(stored_length(Intent::Test).await, bare);
    assert_eq!(stored_length(Intent::Dev).await, bare + 8);
    assert_eq!(stored_length(Intent::Production).await, bare + 8);
    let _minimal: Cache<NoBackend, Postcard> = CacheBuilder::new().intent(Intent::Minimal).build().unwrap();
    let _test: Cache<NoBackend, Postcard> = CacheBuilder::new().intent(Intent::Test).build().unwrap();
    let _dev: Cache<NoBackend, Checked<Postcard>> = CacheBuilder::new().intent(Intent::Dev).build().unwrap();
    let _default: Cache<NoBackend, Checked<Postcard>> = CacheBuilder::new().build().unwrap();
}

async fn l1_answers<P: Preset>(intent: P) {
    let bench = bench(intent);
    assert_eq!(bench.cache.policy().l1_max_size, Some(100 << 20));
    bench.computes(1).await;
    let before = bench.control.count(Operation::Get);
    assert_eq!(bench.computes(2).await, 1);
    assert_eq!(bench.control.count(Operation::Get), before, "the second call did not reach the backend");
}

#[tokio::test]
async fn every_intent_has_an_l1_of_100_mb() {
    l1_answers(Intent::Minimal).await;
    l1_answers(Intent::Test).await;
    l1_answers(Intent::Dev).await;
    l1_answers(Intent::Production).await;
}

/// Whether an entry past half of its life is renewed behind the caller's back.
async fn renews<P: Preset>(intent: P) -> bool {
    let bench = bench(intent);
    bench.computes(1).await;
    bench.clock.advance(TTL * 6 / 10);
    assert_eq!(bench.computes(2).await, 1);
    bench.computes(3).await == 2
}

#[tokio::test]
async fn stale_while_revalidate_is_on_from_dev_upwards() {
    assert!(!renews(Intent::Minimal).await);
    assert!(!renews(Intent::Test).await);
    assert!(renews(Intent::Dev).await);
    assert!(renews(Intent::Production).await);
}

/// Whether an expired value stands in for a failing computation, just before twice its ttl.
async fn falls_back<P: Preset>(intent: P) -> bool {
    let bench = bench(intent);
    bench.computes(1).await;
    // Jitter lets it expire up to a tenth of its TTL early.
    bench.clock.advance(TTL * 19 / 10 - Duration::from_millis(1));
    bench.cache.get_or_compute("key", || async { Err::<u32, _>(Broken("down")) }).await.is_ok()
}

#[tokio::test]
async fn an_expired_value_is_a_fallback_for_its_ttl_in_production() {
    assert!(!falls_back(Intent::Minimal).await);
    assert!(!falls_back(Intent::Test).await);
    assert!(!falls_back(Intent::Dev).await);
    assert!(falls_back(Intent::Production).await);
}

async fn leases<P: Preset>(intent: P) -> u64 {
    let bench = bench(intent);
    // The namespace's version is made under a lease, too.
    bench.cache.get_or_compute("first", || async { Ok::<u32, Broken>(0) }).await.unwrap();
    let before = bench.control.count(Operation::Lease);
    bench.computes(1).await;
    bench.control.count(Operation::Lease) - before
}

/// Whether a key that another process invalidates leaves L1, and whether a namespace can be invalidated.
async fn invalidates<P: Preset>(intent: P) -> (bool, bool) {
    let bench = bench(intent);
    bench.computes(1).await;
    settle().await;
    let other = CacheBuilder::new().backend(bench.memory.clone()).clock(Arc::new(bench.clock.clone())).build().unwrap();
    other.invalidate("key").await.unwrap();
    settle().await;
    let left = bench.cache.entry("key").skip_l2_read().get::<u32>().await.unwrap().is_none();
    (left, bench.cache.invalidate_namespace().await.is_ok())
}

#[tokio::test]
async fn processes_tell_one_another_what_to_forget_in_production() {
    assert_eq!(invalidates(Intent::Minimal).await, (false, false));
    assert_eq!(invalidates(Intent::Test).await, (false, false));
    assert_eq!(invalidates(Intent::Dev).await, (false, false));
    assert_eq!(invalidates(Intent::Production).await, (true, true));
}

#[tokio::test]
async fn processes_agree_by_leases_in_production() {
    assert_eq!(leases(Intent::Minimal).await, 0);
    assert_eq!(leases(Intent::Test).await, 0);
    assert_eq!(leases(Intent::Dev).await, 0);
    assert_eq!(leases(Intent::Production).await, 1);
}

async fn counted<P: Preset>(intent: P) -> u64 {
    let bench = bench(intent);
    bench.computes(1).await;
    bench.computes(2).await;
    bench.cache.stats().calls()
}

#[tokio::test]
async fn everybody_but_minimal_counts() {
    assert_eq!(counted(Intent::Minimal).await, 0);
    assert_eq!(counted(Intent::Test).await, 2);
    assert_eq!(counted(Intent::Dev).await, 2);
    assert_eq!(counted(Intent::Production).await, 2);
}

#[tokio::test]
async fn test_intent_awaits_the_write_and_leaves_no_work_after_it() {
    let test = bench(Intent::Test);
    let gate = test.control.gate(Operation::Set);
    let caller = tokio::spawn({
        let cache = test.cache.clone();
        async move { cache.get_or_compute("key", || async { Ok::<u32, Broken>(1) }).await }
    });
    gate.wait_for(1).await;
    settle().await;
    assert!(!caller.is_finished(), "the caller waits for the write");
    gate.open();
    caller.await.unwrap().unwrap();
    assert_eq!(test.memory.len(), 1);
    assert_eq!(test.cache.pending(), 0);

    let other = bench(Intent::Production);
    other.cache.get_or_compute("first", || async { Ok::<u32, Broken>(0) }).await.unwrap();
    settle().await;
    let before = other.memory.len();
    let gate = other.control.gate(Operation::Set);
    other.cache.get_or_compute("key", || async { Ok::<u32, Broken>(1) }).await.unwrap();
    gate.wait_for(1).await;
    assert_eq!((other.memory.len(), other.cache.pending()), (before, 1), "the answer came before the write");
    gate.open();
    other.cache.close(Duration::from_secs(1)).await.unwrap();
    assert_eq!(other.memory.len(), before + 1);
}

#[tokio::test]
async fn test_serves_nothing_stale_even_if_told_to_renew() {
    let clock = ManualClock::new();
    let test =
        CacheBuilder::new().intent(Intent::Test).swr_enabled(true).clock(Arc::new(clock.clone())).ttl(TTL).build();
    let test = test.unwrap();
    assert_eq!(test.get_or_compute("key", || async { Ok::<u32, Broken>(1) }).await.unwrap(), 1);
    clock.advance(TTL / 2);
    let slow = Slow::new();
    slow.finish(1);
    let run = slow.clone();
    assert_eq!(test.get_or_compute("key", move || run.run(Ok(2u32))).await.unwrap(), 2, "no background work");
}

type Row = (bool, bool, bool, bool, bool, bool, bool, Grace);

fn row(policy: &Policy) -> Row {
    (
        policy.invalidation,
        policy.namespace_index,
        policy.breaker.is_some(),
        policy.adaptive_timeout.is_some(),
        policy.backpressure.is_some(),
        policy.metrics,
        policy.jitter,
        policy.stale_if_error,
    )
}

#[test]
fn the_rest_of_the_table_is_decided_as_it_says() {
    let none = Grace::For(Duration::ZERO);
    assert_eq!(row(bench(Intent::Minimal).cache.policy()), (false, false, false, false, true, false, true, none));
    assert_eq!(row(bench(Intent::Test).cache.policy()), (false, false, false, false, false, false, false, none));
    assert_eq!(row(bench(Intent::Dev).cache.policy()), (false, false, true, true, true, false, true, none));
    let everything = (true, true, true, true, true, true, true, Grace::Ttl);
    assert_eq!(row(bench(Intent::Production).cache.policy()), everything);
    for settings in [Intent::Secure.settings(), Intent::Io.settings()] {
        assert_eq!(settings, Intent::Production.settings());
    }
}

thread_local!(static LINES: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) });

/// Writes what a thread tells into its own lines, if it listens.
struct Lines;

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.with_borrow_mut(|lines| lines.iter_mut().for_each(|lines| lines.extend_from_slice(bytes)));
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Begins to listen to this thread. One subscriber serves all tests: a second would race with the first.
pub(crate) fn listen() {
    static SUBSCRIBER: Once = Once::new();
    SUBSCRIBER.call_once(|| {
        let level = tracing_subscriber::filter::LevelFilter::TRACE;
        tracing_subscriber::fmt().with_ansi(false).with_max_level(level).with_writer(|| Lines).init();
    });
    LINES.set(Some(Vec::new()));
}

/// What was told on this thread since it began to listen.
pub(crate) fn heard() -> String {
    String::from_utf8(LINES.take().unwrap()).unwrap()
}

async fn told<P: Preset>(intent: P) -> (bool, bool) {
    listen();
    let bench = bench(intent);
    bench.computes(1).await;
    bench.control.inject_all(cachekit::testing::Fault::Refuse);
    let _ = bench.cache.invalidate("key").await;
    let text = heard();
    assert!(!text.contains("default:key"), "no raw key: {text}");
    (text.contains("answered"), text.contains("backend failed"))
}

#[tokio::test]
async fn tracing_is_off_on_or_verbose() {
    assert_eq!(told(Intent::Minimal).await, (false, false));
    assert_eq!(told(Intent::Test).await, (false, false));
    assert_eq!(told(Intent::Dev).await, (true, true));
    assert_eq!(told(Intent::Production).await, (false, true));
}

#[test]
fn what_a_preset_sets_can_be_overridden_in_any_order() {
    let before =
        CacheBuilder::new().swr_enabled(false).tracing(Tracing::Off).intent(Intent::Production).build().unwrap();
    let after =
        CacheBuilder::new().intent(Intent::Production).swr_enabled(false).tracing(Tracing::Off).build().unwrap();
    assert_eq!(before.policy(), after.policy());
    assert_eq!((before.policy().swr_threshold_ratio, before.policy().tracing), (None, Tracing::Off));
    let mut settings = Settings::default();
    settings.stats = Some(false);
    assert!(!CacheBuilder::new().settings(settings).build().unwrap().policy().stats);
}

#[test]
fn intents_that_cannot_be_met_say_so_and_build_nothing_less() {
    let secure = CacheBuilder::new().intent(Intent::Secure).codec(Postcard).build().unwrap_err();
    assert_eq!(secure.kind(), ErrorKind::Config);
    let text = secure.to_string();
    assert!(text.contains("CACHEKIT_MASTER_KEY") && text.contains(".keyring(") && !text.contains("  "), "{text}");
}
