//! Servers that are lost and come back: who is asked, and who is believed.

use std::time::Duration;

use cachekit::backends::Memcached;
use cachekit::testing::ManualClock;
use cachekit::{Backend, ErrorKind, MemcachedSettings};

use super::support::{HASTE, MINUTE, hasty, key, on_clock, value_of};
use crate::servers::{self, Mood, Proxy, eventually};
use harness::support::leased;

const SECOND: Duration = Duration::from_secs(1);

/// Fails on the key of this id until its server counts as dead, so that the keys move on.
async fn give_up_on(memcached: &Memcached, clock: &ManualClock, id: usize) {
    for attempt in 0..3 {
        let error = memcached.get(&key(id)).await.unwrap_err();
        assert!(error.is_temporary(), "{error:?}");
        if attempt < 2 {
            let error = memcached.get(&key(id)).await.unwrap_err();
            assert!(error.is_temporary() && error.to_string().contains("tried again"), "{error}");
            clock.advance(SECOND);
        }
    }
}

/// Two servers, the first behind a proxy, and a key whose home is the first.
struct Pair {
    first: servers::Memcached,
    second: servers::Memcached,
    proxy: Proxy,
    clock: ManualClock,
    memcached: Memcached,
    id: usize,
}

impl Pair {
    async fn new() -> Self {
        let (first, second) = (servers::Memcached::start(), servers::Memcached::start());
        let (proxy, clock) = (Proxy::of(first.port()), ManualClock::new());
        let mut settings = MemcachedSettings::new([format!("127.0.0.1:{}", proxy.port()), second.address()]);
        (settings.timeout, settings.connect_timeout) = (MINUTE / 2, MINUTE / 2);
        let memcached = Memcached::with_clock(settings, std::sync::Arc::new(clock.clone())).unwrap();
        for id in 0.. {
            memcached.set(&key(id), "old".into(), MINUTE).await.unwrap();
            if first.text(&format!("users:{id}")).is_some() {
                return Self { first, second, proxy, clock, memcached, id };
            }
        }
        unreachable!("half of the keys are at the first")
    }

    /// Cuts the first off until its keys are the second's.
    async fn cut(&self) {
        self.proxy.set(Mood::Closed);
        self.proxy.cut();
        give_up_on(&self.memcached, &self.clock, self.id).await;
    }

    /// Ends the cut, and lets so much time pass that the first is tried.
    fn heal(&self) {
        self.proxy.set(Mood::Open);
        self.clock.advance(MINUTE);
    }

    async fn found(&self) -> Option<String> {
        let found = self.memcached.get(&key(self.id)).await.unwrap();
        let many = self.memcached.get_many(&[key(self.id)]).await.unwrap();
        assert_eq!(many, std::slice::from_ref(&found));
        assert_eq!(self.memcached.ttl(&key(self.id)).await.unwrap().is_some(), found.is_some());
        found.map(|found| String::from_utf8(found.to_vec()).unwrap())
    }

    async fn set(&self, value: &'static str) {
        self.memcached.set(&key(self.id), value.into(), MINUTE).await.unwrap();
    }

    fn name(&self) -> String {
        format!("users:{}", self.id)
    }
}

#[tokio::test]
async fn the_keys_of_a_dead_server_move_to_the_others_and_come_back() {
    let servers = [servers::Memcached::start(), servers::Memcached::start(), servers::Memcached::start()];
    let clock = ManualClock::new();
    let memcached = on_clock(&servers.each_ref(), &clock, |_| ());
    for id in 0..30 {
        memcached.set(&key(id), value_of(id), MINUTE).await.unwrap();
    }
    let (lost, kept): (Vec<usize>, Vec<usize>) =
        (0..30).partition(|id| servers[1].text(&format!("users:{id}")).is_some());
    servers[1].kill();
    give_up_on(&memcached, &clock, lost[0]).await;
    for id in &lost {
        assert_eq!(memcached.get(&key(*id)).await.unwrap(), None);
        memcached.set(&key(*id), value_of(*id), MINUTE).await.unwrap();
        assert_eq!(memcached.get(&key(*id)).await.unwrap(), Some(value_of(*id)));
    }
    for id in &kept {
        assert_eq!(memcached.get(&key(*id)).await.unwrap(), Some(value_of(*id)), "others keep theirs");
    }
    // It is tried, found dead, and nobody hears of it.
    clock.advance(MINUTE);
    assert_eq!(memcached.get(&key(lost[0])).await.unwrap(), Some(value_of(lost[0])));
    servers[1].restart();
    clock.advance(MINUTE);
    for id in &lost {
        assert_eq!(memcached.get(&key(*id)).await.unwrap(), None, "it has begun anew");
        memcached.set(&key(*id), value_of(*id), MINUTE).await.unwrap();
        assert!(servers[1].text(&format!("users:{id}")).is_some(), "its keys are its own again");
        assert_eq!(memcached.get(&key(*id)).await.unwrap(), Some(value_of(*id)));
    }
}

#[tokio::test]
async fn a_failing_server_is_left_alone_for_a_second() {
    let server = servers::Memcached::start();
    let clock = ManualClock::new();
    let memcached = on_clock(&[&server], &clock, |_| ());
    memcached.set(&key(1), value_of(1), MINUTE).await.unwrap();
    server.kill();
    assert_eq!(memcached.get(&key(1)).await.unwrap_err().kind(), ErrorKind::Unavailable);
    server.restart();
    for call in ["get", "set", "remove"] {
        let error = match call {
            "get" => memcached.get(&key(1)).await.unwrap_err(),
            "set" => memcached.set(&key(1), value_of(1), MINUTE).await.unwrap_err(),
            _ => memcached.remove(&key(1)).await.unwrap_err(),
        };
        assert!(error.is_temporary() && error.to_string().contains("tried again in 1000 ms"), "{error}");
    }
    clock.advance(SECOND);
    assert_eq!(memcached.get(&key(1)).await.unwrap(), None);
    memcached.set(&key(1), value_of(1), MINUTE).await.unwrap();
}

#[tokio::test]
async fn the_number_of_attempts_is_a_setting() {
    for attempts in [0, 1, 3] {
        let servers = [servers::Memcached::start(), servers::Memcached::start()];
        let clock = ManualClock::new();
        let memcached = on_clock(&servers.each_ref(), &clock, |settings| settings.retry_attempts = attempts);
        memcached.set_many((0..20).map(|id| (key(id), value_of(id))).collect(), MINUTE).await.unwrap();
        let lost = (0..20).find(|id| servers[0].text(&format!("users:{id}")).is_some()).unwrap();
        servers[0].kill();
        let mut failures = 0;
        while memcached.get(&key(lost)).await.is_err() {
            failures += 1;
            clock.advance(SECOND);
        }
        assert_eq!(failures, attempts + 1);
    }
}

/// It has nobody to hand its keys to, so it is neither left alone for a minute nor distrusted.
#[tokio::test]
async fn a_single_server_is_tried_every_second_and_believed() {
    let server = servers::Memcached::start();
    let (proxy, clock) = (Proxy::of(server.port()), ManualClock::new());
    let settings = MemcachedSettings::new([format!("127.0.0.1:{}", proxy.port())]);
    let memcached = Memcached::with_clock(settings, std::sync::Arc::new(clock.clone())).unwrap();
    memcached.set(&key(1), value_of(1), MINUTE).await.unwrap();
    proxy.set(Mood::Closed);
    proxy.cut();
    for _ in 0..10 {
        assert!(memcached.get(&key(1)).await.unwrap_err().is_temporary());
        clock.advance(SECOND);
    }
    proxy.set(Mood::Open);
    assert_eq!(memcached.get(&key(1)).await.unwrap(), Some(value_of(1)));
}

#[tokio::test]
async fn server_that_was_cut_off_is_not_trusted_with_older_values() {
    let pair = Pair::new().await;
    pair.cut().await;
    assert_eq!(pair.found().await, None);
    pair.set("new").await;
    assert_eq!(pair.found().await.as_deref(), Some("new"));
    pair.heal();
    assert_eq!(pair.first.text(&pair.name()).as_deref(), Some("old"));
    assert_eq!(pair.found().await, None);
    assert_eq!(pair.first.text(&pair.name()), None, "others shall not find it either");
    pair.set("newest").await;
    assert_eq!(pair.found().await.as_deref(), Some("newest"));
    assert_eq!(pair.first.text(&pair.name()).as_deref(), Some("newest"));
}

#[tokio::test]
async fn what_was_removed_during_a_cut_stays_removed() {
    let pair = Pair::new().await;
    pair.cut().await;
    pair.memcached.remove(&key(pair.id)).await.unwrap();
    pair.heal();
    assert_eq!(pair.memcached.ttl(&key(pair.id)).await.unwrap(), None);
    assert_eq!(pair.found().await, None);
}

#[tokio::test]
async fn standby_server_is_not_trusted_from_an_earlier_outage() {
    let pair = Pair::new().await;
    pair.cut().await;
    pair.set("of the first cut").await;
    pair.heal();
    pair.set("newer").await;
    pair.cut().await;
    assert_eq!(pair.second.text(&pair.name()).as_deref(), Some("of the first cut"));
    assert_eq!(pair.found().await, None);
    pair.set("of the second cut").await;
    assert_eq!(pair.found().await.as_deref(), Some("of the second cut"));
}

#[tokio::test]
async fn no_lease_survives_a_change_of_servers() {
    let pair = Pair::new().await;
    pair.memcached.remove(&key(pair.id)).await.unwrap();
    let Some(token) = leased(&pair.memcached, &key(pair.id), MINUTE).await.unwrap() else { panic!("it is free") };
    pair.cut().await;
    assert!(!pair.memcached.fill(&key(pair.id), "late".into(), MINUTE, token).await.unwrap());
    pair.memcached.remove(&key(pair.id)).await.unwrap();
    pair.heal();
    assert!(!pair.memcached.fill(&key(pair.id), "late".into(), MINUTE, token).await.unwrap());
    assert_eq!(pair.found().await, None);
}

/// The ids of a server that starts anew begin anew, and are below what they were at its return.
#[tokio::test]
async fn a_server_that_starts_anew_after_its_return_is_believed() {
    let pair = Pair::new().await;
    for _ in 0..50 {
        pair.set("old").await;
    }
    pair.cut().await;
    pair.heal();
    assert_eq!(pair.found().await, None);
    pair.first.restart();
    pair.set("new").await;
    assert_eq!(pair.found().await.as_deref(), Some("new"));
}

#[tokio::test]
async fn a_silent_server_is_lost_like_a_dead_one() {
    let servers = [servers::Memcached::start(), servers::Memcached::start()];
    let memcached = hasty(&servers.each_ref());
    memcached.set_many((0..20).map(|id| (key(id), value_of(id))).collect(), MINUTE).await.unwrap();
    let lost = (0..20).find(|id| servers[0].text(&format!("users:{id}")).is_some()).unwrap();
    servers[0].pause();
    let start = std::time::Instant::now();
    eventually("its keys move", async || memcached.get(&key(lost)).await.is_ok()).await;
    assert!(start.elapsed() > SECOND * 2 + HASTE, "two more attempts: {:?}", start.elapsed());
    assert_eq!(memcached.get(&key(lost)).await.unwrap(), None);
}
