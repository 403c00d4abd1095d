//! Servers that are broken, or in bad hands: what they send costs little, is believed of no other key, and is over when
//! they behave again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cachekit::backends::Memcached;
use cachekit::testing::ManualClock;
use cachekit::{Backend, CacheBuilder, ErrorKind, Intent, LeaseToken, MemcachedSettings};

use super::support::{MINUTE, every_text, key, value_of};
use crate::servers::{RUDE_MEMCACHED, Rude, RudeMemcached, eventually};
use harness::support::Broken;

/// How long an exchange may take here.
const PATIENCE: Duration = Duration::from_millis(250);
const KEYS: usize = 8;
/// The largest item that the backend takes.
const ITEM: usize = 1 << 20;

struct Trial {
    server: RudeMemcached,
    memcached: Memcached,
    /// The same, for what must not fail on a busy machine.
    patient: Memcached,
    clock: ManualClock,
}

/// What a mode came to.
#[derive(Debug, Default)]
struct Outcome {
    calls: usize,
    wrong: usize,
    longest: Duration,
}

impl Trial {
    fn new() -> Self {
        let server = RudeMemcached::start();
        let clock = ManualClock::new();
        let within = |timeout| {
            let mut settings = MemcachedSettings::new([server.address()]);
            (settings.timeout, settings.connect_timeout) = (timeout, MINUTE / 2);
            Memcached::with_clock(settings, Arc::new(clock.clone())).unwrap()
        };
        let (memcached, patient) = (within(PATIENCE), within(MINUTE / 2));
        Self { server, memcached, patient, clock }
    }

    async fn fill_in(&self) {
        let items = (0..KEYS).map(|id| (key(id), value_of(id))).collect();
        self.patient.set_many(items, MINUTE).await.unwrap();
    }

    /// The server behaves again, and so does what it answers.
    async fn recovers(&self, mode: Rude) {
        self.server.set(Rude::No);
        for id in 0..KEYS {
            let found = async || {
                self.clock.advance(MINUTE * 2);
                self.memcached.get(&key(id)).await.is_ok_and(|found| found == Some(value_of(id)))
            };
            eventually(&format!("{mode:?} is over"), found).await;
        }
    }

    /// A call, and what it says. A server that was left alone is due again.
    async fn call<T>(
        &self,
        outcome: &mut Outcome,
        call: impl Future<Output = Result<T, cachekit::Error>>,
    ) -> Option<T> {
        self.clock.advance(MINUTE * 2);
        let start = Instant::now();
        let result = call.await;
        outcome.calls += 1;
        outcome.longest = outcome.longest.max(start.elapsed());
        if let Err(error) = &result {
            let told = every_text(error);
            assert!(!told.contains("users") && !told.contains("secret") && !told.contains("the value"), "{told}");
        }
        result.ok()
    }

    /// Every operation once, and some more often. The entries are there, so what a read finds is theirs.
    async fn bother(&self) -> Outcome {
        let mut outcome = Outcome::default();
        let (memcached, keys) = (&self.memcached, (0..KEYS).map(key).collect::<Vec<_>>());
        let judge = |id: usize, found: Option<Bytes>| usize::from(found != Some(value_of(id)));
        for (id, key) in keys.iter().enumerate().take(3) {
            let found = self.call(&mut outcome, memcached.get(key)).await;
            outcome.wrong += found.map_or(0, |found| judge(id, found));
        }
        let found = self.call(&mut outcome, memcached.get_many(&keys)).await.unwrap_or_default();
        outcome.wrong += found.into_iter().enumerate().map(|(id, found)| judge(id, found)).sum::<usize>();
        for id in [0, 1] {
            self.call(&mut outcome, memcached.ttl(&keys[id])).await;
        }
        self.call(&mut outcome, memcached.set(&keys[7], value_of(7), MINUTE)).await;
        self.call(&mut outcome, memcached.set_many(vec![(keys[7].clone(), value_of(7))], MINUTE)).await;
        let token = LeaseToken::random();
        self.call(&mut outcome, memcached.lease(&keys[6], MINUTE, token, None)).await;
        self.call(&mut outcome, memcached.renew(&keys[6], MINUTE, token)).await;
        self.call(&mut outcome, memcached.fill(&keys[6], value_of(6), MINUTE, token)).await;
        self.call(&mut outcome, memcached.release(&keys[6], token)).await;
        self.call(&mut outcome, memcached.remove(&key("none"))).await;
        self.call(&mut outcome, memcached.remove_many(&[key("none"), key("no other")])).await;
        self.call(&mut outcome, memcached.ping()).await;
        outcome
    }
}

fn on_this_thread<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

#[test]
fn rude_server_causes_no_wrong_answer_big_memory_or_long_wait() {
    for mode in RUDE_MEMCACHED {
        let trial = Trial::new();
        let mut outcome = Outcome::default();
        let memory = allocation_counter::measure(|| {
            on_this_thread(async {
                trial.fill_in().await;
                trial.server.set(mode);
                outcome = trial.bother().await;
            });
        });
        println!("{mode:?}: {outcome:?}, {} KiB at most", memory.bytes_max >> 10);
        assert_eq!(outcome.wrong, 0, "{mode:?}");
        // A value may be longer than an item by nothing; twice that while it grows.
        assert!(memory.bytes_max < 3 * ITEM as u64, "{mode:?}: {} bytes at once", memory.bytes_max);
        // The longest are a fill's five exchanges, each with a second attempt.
        assert!(outcome.longest < PATIENCE * 40, "{mode:?}: {:?}", outcome.longest);
        on_this_thread(trial.recovers(mode));
    }
}

#[test]
fn a_length_that_is_only_declared_costs_nothing() {
    for length in [ITEM as u64, 512 << 20] {
        let trial = Trial::new();
        on_this_thread(trial.fill_in());
        trial.server.set(Rude::Declares(length));
        let memcached = if length > ITEM as u64 { &trial.patient } else { &trial.memcached };
        let mut kind = None;
        let memory = allocation_counter::measure(|| {
            kind = Some(on_this_thread(memcached.get(&key(1))).unwrap_err().kind());
        });
        let expected = if length > ITEM as u64 { ErrorKind::TooLarge } else { ErrorKind::Timeout };
        assert_eq!(kind, Some(expected), "{length}");
        assert!(memory.bytes_max < 256 << 10, "{length}: {} bytes for none", memory.bytes_max);
    }
}

#[test]
fn a_value_as_large_as_an_item_is_read() {
    let trial = Trial::new();
    on_this_thread(async {
        let value = Bytes::from(vec![b'v'; ITEM - 512]);
        trial.patient.set(&key(1), value.clone(), MINUTE).await.unwrap();
        assert_eq!(trial.patient.get(&key(1)).await.unwrap(), Some(value));
    });
    let memory = allocation_counter::measure(|| drop(on_this_thread(trial.patient.get(&key(1))).unwrap()));
    assert!(memory.bytes_max < 2 * ITEM as u64, "{} bytes for {ITEM}", memory.bytes_max);
}

/// The policy of the cache bounds what is read, too.
#[test]
fn an_entry_above_the_cache_s_own_limit_is_not_read() {
    let trial = Trial::new();
    on_this_thread(async {
        let value = Bytes::from(vec![b'v'; ITEM / 2]);
        trial.patient.set(&key(1), value, MINUTE).await.unwrap();
        let builder = CacheBuilder::new().intent(Intent::Minimal).backend(trial.patient.clone()).namespace("users");
        let cache = builder.max_value_size(128 << 10).build().unwrap();
        assert_eq!(cache.get::<String>(1).await.unwrap_err().kind(), ErrorKind::TooLarge);
        trial.patient.get(&key(1)).await.unwrap().unwrap();
    });
}

/// The second attempt succeeds, and what it got over is told.
#[test]
fn a_connection_out_of_step_is_one_failure() {
    let trial = Trial::new();
    on_this_thread(async {
        let builder = CacheBuilder::new().intent(Intent::Minimal).backend(trial.patient.clone()).namespace("users");
        let cache = builder.clock(Arc::new(trial.clock.clone())).l1_enabled(false).stats(true).build().unwrap();
        cache.set(1, 7u64).await.unwrap();
        trial.server.set(Rude::OtherNumber);
        assert!(cache.get::<u64>(1).await.is_err());
        assert_eq!(cache.stats().backend_failures, 1, "of both attempts together");
        trial.clock.advance(MINUTE * 2);
        trial.server.set_once(Rude::OtherNumber);
        assert_eq!(cache.get::<u64>(1).await.unwrap(), Some(7));
        assert_eq!(cache.stats().backend_failures, 2);
    });
}

/// A read does no harm twice, so it is tried once more over a fresh connection; the reply that nobody asked for is lost
/// with its own.
#[test]
fn one_stray_reply_fails_no_call() {
    for mode in [Rude::Stray, Rude::Twice] {
        let trial = Trial::new();
        on_this_thread(async {
            trial.fill_in().await;
            trial.server.set(mode);
            assert_eq!(trial.patient.get(&key(0)).await.unwrap(), Some(value_of(0)));
            trial.server.set(Rude::No);
            for id in 0..KEYS {
                assert_eq!(trial.patient.get(&key(id)).await.unwrap(), Some(value_of(id)), "{mode:?}");
            }
        });
    }
}

#[test]
fn lease_request_is_retried_on_a_fresh_connection_like_a_read() {
    let trial = Trial::new();
    on_this_thread(async {
        trial.server.set(Rude::OtherNumber);
        assert!(trial.patient.lease(&key(1), MINUTE, LeaseToken::random(), None).await.is_err());
        assert_eq!(trial.server.connections(), 2, "it finds what it put");
        trial.clock.advance(MINUTE);
        assert!(trial.patient.get(&key(1)).await.is_err());
        assert_eq!(trial.server.connections(), 4);
    });
}

/// Even where the stored bytes say nothing of their key.
#[test]
fn a_cache_without_checks_never_sees_the_value_of_another_key() {
    for mode in RUDE_MEMCACHED {
        let trial = Trial::new();
        on_this_thread(async {
            let over = |memcached: &Memcached| {
                let builder = CacheBuilder::new().intent(Intent::Minimal).backend(memcached.clone());
                builder.clock(Arc::new(trial.clock.clone())).l1_enabled(false).namespace("users").build().unwrap()
            };
            for id in 0..KEYS as u64 {
                over(&trial.patient).set(id, id).await.unwrap();
            }
            let cache = over(&trial.memcached);
            trial.server.set(mode);
            for id in 0..KEYS as u64 {
                trial.clock.advance(MINUTE * 2);
                let computed = cache.get_or_compute(id, move || async move { Ok::<u64, Broken>(id) }).await;
                assert_eq!(computed.unwrap(), id, "{mode:?}");
                if let Ok(Some(found)) = cache.get::<u64>(id).await {
                    assert_eq!(found, id, "{mode:?}");
                }
            }
        });
    }
}
