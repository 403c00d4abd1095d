//! The contracts of backends and buses, on every kind of server.

use std::sync::Arc;
use std::time::Duration;

use cachekit::backends::{Memory, Redis};
use cachekit::testing::ManualClock;
use cachekit::testing::conformance::{BackendOptions, backend, bus};
use cachekit::{Backend, Key, RedisSettings};
use tokio::task::JoinSet;

use super::support::{MINUTE, with};
use crate::servers::{Authority, Cluster, Sentinels, Server};
use harness::support::contract;

/// Servers keep time to a millisecond; what they are told of it is later on a busy machine.
const PRECISION: Duration = Duration::from_millis(50);

/// Fails unless entries and messages at `url` keep every sentence that those of `Memory` keep.
async fn keeps_the_contract(url: &str, change: impl Fn(&mut RedisSettings) + Send + Sync) {
    let redis = |timeout| {
        with(url, |settings| {
            (settings.timeout, settings.connect_timeout) = (timeout, MINUTE / 2);
            change(settings);
        })
    };
    // A bus waits for half as long as a command may take.
    let (entries, messages) = (redis(MINUTE / 2), redis(MINUTE / 30));
    let clock = ManualClock::new();
    let memory = Memory::with_clock(4 << 20, Arc::new(clock.clone()));
    let mut expected = contract(entries.capabilities().announces).await;
    // The limit of Redis is beyond what is tried.
    expected.retain(|sentence| !sentence.contains("`TooLarge`"));
    let expected = (expected, sentences(&memory, BackendOptions::manual(clock)).await);
    let real = BackendOptions::real().precision(PRECISION).patience(MINUTE * 2);
    let kept = tokio::join!(backend(|| async { entries.clone() }, real.clone()), sentences(&messages, real));
    assert_eq!(kept, expected);
}

/// Those that the buses of `backend` keep.
async fn sentences(backend: &impl Backend, options: BackendOptions) -> Vec<&'static str> {
    let make = async |name: Key| backend.bus(&name).expect("the backend has a bus");
    bus(make, options).await
}

/// Much of it is waiting, so the ways are tried at once.
async fn all_keep_the_contract(ways: impl IntoIterator<Item = (String, fn(&mut RedisSettings))>) {
    let mut suites = JoinSet::new();
    for (url, change) in ways {
        suites.spawn(async move { keeps_the_contract(&url, change).await });
    }
    suites.join_all().await;
}

/// Only the bus needs `INFO`: it learns by it of restarts.
const PERMISSIONS: &str =
    "on >sesame ~conformance-* resetchannels -@all +@read +@write +@scripting +@transaction +@connection +info";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_keeps_it_however_it_is_reached() {
    let without = format!("{PERMISSIONS} -multi -exec -unlink");
    let server = Server::setup().password("open").user("ada", PERMISSIONS).user("bob", &without).start();
    let socket = server.socket().display().to_string();
    all_keep_the_contract([
        (server.url(), (|_| ()) as fn(&mut RedisSettings)),
        (format!("{}?protocol=3", server.url()), |_| ()),
        (format!("redis://ada:sesame@{}", server.address()), |_| ()),
        (format!("redis://bob:sesame@{}", server.address()), |_| ()),
        (format!("unix://{socket}?pass=open"), |_| ()),
        (server.url(), |settings| settings.pool_size = 1),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_behind_tls_keep_it() {
    let authority = Authority::new();
    let setup = Server::setup().password("open").tls(&authority);
    let (server, cluster) = (setup.clone().start(), Cluster::start_with(setup));
    let trust = |settings: &mut RedisSettings| settings.ca_bundle = Some(authority.bundle().to_owned());
    let (server_url, cluster_url) = (server.url(), cluster.url());
    tokio::join!(keeps_the_contract(&server_url, trust), keeps_the_contract(&cluster_url, trust));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_keeps_it() {
    let cluster = Cluster::start_with(Server::setup().password("open"));
    keeps_the_contract(&cluster.url(), |_| ()).await;
    assert!(cluster.nodes.iter().all(|node| node.calls("set") > 0), "every node has its share");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_master_that_sentinels_name_keeps_it() {
    let group = Sentinels::start_with(Server::setup().password("open"), Server::setup().password("watch"));
    keeps_the_contract(&group.url(), |_| ()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_hosts_are_a_cluster() {
    let cluster = Cluster::start();
    let url = cluster.url().replace("redis-cluster://", "redis://");
    let redis = Redis::from_url(&url).unwrap();
    for id in 0..20 {
        let key = Key::new("users", id).unwrap();
        redis.set(&key, "v".into(), MINUTE).await.unwrap();
        assert_eq!(cluster.owner(key.as_str()).cli(&["GET", key.as_str()]), "v");
    }
}
