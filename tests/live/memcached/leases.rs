//! Leases, where the contract leaves off.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use cachekit::backends::Memcached;
use cachekit::codec::Postcard;
use cachekit::{Backend, Cache, CacheBuilder, Intent, LeaseToken};

use super::support::{MINUTE, at_once, key, patient};
use crate::servers::{self, eventually};
use harness::support::{Slow, leased};

async fn granted(memcached: &Memcached, id: usize, hold: Duration) -> LeaseToken {
    match leased(memcached, &key(id), hold).await.unwrap() {
        Some(token) => token,
        None => panic!("the lease on {id} is held"),
    }
}

/// As another process would be: with connections of its own.
fn process(server: &servers::Memcached) -> Cache<Memcached, Postcard> {
    let builder = CacheBuilder::new().intent(Intent::Minimal).leases(true).namespace("users");
    builder.backend(patient(&[server])).stats(true).build().unwrap()
}

#[tokio::test]
async fn a_placeholder_is_a_miss_and_its_bytes_are_a_value() {
    let server = servers::Memcached::start();
    let memcached = patient(&[&server]);
    let _lease = granted(&memcached, 1, MINUTE).await;
    assert!(server.text("users:1").is_some(), "the placeholder is under the key itself");
    assert_eq!(memcached.get(&key(1)).await.unwrap(), None);
    assert_eq!(memcached.get_many(&[key(1)]).await.unwrap(), [None]);
    assert_eq!(memcached.ttl(&key(1)).await.unwrap(), None);
    let mut look_alike = vec![0xC1];
    look_alike.extend([0; 24]);
    memcached.set(&key(2), look_alike.clone().into(), MINUTE).await.unwrap();
    assert_eq!(memcached.get(&key(2)).await.unwrap().as_deref(), Some(&look_alike[..]));
}

#[tokio::test]
async fn a_placeholder_of_another_client_is_a_miss_and_is_held() {
    let server = servers::Memcached::start();
    let memcached = patient(&[&server]);
    assert!(server.ask("mg users:1 N60 v").contains('W'));
    assert_eq!(memcached.get(&key(1)).await.unwrap(), None);
    assert!(leased(&memcached, &key(1), MINUTE).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_want_to_renew_a_value_one_gets_the_lease() {
    let server = servers::Memcached::start();
    for round in 0..8 {
        patient(&[&server]).set(&key(round), "old".into(), MINUTE).await.unwrap();
        let ask = |_| {
            let memcached = patient(&[&server]);
            async move { leased(&memcached, &key(round), MINUTE).await.unwrap().is_some() }
        };
        assert_eq!(at_once(16, ask).await.iter().filter(|granted| **granted).count(), 1);
    }
}

#[tokio::test]
async fn a_value_that_ends_while_it_is_renewed_does_not_end_the_lease() {
    let server = servers::Memcached::start();
    let memcached = patient(&[&server]);
    let second = Duration::from_secs(1);
    for id in 0..4 {
        memcached.set(&key(id), "old".into(), second).await.unwrap();
    }
    let tokens = [granted(&memcached, 0, MINUTE).await, granted(&memcached, 1, MINUTE).await];
    let (released, replaced) = (granted(&memcached, 2, MINUTE).await, granted(&memcached, 3, MINUTE).await);
    let ended =
        async || memcached.get_many(&[key(0), key(1), key(2), key(3)]).await.unwrap() == [None, None, None, None];
    eventually("the values end", ended).await;
    assert!(leased(&memcached, &key(0), MINUTE).await.unwrap().is_none(), "it is still out");
    assert_eq!(memcached.get(&key(0)).await.unwrap(), None);
    assert!(memcached.fill(&key(0), "new".into(), MINUTE, tokens[0]).await.unwrap());
    assert_eq!(memcached.get(&key(0)).await.unwrap().as_deref(), Some(&b"new"[..]));
    let _next = granted(&memcached, 0, MINUTE).await;

    memcached.remove(&key(1)).await.unwrap();
    assert!(!memcached.fill(&key(1), "late".into(), MINUTE, tokens[1]).await.unwrap(), "it was removed after its end");
    memcached.release(&key(2), released).await.unwrap();
    assert!(!memcached.fill(&key(2), "late".into(), MINUTE, released).await.unwrap());
    memcached.set(&key(3), "set".into(), MINUTE).await.unwrap();
    assert!(!memcached.fill(&key(3), "late".into(), MINUTE, replaced).await.unwrap());
    let found = memcached.get_many(&[key(1), key(2), key(3)]).await.unwrap();
    assert_eq!(found, [None, None, Some("set".into())]);
}

#[tokio::test]
async fn leases_on_values_end_as_those_on_nothing_do() {
    let server = servers::Memcached::start();
    let memcached = patient(&[&server]);
    let renewed = async |id, hold| {
        memcached.set(&key(id), "old".into(), MINUTE).await.unwrap();
        granted(&memcached, id, hold).await
    };
    let fill = async |id, token| memcached.fill(&key(id), "late".into(), MINUTE, token).await.unwrap();
    let token = renewed(1, MINUTE).await;
    memcached.set(&key(1), "set".into(), MINUTE).await.unwrap();
    assert!(!fill(1, token).await);
    let _ = granted(&memcached, 1, MINUTE).await;
    let token = renewed(2, MINUTE).await;
    memcached.release(&key(2), token).await.unwrap();
    assert!(!fill(2, token).await);
    let _ = granted(&memcached, 2, MINUTE).await;
    let token = renewed(3, Duration::from_secs(1)).await;
    eventually("the lock ends", async || server.text("users:3:lock").is_none()).await;
    assert!(!fill(3, token).await);
    let token = renewed(4, MINUTE).await;
    assert!(!fill(4, LeaseToken::random()).await);
    // The program in another language knows nothing of our locks.
    assert_eq!(server.ask("set users:4 0 60 6\r\ntheirs"), "STORED\r\n");
    let next = granted(&memcached, 4, MINUTE).await;
    assert!(!fill(4, token).await);
    assert!(memcached.fill(&key(4), "new".into(), MINUTE, next).await.unwrap());
    assert_eq!(server.text("users:4").as_deref(), Some("new"));
}

/// The ids of entries begin anew with the server; a lease must not take another entry of the same id for its own.
#[tokio::test]
async fn no_lease_outlives_its_server() {
    for value in [None, Some("old")] {
        let server = servers::Memcached::start();
        let memcached = patient(&[&server]);
        if let Some(value) = value {
            memcached.set(&key(1), value.into(), MINUTE).await.unwrap();
        }
        let token = granted(&memcached, 1, MINUTE).await;
        server.restart();
        for round in 0..6 {
            memcached.set(&key(1), format!("newer {round}").into(), MINUTE).await.unwrap();
            assert!(!memcached.fill(&key(1), "late".into(), MINUTE, token).await.unwrap(), "{value:?}, {round}");
        }
    }
}

#[tokio::test]
async fn invalidation_by_another_process_keeps_a_result_unstored() {
    let server = servers::Memcached::start();
    for (id, stale) in [(1, false), (2, true)] {
        let (one, two) = (process(&server), process(&server));
        if stale {
            two.set(id, 0u32).await.unwrap();
        }
        let slow = Slow::new();
        let old = tokio::spawn({
            let (one, slow) = (one.clone(), slow.clone());
            async move { one.entry(id).skip_l2_read().get_or_compute(move || slow.run(Ok(1u32))).await }
        });
        slow.wait_for_start().await;
        two.invalidate(id).await.unwrap();
        slow.finish(1);
        assert_eq!(old.await.unwrap().unwrap(), 1);
        eventually("the write was refused", async || one.stats().fenced == 1).await;
        assert_eq!(two.get::<u32>(id).await.unwrap(), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_processes_that_miss_one_key_compute_it_once() {
    let server = servers::Memcached::start();
    let slow = Slow::new();
    let ask = |index| {
        let (cache, slow) = (process(&server), slow.clone());
        async move { cache.get_or_compute(7, move || slow.run(Ok(index))).await.unwrap() }
    };
    let (values, ()) = tokio::join!(at_once(10, ask), async {
        slow.wait_for_start().await;
        eventually("others ask for the lease", async || server.stat("cmd_set") >= 10).await;
        slow.finish(1);
    });
    assert!(values.iter().all(|value| *value == values[0]), "{values:?}");
    assert_eq!(slow.started(), 1);
}

/// Leases, fills, removals and ends by time in every order: what was removed never comes back by a lease of before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_fill_brings_back_what_was_removed() {
    let server = servers::Memcached::start();
    let (truth, removed, ended) =
        (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let work = |role: usize| {
        let (truth, removed, ended) = (Arc::clone(&truth), Arc::clone(&removed), Arc::clone(&ended));
        let memcached = patient(&[&server]);
        async move {
            let mut done = 0u64;
            while !ended.load(SeqCst) {
                match role {
                    0 => {
                        let now = truth.fetch_add(1, SeqCst) + 1;
                        memcached.remove(&key(1)).await.unwrap();
                        removed.fetch_max(now, SeqCst);
                        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..4))).await;
                    }
                    1..=3 => {
                        let least = removed.load(SeqCst);
                        if let Some(found) = memcached.get(&key(1)).await.unwrap() {
                            let found: u64 = std::str::from_utf8(&found).unwrap().parse().unwrap();
                            assert!(found >= least, "{found} was removed by {least}");
                            done += 1;
                        }
                    }
                    _ => {
                        if let Some(token) = leased(&memcached, &key(1), MINUTE).await.unwrap() {
                            let value = truth.load(SeqCst).to_string();
                            tokio::time::sleep(Duration::from_millis(fastrand::u64(0..3))).await;
                            done += u64::from(memcached.fill(&key(1), value.into(), MINUTE, token).await.unwrap());
                        }
                    }
                }
            }
            done
        }
    };
    let start = Instant::now();
    let (done, ()) = tokio::join!(at_once(9, work), async {
        eventually("some time is over", async || start.elapsed() > Duration::from_secs(3)).await;
        ended.store(true, SeqCst);
    });
    assert!(done.iter().sum::<u64>() > 20, "{done:?}");
}

/// Whatever is planted under the names of leases, it keeps a key from nobody for longer than a lease does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_of_a_dead_holder_is_taken_over_and_the_value_stored() {
    const HOLD: Duration = Duration::from_millis(1_500);
    let server = servers::Memcached::start();
    let memcached = patient(&[&server]);
    // The client flags of a placeholder and of a lock.
    let (ours, token) = (0x6c65_6173u32, "x".repeat(25));
    let plant = |name: &str, flags: u32, life: u32, data: &str| {
        assert!(server.ask(&format!("set {name} {flags} {life} {}\r\n{data}", data.len())).contains("STORED"));
    };
    for (id, (flags, life, data)) in
        [(ours, 0, &*token), (ours, 0, "x"), (ours, 0, ""), (ours, 9_999, &*token), (0, 0, "x")].into_iter().enumerate()
    {
        // Of a key without a value, a placeholder stands under its name.
        if flags == ours {
            plant(&format!("users:{id}"), flags, life, data);
            assert_eq!(memcached.get(&key(id)).await.unwrap(), None);
        }
        plant(&format!("users:{id}:lock"), flags, life, data);
        let token = granted(&memcached, id, HOLD).await;
        assert!(leased(&patient(&[&server]), &key(id), HOLD).await.unwrap().is_none(), "it is a lease like any other");
        assert!(memcached.fill(&key(id), "v".into(), MINUTE, token).await.unwrap());
        // Of a key with a value, a lock stands beside it.
        server.ask(&format!("delete users:{id}:lock"));
        plant(&format!("users:{id}:lock"), flags, life, data);
        let token = granted(&memcached, id, HOLD).await;
        assert!(memcached.fill(&key(id), "w".into(), MINUTE, token).await.unwrap());
        assert_eq!(memcached.get(&key(id)).await.unwrap().as_deref(), Some(&b"w"[..]));
    }
}
