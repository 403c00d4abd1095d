//! Clusters and sentinels that lose a server.

use std::time::Instant;

use cachekit::Backend;
use cachekit::backends::Redis;

use super::support::{MINUTE, fill_in, hasty, key, value_of};
use crate::servers::{Cluster, SOON, Sentinels, eventually, wait_until};
use harness::support::leased;

const KEYS: usize = 60;

/// Stores and reads until it works: it must, without a new backend.
async fn works_again(redis: &Redis, id: usize) {
    eventually("the backend works again", async || {
        let stored = redis.set(&key(id), value_of(id), MINUTE).await;
        if let Err(error) = &stored {
            assert!(error.is_temporary(), "{error:?}");
        }
        stored.is_ok() && redis.get(&key(id)).await.is_ok_and(|found| found == Some(value_of(id)))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_goes_on_without_a_lost_node() {
    let cluster = Cluster::start();
    let redis = hasty(&cluster.url());
    fill_in(&redis, KEYS).await;
    let lost = cluster.owner("users:0");
    let is_lost = |id: usize| cluster.owner(&format!("users:{id}")).port() == lost.port();
    lost.kill();
    let (mut answered, mut failed) = (0, 0);
    for id in 0..KEYS {
        let start = Instant::now();
        match redis.get(&key(id)).await {
            Ok(found) => {
                assert!(!is_lost(id));
                assert_eq!(found, Some(value_of(id)));
                answered += 1;
            }
            Err(error) => {
                assert!(is_lost(id), "{error:?}");
                assert!(error.is_temporary(), "{error:?}");
                failed += 1;
            }
        }
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
        if failed >= 3 && answered >= 10 {
            break;
        }
    }
    assert!(answered >= 10 && failed >= 3, "{answered} answered, {failed} failed");

    lost.restart();
    cluster.wait_until_whole();
    works_again(&redis, 0).await;
    let Some(token) = leased(&redis, &key(0), MINUTE).await.unwrap() else { panic!("held") };
    assert!(redis.fill(&key(0), "w".into(), MINUTE, token).await.unwrap());
    let others: Vec<_> = (0..KEYS).filter(|id| !is_lost(*id)).collect();
    let keys: Vec<_> = others.iter().copied().map(key).collect();
    assert!(redis.get_many(&keys).await.unwrap().into_iter().eq(others.into_iter().map(|id| Some(value_of(id)))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_found_by_any_node() {
    let cluster = Cluster::start();
    cluster.nodes[0].kill();
    wait_until("the others miss the node", || cluster.nodes[1].says(&["CLUSTER", "INFO"], "cluster_slots_fail:5"));
    let redis = hasty(&cluster.url());
    let id = (0..).find(|id| cluster.owner(&format!("users:{id}")).port() != cluster.nodes[0].port()).unwrap();
    works_again(&redis, id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_that_moved_are_followed() {
    let cluster = Cluster::start();
    let redis = hasty(&cluster.url());
    fill_in(&redis, KEYS).await;
    let owner = cluster.move_slot("users:0");
    assert_eq!(redis.get(&key(0)).await.unwrap(), None, "the slot moved without its entries");
    redis.set(&key(0), "moved".into(), MINUTE).await.unwrap();
    assert_eq!(owner.cli(&["GET", "users:0"]), "moved");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_lead_to_the_new_master() {
    let group = Sentinels::start();
    let redis = hasty(&group.url());
    fill_in(&redis, 8).await;
    wait_until("the replica has it all", || group.servers[0].cli(&["WAIT", "1", "1000"]) == "1");
    group.servers[0].kill();
    works_again(&redis, 9).await;
    assert_eq!(group.servers[1].cli(&["GET", "users:9"]), "the value of 9");
    for id in 0..8 {
        assert_eq!(redis.get(&key(id)).await.unwrap(), Some(value_of(id)));
    }
}

/// The old master lives on as a replica: its connections work, and it refuses to be written to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_became_a_replica_is_left() {
    let group = Sentinels::start();
    let redis = hasty(&group.url());
    fill_in(&redis, 8).await;
    assert_eq!(group.sentinels[0].cli(&["SENTINEL", "FAILOVER", Sentinels::NAME]), "OK");
    let port = group.servers[1].port();
    wait_until("the sentinels name a new master", || group.master_port() == port);
    // The sentinels do this, too, some seconds later.
    assert!(group.servers[0].says(&["REPLICAOF", "127.0.0.1", &port.to_string()], "OK"));
    works_again(&redis, 9).await;
    assert_eq!(group.servers[1].cli(&["GET", "users:9"]), "the value of 9");
}
