//! What processes tell one another by a bus.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cachekit::backends::{Memory, Redis};
use cachekit::codec::Postcard;
use cachekit::testing::ManualClock;
use cachekit::{
    AnyBus, Backend, Bus, Cache, CacheBuilder, Error, Event, Intent, Key, Observer, Origin, RedisSettings, Scope,
};

use super::shelf::Shelf;
use super::{entries, vector};
use crate::servers::{PATIENCE, Reply, Server, eventually};
use harness::support::{Slow, leased, settle};

/// What is heard from elsewhere.
#[derive(Debug, Default)]
struct Heard(Mutex<Vec<String>>);

impl Observer for Heard {
    fn event(&self, event: &Event<'_>) {
        let Event::Invalidated { scope, effect, origin: Origin::Elsewhere, .. } = event else { return };
        let what = match scope {
            Scope::Key(key) => key.as_str().to_owned(),
            Scope::Tag { fingerprint, .. } => format!("{fingerprint:016x}"),
            _ => "all".to_owned(),
        };
        self.0.lock().unwrap().push(format!("{what} {effect:?}"));
    }
}

type Users = Cache<Shelf, Postcard>;

struct Process {
    cache: Users,
    bus: AnyBus,
    heard: Arc<Heard>,
}

/// A process over so many parts of a backend. The last order in the first had the time 9, and the others have none.
fn process(parts: u16) -> Process {
    let (heard, shelf) = (Arc::new(Heard::default()), entries::shelf().of_parts(parts));
    let bus = Memory::new(1 << 20).bus(&Key::new("any", "bus").unwrap()).unwrap();
    let builder = CacheBuilder::new().intent(Intent::Test).namespace("users").backend(shelf).bus(bus.clone());
    let builder = builder.namespace_index(true).clock(Arc::new(ManualClock::new())).observer(Arc::clone(&heard) as _);
    let builder = builder.background(true).ttl(Duration::from_secs(60)).stale_if_error(Duration::from_secs(60));
    Process { cache: builder.build().unwrap(), bus, heard }
}

async fn says(name: &str, parts: u16, change: impl AsyncFnOnce(&Users) -> Result<(), Error>) {
    let process = process(parts);
    process.cache.set(42, 1u32).await.unwrap();
    let start = process.bus.receive(None, Duration::ZERO).await.unwrap().position;
    change(&process.cache).await.unwrap();
    let said = process.bus.receive(Some(&start), Duration::ZERO).await.unwrap().messages;
    assert_eq!(said.len(), 1, "{name}");
    vector(include_str!("messages.txt"), name).check(&said[0]);
}

async fn hears(name: &str, parts: u16, what: &[&str]) {
    let process = process(parts);
    process.cache.get::<u32>(1).await.unwrap();
    process.bus.publish(vector(include_str!("messages.txt"), name).bytes.into()).await.unwrap();
    eventually("it is heard", async || process.heard.0.lock().unwrap().len() == what.len()).await;
    assert_eq!(*process.heard.0.lock().unwrap(), what, "{name}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_said_and_heard_as_these_bytes() {
    says("key", 1, async |cache| cache.invalidate(42).await).await;
    hears("key", 1, &["users:42 Invalidated"]).await;
    says("expired key", 1, async |cache| cache.expire(42).await).await;
    hears("expired key", 1, &["users:42 Expired"]).await;
    says("everything", 1, async |cache| cache.invalidate_namespace().await).await;
    hears("everything", 1, &["all Invalidated"]).await;
    says("tags", 1, async |cache| cache.invalidate_tags(["eu", "uk"]).await).await;
    hears("tags", 1, &["d7b39d218ff2f1af Invalidated", "1f72901e78a60be3 Invalidated"]).await;
    says("everything expired", 1, async |cache| cache.expire_all().await).await;
    hears("everything expired", 1, &["all Expired"]).await;
    says("everything in two parts", 2, async |cache| cache.invalidate_namespace().await).await;
    hears("everything in two parts", 2, &["all Invalidated"]).await;
}

/// A process that computes says that its lease has ended if another one waits, and one that waits hears it.
#[tokio::test]
async fn end_of_a_lease_is_said_and_heard_as_these_bytes() {
    let (clock, key) = (ManualClock::new(), Key::new("users", 42).unwrap());
    let memory = Memory::with_clock(1 << 20, Arc::new(clock.clone()));
    let bus = memory.bus(&Key::new("any", "bus").unwrap()).unwrap();
    let builder = CacheBuilder::new().intent(Intent::Minimal).namespace("users").backend(memory.clone()).leases(true);
    let builder = builder.bus(bus.clone()).invalidation_enabled(true).clock(Arc::new(clock.clone()));
    let cache = builder.l1_enabled(false).build().unwrap();
    let ask = |slow: &Slow| {
        let (cache, slow) = (cache.clone(), slow.clone());
        tokio::spawn(async move { cache.get_or_compute(42, move || slow.run(Ok(1u32))).await.unwrap() })
    };
    let slow = Slow::new();
    let caller = ask(&slow);
    slow.wait_for_start().await;
    let start = bus.receive(None, Duration::ZERO).await.unwrap().position;
    assert_eq!(leased(&memory, &key, Duration::from_secs(9)).await.unwrap(), None);
    slow.finish(1);
    caller.await.unwrap();
    settle().await;
    let said = bus.receive(Some(&start), Duration::ZERO).await.unwrap().messages;
    assert_eq!(said.len(), 1);
    vector(include_str!("messages.txt"), "lease ended").check(&said[0]);

    memory.remove(&key).await.unwrap();
    let token = leased(&memory, &key, Duration::from_secs(9)).await.unwrap().unwrap();
    let caller = ask(&slow);
    settle().await;
    memory.release(&key, token).await.unwrap();
    settle().await;
    assert_eq!(slow.started(), 1, "it is to be told, or time to pass");
    bus.publish(vector(include_str!("messages.txt"), "lease ended").bytes.into()).await.unwrap();
    slow.wait_for_start().await;
    slow.finish(1);
    caller.await.unwrap();
}

/// The message in the last entry of the stream of a namespace.
fn last(server: &Server) -> Vec<u8> {
    let Reply::List(mut entries) = server.call(&["XREVRANGE", "users::bus", "+", "-", "COUNT", "1"]) else { panic!() };
    let Some(Reply::List(entry)) = entries.pop() else { panic!("the stream has an entry") };
    let Reply::List(fields) = &entry[1] else { panic!("an entry has fields") };
    assert_eq!(fields[0], Reply::Text(b"m".to_vec()), "the field of messages");
    let Reply::Text(message) = &fields[1] else { panic!("a field has a value") };
    message.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_stream_of_the_namespace_carries_the_same_messages() {
    let (server, heard) = (Server::start(), Arc::new(Heard::default()));
    let mut settings = RedisSettings::new(&server.url()).unwrap();
    (settings.timeout, settings.connect_timeout) = (PATIENCE, PATIENCE);
    server.call(&[b"SET", entries::HEAD.as_bytes(), &entries::file("head").bytes]);
    let builder =
        CacheBuilder::new().intent(Intent::Production).namespace("users").backend(Redis::new(settings).unwrap());
    let cache = builder.observer(Arc::clone(&heard) as _).build().unwrap();
    let file = |name| vector(include_str!("messages.txt"), name);

    cache.get::<u32>(1).await.unwrap();
    cache.invalidate(42).await.unwrap();
    file("key").check(&last(&server));
    cache.invalidate_tags(["eu", "uk"]).await.unwrap();
    file("tags").check(&last(&server));
    for (name, what) in [("key", "users:42 Invalidated"), ("everything", "all Invalidated")] {
        server.call(&[&b"XADD"[..], b"users::bus", b"*", b"m", &file(name).bytes]);
        eventually("it is heard", async || heard.0.lock().unwrap().last().is_some_and(|last| last == what)).await;
    }
}
