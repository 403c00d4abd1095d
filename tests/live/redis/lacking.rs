//! Servers that refuse a command: what is done without it, and what is said.

use std::sync::Arc;

use cachekit::backends::Redis;
use cachekit::codec::{Checked, Postcard};
use cachekit::{Backend, Cache, CacheBuilder, ErrorKind, Intent, Lease, LeaseToken};

use super::support::{MINUTE, key, patient};
use crate::servers::Server;
use harness::support::{Broken, Journal, Note};

/// Where commands are out of reach by another name, as on many a managed server.
fn without(commands: &[&str]) -> Server {
    commands.iter().fold(Server::setup(), |setup, command| setup.args(["--rename-command", *command, ""])).start()
}

#[tokio::test]
async fn without_transactions_and_unlink_all_else_is_done() {
    let server = without(&["MULTI", "EXEC", "UNLINK"]);
    let redis = patient(&server.url());
    let long = bytes::Bytes::from(vec![7; 8 * 1024]);
    let token = LeaseToken::random();
    assert_eq!(redis.lease(&key(1), MINUTE, token, None).await.unwrap(), Lease::Granted);
    assert!(redis.fill(&key(1), long.clone(), MINUTE, token).await.unwrap());
    assert_eq!(redis.get(&key(1)).await.unwrap(), Some(long.clone()));
    let token = LeaseToken::random();
    assert_eq!(redis.lease(&key(1), MINUTE, token, Some(&long)).await.unwrap(), Lease::Granted);
    redis.set(&key(1), "newer".into(), MINUTE).await.unwrap();
    assert!(!redis.fill(&key(1), long, MINUTE, token).await.unwrap(), "a set ends the lease");
    redis.set_many(vec![(key(2), "b".into()), (key(3), "c".into())], MINUTE).await.unwrap();
    let found = redis.get_many(&[key(1), key(2), key(3)]).await.unwrap();
    assert_eq!(found, [Some("newer".into()), Some("b".into()), Some("c".into())]);
    redis.remove(&key(1)).await.unwrap();
    redis.remove_many(&[key(2), key(3)]).await.unwrap();
    assert_eq!(server.cli(&["DBSIZE"]), "0", "no value and no lock is left");
}

#[tokio::test]
async fn what_a_server_refuses_is_asked_for_once() {
    let server = Server::setup().user("ada", "on nopass ~* &* +@all -multi -unlink").start();
    let redis = patient(&format!("redis://ada@{}", server.address()));
    for id in 0..20 {
        redis.set(&key(id), "v".into(), MINUTE).await.unwrap();
        redis.remove(&key(id)).await.unwrap();
    }
    let stats = server.cli(&["INFO", "commandstats"]);
    let line = |command: &str| stats.lines().find(|line| line.starts_with(&format!("cmdstat_{command}:"))).unwrap();
    assert!(line("multi").contains("rejected_calls=1,"), "{stats}");
    assert!(line("unlink").contains("rejected_calls=1,"), "{stats}");
}

fn cache(redis: Redis, journal: &Arc<Journal>) -> Cache<Redis, Checked<Postcard>> {
    let builder = CacheBuilder::new().intent(Intent::Production).namespace("users").backend(redis).l1_enabled(false);
    let builder = builder.wait_for_write(true).observer(Arc::<Journal>::clone(journal) as _);
    builder.build().unwrap()
}

/// The value that a fresh computation of this number gives, or the one that is there.
async fn ask(cache: &Cache<Redis, Checked<Postcard>>, id: u32, value: u32) -> u32 {
    cache.entry(id).tags(["all"]).get_or_compute(move || async move { Ok::<_, Broken>(value) }).await.unwrap()
}

#[tokio::test]
async fn cache_without_redis_scripts_drops_leases_and_tells_it_once() {
    let server = without(&["EVAL", "EVALSHA"]);
    let journal = Arc::<Journal>::default();
    let cache = cache(patient(&server.url()), &journal);
    for id in 0..10 {
        ask(&cache, id, 1).await;
    }
    for id in 0..10 {
        let kept = ask(&cache, id, 2).await;
        assert!(kept == 1 || id == 0, "all but the first, by which it was found out, were stored");
        assert_eq!(ask(&cache, id, 3).await, kept);
    }
    cache.invalidate_tag("all").await.unwrap();
    assert_eq!(ask(&cache, 5, 6).await, 6);
    assert_eq!(ask(&cache, 5, 7).await, 6);
    let is_told = |note: &Note| matches!(note, Note::BackendFailed(_, ErrorKind::Unsupported));
    assert_eq!(journal.count(is_told), 1, "{:?}", journal.notes());
    assert_eq!(journal.count(|note| matches!(note, Note::BackendFailed(..))), 1, "{:?}", journal.notes());
    assert_eq!(server.cli(&["KEYS", "*:lock"]), "", "no lock is left");
}

#[tokio::test]
async fn the_command_and_what_needs_it_are_named() {
    let server = Server::setup().user("ada", "on nopass ~* &* +@all -eval -evalsha").start();
    let redis = patient(&format!("redis://ada@{}", server.address()));
    for _ in 0..2 {
        let error = redis.lease(&key(1), MINUTE, LeaseToken::random(), None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let text = error.to_string();
        assert!(text.contains("EVALSHA") && text.contains("leases") && text.contains("+evalsha"), "{text}");
        assert_eq!(server.cli(&["EXISTS", "users:1:lock"]), "0", "no lock is left that nothing could end");
    }
}
