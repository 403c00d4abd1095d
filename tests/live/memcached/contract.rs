//! The contract of backends, on one server and on three.

use std::time::Duration;

use cachekit::backends::{AnyBackend, Memcached};
use cachekit::testing::Chaos;
use cachekit::testing::conformance::{BackendOptions, backend};

use super::support::{patient, with};
use crate::servers;
use harness::support::contract;

/// Whole seconds, and one more, of a clock that moves once a second, and later on a busy machine.
const PRECISION: Duration = Duration::from_secs(3);

fn options() -> BackendOptions {
    BackendOptions::real().precision(PRECISION).patience(Duration::from_secs(120))
}

async fn keeps_the_contract(memcached: Memcached) {
    let kept = backend(|| async { memcached.clone() }, options()).await;
    assert_eq!(kept, contract(false).await);
}

/// Much of it is waiting, so the ways are tried at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_keep_it_however_many_there_are() {
    let servers: Vec<_> = (0..3).map(|_| servers::Memcached::start()).collect();
    let [one, two, three] = &servers[..] else { panic!("three") };
    tokio::join!(
        keeps_the_contract(patient(&[one])),
        keeps_the_contract(patient(&[one, two, three])),
        keeps_the_contract(with(&[two], |settings| {
            settings.max_pool_size = 1;
            settings.key_prefix = "p".repeat(60);
        })),
    );
    assert!(servers.iter().all(|server| server.stat("cmd_set") > 0), "every server has its share");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrappers_keep_it() {
    let server = servers::Memcached::start();
    let memcached = patient(&[&server]);
    let (any, chaos) = (AnyBackend::new(memcached.clone()), Chaos::new(memcached));
    let wrapped = async || backend(|| async { any.clone() }, options()).await;
    let tamed = async || backend(|| async { chaos.clone() }, options()).await;
    let (wrapped, tamed) = tokio::join!(wrapped(), tamed());
    assert_eq!((wrapped, tamed), (contract(false).await, contract(false).await));
}
