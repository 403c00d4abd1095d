//! What servers note of what was forgotten, while some are lost and come back: nothing of the others is lost, and
//! nothing that was forgotten comes back.

use std::sync::Arc;
use std::time::Duration;

use cachekit::backends::Memcached;
use cachekit::codec::{Checked, Postcard};
use cachekit::testing::ManualClock;
use cachekit::{Backend, Cache, CacheBuilder, Intent, MemcachedSettings};

use super::support::{MINUTE, at_once, on_clock, with};
use crate::servers::{self, Mood, Proxy, eventually};
use crate::users::{fill, found, odd};

type Users = Cache<Memcached, Checked<Postcard>>;

const SECOND: Duration = Duration::from_secs(1);
const USERS: usize = 40;

/// Without L1 and without a bus: what the servers alone tell.
fn users(memcached: Memcached, clock: &ManualClock) -> Users {
    let builder = CacheBuilder::new().intent(Intent::Production).backend(memcached).namespace("users");
    let builder = builder.l1_enabled(false).swr_enabled(false).adaptive_timeout_enabled(false);
    builder.clock(Arc::new(clock.clone())).build().unwrap()
}

/// Some servers, and the users that are at each of them.
struct Servers<const N: usize> {
    all: [servers::Memcached; N],
    clock: ManualClock,
}

impl<const N: usize> Servers<N> {
    fn start() -> Self {
        Self { all: [(); N].map(|()| servers::Memcached::start()), clock: ManualClock::new() }
    }

    /// Another process. A server that keeps silent is given up after a second.
    fn process(&self) -> Users {
        let change = |settings: &mut MemcachedSettings| settings.timeout = SECOND;
        users(on_clock(&self.all.each_ref(), &self.clock, change), &self.clock)
    }

    /// The users at one server.
    fn at(&self, server: usize) -> Vec<usize> {
        (0..USERS).filter(|id| self.all[server].text(&format!("users:{id}")).is_some()).collect()
    }

    /// Lets what is known of the ledgers be asked for anew.
    fn later(&self) {
        self.clock.advance(SECOND);
    }
}

#[tokio::test]
async fn lost_server_takes_only_its_own_entries_however_it_is_lost() {
    for (lost, killed) in [(0, true), (1, true), (2, true), (0, false), (1, false), (2, false)] {
        let servers = Servers::<3>::start();
        let (one, two) = (servers.process(), servers.process());
        fill(&one, USERS).await;
        let gone = servers.at(lost);
        let kept: Vec<usize> = (0..USERS).filter(|id| !gone.contains(id)).collect();
        assert!(gone.len() > 1 && !odd(&gone).is_empty() && odd(&kept).len() < kept.len());
        if killed {
            servers.all[lost].kill()
        } else {
            servers.all[lost].pause()
        }
        servers.later();
        // Whoever has noticed nothing yet, and whoever starts now.
        for cache in [&one, &two, &servers.process()] {
            assert_eq!(found(cache, &kept).await, kept, "{lost} lost, killed: {killed}");
        }
        // Until its keys have moved, an order that does not reach it fails.
        eventually("its keys have moved", async || {
            servers.later();
            let _ = found(&one, &gone).await;
            one.invalidate_tag("even").await.is_ok()
        })
        .await;
        servers.later();
        for cache in [&one, &two, &servers.process()] {
            assert_eq!(found(cache, &kept).await, odd(&kept), "{lost} lost, killed: {killed}");
        }
        if killed {
            servers.all[lost].restart()
        } else {
            servers.all[lost].resume()
        }
        eventually("the order is given again", async || {
            servers.clock.advance(MINUTE);
            one.pending() == 0
        })
        .await;
        servers.later();
        for cache in [&two, &one, &servers.process()] {
            let all: Vec<usize> = (0..USERS).collect();
            let left = found(cache, &all).await;
            assert_eq!(odd(&left), left, "what was forgotten stays forgotten: {lost} lost, killed: {killed}");
            assert!(odd(&kept).iter().all(|id| left.contains(id)), "{left:?}");
        }
        two.invalidate_namespace().await.unwrap();
        servers.later();
        for cache in [&one, &two] {
            assert_eq!(found(cache, &kept).await, [0; 0]);
        }
    }
}

#[tokio::test]
async fn servers_restarted_in_turn_lose_nothing_stored_since() {
    let servers = Servers::<3>::start();
    let cache = servers.process();
    fill(&cache, USERS).await;
    for restarted in 0..3 {
        servers.all[restarted].restart();
        servers.later();
        // What it lost is stored again.
        let all: Vec<usize> = (0..USERS).collect();
        let left = found(&cache, &all).await;
        let lost: Vec<usize> = all.into_iter().filter(|id| !left.contains(id)).collect();
        assert!(!lost.is_empty() && lost.len() < USERS, "{restarted}: {lost:?}");
        servers.clock.advance(MINUTE);
        assert_eq!(found(&cache, &lost).await, [0; 0]);
        for id in lost {
            cache.entry(id).tags([if id % 2 == 0 { "even" } else { "odd" }]).set(id).await.unwrap();
        }
    }
}

#[tokio::test]
async fn invalidation_that_missed_a_server_is_repeated_on_its_return() {
    for tag in [true, false] {
        let (clock, first, second) = (ManualClock::new(), servers::Memcached::start(), servers::Memcached::start());
        let proxy = Proxy::of(first.port());
        let behind = MemcachedSettings::new([format!("127.0.0.1:{}", proxy.port()), second.address()]);
        let behind = users(Memcached::with_clock(behind, Arc::new(clock.clone())).unwrap(), &clock);
        let beside = users(on_clock(&[&first, &second], &clock, |_| ()), &clock);
        for id in 0..USERS {
            behind.entry(id).tags([if id % 2 == 0 { "even" } else { "odd" }]).set(id).await.unwrap();
        }
        // Names decide where entries are, and the first has two of them.
        let all: Vec<usize> = (0..USERS).collect();
        let shared = found(&beside, &all).await;
        assert!(shared.len() > odd(&shared).len() && !odd(&shared).is_empty());
        proxy.set(Mood::Closed);
        proxy.cut();
        let order =
            async || if tag { behind.invalidate_tag("even").await } else { behind.invalidate_namespace().await };
        assert!(order().await.is_err(), "it did not reach the first");
        eventually("its keys have moved", async || {
            clock.advance(SECOND);
            let _ = found(&behind, &all).await;
            order().await.is_ok()
        })
        .await;
        assert!(behind.pending() > 0, "the first has not heard of it");
        proxy.set(Mood::Open);
        eventually("it has", async || {
            clock.advance(MINUTE);
            let _ = found(&behind, &all).await;
            behind.pending() == 0
        })
        .await;
        clock.advance(SECOND);
        let expected = if tag { odd(&shared) } else { Vec::new() };
        assert!(found(&beside, &shared).await.iter().all(|id| expected.contains(id)));
        let left = found(&behind, &all).await;
        assert_eq!(odd(&left), left);
        let id = shared[0];
        beside.entry(id).tags(["even"]).set(id).await.unwrap();
        clock.advance(SECOND);
        assert_eq!(found(&behind, &[id]).await, [id], "they agree again");
    }
}

#[tokio::test]
async fn orders_at_once_revive_nothing_and_end_in_agreement() {
    let servers = Servers::<3>::start();
    let processes = [(); 3].map(|()| servers.process());
    fill(&processes[0], USERS).await;
    at_once(30, |order| {
        let cache = processes[order % 3].clone();
        async move {
            if order % 5 == 0 { cache.invalidate_namespace().await } else { cache.invalidate_tag("even").await }
                .unwrap();
        }
    })
    .await;
    servers.later();
    let all: Vec<usize> = (0..USERS).collect();
    for cache in &processes {
        assert_eq!(found(cache, &all).await, [0; 0]);
    }
    servers.later();
    fill(&processes[1], USERS).await;
    servers.later();
    for cache in &processes {
        assert_eq!(found(cache, &all).await, all);
    }
}

#[tokio::test]
async fn what_all_servers_expire_is_a_fallback_on_each() {
    let servers = Servers::<3>::start();
    let build = || {
        let builder = CacheBuilder::new().intent(Intent::Production).namespace("users").l1_enabled(false);
        let builder = builder.backend(with(&servers.all.each_ref(), |_| ())).swr_enabled(false);
        builder.stale_if_error(MINUTE).clock(Arc::new(servers.clock.clone())).build().unwrap()
    };
    let (one, two) = (build(), build());
    fill(&one, USERS).await;
    one.expire_all().await.unwrap();
    servers.later();
    for cache in [one, two] {
        for id in 0..USERS {
            assert_eq!(cache.get::<usize>(id).await.unwrap(), None);
            let down = || async { Err::<usize, _>(std::io::Error::other("down")) };
            assert_eq!(cache.get_or_compute(id, down).await.unwrap(), id);
        }
    }
}

#[tokio::test]
async fn loss_of_all_servers_fails_no_call_and_revives_no_entry() {
    let servers = Servers::<2>::start();
    let cache = servers.process();
    fill(&cache, USERS).await;
    servers.all.iter().for_each(servers::Memcached::kill);
    servers.later();
    assert!(cache.invalidate_tag("even").await.is_err());
    let computed = || async { Ok::<_, std::io::Error>(7usize) };
    assert_eq!(cache.get_or_compute(1usize, computed).await.unwrap(), 7);
    servers.all.iter().for_each(servers::Memcached::restart);
    servers.clock.advance(MINUTE);
    let all: Vec<usize> = (0..USERS).collect();
    eventually("both servers are tried", async || {
        servers.later();
        cache.invalidate_many(all.clone()).await.is_ok() && cache.pending() == 0
    })
    .await;
    fill(&cache, USERS).await;
    servers.later();
    assert_eq!(found(&cache, &all).await, all);
}

#[tokio::test]
async fn an_entry_is_at_one_server() {
    let servers = Servers::<3>::start();
    let memcached = with(&servers.all.each_ref(), |_| ());
    let cache = users(memcached.clone(), &servers.clock);
    fill(&cache, USERS).await;
    for id in 0..USERS {
        assert_eq!((0..3).filter(|server| servers.at(*server).contains(&id)).count(), 1, "{id}");
    }
    assert!(memcached.ping().await.is_ok());
}
