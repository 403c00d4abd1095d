//! What a cluster notes of what was forgotten: each group of slots for itself, so that a lost master takes nothing of
//! the others, and nothing that was forgotten comes back.

use std::sync::Arc;
use std::time::Duration;

use cachekit::backends::Redis;
use cachekit::codec::{Checked, Postcard};
use cachekit::testing::ManualClock;
use cachekit::{Cache, CacheBuilder, Intent};

use super::support::{hasty, patient};
use crate::servers::{Cluster, Server, eventually};
use crate::users::{fill, found, odd};

type Users = Cache<Redis, Checked<Postcard>>;

const SECOND: Duration = Duration::from_secs(1);
const USERS: usize = 200;
/// Slots of each group.
const GROUP: u16 = 1_024;

/// A cluster, and caches over it without L1 and without a bus: what the masters alone tell.
struct Masters {
    cluster: Cluster,
    clock: ManualClock,
}

impl Masters {
    fn start() -> Self {
        Self { cluster: Cluster::start(), clock: ManualClock::new() }
    }

    /// Another process.
    fn process(&self) -> Users {
        let builder = CacheBuilder::new().intent(Intent::Production).namespace("users").l1_enabled(false);
        let builder = builder.backend(hasty(&self.cluster.url())).swr_enabled(false).invalidation_enabled(false);
        let builder = builder.adaptive_timeout_enabled(false).breaker_enabled(false);
        builder.clock(Arc::new(self.clock.clone())).build().unwrap()
    }

    /// Lets what is known of the ledgers be asked for anew.
    fn later(&self) {
        self.clock.advance(SECOND);
    }

    fn slot(&self, name: &str) -> u16 {
        self.cluster.nodes[0].cli(&["CLUSTER", "KEYSLOT", name]).parse().unwrap()
    }

    /// The groups whose bookkeeping this master has.
    fn groups(&self, master: &Server) -> Vec<u16> {
        let heads = master.cli(&["KEYS", "users::{ledger-*}:?"]);
        heads.split_whitespace().map(|head| self.slot(head) / GROUP).collect()
    }

    /// The users whose entries, or whose bookkeeping, are at this master.
    fn of(&self, master: &Server) -> Vec<usize> {
        let groups = self.groups(master);
        let is_of = |id: &usize| {
            let name = format!("users:{id}");
            self.cluster.owner(&name).port() == master.port() || groups.contains(&(self.slot(&name) / GROUP))
        };
        (0..USERS).filter(is_of).collect()
    }
}

fn all() -> Vec<usize> {
    (0..USERS).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_group_of_slots_has_bookkeeping_in_one_slot_of_its_own() {
    let masters = Masters::start();
    let cache = masters.process();
    fill(&cache, USERS).await;
    cache.invalidate_tag("even").await.unwrap();
    let names = masters.cluster.nodes.iter().map(|node| node.cli(&["KEYS", "users::{ledger-*"]));
    let names: Vec<String> =
        names.flat_map(|names| names.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect();
    for group in 0..16 {
        let slots: Vec<u16> =
            names.iter().map(|name| masters.slot(name)).filter(|slot| slot / GROUP == group).collect();
        assert_eq!(slots.len(), 2, "the head of group {group}, and the record of one tag");
        assert_eq!(slots[0], slots[1]);
    }
    assert_eq!(found(&masters.process(), &all()).await, odd(&all()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_was_emptied_takes_only_what_it_had() {
    for lost in 0..3 {
        let masters = Masters::start();
        let (one, two) = (masters.process(), masters.process());
        fill(&one, USERS).await;
        assert_eq!(found(&two, &all()).await, all());
        let node = &masters.cluster.nodes[lost];
        let gone = masters.of(node);
        let kept: Vec<usize> = (0..USERS).filter(|id| !gone.contains(id)).collect();
        assert!(kept.len() > USERS / 2 && gone.len() < USERS / 2, "{} are gone", gone.len());
        assert_eq!(node.cli(&["FLUSHALL"]), "OK");
        masters.later();
        for cache in [&one, &two, &masters.process()] {
            assert_eq!(found(cache, &all()).await, kept);
        }
        one.invalidate_tag("even").await.unwrap();
        masters.later();
        for cache in [&one, &two, &masters.process()] {
            assert_eq!(found(cache, &all()).await, odd(&kept));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalidation_missing_a_lost_master_fails_and_is_done_later() {
    let masters = Masters::start();
    let (one, two) = (masters.process(), masters.process());
    fill(&one, USERS).await;
    assert_eq!(found(&two, &all()).await, all());
    let node = &masters.cluster.nodes[1];
    let gone = masters.of(node);
    let kept: Vec<usize> = (0..USERS).filter(|id| !gone.contains(id)).collect();
    assert!(!odd(&gone).is_empty() && kept.len() > USERS / 2);
    assert_eq!(node.cli(&["SAVE"]), "OK");
    node.kill();
    masters.later();
    for cache in [&one, &two, &masters.process()] {
        assert_eq!(found(cache, &kept).await, kept);
    }
    assert!(one.invalidate_tag("even").await.unwrap_err().is_temporary());
    assert!(one.pending() > 0);
    masters.later();
    for cache in [&one, &two, &masters.process()] {
        assert_eq!(found(cache, &kept).await, odd(&kept));
    }
    // The others have taken it, and it is not given to them again: what is stored since is there.
    let renewed = *kept.iter().find(|id| *id % 2 == 0).unwrap();
    two.entry(renewed).tags(["even"]).set(renewed).await.unwrap();
    let failures = one.stats().backend_failures;
    eventually("it is given again to the lost one", async || {
        masters.later();
        one.stats().backend_failures >= failures + 3
    })
    .await;
    masters.later();
    for cache in [&one, &two, &masters.process()] {
        assert_eq!(found(cache, &[renewed]).await, [renewed]);
    }
    // It has what it had.
    node.restart();
    masters.cluster.wait_until_whole();
    eventually("the order is given again", async || {
        masters.later();
        one.pending() == 0
    })
    .await;
    masters.later();
    let left: Vec<usize> = all().into_iter().filter(|id| id % 2 == 1 || *id == renewed).collect();
    for cache in [&two, &one, &masters.process()] {
        assert_eq!(found(cache, &all()).await, left);
    }
}

/// A slot is carried to another master with the bookkeeping in it, or it is lost like any other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moved_slot_keeps_its_ledger_and_a_lost_one_costs_one_group() {
    let masters = Masters::start();
    let cache = masters.process();
    fill(&cache, USERS).await;
    cache.invalidate_tag("even").await.unwrap();
    let moved = odd(&all())[0];
    let owner = masters.cluster.move_slot(&format!("users:{moved}"));
    cache.entry(moved).tags(["odd"]).set(moved).await.unwrap();
    assert_eq!(owner.cli(&["EXISTS", &format!("users:{moved}")]), "1");
    masters.later();
    assert_eq!(found(&masters.process(), &all()).await, odd(&all()));
    cache.invalidate_tag("odd").await.unwrap();
    masters.later();
    for cache in [&cache, &masters.process()] {
        assert_eq!(found(cache, &all()).await, [0; 0]);
    }
    fill(&cache, USERS).await;
    let names = owner.cli(&["KEYS", "users::{ledger-*}:?"]);
    let head = names.split_whitespace().next().expect("a master has the bookkeeping of some groups");
    let lost = masters.slot(head) / GROUP;
    assert_eq!(owner.cli(&["DEL", head]), "1");
    masters.later();
    let left: Vec<usize> =
        all().into_iter().filter(|id| masters.slot(&format!("users:{id}")) / GROUP != lost).collect();
    assert!(left.len() < USERS);
    for cache in [&cache, &masters.process()] {
        assert_eq!(found(cache, &all()).await, left);
    }
}

/// How often the masters were asked for values, heads and records.
fn reads(cluster: &Cluster) -> u64 {
    cluster.nodes.iter().map(|node| node.calls("mget")).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn process_that_hears_an_invalidation_makes_no_extra_reads() {
    let masters = Masters::start();
    let build = || {
        let builder = CacheBuilder::new().intent(Intent::Production).namespace("users").l1_enabled(false);
        let builder = builder.backend(patient(&masters.cluster.url())).swr_enabled(false);
        builder.adaptive_timeout_enabled(false).clock(Arc::new(masters.clock.clone())).build().unwrap()
    };
    let (one, two) = (build(), build());
    fill(&one, USERS).await;
    assert_eq!(found(&two, &all()).await, all());
    one.invalidate_tag("even").await.unwrap();
    eventually("the order is heard", async || found(&two, &[0]).await.is_empty()).await;
    let before = reads(&masters.cluster);
    assert_eq!(found(&two, &all()).await, odd(&all()));
    assert_eq!(reads(&masters.cluster) - before, USERS as u64);
}
