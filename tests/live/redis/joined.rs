//! What many tasks ask about one entry each is decided by a few scripts, and each has its own answer.

use std::sync::Arc;
use std::time::Duration;

use cachekit::backends::Redis;
use cachekit::{Backend, CacheBuilder, Error, ErrorKind, Intent, Key, Lease, LeaseToken, Loaded};
use tokio::time::sleep;

use super::support::{MINUTE, at_once, key, patient, value_of};
use crate::servers::{Server, eventually};
use harness::support::Broken;

const TASKS: usize = 64;

/// A backend that has a connection.
async fn connected(url: &str) -> Redis {
    let redis = patient(url);
    redis.ping().await.unwrap();
    redis
}

async fn lease_all(redis: &Redis, tokens: &Arc<[LeaseToken]>) -> Vec<(usize, Result<Lease, Error>)> {
    let lease = |id: usize| {
        let (redis, token) = (redis.clone(), tokens[id]);
        async move { (id, redis.lease(&key(id), MINUTE, token, None).await) }
    };
    at_once(TASKS, lease).await
}

/// Which of the fills stored their value.
async fn fill_all(redis: &Redis, tokens: &Arc<[LeaseToken]>) -> Vec<(usize, Result<bool, Error>)> {
    let fill = |id: usize| {
        let (redis, token) = (redis.clone(), tokens[id]);
        async move { (id, redis.fill(&key(id), value_of(id), MINUTE, token).await) }
    };
    at_once(TASKS, fill).await
}

fn tokens() -> Arc<[LeaseToken]> {
    (0..TASKS).map(|_| LeaseToken::random()).collect()
}

/// How many scripts the server is called while this runs.
async fn scripts<T>(server: &Server, work: impl Future<Output = T>) -> (T, u64) {
    let calls = || server.calls("evalsha") + server.calls("eval");
    let before = calls();
    let output = work.await;
    (output, calls() - before)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batch_leases_and_fills_its_keys_by_a_few_scripts() {
    const KEYS: u32 = 200;
    let server = Server::start();
    let builder = CacheBuilder::new().intent(Intent::Production).namespace("users").backend(patient(&server.url()));
    let cache = builder.adaptive_timeout_enabled(false).wait_for_write(true).build().unwrap();
    cache.get_or_compute("known", || async { Ok::<_, Broken>(1u32) }).await.unwrap();
    let load = |missing: Vec<u32>| async move {
        Ok::<Loaded<_, _, Broken>, _>(missing.into_iter().map(|id| (id, id)).collect())
    };
    let (found, count) = scripts(&server, cache.get_or_compute_many(0..KEYS, load)).await;
    assert!(found.into_iter().zip(0..KEYS).all(|(found, id)| found.unwrap() == Some(id)));
    // Each by itself they would be 400.
    assert!((2..=u64::from(KEYS) / 2).contains(&count), "{count} scripts");
    for id in 0..KEYS {
        let entry = format!("users:{id}");
        assert_eq!(server.cli(&["EXISTS", &entry]), "1", "{id}");
        assert_eq!(server.cli(&["EXISTS", &format!("{entry}:lock"), &format!("{entry}:wait")]), "0", "{id}");
    }
}

/// Keys of which the loader has nothing: their leases are given back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batch_gives_the_leases_of_absent_keys_back_by_a_few_scripts() {
    const KEYS: u32 = 200;
    let server = Server::start();
    let builder = CacheBuilder::new().intent(Intent::Production).namespace("users").backend(patient(&server.url()));
    let cache = builder.adaptive_timeout_enabled(false).build().unwrap();
    cache.get_or_compute("known", || async { Ok::<_, Broken>(1u32) }).await.unwrap();
    let load = |_: Vec<u32>| async { Ok::<Loaded<u32, u32, Broken>, _>(Loaded::new()) };
    let work = async {
        let found = cache.get_or_compute_many(0..KEYS, load).await;
        eventually("all is given back", async || server.cli(&["KEYS", "users:*:lock"]).is_empty()).await;
        found
    };
    let (found, count) = scripts(&server, work).await;
    assert!(found.into_iter().all(|found| found.unwrap().is_none()));
    assert!((2..=u64::from(KEYS) / 2).contains(&count), "{count} scripts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_lease_of_a_script_has_its_own_answer() {
    let server = Server::start();
    let redis = connected(&server.url()).await;
    let (mine, others) = (tokens(), tokens());
    // Each fourth has a value, is held by another, holds a lock that is no lease, and is of another type.
    for id in 0..TASKS {
        let (entry, lock) = (format!("users:{id}"), format!("users:{id}:lock"));
        match id % 4 {
            0 => redis.set(&key(id), value_of(id), MINUTE).await.unwrap(),
            1 => assert!(matches!(redis.lease(&key(id), MINUTE, others[id], None).await, Ok(Lease::Granted))),
            2 => drop(server.call(&["RPUSH", &lock, "x"])),
            _ => drop(server.call(&["RPUSH", &entry, "x"])),
        }
    }
    for round in 0..2 {
        let (answers, count) = scripts(&server, lease_all(&redis, &mine)).await;
        for (id, answer) in answers {
            match (id % 4, answer.unwrap()) {
                (0, Lease::Found(value)) => assert_eq!(value, value_of(id)),
                (1, Lease::Held) | (2 | 3, Lease::Granted) => {}
                (_, answer) => panic!("{id} in round {round}: {answer:?}"),
            }
        }
        assert!(count < TASKS as u64 / 2, "{count} scripts");
    }
    for id in 0..TASKS {
        let lasts = |name| server.cli(&["PTTL", &format!("users:{id}:{name}")]).parse::<i64>().unwrap() > 0;
        assert_eq!((lasts("lock"), lasts("wait")), (id % 4 != 0, id % 4 == 1), "{id}");
    }
    let (answers, count) = scripts(&server, fill_all(&redis, &mine)).await;
    for (id, stored) in answers {
        assert_eq!(stored.unwrap(), id % 4 > 1, "{id}");
    }
    assert!(count < TASKS as u64 / 2, "{count} scripts");
    for id in 0..TASKS {
        let expected = if id % 4 == 1 { None } else { Some(value_of(id)) };
        assert_eq!(redis.get(&key(id)).await.unwrap(), expected, "{id}");
        let beside = server.cli(&["EXISTS", &format!("users:{id}:lock"), &format!("users:{id}:wait")]);
        assert_eq!(beside, if id % 4 == 1 { "2" } else { "0" }, "{id}");
    }
}

/// One entry that several ask for in the same script: one of them has the lease.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_lease_of_an_entry_is_granted_however_many_ask_at_once() {
    let server = Server::start();
    let redis = connected(&server.url()).await;
    let all = tokens();
    let lease = |id: usize| {
        let (redis, token) = (redis.clone(), all[id]);
        async move { (token, redis.lease(&key(1), MINUTE, token, None).await.unwrap()) }
    };
    let (answers, count) = scripts(&server, at_once(TASKS, lease)).await;
    assert!(count < TASKS as u64 / 2, "{count} scripts");
    let granted: Vec<_> = answers.iter().filter(|(_, answer)| matches!(answer, Lease::Granted)).collect();
    assert_eq!(granted.len(), 1);
    assert_eq!(server.cli(&["GET", "users:1:lock"]), format!("{:032x}", granted[0].0.as_u128()));
    assert_eq!(server.cli(&["EXISTS", "users:1:wait"]), "1", "the others wait");
    let fill = |id: usize| {
        let (redis, token) = (redis.clone(), all[id]);
        async move { redis.fill(&key(1), value_of(id), MINUTE, token).await.unwrap() }
    };
    assert_eq!(at_once(TASKS, fill).await.into_iter().filter(|stored| *stored).count(), 1);
    assert_eq!(server.cli(&["KEYS", "*"]).trim(), "users:1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_that_forgot_joined_scripts_is_told_them_again() {
    let server = Server::start();
    let redis = connected(&server.url()).await;
    for _ in 0..2 {
        let mine = tokens();
        let leased = lease_all(&redis, &mine).await;
        assert!(leased.iter().all(|(_, answer)| matches!(answer, Ok(Lease::Granted))), "{leased:?}");
        assert_eq!(server.cli(&["SCRIPT", "FLUSH"]), "OK");
        assert!(fill_all(&redis, &mine).await.into_iter().all(|(_, stored)| stored.unwrap()));
        assert_eq!(server.cli(&["DBSIZE"]), TASKS.to_string());
        server.cli(&["FLUSHDB"]);
        assert_eq!(server.cli(&["SCRIPT", "FLUSH"]), "OK");
    }
}

/// A user who may not touch one of the entries of a script is refused that one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entry_that_is_denied_fails_alone_among_leases_and_fills() {
    let server = Server::setup().user("ada", "on nopass ~users:* +@all").start();
    let redis = connected(&format!("redis://ada@{}", server.address())).await;
    let name = |id: usize| Key::new(if id == 7 { "others" } else { "users" }, id).unwrap();
    let mine = tokens();
    let lease = |id: usize| {
        let (redis, token) = (redis.clone(), mine[id]);
        async move { redis.lease(&name(id), MINUTE, token, None).await }
    };
    let mut failed = Vec::new();
    for answer in at_once(TASKS, lease).await {
        match answer {
            Ok(Lease::Granted) => {}
            Ok(other) => panic!("{other:?}"),
            Err(error) => failed.push(error.kind()),
        }
    }
    let fill = |id: usize| {
        let (redis, token) = (redis.clone(), mine[id]);
        async move { redis.fill(&name(id), value_of(id), MINUTE, token).await }
    };
    failed.extend(at_once(TASKS, fill).await.into_iter().filter_map(Result::err).map(|error| error.kind()));
    assert_eq!(failed, [ErrorKind::Denied; 2]);
    assert_eq!(server.cli(&["DBSIZE"]), (TASKS - 1).to_string());
}

/// A full server grants no lease and stores nothing, and takes nothing away: who holds one may try again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_server_refuses_each_lease_and_fill_of_a_script() {
    let server = Server::start();
    let redis = connected(&server.url()).await;
    let mine = tokens();
    let full = |is_full| drop(server.cli(&["CONFIG", "SET", "maxmemory", if is_full { "1" } else { "0" }]));
    // Those who find a value need no room.
    for id in 0..TASKS / 2 {
        redis.set(&key(id), value_of(id), MINUTE).await.unwrap();
    }
    full(true);
    for (id, answer) in lease_all(&redis, &mine).await {
        match answer {
            Ok(Lease::Found(value)) if id < TASKS / 2 => assert_eq!(value, value_of(id)),
            Err(error) if id >= TASKS / 2 => assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error}"),
            other => panic!("{id}: {other:?}"),
        }
    }
    full(false);
    server.cli(&["FLUSHDB"]);
    assert!(lease_all(&redis, &mine).await.iter().all(|(_, answer)| matches!(answer, Ok(Lease::Granted))));
    full(true);
    for (id, refused) in fill_all(&redis, &mine).await {
        assert!(refused.is_err_and(|error| error.kind() == ErrorKind::ReadOnly), "{id}");
    }
    full(false);
    assert!(fill_all(&redis, &mine).await.into_iter().all(|(_, stored)| stored.unwrap()), "the leases are still held");
}

/// Processes that wait for entries whose values are stored by one script are all told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_entries_of_one_script_is_told_of_each() {
    const KEYS: u32 = 50;
    let server = Server::start();
    let process = || {
        let builder = CacheBuilder::new().intent(Intent::Production).namespace("users");
        builder.backend(patient(&server.url())).adaptive_timeout_enabled(false).build().unwrap()
    };
    let (first, second) = (process(), process());
    for cache in [&first, &second] {
        cache.set("known", 1u32).await.unwrap();
    }
    let slow = |missing: Vec<u32>| async move {
        sleep(Duration::from_millis(600)).await;
        Ok::<Loaded<_, _, Broken>, _>(missing.into_iter().map(|id| (id, id)).collect())
    };
    let computing = tokio::spawn({
        let first = first.clone();
        async move { first.get_or_compute_many(0..KEYS, slow).await }
    });
    eventually("all are leased", async || server.cli(&["KEYS", "users:*:lock"]).lines().count() == KEYS as usize).await;
    let before = server.calls("xadd");
    let never = |_: Vec<u32>| async { Ok::<Loaded<u32, u32, Broken>, _>(Loaded::new().otherwise(0)) };
    let found = second.get_or_compute_many(0..KEYS, never).await;
    assert!(found.into_iter().zip(0..KEYS).all(|(found, id)| found.unwrap() == Some(id)));
    assert!(computing.await.unwrap().into_iter().all(|found| found.is_ok()));
    eventually("each is told of", async || server.calls("xadd") - before == u64::from(KEYS)).await;
    assert_eq!(server.cli(&["KEYS", "users:*:wait"]), "", "the marks went with the leases");
}
