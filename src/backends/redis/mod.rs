//! Redis: entries on a server that all processes share.
//!
//! One connection carries the commands of all tasks at once, so that concurrent operations travel in common writes.
//! Leases are locks beside the entries, under the names and in the form of the Python original.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use redis::Value;

use self::ceiling::{Ceiling, MAX_VALUE, fits};
use self::hub::Hub;
use self::request::{Attempt, Request, Single, SizeClass};
use self::router::Router;
use self::sizes::Sizes;
use self::streams::Streams;
use super::{Backend, Capabilities, Cursor, Lease, LeaseToken, Page, late};
use crate::bus::AnyBus;
use crate::clock::millis;
use crate::config::{LONGEST, RedisSettings};
use crate::error::{Error, ErrorKind};
use crate::finding::Finding;
use crate::key::Key;
use crate::ledger::{Forgotten, Order};

mod accepted;
mod append;
mod batch;
mod bus;
mod ceiling;
mod changes;
#[cfg(feature = "redis-cluster")]
mod cluster;
mod commands;
mod connect;
mod dedicated;
mod diagnose;
mod entries;
mod error;
mod followed;
mod followers;
#[cfg(any(test, fuzzing))]
pub(super) use self::protocol::fuzzing;
mod connection;
mod deadline;
mod echo;
mod hub;
mod joined;
mod lazy;
mod leases;
mod ledger;
mod listener;
mod logins;
mod open;
mod pipeline;
mod pool;
mod protocol;
mod pushes;
mod refusal;
mod request;
mod rights;
mod router;
mod scan;
mod scripts;
#[cfg(feature = "redis-sentinel")]
mod sentinel;
mod server;
mod sizes;
mod source;
mod spoiled;
mod stream;
mod streams;
#[cfg(feature = "redis-tls")]
mod tls;
mod tracked;
mod tracking;

/// Entries on a Redis server, in a cluster, or behind sentinels.
///
/// Clones share the connections. Nothing is connected to before the first operation, and a broken connection is
/// replaced without the caller's notice. It has leases and a bus, needs Redis 6.2 or newer, and works on several tokio
/// runtimes one after another.
///
/// Keys are stored as they are, values as raw bytes. The lease on a key is a lock of the name `<key>:lock`, in a cluster
/// `{<key>}:lock`; a user's key never has such a name. Who is refused it leaves a mark under `<key>:wait`, for as long as
/// the lease was to hold, by which its holder knows that others are to be told of the end. A long value stands under `<key>:fill` until the server has
/// decided on its lease, in the same step. A user of an ACL needs these keys and the commands of `@read`, `@write`,
/// `@transaction`, `@scripting` and `@connection`. A server or a proxy that refuses `MULTI` or `UNLINK` is used without;
/// one that refuses `EVAL` has no leases, which is told once. Without `INFO`, the bus takes each reconnect for a gap.
///
/// # What a server may say
/// Each connection is checked below the client. What is longer than the longest entry that the caches over this backend
/// take ([`max_value_size`](crate::CacheBuilder::max_value_size)), or than anything else has a reason to be, is refused when
/// it is declared; a message of the bus has at most 1 KiB. An answer of another kind than was asked for, one that no
/// command asked for, and a push on a connection that asked for none end the connection: what was in flight on it is asked once
/// more over another, and an [`Event::BackendFailed`](crate::Event::BackendFailed) tells why, once. Now and then, and with
/// every batch, an `ECHO` proves that answers still belong to their questions.
///
/// # Connections
/// At most [`RedisSettings::pool_size`] of them, in a cluster to each node: one that carries the commands of all tasks,
/// further ones while more than 512 commands are in flight on each, one for values of 64 KiB and more, so that small
/// ones do not wait behind them, nor are lost with a connection that the server ends over a value it finds too long, and
/// one that listens to the buses of all caches, at less than a command a second while nothing changes, and by a read
/// each 20 ms while much does, so that what this process itself publishes costs next to nothing; in a cluster,
/// one for each bus. What several tasks ask in the same turn of the scheduler travels together, outside of clusters reads
/// as one `MGET`, values as one transaction, removals as one `UNLINK`, and leases, and short values that fill by them, as a
/// script for each 32 keys. Behind them, in the same write, go the messages by which other processes hear of these changes,
/// up to 1 KiB of them in one entry of the stream.
///
/// # Clusters and sentinels
/// In a cluster each node has connections and failures of its own: the keys of a lost node fail, all others go on. A
/// cache judges each sixteenth of the slots by itself: it leaves alone those of which a node fails that serves any of
/// their slots, so the keys in at most two sixteenths are computed that another node would serve. A batch is one round trip to each node. What was forgotten by namespace and by tag is noted for each sixteenth of the
/// slots by itself, in one of these slots: a lost node takes its own entries along, and those of others only where they
/// share a sixteenth whose notes it had. Such an order is sixteen scripts in one round trip. It fails if any is not
/// carried out, and the cache gives that one again until it is. While keys are carried from node to node, an operation waits for them, for as
/// long as it may take at all. Any node answers a [`ping`](Backend::ping).
///
/// With sentinels, each connection is made to the master that they name at that time, if it says itself that it is one.
///
/// # Tracking
/// By its bus a cache hears of what caches of this library change. With [`RedisSettings::tracking`] it also hears, from
/// the server itself, of what any other program writes, removes, renames or lets expire below its namespace, of what
/// the server evicts, and of a flush: L1 forgets it some milliseconds later. The server tells of an expiry when it
/// finds it, which may be seconds late; L1 keeps to the entry's own end in any case. What an
/// [`expire`](crate::Cache::expire) left to fall back on is forgotten by L1, too, and read from the server.
///
/// That costs a connection for each cache, beside those of the pool and in place of its bus's; a tiny write and its
/// removal each second, or about four in [`max_staleness`](crate::CacheBuilder::max_staleness) if that is more; and a
/// second read of what this process itself writes, because the server does not tell whose change it was: with 200 keys
/// and one `set` for 100 reads, L1 answers 97 % of the reads in place of 99 %.
///
/// The tiny write must come back as word of a change. If it does not within [`RedisSettings::timeout`], no process is
/// heard any more: L1 believes nothing it holds, then and every second or so, until another connection is heard. So
/// what is changed unheard is served for about two seconds, and never for longer than `max_staleness`. A server older
/// than version 6, or an ACL without `+client|tracking`, is an [`Event::Warning`](crate::Event::Warning), once, and the
/// bus goes on alone. Sentinels are followed to their master; a cluster is refused.
///
/// # Errors
/// [`ErrorKind::Denied`] for a user or password that the server refuses and for missing permissions;
/// [`ErrorKind::ReadOnly`] for a write that the server refuses as it is at the moment (`OOM`, `READONLY`, `MISCONF`);
/// [`ErrorKind::Timeout`] for a server that does not answer within [`RedisSettings::timeout`], or does not accept a
/// connection within [`RedisSettings::connect_timeout`]; [`ErrorKind::TooLarge`] for a value above 512 MB, or
/// above what the server takes (`proto-max-bulk-len`, the limit of a proxy), which is then not sent again for 30 s.
///
/// # Cost
/// One round trip per operation. A value read is copied once, out of the connection's buffer.
///
/// # Examples
/// ```no_run
/// use std::time::Duration;
/// use cachekit::{Backend, Key, RedisSettings, backends::Redis};
///
/// # async fn run() -> Result<(), cachekit::Error> {
/// let mut settings = RedisSettings::new("redis://user:password@localhost:6379/0")?;
/// settings.timeout = Duration::from_millis(250);
/// let redis = Redis::new(settings)?;
///
/// let key = Key::new("users", 42)?;
/// redis.set(&key, "ada".into(), Duration::from_secs(60)).await?;
/// assert_eq!(redis.get(&key).await?.as_deref(), Some(&b"ada"[..]));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Redis {
    shared: Arc<Shared>,
}

struct Shared {
    /// What listens to the buses.
    hub: Hub,
    streams: Streams,
    router: Router,
    capabilities: Capabilities,
    sizes: Sizes,
    ceiling: Ceiling,
    /// Whether buses hear what the server says of changes.
    tracks: bool,
    /// Whether the server was found to refuse scripts.
    unscripted: AtomicBool,
    /// Whether it was found to take them.
    scripted: AtomicBool,
}

/// Connections carry many operations each: with 256 tasks and a place for 100, half the throughput is lost.
const CONCURRENCY: usize = 1_000;

impl Redis {
    /// The server, cluster or sentinels at `url`, with default settings. [`RedisUrl`](crate::RedisUrl) has the forms.
    ///
    /// # Errors
    /// As those of [`new`](Redis::new).
    pub fn from_url(url: &str) -> Result<Self, Error> {
        Self::new(RedisSettings::new(url)?)
    }

    /// The server, cluster or sentinels that `settings` name. Connects to nothing, and needs no runtime; with TLS, it
    /// reads the roots of the system and the CA bundle.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for settings out of their range and for a CA bundle that cannot be used;
    /// [`ErrorKind::Unsupported`] if the URL asks for what this build lacks, where the message names the feature, and
    /// for tracking in a cluster.
    pub fn new(settings: RedisSettings) -> Result<Self, Error> {
        settings.check()?;
        let timeout = settings.connect_timeout.saturating_add(settings.timeout);
        let capabilities = Capabilities::new("redis").leases(true).max_value(MAX_VALUE).timeout(timeout);
        let target = settings.target();
        let capabilities = capabilities.concurrency(CONCURRENCY).store((format!("{:?}", target.topology), target.db));
        let router = open::router(&settings)?;
        // In a cluster the bus is on another node than the ledger.
        let capabilities = capabilities.announces(router.is_single_node()).parts(router.parts());
        let tracks = settings.tracking;
        let (sizes, ceiling) = (Sizes::new(), Ceiling::new());
        let [unscripted, scripted] = [false; 2].map(AtomicBool::new);
        let shared = Shared {
            hub: Hub::default(),
            streams: Streams::default(),
            router,
            capabilities,
            sizes,
            ceiling,
            tracks,
            unscripted,
            scripted,
        };
        Ok(Self { shared: Arc::new(shared) })
    }
}

impl Shared {
    fn lock(&self, key: &Key) -> String {
        self.router.companion_key(key, "lock")
    }

    async fn one<S: Into<Single>>(
        &self,
        key: &Key,
        size: SizeClass,
        make: impl Fn(Attempt) -> S + Send + Sync,
    ) -> Result<Value, Error> {
        self.router.run(key, size, |attempt| Request::One(make(attempt).into())).await
    }

    async fn number<S: Into<Single>>(
        &self,
        key: &Key,
        size: SizeClass,
        make: impl Fn(Attempt) -> S + Send + Sync,
    ) -> Result<i64, Error> {
        match self.one(key, size, make).await? {
            Value::Int(number) => Ok(number),
            _ => Err(self.strange()),
        }
    }

    /// Sends what stores a value of so many bytes.
    async fn write(
        &self,
        key: &Key,
        bytes: usize,
        make: impl Fn(Attempt) -> Single + Send + Sync,
    ) -> Result<Value, Error> {
        self.ceiling.check(bytes, self.router.place())?;
        self.sizes.note(key, SizeClass::Small, bytes);
        let answer = self.router.run(key, SizeClass::of_request(bytes), |attempt| Request::One(make(attempt))).await;
        if answer.as_ref().is_err_and(|error| error.kind() == ErrorKind::TooLarge) {
            self.ceiling.lower(bytes);
        }
        answer
    }

    /// The caller takes entries as long as its cache says; one that is no cache, as long as a server can hold.
    fn accept(&self) {
        self.router.accepted().raise(late::accepted().unwrap_or(MAX_VALUE));
    }

    /// Whether the value under a key is long, asked over the connection that no read waits for.
    async fn is_long(&self, key: &Key) -> bool {
        self.length(key).await.is_ok_and(|length| SizeClass::of(length) == SizeClass::LargeAnswer)
    }

    async fn length(&self, key: &Key) -> Result<usize, Error> {
        let length = self.number(key, SizeClass::LargeRequest, |_| commands::on(b"STRLEN", key.as_str())).await?;
        usize::try_from(length).map_err(|_| self.strange())
    }

    /// Reads a key again that was read together with something too long, unless that is the key's own value.
    async fn read_if_short(&self, key: &Key, error: Error) -> Result<Value, Error> {
        self.check_length(key, error).await?;
        self.router.read(key, SizeClass::LargeAnswer).await
    }

    /// Whether a key can be read again whose value came together with something too long. The `error` of before if that
    /// is the key's own value.
    async fn check_length(&self, key: &Key, error: Error) -> Result<(), Error> {
        if self.length(key).await? <= self.router.accepted().get() {
            return Ok(());
        }
        // From now on no other waits for it.
        self.sizes.note(key, SizeClass::Small, SizeClass::LARGE);
        Err(error)
    }

    fn strange(&self) -> Error {
        error::strange(self.router.place())
    }

    fn value(&self, value: Value) -> Result<Option<Bytes>, Error> {
        match value {
            Value::BulkString(bytes) => Ok(Some(bytes.into())),
            Value::Nil => Ok(None),
            _ => Err(self.strange()),
        }
    }
}

/// Milliseconds, rounded up, at least one, and few enough for a date.
fn whole_millis(duration: Duration) -> u64 {
    millis(duration.saturating_add(Duration::from_nanos(999_999))).clamp(1, 1 << 61)
}

#[deny(clippy::missing_trait_methods)]
impl Backend for Redis {
    fn capabilities(&self) -> Capabilities {
        self.shared.capabilities
    }

    async fn get(&self, key: &Key) -> Result<Option<Bytes>, Error> {
        let shared = &*self.shared;
        shared.accept();
        let size = shared.sizes.expected(key);
        let answer = match late::or_ask(pin!(shared.router.read(key, size)), || shared.is_long(key)).await {
            // Others may have been asked for together with this one.
            Err(error) if error.kind() == ErrorKind::TooLarge => Box::pin(shared.read_if_short(key, error)).await?,
            answer => answer?,
        };
        let value = shared.value(answer)?;
        shared.sizes.note(key, size, value.as_ref().map_or(0, Bytes::len));
        Ok(value)
    }

    fn set(&self, key: &Key, value: Bytes, ttl: Duration) -> impl Future<Output = Result<(), Error>> + Send {
        self.shared.set(key, value, ttl)
    }

    async fn remove(&self, key: &Key) -> Result<(), Error> {
        self.shared.remove(key).await
    }

    async fn ttl(&self, key: &Key) -> Result<Option<Duration>, Error> {
        match self.shared.number(key, SizeClass::Small, |_| commands::on(b"PTTL", key.as_str())).await? {
            // There, and kept for ever: some other program stored it.
            -1 => Ok(Some(LONGEST)),
            left => Ok(u64::try_from(left).ok().map(Duration::from_millis)),
        }
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, Error> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let shared = &*self.shared;
        shared.accept();
        let size = keys.iter().map(|key| shared.sizes.expected(key)).max().unwrap_or(SizeClass::Small);
        let values = late::or_ask(pin!(shared.router.read_each(keys, size)), || shared.is_long(&keys[0])).await?;
        values.into_iter().map(|value| shared.value(value)).collect()
    }

    async fn set_many(&self, items: Vec<(Key, Bytes)>, ttl: Duration) -> Result<(), Error> {
        items.iter().try_for_each(|(_, value)| fits(value))?;
        if items.is_empty() {
            return Ok(());
        }
        let shared = &*self.shared;
        let ttl = whole_millis(ttl);
        let size = SizeClass::of_request(items.iter().map(|(_, value)| value.len()).sum());
        let locks: Vec<String> = items.iter().map(|(key, _)| shared.lock(key)).collect();
        if shared.router.is_single_node() {
            let all = |attempt| Request::One(commands::set_all(attempt, &items, &locks, ttl));
            return shared.router.run(&items[0].0, size, all).await.map(drop);
        }
        let keys: Vec<&Key> = items.iter().map(|(key, _)| key).collect();
        let each = |attempt, index: usize| commands::set(attempt, keys[index], &locks[index], &items[index].1, ttl);
        shared.router.run_each(&keys, size, each).await.map(drop)
    }

    async fn remove_many(&self, keys: &[Key]) -> Result<(), Error> {
        let shared = &*self.shared;
        match keys {
            [] => Ok(()),
            [first, ..] if shared.router.is_single_node() => {
                let locks: Vec<String> = keys.iter().map(|key| shared.lock(key)).collect();
                let names = || keys.iter().zip(&locks).flat_map(|(key, lock)| [key.as_str(), lock]);
                let make = |attempt| commands::on_all(commands::unlink(attempt), names());
                shared.number(first, SizeClass::Small, make).await.map(drop)
            }
            _ => {
                let make = |attempt, index: usize| commands::remove(attempt, &keys[index], &shared.lock(&keys[index]));
                let keys: Vec<&Key> = keys.iter().collect();
                shared.router.run_each(&keys, SizeClass::Small, make).await.map(drop)
            }
        }
    }

    fn part(&self, key: &Key) -> u16 {
        self.shared.router.part(key)
    }

    async fn forget(&self, order: &Order) -> Result<Forgotten, Error> {
        self.carry_out(order).await
    }

    async fn lease(&self, key: &Key, hold: Duration, token: LeaseToken, seen: Option<&Bytes>) -> Result<Lease, Error> {
        self.shared.lease(key, hold, token, seen).await
    }

    async fn renew(&self, key: &Key, hold: Duration, token: LeaseToken) -> Result<bool, Error> {
        self.shared.renew(key, hold, token).await
    }

    async fn fill(&self, key: &Key, value: Bytes, ttl: Duration, token: LeaseToken) -> Result<bool, Error> {
        self.shared.fill(key, value, ttl, token).await
    }

    async fn release(&self, key: &Key, token: LeaseToken) -> Result<(), Error> {
        self.shared.release(key, token).await
    }

    async fn ping(&self) -> Result<(), Error> {
        self.shared.router.ping().await
    }

    fn bus(&self, name: &Key) -> Option<AnyBus> {
        let (shared, name) = (Arc::clone(&self.shared), name.clone());
        Some(if self.shared.tracks {
            AnyBus::new(tracked::Tracked::new(shared, name))
        } else {
            AnyBus::new(bus::Stream::new(shared, name))
        })
    }

    fn address(&self) -> Option<String> {
        Some(self.shared.router.place().to_owned())
    }

    async fn diagnose(&self, probe: &Key) -> Vec<Finding> {
        self.shared.diagnose(probe).await
    }

    async fn scan(&self, prefix: &str, after: Option<Cursor>, count: usize) -> Result<Page, Error> {
        self.shared.scan(prefix, after, count).await
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("router", &self.shared.router).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_are_rounded_up_and_never_nothing() {
        for (nanos, millis) in [(0, 1), (1, 1), (1_000_000, 1), (1_000_001, 2), (1_499_999_999, 1_500)] {
            assert_eq!(whole_millis(Duration::from_nanos(nanos)), millis, "{nanos} ns");
        }
        assert_eq!(whole_millis(Duration::MAX), 1 << 61);
    }

    #[test]
    fn no_output_shows_the_password() {
        let redis = Redis::from_url("redis://ada:hunter2@h:7/3").unwrap();
        let shown = format!("{redis:?} {:?}", redis.capabilities());
        assert!(shown.contains("h:7") && !shown.contains("hunter2") && !shown.contains("ada"), "{shown}");
    }
}
