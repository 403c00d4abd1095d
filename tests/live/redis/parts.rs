//! A cluster, one of whose masters hangs or dies: its own keys are computed, the others served and stored.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cachekit::backends::Redis;
use cachekit::codec::{Checked, Postcard};
use cachekit::intent::Production;
use cachekit::{BreakerState, Cache, CacheBuilder, Event, Intent, Observer};
use tokio::task::JoinSet;

use super::support::{hasty, key};
use crate::servers::{Cluster, eventually};
use harness::support::Broken;

type Users = Cache<Redis, Checked<Postcard>>;
type Builder = CacheBuilder<Redis, Postcard, Production>;

const USERS: u32 = 120;
/// Slots of each part.
const PART: u16 = 1_024;
/// The last part of the first master, whose slots are those below 5,461. It has a third of this one.
const LAST: u16 = 5;
/// Not of the keys that are stored at first.
const NEW: u32 = 10_000;

/// The parts whose breaker opened.
#[derive(Debug, Default)]
struct Opened(Mutex<Vec<u16>>);

impl Observer for Opened {
    fn event(&self, event: &Event<'_>) {
        if let Event::Breaker { part, state: BreakerState::Open, .. } = event {
            self.0.lock().unwrap().push(*part);
        }
    }
}

/// A cluster, and a cache over it without L1.
struct Masters {
    cluster: Cluster,
    opened: Arc<Opened>,
    cache: Users,
}

impl Masters {
    async fn start(build: impl FnOnce(Builder) -> Builder) -> Self {
        let (cluster, opened) = (Cluster::start(), Arc::<Opened>::default());
        let builder = CacheBuilder::new().intent(Intent::Production).namespace("users").l1_enabled(false);
        let builder =
            builder.codec(Postcard).backend(hasty(&cluster.url())).swr_enabled(false).invalidation_enabled(false);
        let builder = builder.recovery_timeout(Duration::from_secs(1)).observer(Arc::clone(&opened) as _);
        let masters = Self { cluster, opened, cache: build(builder).build().unwrap() };
        for user in 0..USERS {
            masters.ask(user).await;
        }
        eventually("all is stored", async || masters.cache.pending() == 0).await;
        masters
    }

    /// Whether the value was computed.
    async fn ask(&self, user: u32) -> bool {
        ask(&self.cache, user).await
    }

    /// Users from `begin` on in the parts of which the first master has something, and those in all other parts.
    fn users(&self, begin: u32) -> (Vec<u32>, Vec<u32>) {
        let slot =
            |user| self.cluster.nodes[1].cli(&["CLUSTER", "KEYSLOT", key(user).as_str()]).parse::<u16>().unwrap();
        (begin..begin + USERS).partition(|user| slot(*user) / PART <= LAST)
    }

    /// Each key that the other parts have is in the backend, and each that is new is stored there.
    async fn others_are_served(&self) {
        let (_, there) = self.users(0);
        for user in there {
            assert!(!self.ask(user).await, "{user} is there");
        }
        let (_, new) = self.users(NEW);
        for &user in &new {
            self.ask(user).await;
        }
        eventually("all is stored", async || self.cache.pending() == 0).await;
        for user in new {
            assert!(!self.ask(user).await, "{user} was stored");
        }
    }
}

async fn ask(cache: &Users, user: u32) -> bool {
    let computed = Arc::new(AtomicBool::new(false));
    let compute = Arc::clone(&computed);
    let value = cache.get_or_compute(user, move || async move {
        compute.store(true, SeqCst);
        Ok::<_, Broken>(user)
    });
    assert_eq!(value.await.unwrap(), user);
    computed.load(SeqCst)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hung_or_dead_master_of_a_cluster_takes_its_own_keys_alone() {
    for hangs in [true, false] {
        let masters = Masters::start(|builder| builder).await;
        let (own, others) = masters.users(0);
        let first = &masters.cluster.nodes[0];
        if hangs {
            first.pause()
        } else {
            first.kill()
        }
        // The others answer all the while, which is no excuse for the first.
        eventually("a breaker opens", async || {
            let mut callers = JoinSet::new();
            for user in own.iter().chain(&others).copied() {
                let cache = masters.cache.clone();
                callers.spawn(async move { ask(&cache, user).await });
            }
            callers.join_all().await;
            masters.cache.health().await.failing_parts > 0
        })
        .await;
        masters.others_are_served().await;
        let health = masters.cache.health().await;
        assert!(health.is_up() && health.failing_parts <= LAST + 1, "{health:?}");
        assert!(masters.opened.0.lock().unwrap().iter().all(|part| *part <= LAST), "{:?}", masters.opened);

        if hangs {
            first.resume()
        } else {
            first.restart()
        }
        eventually("the master is used again", async || {
            let mut computed = 0;
            for user in &own {
                computed += u32::from(masters.ask(*user).await);
            }
            computed == 0 && masters.cache.health().await.failing_parts == 0
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_to_a_hung_master_leave_room_for_the_keys_of_the_others() {
    let masters = Masters::start(|builder| {
        let builder = builder.adaptive_timeout_enabled(false).breaker_enabled(false).leases(false);
        builder.operation_timeout(Duration::from_secs(60)).max_concurrent(32)
    })
    .await;
    masters.cluster.nodes[0].pause();
    let (waiting, _) = masters.users(2 * NEW);
    let mut callers = JoinSet::new();
    for user in waiting {
        let cache = masters.cache.clone();
        callers.spawn(async move { ask(&cache, user).await });
    }
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        masters.others_are_served().await;
    }
    callers.abort_all();
}
