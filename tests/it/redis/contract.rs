//! The contract of backends, on every kind of server.

use std::sync::Arc;
use std::time::Duration;

use cachekit::backends::{Memory, Redis};
use cachekit::testing::ManualClock;
use cachekit::testing::conformance::{BackendOptions, backend, bus};
use cachekit::{Backend, Key};

use super::support::{MINUTE, patient, with};
use crate::servers::{Authority, Cluster, Sentinels, Server};

/// Servers keep time to a millisecond; what they are told of it is later on a busy machine.
const PRECISION: Duration = Duration::from_millis(50);

/// Fails unless `redis` keeps every sentence that `Memory` keeps, but for its limit, which is beyond what is tried.
async fn keeps_the_contract(redis: Redis) {
    let clock = ManualClock::new();
    let memory = || async { Memory::with_clock(4 << 20, Arc::new(clock.clone())) };
    let mut expected = backend(memory, BackendOptions::manual(clock.clone())).await;
    expected.retain(|sentence| !sentence.contains("`TooLarge`"));
    let options = BackendOptions::real().precision(PRECISION).patience(MINUTE * 2);
    let kept = backend(|| async { redis.clone() }, options.clone()).await;
    assert_eq!(kept, expected);

    let memory = Memory::with_clock(4 << 20, Arc::new(clock.clone()));
    let make = async |name: Key| memory.bus(&name).expect("memory has a bus");
    let expected = bus(|name| make(name), BackendOptions::manual(clock)).await;
    let make = async |name: Key| redis.bus(&name).expect("Redis has a bus");
    assert_eq!(bus(|name| make(name), options).await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_server_keeps_it() {
    let server = Server::start();
    keeps_the_contract(patient(&server.url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_with_just_the_permissions_it_needs_keeps_it() {
    let rules = "on >sesame ~conformance-* resetchannels -@all +@read +@write +@scripting +@connection";
    let server = Server::setup().password("open").user("ada", rules).start();
    keeps_the_contract(patient(&format!("redis://ada:sesame@{}", server.address()))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_behind_tls_keeps_it() {
    let authority = Authority::new();
    let server = Server::setup().password("open").tls(&authority).start();
    let settings = |settings: &mut cachekit::RedisSettings| {
        settings.ca_bundle = Some(authority.bundle().to_owned());
        (settings.timeout, settings.connect_timeout) = (MINUTE, MINUTE);
    };
    keeps_the_contract(with(&server.url(), settings)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_behind_a_socket_keeps_it() {
    let server = Server::start();
    keeps_the_contract(patient(&format!("unix://{}", server.socket().display()))).await;
    assert_eq!(server.calls("lpush"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_is_enough() {
    let server = Server::start();
    keeps_the_contract(with(&server.url(), |settings| {
        settings.pool_size = 1;
        settings.timeout = MINUTE;
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_third_protocol_keeps_it() {
    let server = Server::start();
    keeps_the_contract(patient(&format!("{}?protocol=3", server.url()))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_keeps_it() {
    let cluster = Cluster::start_with(Server::setup().password("open"));
    keeps_the_contract(patient(&cluster.url())).await;
    assert!(cluster.nodes.iter().all(|node| node.calls("get") > 0), "every node has its share");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_master_that_sentinels_name_keeps_it() {
    let group = Sentinels::start_with(Server::setup().password("open"), Server::setup().password("watch"));
    keeps_the_contract(patient(&group.url())).await;
}
