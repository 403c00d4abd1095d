//! Memory: entries in this process, bounded.
//!
//! For tests, and for programs of one process that want the second tier's semantics without a server.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use lru::LruCache;

use self::bus::{Logs, MemoryBus};
use super::{Backend, Capabilities, Cursor, Lease, LeaseToken, Page, longest_lease, waiting};
use crate::bus::AnyBus;
use crate::clock::{Clock, SystemClock, millis};
use crate::config::LONGEST;
use crate::error::{Error, ErrorKind};
use crate::finding::Finding;
use crate::key::Key;
use crate::ledger::{Forgotten, Order};

mod bus;

/// Entries in the memory of this process, least recently used ones removed first.
///
/// Clones share the entries, so two caches over clones of one `Memory` behave as two processes over one server. It has
/// leases, at most 65,536 at once. An entry weighs its value, its key and 128 bytes.
///
/// Its buses are in this process too, and outside the bound in bytes. A name keeps the last 10,000 messages; of more
/// than 1,024 names the least recently used ones are forgotten, which those who listen hear of as a gap. A `receive`
/// waits for at most 500 ms of the clock.
///
/// # Errors
/// [`ErrorKind::TooLarge`] for a value of more than `max_bytes` less 340, and for a message of more than 1,024 bytes.
///
/// # Examples
/// ```
/// use cachekit::{Backend, Key, backends::Memory};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let memory = Memory::new(64 << 20);
/// let key = Key::new("users", 42)?;
/// memory.set(&key, "ada".into(), std::time::Duration::from_secs(60)).await?;
/// assert_eq!(memory.get(&key).await?.as_deref(), Some(&b"ada"[..]));
/// # Ok::<(), cachekit::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Memory {
    max_bytes: usize,
    clock: Arc<dyn Clock>,
    shelves: Arc<Mutex<Shelves>>,
    logs: Arc<Mutex<Logs>>,
}

struct Shelves {
    items: LruCache<Key, Item>,
    leases: LruCache<Key, Out>,
    bytes: usize,
}

struct Item {
    value: Bytes,
    expires: u64,
}

/// A lease that is out.
struct Out {
    token: LeaseToken,
    ends: u64,
    /// Whether others were refused it.
    is_awaited: bool,
}

const OVERHEAD: usize = 128;
/// The room for what a reserved name adds to a key.
const RESERVED: usize = 48;
const MAX_LEASES: usize = 65_536;

impl Memory {
    /// An empty store that keeps at most `max_bytes`.
    pub fn new(max_bytes: usize) -> Self {
        Self::with_clock(max_bytes, Arc::new(SystemClock))
    }

    /// Like [`new`](Memory::new), on a clock of the caller's. Its ticks end entries and leases, and a
    /// `receive` sleeps on it.
    pub fn with_clock(max_bytes: usize, clock: Arc<dyn Clock>) -> Self {
        let shelves = Shelves { items: LruCache::unbounded(), leases: LruCache::unbounded(), bytes: 0 };
        Self { max_bytes, clock, shelves: Arc::new(Mutex::new(shelves)), logs: Arc::new(Mutex::new(Logs::new())) }
    }

    /// How many entries are held, expired ones not yet removed included.
    pub fn len(&self) -> usize {
        self.lock().items.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops the entry of a key for want of room. A lease on it stays.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn evict(&self, key: &Key) {
        self.lock().forget(key);
    }

    /// The same for every key, so that chunks of this size fit under the longest reserved name.
    fn max_value(&self) -> usize {
        self.max_bytes.saturating_sub(Key::MAX_LEN + RESERVED + OVERHEAD)
    }

    fn lock(&self) -> MutexGuard<'_, Shelves> {
        // Nothing between lock and unlock can panic half way through a change.
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, shelves: &mut Shelves, key: &Key, value: Bytes, ttl: Duration) -> Result<(), Error> {
        let (weight, length, limit) = (weight(key, &value), value.len(), self.max_value());
        if length > limit || weight > self.max_bytes {
            let message = format!("a value of {length} bytes does not fit: the memory backend takes up to {limit}");
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        shelves.forget(key);
        while shelves.bytes + weight > self.max_bytes {
            let Some((key, item)) = shelves.items.pop_lru() else { break };
            shelves.bytes -= self::weight(&key, &item.value);
        }
        let expires = self.clock.ticks().saturating_add(whole_millis(ttl));
        shelves.bytes += weight;
        shelves.items.put(key.clone(), Item { value, expires });
        Ok(())
    }
}

impl Shelves {
    /// The item of a key, which is forgotten if it has expired.
    fn live(&mut self, key: &Key, now: u64) -> Option<&mut Item> {
        if self.items.peek(key).is_some_and(|item| now >= item.expires) {
            self.forget(key);
        }
        self.items.get_mut(key)
    }

    /// Ends a lease for its holder, who hears whether others wait for it.
    fn end(&mut self, key: &Key) {
        if self.leases.pop(key).is_some_and(|out| out.is_awaited) {
            waiting::note();
        }
    }

    fn forget(&mut self, key: &Key) {
        if let Some(item) = self.items.pop(key) {
            self.bytes -= weight(key, &item.value);
        }
    }
}

fn weight(key: &Key, value: &Bytes) -> usize {
    key.as_str().len() + value.len() + OVERHEAD
}

/// Milliseconds, rounded up.
fn whole_millis(duration: Duration) -> u64 {
    millis(duration.saturating_add(Duration::from_nanos(999_999)))
}

#[deny(clippy::missing_trait_methods)]
impl Backend for Memory {
    fn capabilities(&self) -> Capabilities {
        let store = Arc::as_ptr(&self.shelves).addr();
        Capabilities::new("memory").leases(true).announces(true).max_value(self.max_value()).store(store)
    }

    async fn get(&self, key: &Key) -> Result<Option<Bytes>, Error> {
        let now = self.clock.ticks();
        Ok(self.lock().live(key, now).map(|item| item.value.clone()))
    }

    async fn set(&self, key: &Key, value: Bytes, ttl: Duration) -> Result<(), Error> {
        let mut shelves = self.lock();
        shelves.leases.pop(key);
        self.put(&mut shelves, key, value, ttl)
    }

    async fn remove(&self, key: &Key) -> Result<(), Error> {
        let mut shelves = self.lock();
        shelves.leases.pop(key);
        shelves.forget(key);
        Ok(())
    }

    async fn ttl(&self, key: &Key) -> Result<Option<Duration>, Error> {
        let now = self.clock.ticks();
        Ok(self.lock().live(key, now).map(|item| Duration::from_millis(item.expires - now)))
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, Error> {
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            values.push(self.get(key).await?);
        }
        Ok(values)
    }

    async fn set_many(&self, items: Vec<(Key, Bytes)>, ttl: Duration) -> Result<(), Error> {
        for (key, value) in items {
            self.set(&key, value, ttl).await?;
        }
        Ok(())
    }

    async fn remove_many(&self, keys: &[Key]) -> Result<(), Error> {
        for key in keys {
            self.remove(key).await?;
        }
        Ok(())
    }

    fn part(&self, _: &Key) -> u16 {
        0
    }

    async fn forget(&self, order: &Order) -> Result<Forgotten, Error> {
        let now = self.clock.ticks();
        let mut shelves = self.lock();
        let found = |key: &Key| shelves.live(key, now).map(|item| item.value.clone());
        let (changes, forgotten) = order.carry_out(&order.keys().iter().map(found).collect::<Vec<_>>());
        for (key, bytes) in changes {
            self.put(&mut shelves, &key, bytes, LONGEST)?;
        }
        // Before another order can be carried out, so that the bus tells of them in their order.
        Ok(match order.message_of(&forgotten) {
            Some((bus, message)) => {
                MemoryBus::new(bus, Arc::clone(&self.logs), Arc::clone(&self.clock)).append(message);
                forgotten.announced()
            }
            None => forgotten,
        })
    }

    async fn lease(&self, key: &Key, hold: Duration, token: LeaseToken, seen: Option<&Bytes>) -> Result<Lease, Error> {
        let now = self.clock.ticks();
        let mut shelves = self.lock();
        if let Some(item) = shelves.live(key, now)
            && Lease::is_news(&item.value, seen)
        {
            return Ok(Lease::Found(item.value.clone()));
        }
        let latest = now.saturating_add(millis(longest_lease(hold)));
        let is_held = |out: &&mut Out| out.token != token && now < out.ends && out.ends <= latest;
        if let Some(out) = shelves.leases.peek_mut(key).filter(is_held) {
            out.is_awaited = true;
            waiting::note();
            return Ok(Lease::Held);
        }
        if shelves.leases.len() >= MAX_LEASES {
            shelves.leases.pop_lru();
        }
        let is_awaited = shelves.leases.peek(key).is_some_and(|out| out.token == token && out.is_awaited);
        shelves.leases.put(key.clone(), Out { token, ends: now.saturating_add(whole_millis(hold)), is_awaited });
        Ok(Lease::Granted)
    }

    async fn renew(&self, key: &Key, hold: Duration, token: LeaseToken) -> Result<bool, Error> {
        let now = self.clock.ticks();
        let mut shelves = self.lock();
        let lease = shelves.leases.get_mut(key).filter(|out| out.token == token && now < out.ends);
        Ok(lease.map(|out| out.ends = now.saturating_add(whole_millis(hold))).is_some())
    }

    async fn fill(&self, key: &Key, value: Bytes, ttl: Duration, token: LeaseToken) -> Result<bool, Error> {
        let now = self.clock.ticks();
        let mut shelves = self.lock();
        if !shelves.leases.peek(key).is_some_and(|out| out.token == token && now < out.ends) {
            return Ok(false);
        }
        shelves.end(key);
        self.put(&mut shelves, key, value, ttl)?;
        Ok(true)
    }

    async fn release(&self, key: &Key, token: LeaseToken) -> Result<(), Error> {
        let mut shelves = self.lock();
        if shelves.leases.peek(key).is_some_and(|out| out.token == token) {
            shelves.end(key);
        }
        Ok(())
    }

    async fn ping(&self) -> Result<(), Error> {
        Ok(())
    }

    fn bus(&self, name: &Key) -> Option<AnyBus> {
        Some(AnyBus::new(MemoryBus::new(name.clone(), Arc::clone(&self.logs), Arc::clone(&self.clock))))
    }

    fn address(&self) -> Option<String> {
        None
    }

    async fn diagnose(&self, _: &Key) -> Vec<Finding> {
        let found = format!("{} items of this process alone, and room for {} bytes", self.len(), self.max_bytes);
        vec![Finding::note(found)]
    }

    async fn scan(&self, prefix: &str, after: Option<Cursor>, count: usize) -> Result<Page, Error> {
        let now = self.clock.ticks();
        let shelves = self.lock();
        let living = shelves.items.iter().filter(|(key, item)| now < item.expires && key.as_str().starts_with(prefix));
        let mut keys: Vec<Key> = living.map(|(key, _)| key.clone()).collect();
        keys.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        let begin = after.map_or(0, |after| usize::try_from(after.as_u128()).unwrap_or(usize::MAX)).min(keys.len());
        let end = begin.saturating_add(count.max(1)).min(keys.len());
        let next = (end < keys.len()).then(|| Cursor::new(end as u128));
        Ok(Page::new(keys.drain(begin..end).collect(), next))
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("max_bytes", &self.max_bytes).field("len", &self.len()).finish_non_exhaustive()
    }
}
