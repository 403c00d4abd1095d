//! The guard: the only way to a backend.
//!
//! Every operation passes the [`Executor`], which knows when to leave a backend alone; a value too large for one item is
//! split here, so that nothing above knows of breakers, timeouts or chunks.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;

use crate::backends::{Backend, Capabilities, Cursor, LeaseToken, Page, join};
use crate::bus::AnyBus;
use crate::chunks::{self, Manifest, Split};
use crate::clock::Clock;
use crate::config::Policy;
use crate::error::{Error, ErrorKind};
use crate::event::{BreakerState, Observers, Operation, Unreadable, Why};
use crate::frame;
use crate::key::Key;
use crate::ledger::{Forgotten, Order};

mod adaptive;
mod batch;
mod breaker;
mod bulkhead;
mod condition;
mod executor;
mod lease;
mod limits;
mod pace;
mod permits;
mod publisher;
mod pulse;
#[cfg(feature = "metrics")]
mod reading;
mod retry;
mod sizes;
mod throttle;
mod writes;

use self::condition::Conditions;
use self::executor::Executor;
pub(crate) use self::executor::WritePermit;
pub(crate) use self::lease::Unleased;
pub(crate) use self::limits::Filled;
use self::limits::{Answer, Attempt};
pub(crate) use self::publisher::BusPublisher;
pub(crate) use self::throttle::Throttle;

/// A backend behind its executor.
#[derive(Debug)]
pub(crate) struct Guard<B> {
    backend: B,
    capabilities: Capabilities,
    /// Whether the backend was found to have no leases, though it is made to.
    unleased: AtomicBool,
    /// Whether the backend was seen to note who waits for a lease.
    notes_waiters: AtomicBool,
    max_value_size: usize,
    max_chunk_size: usize,
    /// The way to each part of the backend.
    parts: Box<[Executor]>,
    observers: Observers,
}

impl<B: Backend> Guard<B> {
    pub(crate) fn new(
        backend: B,
        hint: Option<&'static str>,
        policy: &Policy,
        clock: Arc<dyn Clock>,
        observers: Observers,
    ) -> Self {
        let capabilities = backend.capabilities();
        let conditions = Conditions::of(capabilities, policy, clock);
        let part = |part| {
            let (conditions, told) = (Arc::clone(&conditions), Some(observers.clone()));
            Executor::new((capabilities.name, conditions, part), policy.max_value_size, hint, observers.clone(), told)
        };
        let parts = (0..capabilities.parts.max(1)).map(part).collect();
        let &Policy { max_value_size, max_chunk_size, .. } = policy;
        let [unleased, notes_waiters] = [false; 2].map(AtomicBool::new);
        Self { backend, capabilities, unleased, notes_waiters, max_value_size, max_chunk_size, parts, observers }
    }

    /// What the circuit breaker of each part of the backend is now, if there are any.
    pub(crate) fn breakers(&self) -> impl Iterator<Item = BreakerState> {
        self.parts.iter().filter_map(Executor::breaker)
    }

    /// What the backend can do. It has no leases any more once it said so of one that was asked for.
    pub(crate) fn capabilities(&self) -> Capabilities {
        self.capabilities.leases(self.capabilities.leases && !self.unleased.load(Relaxed))
    }

    /// Whether nothing may be stored under `key` at the moment, because its part of the backend refuses writes.
    pub(crate) fn refuses_writes(&self, key: &Key) -> bool {
        self.executor(key).refuses_writes()
    }

    /// Whether a flight of `key` may store. While its part of the backend refuses writes, one may from time to time.
    pub(crate) fn admits_write(&self, key: &Key) -> bool {
        self.executor(key).admits_write()
    }

    /// Whether the part of the backend that has `key` refused the last write.
    pub(crate) fn doubts_writes(&self, key: &Key) -> bool {
        self.executor(key).doubts_writes()
    }

    /// Reads the bytes under `key`, joined if they were split. Torn ones, and more than a value may have, are told of and
    /// are `None`.
    pub(crate) async fn get(&self, key: &Key) -> Result<Option<Bytes>, Error> {
        self.read(key, &Why::default()).await
    }

    /// Like [`get`](Guard::get), for a call that may have told of torn bytes before.
    pub(crate) async fn read(&self, key: &Key, why: &Why) -> Result<Option<Bytes>, Error> {
        let bytes = self.run(key, Operation::Get, || self.backend.get(key)).await?;
        self.whole(key, bytes, why).await
    }

    /// Like [`read`](Guard::read), and reads the item under `other` in the same round trip.
    pub(crate) async fn read_with(
        &self,
        key: &Key,
        other: &Key,
        why: &Why,
    ) -> Result<(Option<Bytes>, Option<Bytes>), Error> {
        let mut found = self.get_many(&[key.clone(), other.clone()]).await?;
        let (other, bytes) = (found.pop().flatten(), found.pop().flatten());
        Ok((self.whole(key, bytes, why).await?, other))
    }

    /// Reads the items under some keys, at least one.
    pub(crate) async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, Error> {
        let Some(first) = keys.first() else { return Ok(Vec::new()) };
        let found = self.run(first, Operation::Get, || self.backend.get_many(keys)).await?;
        one_each(found, keys)
    }

    /// Stores `value` for `ttl`, with a lease if it still holds. Returns whether it was stored.
    pub(crate) async fn put(
        &self,
        key: &Key,
        value: Bytes,
        ttl: Duration,
        lease: Option<LeaseToken>,
    ) -> Result<bool, Error> {
        self.store(false, key, value, ttl, lease).await.map(|filled| filled.stored)
    }

    /// Waits for the turn of a write of what was computed, of so many bytes: as long as it takes, unless a caller waits for
    /// it or too many bytes wait.
    pub(crate) async fn queue_write(
        &self,
        key: &Key,
        bytes: usize,
        is_waited_for: bool,
    ) -> Result<WritePermit<'_>, Error> {
        check_size(bytes, self.max_value_size)?;
        self.executor(key).queue_write(key, bytes, is_waited_for).await
    }

    /// Like [`put`](Guard::put), for a write whose turn it is.
    pub(crate) async fn put_next(
        &self,
        _permit: &WritePermit<'_>,
        key: &Key,
        value: Bytes,
        ttl: Duration,
        lease: Option<LeaseToken>,
    ) -> Result<Filled, Error> {
        self.store(true, key, value, ttl, lease).await
    }

    async fn store(
        &self,
        first: bool,
        key: &Key,
        value: Bytes,
        ttl: Duration,
        lease: Option<LeaseToken>,
    ) -> Result<Filled, Error> {
        check_size(value.len(), self.max_value_size)?;
        let size = self.max_chunk_size.min(self.capabilities.max_value);
        if value.len() <= size {
            return self.store_item(first, key, value, ttl, lease).await;
        }
        if !chunks::fit(size) {
            return Err(Error::new(
                ErrorKind::TooLarge,
                "the backend's items are too small to hold a part of this entry",
            ));
        }
        let split = Split::new(key, &value, size);
        let attempt = Attempt::CHUNKS.first(first);
        let mut batches = split.batches();
        loop {
            let few: Vec<_> = batches.by_ref().take(chunks::WIDTH).collect();
            if few.is_empty() {
                return self.store_item(first, key, split.manifest(), ttl, lease).await;
            }
            let store = |batch: Vec<(Key, Bytes)>| async move {
                self.executor(key).run(key, Operation::Set, attempt, || self.backend.set_many(batch.clone(), ttl)).await
            };
            join::all(few.into_iter().map(store)).await.into_iter().collect::<Result<(), Error>>()?;
        }
    }

    pub(crate) async fn remove(&self, key: &Key) -> Result<(), Error> {
        self.run(key, Operation::Remove, || self.backend.remove(key)).await
    }

    /// The part of the backend that has `key`, below the number of its parts whatever the backend says.
    pub(crate) fn part(&self, key: &Key) -> u16 {
        if self.parts.len() == 1 { 0 } else { self.backend.part(key) % self.capabilities.parts }
    }

    /// The way to the part of the backend that has `key`.
    fn executor(&self, key: &Key) -> &Executor {
        &self.parts[usize::from(self.part(key))]
    }

    /// Carries an order to forget out. Twice does no harm: each takes a time of its own.
    pub(crate) async fn forget(&self, order: &Order) -> Result<Forgotten, Error> {
        self.run(&order.head(), Operation::Set, || self.backend.forget(order)).await
    }

    /// Some keys of the backend whose text begins with `prefix`.
    pub(crate) async fn scan(&self, prefix: &str, after: Option<Cursor>, count: usize) -> Result<Page, Error> {
        self.backend.scan(prefix, after, count).await
    }

    /// How much longer the backend keeps the item under `key`.
    pub(crate) async fn ttl(&self, key: &Key) -> Result<Option<Duration>, Error> {
        self.executor(key).run(key, Operation::Get, Attempt::ABOUT, || self.backend.ttl(key)).await
    }

    pub(crate) async fn ping(&self, key: &Key) -> Result<(), Error> {
        self.executor(key).run(key, Operation::Ping, Attempt::ONCE, || self.backend.ping()).await
    }

    /// The bus of this name, if the backend has one.
    pub(crate) fn bus(&self, name: &Key) -> Option<AnyBus> {
        self.backend.bus(name)
    }

    async fn store_item(
        &self,
        first: bool,
        key: &Key,
        value: Bytes,
        ttl: Duration,
        lease: Option<LeaseToken>,
    ) -> Result<Filled, Error> {
        let bytes = value.len();
        let Some(token) = lease else {
            let set = || self.backend.set(key, value.clone(), ttl);
            let attempt = Attempt::AGAIN.first(first).write(bytes);
            let stored = self.executor(key).run(key, Operation::Set, attempt, set).await;
            return stored.map(|()| Filled { stored: true, is_awaited: false });
        };
        self.fill(Attempt::ONCE.first(first).write(bytes), key, value, ttl, token).await
    }

    /// What `bytes` stand for: themselves, or the chunks they name.
    pub(crate) async fn whole(&self, key: &Key, bytes: Option<Bytes>, why: &Why) -> Result<Option<Bytes>, Error> {
        let Some(bytes) = bytes else { return Ok(None) };
        match Manifest::read(&bytes, self.max_value_size) {
            None if bytes.len() > self.max_value_size.saturating_add(frame::EXPIRY) => {
                Ok(self.unreadable(key, Unreadable::TooLarge, why))
            }
            None => Ok(Some(bytes)),
            Some(Ok(manifest)) => self.join(key, manifest, why).await,
            Some(Err(reason)) => Ok(self.unreadable(key, reason, why)),
        }
    }

    /// Whether bytes stand for others, or are too long.
    fn is_judged_apart(&self, bytes: &[u8]) -> bool {
        bytes.len() > self.max_value_size || Manifest::read(bytes, self.max_value_size).is_some()
    }

    async fn join(&self, key: &Key, manifest: Manifest, why: &Why) -> Result<Option<Bytes>, Error> {
        let manifest = &manifest;
        let parts = || async move {
            let (mut batches, mut whole, mut indices) = (manifest.batches(key), Vec::new(), 0u32..);
            loop {
                let few: Vec<_> = batches.by_ref().take(chunks::WIDTH).collect();
                if few.is_empty() {
                    return Ok(manifest.is_complete(&whole).then(|| Bytes::from(whole)));
                }
                let found = join::all(few.iter().map(|keys| self.backend.get_many(keys))).await;
                for (found, keys) in found.into_iter().zip(&few) {
                    let found = match found {
                        Err(error) if error.kind() == ErrorKind::TooLarge => return Ok(None),
                        found => one_each(found?, keys)?,
                    };
                    for (chunk, index) in found.into_iter().zip(indices.by_ref()) {
                        if chunk.and_then(|chunk| manifest.add(index, &chunk, &mut whole)).is_none() {
                            return Ok(None);
                        }
                    }
                }
            }
        };
        // One operation, however many chunks: a caller waits for them all.
        let attempt = Attempt::CHUNKS.of_items(manifest.longest_chunk());
        let whole = self.executor(key).run(key, Operation::Get, attempt, parts).await?;
        Ok(whole.or_else(|| self.unreadable(key, Unreadable::Torn, why)))
    }

    fn unreadable(&self, key: &Key, reason: Unreadable, why: &Why) -> Option<Bytes> {
        why.unreadable(&self.observers, key, reason);
        None
    }

    async fn run<T, F>(&self, key: &Key, operation: Operation, work: impl Fn() -> F + Send) -> Result<T, Error>
    where
        T: Answer,
        F: Future<Output = Result<T, Error>> + Send,
    {
        self.executor(key).run(key, operation, Attempt::AGAIN, work).await
    }
}

/// What a backend answered a batch with, if that is a value for each key.
fn one_each(found: Vec<Option<Bytes>>, keys: &[Key]) -> Result<Vec<Option<Bytes>>, Error> {
    if found.len() == keys.len() {
        return Ok(found);
    }
    let message = format!("the backend answered a batch of {} keys with {} values", keys.len(), found.len());
    Err(Error::new(ErrorKind::Backend, message))
}

/// Refuses a value of `size` bytes that is larger than the setting `max_value_size`.
pub(crate) fn check_size(size: usize, max: usize) -> Result<(), Error> {
    if size <= max {
        return Ok(());
    }
    let message = format!("a value of {size} bytes is larger than the {max} bytes of the setting max_value_size");
    Err(Error::new(ErrorKind::TooLarge, message))
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::backends::Memory;
    use crate::clock::SystemClock;
    use crate::config::Settings;
    use crate::event::{Event, Observer};
    use crate::testing::{Chaos, Fault};

    #[derive(Debug, Default)]
    struct Warnings(Mutex<Vec<String>>);

    impl Observer for Warnings {
        fn event(&self, event: &Event<'_>) {
            if let Event::Warning { message } = event {
                self.0.lock().expect("no test panics under it").push((*message).to_owned());
            }
        }
    }

    #[tokio::test]
    async fn hint_is_told_once_and_only_if_the_backend_does_not_answer() {
        let chaos = Chaos::new(Memory::new(1 << 20));
        let (control, warnings) = (chaos.control(), Arc::new(Warnings::default()));
        let observers = Observers::new(None, vec![Arc::clone(&warnings) as _], false);
        let policy = Settings::default().decide(&mut Vec::new());
        let guard = Guard::new(chaos, Some("start a server"), &policy, Arc::new(SystemClock), observers);
        let said = || warnings.0.lock().expect("no test panics under it").clone();
        let key = Key::new("users", 1).expect("neither empty nor long");
        assert!(guard.get(&key).await.is_ok());
        assert!(said().is_empty());
        control.inject(Operation::Get, Fault::Refuse);
        for _ in 0..3 {
            assert!(guard.get(&key).await.is_err());
        }
        assert_eq!(said(), ["start a server"]);
    }
}
