//! Memcached: entries on servers that all processes share.
//!
//! Each key is at one server, chosen as the Python original chooses, and a server that is lost takes only its own keys
//! along: each keeps the ledger of what was forgotten for them. Everything travels by the meta protocol; nothing a key
//! or a value holds can be taken for a command.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use memcache::exp::{Delete, Get, GetResult, Meta, Op, OpResult, Set};

use self::error::strange;
use self::fleet::{Fleet, Route, Sought};
use super::late::{self, LONG};
use super::{Backend, Capabilities, Cursor, Lease, LeaseToken, Page, cannot_list, forget_by_leases, join};
use crate::bus::AnyBus;
use crate::clock::{Clock, SystemClock};
use crate::config::{LONGEST, MemcachedSettings};
use crate::error::{Error, ErrorKind};
use crate::finding::Finding;
use crate::key::Key;
use crate::ledger::{Forgotten, Order};

mod batch;
mod connection;
mod diagnose;
mod error;
mod fleet;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod health;
mod lease;
mod life;
mod name;
mod pool;
mod rest;
mod ring;
mod server;

/// Entries on one or several memcached servers, 1.6 or newer.
///
/// Clones share the connections. Nothing is connected to before the first operation, and names are resolved then, and
/// anew after a failure. It has leases and no bus, and works on several tokio runtimes, with connections for each.
/// There is no TLS and no login. Leases need the ids of entries, so not a server started with `-C`.
///
/// Keys are stored as they are behind the prefix, values as raw bytes. What memcached cannot take, because it is longer
/// than 250 bytes or not visible ASCII, keeps a readable head and ends in `~~` and a hash. The lease on a key is a
/// placeholder under its name, or `<key>:lock` while it has a value.
///
/// # Times
/// Memcached counts whole seconds, by a clock that moves once a second: an entry lives as long as asked and up to two
/// seconds longer. Beyond 30 days the server is told a date, by the clock of this machine; 2038-01-19 is the last.
///
/// # Lost servers
/// A server that does not answer is left alone for a second: operations on its keys fail with
/// [`ErrorKind::Unavailable`], reads too, so that a cache computes, and does not take what is out of reach for absent.
/// An operation that its caller drops after 50 ms without an answer is a failure, too. After
/// [`MemcachedSettings::retry_attempts`] more failures its keys move to the others for a minute; then one operation
/// tries it again. Where no other server is left, it is tried every second.
///
/// What a server held before it was away is not believed when it is back, nor what a stand-in was told at an earlier
/// time, and is removed where it is found: others may have replaced or removed it elsewhere. This process knows by
/// itself when that was. Another one, which started later or was not cut off, can still read such an entry until its
/// TTL is over.
///
/// Each server keeps for its own keys what was forgotten by namespace and by tag. Such an order goes to all of them at
/// once, and leaves out those whose keys have moved to others; it fails if a server that still has its keys does not
/// take it, and the cache gives it again until it does.
///
/// # Errors
/// [`ErrorKind::Timeout`] for a server that does not answer within [`MemcachedSettings::timeout`], or does not accept a
/// connection within [`MemcachedSettings::connect_timeout`]; a change that was sent may then have been made or not.
/// [`ErrorKind::TooLarge`] for a value above [`MemcachedSettings::max_item_size`] less 512: it is not sent, since a server
/// that refuses a value drops the old one; and for an entry above it, or above a
/// cache's `max_value_size`, that another program stored: it is not read.
/// [`ErrorKind::Argument`] for a time of zero.
///
/// An answer that does not name the key and the number of its command is not believed: its connection is closed, and an
/// operation that does no harm twice is tried once more over a fresh one.
///
/// # Cost
/// One round trip per operation; of a lease that is granted on a key with a value, and of a `fill`, two or three. At most
/// [`MemcachedSettings::max_pool_size`] operations are under way at each server; others wait for one to end.
///
/// # Examples
/// ```no_run
/// use std::time::Duration;
/// use cachekit::{Backend, Key, MemcachedSettings, backends::Memcached};
///
/// # async fn run() -> Result<(), cachekit::Error> {
/// let mut settings = MemcachedSettings::new(["mc1:11211", "mc2:11211"]);
/// settings.timeout = Duration::from_millis(250);
/// let memcached = Memcached::new(settings)?;
///
/// let key = Key::new("users", 42)?;
/// memcached.set(&key, "ada".into(), Duration::from_secs(60)).await?;
/// assert_eq!(memcached.get(&key).await?.as_deref(), Some(&b"ada"[..]));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Memcached {
    shared: Arc<Shared>,
}

struct Shared {
    fleet: Fleet,
    clock: Arc<dyn Clock>,
    prefix: Box<str>,
    capabilities: Capabilities,
}

/// What an item takes beside its value: a name of 250 bytes and the server's own header.
const OVERHEAD: usize = 512;
/// The name of the entry that a server must take to show that it is back; no user's key is written so.
const PROBE: &str = "cachekit::probe";

impl Memcached {
    /// These servers, each `host:port` or `[v6]:port`, with default settings.
    ///
    /// # Errors
    /// As those of [`new`](Memcached::new).
    pub fn from_servers<S: Into<String>>(servers: impl IntoIterator<Item = S>) -> Result<Self, Error> {
        Self::new(MemcachedSettings::new(servers))
    }

    /// The servers that `settings` name. Connects to nothing, and needs no runtime.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for settings out of their range.
    pub fn new(settings: MemcachedSettings) -> Result<Self, Error> {
        Self::with_clock(settings, Arc::new(SystemClock))
    }

    /// Like [`new`](Memcached::new), on a clock of the caller's. Its ticks measure for how long a lost server is left
    /// alone, its wall time makes dates of long TTLs. Timeouts are in real time.
    ///
    /// # Errors
    /// As those of [`new`](Memcached::new).
    pub fn with_clock(settings: MemcachedSettings, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        settings.check()?;
        let probe = name::name(&settings.key_prefix, PROBE, "");
        let fleet = Fleet::new(&settings, probe, Arc::clone(&clock));
        // For a free connection, to connect, and for the answer.
        let timeout = settings.connect_timeout.saturating_add(settings.timeout.saturating_mul(2));
        let capabilities = Capabilities::new("memcached").leases(true).isolates(true).timeout(timeout);
        let capabilities = capabilities.parts(settings.addresses().len().clamp(1, 1 << 12) as u16);
        let capabilities = capabilities.max_value(settings.max_item_size - OVERHEAD);
        let capabilities = capabilities.store((settings.addresses(), &settings.key_prefix));
        Ok(Self { shared: Arc::new(Shared { fleet, clock, prefix: settings.key_prefix.into(), capabilities }) })
    }
}

impl Shared {
    fn name(&self, key: &Key) -> String {
        name::name(&self.prefix, key.as_str(), "")
    }

    fn lock(&self, key: &Key) -> String {
        name::name(&self.prefix, key.as_str(), ":lock")
    }

    fn ttl(&self, ttl: Duration) -> Result<u32, Error> {
        life::wire(ttl, self.clock.wall())
    }

    fn fits(&self, value: &Bytes) -> Result<(), Error> {
        let (length, limit) = (value.len(), self.capabilities.max_value);
        if length <= limit {
            return Ok(());
        }
        let message = format!("a value of {length} bytes does not fit: these memcached servers take up to {limit}");
        Err(Error::new(ErrorKind::TooLarge, message))
    }

    /// The server that has `key` now.
    fn part(&self, key: &Key) -> u16 {
        let name = self.name(key);
        self.fleet.locate(sought(key, &name)).0 as u16
    }

    /// What a read found, unless it is nothing, a placeholder, or not to be believed; the last is removed.
    async fn sift(&self, route: &Route<'_>, name: &str, found: GetResult) -> Result<Option<GetResult>, Error> {
        if !found.hit() || lease::is_placeholder(&found) {
            return Ok(None);
        }
        if route.believes(found.item.cas).await? {
            return Ok(Some(found));
        }
        if let Some(id) = found.item.cas {
            // A process that cannot remove it does not believe it either.
            let _ = route.run(|| Delete::new(name).compare_cas(id)).await;
        }
        Ok(None)
    }

    /// Whether the value under a key is long, asked over a free connection. Without one it is the other operations that
    /// are waited for, and a question would only be one more.
    async fn is_long(&self, key: &Key, route: &Route<'_>) -> bool {
        if !route.has_room() {
            return false;
        }
        let found = self.look(key, Meta::NONE.cas().size()).await.ok().flatten();
        found.and_then(|(.., found)| found.item.size).is_some_and(|size| size >= LONG as u64)
    }

    /// What is known of an entry, without its value.
    async fn look(&self, key: &Key, meta: Meta) -> Result<Option<(Route<'_>, String, GetResult)>, Error> {
        let name = self.name(key);
        let route = self.fleet.route(sought(key, &name)).await?;
        let found = route.run(|| Get::new(&name).without_value().no_lru_bump().meta(meta)).await?;
        Ok(self.sift(&route, &name, found).await?.map(|found| (route, name, found)))
    }
}

/// What the server of a key of this name is sought for.
fn sought<'a>(key: &Key, name: &'a str) -> Sought<'a> {
    key.ledger_part().map_or(Sought::Name(name), Sought::Part)
}

/// Stores a value and ends the lease, in this order.
fn set(name: &str, lock: &str, value: &Bytes, ttl: u32) -> Vec<Op> {
    vec![Set::new(name, value).ttl_raw(ttl).into(), Delete::new(lock).into()]
}

/// Forgets a key and ends the lease; the module of leases says why so.
fn remove(name: &str, lock: &str) -> Vec<Op> {
    vec![Delete::new(name).into(), Delete::new(lock).into(), Delete::new(name).into()]
}

/// The answers to [`set`]: an unconditional one is always carried out.
fn is_stored(answers: &[OpResult]) -> bool {
    matches!(answers.first(), Some(OpResult::Mutation(set)) if set.applied())
}

#[deny(clippy::missing_trait_methods)]
impl Backend for Memcached {
    fn capabilities(&self) -> Capabilities {
        self.shared.capabilities
    }

    async fn get(&self, key: &Key) -> Result<Option<Bytes>, Error> {
        let shared = &*self.shared;
        let name = shared.name(key);
        let route = shared.fleet.route(sought(key, &name)).await?;
        let found = pin!(route.run(|| Get::new(&name).meta(Meta::NONE.cas())));
        let found = late::or_ask(found, || shared.is_long(key, &route)).await?;
        Ok(shared.sift(&route, &name, found).await?.and_then(|found| found.value).map(Bytes::from))
    }

    async fn set(&self, key: &Key, value: Bytes, ttl: Duration) -> Result<(), Error> {
        let shared = &*self.shared;
        shared.fits(&value)?;
        let (name, lock, ttl) = (shared.name(key), shared.lock(key), shared.ttl(ttl)?);
        let route = shared.fleet.route(sought(key, &name)).await?;
        let answers = route.run_all(|| set(&name, &lock, &value, ttl)).await?;
        if is_stored(&answers) { Ok(()) } else { Err(strange(route.place())) }
    }

    async fn remove(&self, key: &Key) -> Result<(), Error> {
        let (name, lock) = (self.shared.name(key), self.shared.lock(key));
        let route = self.shared.fleet.route(sought(key, &name)).await?;
        route.run_all(|| remove(&name, &lock)).await.map(drop)
    }

    async fn ttl(&self, key: &Key) -> Result<Option<Duration>, Error> {
        let found = self.shared.look(key, Meta::NONE.cas().ttl()).await?;
        Ok(found.map(|(.., found)| life::left(found.item.ttl.unwrap_or(-1), LONGEST)))
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, Error> {
        let shared = &*self.shared;
        let names: Vec<String> = keys.iter().map(|key| shared.name(key)).collect();
        let shares = shared.shares(&keys.iter().collect::<Vec<_>>(), &names).await?;
        let make = |position: usize| vec![Get::new(&names[position]).meta(Meta::NONE.cas()).into()];
        let answers = shared.run_shares(&shares, make).await?;
        let mut values = vec![None; keys.len()];
        for (share, answers) in shares.iter().zip(answers) {
            for ((position, route), answer) in share.keys.iter().zip(answers) {
                let OpResult::Get(answer) = answer else { return Err(strange(route.place())) };
                let found = shared.sift(route, &names[*position], answer).await?;
                values[*position] = found.and_then(|found| found.value).map(Bytes::from);
            }
        }
        Ok(values)
    }

    async fn set_many(&self, items: Vec<(Key, Bytes)>, ttl: Duration) -> Result<(), Error> {
        let shared = &*self.shared;
        items.iter().try_for_each(|(_, value)| shared.fits(value))?;
        let ttl = shared.ttl(ttl)?;
        let names: Vec<String> = items.iter().map(|(key, _)| shared.name(key)).collect();
        let locks: Vec<String> = items.iter().map(|(key, _)| shared.lock(key)).collect();
        let shares = shared.shares(&items.iter().map(|(key, _)| key).collect::<Vec<_>>(), &names).await?;
        let make = |position: usize| set(&names[position], &locks[position], &items[position].1, ttl);
        let answers = shared.run_shares(&shares, make).await?;
        for (share, answers) in shares.iter().zip(answers) {
            for ((_, route), answers) in share.keys.iter().zip(answers.chunks(2)) {
                if !is_stored(answers) {
                    return Err(strange(route.place()));
                }
            }
        }
        Ok(())
    }

    async fn remove_many(&self, keys: &[Key]) -> Result<(), Error> {
        let shared = &*self.shared;
        let names: Vec<String> = keys.iter().map(|key| shared.name(key)).collect();
        let shares = shared.shares(&keys.iter().collect::<Vec<_>>(), &names).await?;
        let make = |position: usize| remove(&names[position], &shared.lock(&keys[position]));
        shared.run_shares(&shares, make).await.map(drop)
    }

    fn part(&self, key: &Key) -> u16 {
        self.shared.part(key)
    }

    async fn forget(&self, order: &Order) -> Result<Forgotten, Error> {
        if self.shared.fleet.is_replaced(order.part()) {
            Ok(Forgotten::nowhere())
        } else {
            forget_by_leases(self, order).await
        }
    }

    async fn lease(&self, key: &Key, hold: Duration, token: LeaseToken, seen: Option<&Bytes>) -> Result<Lease, Error> {
        self.shared.lease(key, hold, token, seen).await
    }

    async fn renew(&self, key: &Key, hold: Duration, token: LeaseToken) -> Result<bool, Error> {
        self.shared.renew(key, hold, token).await
    }

    async fn fill(&self, key: &Key, value: Bytes, ttl: Duration, token: LeaseToken) -> Result<bool, Error> {
        self.shared.fits(&value)?;
        self.shared.fill(key, &value, ttl, token).await
    }

    async fn release(&self, key: &Key, token: LeaseToken) -> Result<(), Error> {
        self.shared.release(key, token).await
    }

    /// Succeeds if any server answers.
    async fn ping(&self) -> Result<(), Error> {
        let answers = join::all(self.shared.fleet.pings()).await;
        let mut failure = None;
        for answer in answers {
            match answer {
                Ok(()) => return Ok(()),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(()), Err)
    }

    fn bus(&self, _: &Key) -> Option<AnyBus> {
        None
    }

    fn address(&self) -> Option<String> {
        Some(self.shared.fleet.servers().map(server::Server::place).collect::<Vec<_>>().join(", "))
    }

    async fn diagnose(&self, _: &Key) -> Vec<Finding> {
        let largest = self.shared.capabilities.max_value + OVERHEAD;
        let servers = self.shared.fleet.servers().zip(self.shared.fleet.pings());
        let all = servers.map(|(server, ping)| diagnose::server(server.place(), largest, ping));
        join::all(all).await.concat()
    }

    async fn scan(&self, _: &str, _: Option<Cursor>, _: usize) -> Result<Page, Error> {
        Err(cannot_list("memcached"))
    }
}

impl fmt::Debug for Memcached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places: Vec<&str> = self.shared.fleet.servers().map(server::Server::place).collect();
        f.debug_struct("Memcached").field("servers", &places).finish_non_exhaustive()
    }
}
