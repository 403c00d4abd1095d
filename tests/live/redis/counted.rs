//! Commands, counted by the server.

use std::time::{Duration, Instant};

use cachekit::backends::Redis;
use cachekit::codec::{Checked, Postcard};
use cachekit::{Backend, Cache, CacheBuilder, ErrorKind, Intent, Key};
use tokio::time::sleep;

use super::support::{MINUTE, at_once, key, patient, value_of};
use crate::servers::{Monitor, Mood, PATIENCE, Proxy, Server, eventually};
use harness::support::{leased, settle};

/// A cache with a bus, to which the server has said all that it says at first.
async fn listening(server: &Server) -> Cache<Redis, Checked<Postcard>> {
    listening_at(server, &server.url()).await
}

/// The same, of a server that is reached at `url`.
async fn listening_at(server: &Server, url: &str) -> Cache<Redis, Checked<Postcard>> {
    let builder = CacheBuilder::new().intent(Intent::Production).namespace("users").backend(patient(url));
    let cache = builder.adaptive_timeout_enabled(false).build().unwrap();
    cache.set("first", 1u32).await.unwrap();
    cache.invalidate("first").await.unwrap();
    eventually("the cache listens", async || server.calls("xread") > 0).await;
    settle().await;
    sleep(Duration::from_millis(200)).await;
    cache
}

/// What the server was asked to change, in order: the names of the commands.
fn changes(monitor: &mut Monitor, server: &Server) -> Vec<String> {
    // What a script does is none.
    let asked = monitor.heard(server).into_iter().filter(|line| !line.contains(" lua] "));
    let names = asked.filter_map(|line| Some(line.split('"').nth(1)?.to_owned()));
    names.filter(|name| !matches!(&**name, "XREAD" | "XRANGE" | "XINFO" | "ECHO")).collect()
}

#[tokio::test]
async fn set_is_one_script_and_one_message() {
    let server = Server::start();
    let cache = listening(&server).await;
    let mut monitor = server.monitor();
    cache.set("ada", 1u32).await.unwrap();
    assert_eq!(changes(&mut monitor, &server), ["EVALSHA", "XADD"]);
    cache.set("ada", "a long value".repeat(200)).await.unwrap();
    let without = ["MULTI", "SET", "DEL", "EXEC", "XADD"];
    assert_eq!(changes(&mut monitor, &server), without, "a script would copy it");
    assert_eq!((server.cli(&["EXISTS", "users:ada", "users:ada:lock"]), cache.stats().gaps), ("1".to_owned(), 0));
}

/// Whatever a change needs is sent before anything is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn change_and_its_message_are_one_round_trip() {
    let server = Server::start();
    let proxy = Proxy::of(server.port());
    let cache = listening_at(&server, &proxy.url()).await;
    for is_removal in [false, true] {
        let (before, cache) = (server.calls("xadd"), cache.clone());
        proxy.set(Mood::Mute);
        let change = tokio::spawn(async move {
            if is_removal { cache.invalidate("ada").await } else { cache.set("ada", 1u32).await }
        });
        eventually("it is told", async || server.calls("xadd") == before + 1).await;
        assert_eq!(server.cli(&["EXISTS", "users:ada"]), if is_removal { "0" } else { "1" });
        proxy.set(Mood::Open);
        change.await.unwrap().unwrap();
        assert_eq!(server.calls("xadd"), before + 1, "once");
    }
}

/// A user who may call scripts no more stores without.
#[tokio::test]
async fn set_does_without_scripts_that_are_refused_later() {
    let server = Server::start();
    let cache = listening(&server).await;
    assert_eq!(server.cli(&["ACL", "SETUSER", "default", "-eval", "-evalsha"]), "OK");
    let mut monitor = server.monitor();
    for value in [2u32, 3] {
        cache.set("ada", value).await.unwrap();
    }
    let without = ["MULTI", "SET", "DEL", "EXEC", "XADD"];
    let asked = changes(&mut monitor, &server);
    assert!(asked.join(" ").ends_with(&[without, without].concat().join(" ")), "{asked:?}");
}

#[tokio::test]
async fn invalidate_is_one_command_and_one_message() {
    let server = Server::start();
    let cache = listening(&server).await;
    let mut monitor = server.monitor();
    cache.invalidate("ada").await.unwrap();
    assert_eq!(changes(&mut monitor, &server), ["UNLINK", "XADD"]);
}

const TASKS: usize = 64;
const EACH: usize = 16;

/// How many messages the stream holds.
fn messages(server: &Server) -> u64 {
    let script = "local count = 0 for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+')) do \
                  for at = 1, #entry[2], 2 do if entry[2][at] == 'm' then count = count + 1 end end end return count";
    server.cli(&["EVAL", script, "1", "users::bus"]).parse().unwrap()
}

/// Each of many tasks waits for its own change before it begins the next.
async fn by_many_tasks<F>(work: impl Fn(usize) -> F + Clone + Send + Sync + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    let task = move |task| {
        let work = work.clone();
        async move {
            for id in 0..EACH {
                work(task * EACH + id).await;
            }
        }
    };
    at_once(TASKS, task).await;
}

async fn set_by_many_tasks(cache: &Cache<Redis, Checked<Postcard>>) {
    let cache = cache.clone();
    by_many_tasks(move |id| {
        let cache = cache.clone();
        async move { cache.set(id, id).await.unwrap() }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sets_of_many_tasks_share_transactions_and_batches() {
    let server = Server::start();
    let cache = listening(&server).await;
    let names = ["set", "multi", "exec", "del", "xadd", "pexpire", "echo"];
    let calls = || names.map(|name| server.calls(name));
    let before = calls();
    set_by_many_tasks(&cache).await;
    let after = calls();
    let [set, multi, exec, del, xadd, pexpire, echo] = std::array::from_fn(|index| after[index] - before[index]);
    let count = (TASKS * EACH) as u64;
    assert_eq!((set, pexpire), (count, 0));
    // What travels alone is a script.
    assert!(multi == exec && exec <= del && del < count / 2, "{multi} {exec} {del}");
    assert!(multi < count / 2 && echo < count / 2, "{multi} transactions and {echo} echoes for {count} values");
    assert!(xadd < count / 2, "{xadd} entries for {count} messages");
    // Each once, those of the first set and its removal, and one more of a set whose script the server did not know.
    let messages = messages(&server);
    assert!((count + 2..=count + 3).contains(&messages), "{messages} messages for {count} values");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removals_of_many_tasks_share_commands() {
    let server = Server::start();
    let cache = listening(&server).await;
    set_by_many_tasks(&cache).await;
    let before = server.calls("unlink");
    by_many_tasks({
        let cache = cache.clone();
        move |id| {
            let cache = cache.clone();
            async move { cache.invalidate(id).await.unwrap() }
        }
    })
    .await;
    let (unlink, count) = (server.calls("unlink") - before, (TASKS * EACH) as u64);
    assert!((1..count / 2).contains(&unlink), "{unlink} commands for {count} keys");
    for id in 0..TASKS * EACH {
        assert_eq!(server.cli(&["EXISTS", &format!("users:{id}")]), "0", "{id}");
    }
}

/// However many messages a process appends, it reads them at a pace.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_messages_cost_a_few_reads_however_many_there_are() {
    let server = Server::start();
    let cache = listening(&server).await;
    let names = ["xread", "xrange", "xinfo|stream"];
    let calls = || names.map(|name| server.calls(name));
    let (before, begun) = (calls(), Instant::now());
    set_by_many_tasks(&cache).await;
    let rests = u64::try_from(begun.elapsed().as_millis() / 20).unwrap() + 1;
    let after = calls();
    let [xread, xrange, xinfo] = std::array::from_fn(|index| after[index] - before[index]);
    assert!(xread <= 2 * rests + 4 && xrange <= rests + 2, "{xread} and {xrange} reads in {rests} times 20 ms");
    assert!(xinfo <= begun.elapsed().as_secs() + 2, "{xinfo} questions about the stream");
    assert_eq!(cache.stats().gaps, 0);
}

/// What travels as one transaction ends the leases of all its keys.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sets_that_travel_together_end_every_lease() {
    let server = Server::start();
    let redis = patient(&server.url());
    let lease = |id| {
        let redis = redis.clone();
        async move { leased(&redis, &key(id), MINUTE).await.unwrap().expect("it is granted") }
    };
    let tokens = at_once(TASKS, lease).await;
    assert_eq!(server.cli(&["DBSIZE"]), TASKS.to_string());
    let set = |id| {
        let redis = redis.clone();
        async move { redis.set(&key(id), value_of(id), MINUTE).await.unwrap() }
    };
    at_once(TASKS, set).await;
    assert!(server.calls("multi") < TASKS as u64, "they travel together");
    for id in 0..TASKS {
        for token in &tokens {
            assert!(!redis.fill(&key(id), "old".into(), MINUTE, *token).await.unwrap(), "{id}");
        }
        assert_eq!(redis.get(&key(id)).await.unwrap(), Some(value_of(id)));
    }
    assert_eq!(server.cli(&["DBSIZE"]), TASKS.to_string(), "no lock is left");
}

/// A user who may not touch one of the keys that travel together is refused that one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_denied_fails_alone() {
    let server = Server::setup().user("ada", "on nopass ~users:* +@all").start();
    let redis = patient(&format!("redis://ada@{}", server.address()));
    let name = |id| Key::new(if id == 7 { "others" } else { "users" }, id).unwrap();
    for round in 0..4 {
        let change = |id: usize| {
            let redis = redis.clone();
            async move {
                if round % 2 == 0 {
                    redis.set(&name(id), value_of(id), MINUTE).await
                } else {
                    redis.remove(&name(id)).await
                }
            }
        };
        let all = async || tokio::time::timeout(PATIENCE, at_once(TASKS, change)).await.unwrap();
        let failed: Vec<_> = all().await.into_iter().filter_map(Result::err).map(|error| error.kind()).collect();
        assert_eq!(failed, [ErrorKind::Denied], "in round {round}");
        let left = if round % 2 == 0 { TASKS - 1 } else { 0 };
        assert_eq!(server.cli(&["DBSIZE"]), left.to_string());
    }
}

/// A server that is full refuses all that travels together, and each task is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_server_refuses_every_set_of_a_batch() {
    let server = Server::start();
    let redis = patient(&server.url());
    let set = |id| {
        let redis = redis.clone();
        async move { redis.set(&key(id), value_of(id), MINUTE).await }
    };
    redis.ping().await.unwrap();
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    let refused = at_once(TASKS, set).await;
    assert!(refused.iter().all(|result| result.as_ref().is_err_and(|error| error.kind() == ErrorKind::ReadOnly)));
    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    assert!(at_once(TASKS, set).await.iter().all(Result::is_ok));
    assert_eq!(server.cli(&["DBSIZE"]), TASKS.to_string());
}

/// Each mark says how long the stream is kept; messages need not, for an hour.
#[tokio::test]
async fn a_stream_outlives_its_last_message_by_days() {
    let server = Server::start();
    let cache = listening(&server).await;
    let left = || server.cli(&["PTTL", "users::bus"]).parse::<i64>().unwrap();
    let day = 24 * 60 * 60 * 1_000;
    assert!(left() > 6 * day, "{}", left());
    let before = server.calls("pexpire");
    for value in 0..100u32 {
        cache.set("ada", value).await.unwrap();
    }
    assert!(server.calls("pexpire") - before <= 1 && left() > 6 * day);

    // A stream that is lost is begun anew by a message, and is kept for as long once a reader has found that out.
    server.cli(&["DEL", "users::bus"]);
    cache.set("ada", 1u32).await.unwrap();
    eventually("the new stream has an end", async || left() > 6 * day).await;
}
