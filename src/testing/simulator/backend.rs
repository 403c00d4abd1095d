//! The way of one process to the server of a simulation.
//!
//! A [`Memory`] behind it does the work; this takes its time, and meets the troubles of the moment.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;

use super::bus::SimulatedBus;
use super::faults::{Fate, Kind, refused, unanswered};
use super::world::{World, turns};
use crate::backends::{Backend, Capabilities, Cursor, Lease, LeaseToken, Memory, Page};
use crate::bus::AnyBus;
use crate::error::{Error, ErrorKind};
use crate::finding::Finding;
use crate::key::Key;
use crate::ledger::{Forgotten, Order};
use crate::message;

/// The backend of one cache of a [`Simulation`](super::Simulation).
///
/// All of them lead to one [`Memory`]. Wrap it, by [`Simulation::run_over`](super::Simulation::run_over), to see what a
/// backend that breaks its contract does to the caches.
#[derive(Clone)]
pub struct SimulatedBackend {
    pub(super) world: Arc<World>,
    /// The process whose way this is.
    pub(super) slot: usize,
    /// Its cache, by the order in which they were built.
    pub(super) cache: usize,
    /// Who its cache is in messages, once it has sent one.
    pub(super) source: Arc<OnceLock<u64>>,
}

impl SimulatedBackend {
    /// Does `work` when the time has come for it, unless the moment's trouble says otherwise. What it stored may be gone
    /// at once.
    async fn visit<T, F>(&self, way: Way<'_>, work: impl FnOnce(Memory) -> F + Send) -> Result<T, Error>
    where
        T: Send,
        F: Future<Output = Result<T, Error>> + Send,
    {
        let visit = self.world.visit(self.slot, way.kind());
        turns(visit.before).await;
        match visit.fate {
            Fate::Refused => return Err(refused()),
            Fate::ReadOnly => return Err(read_only()),
            Fate::Waits(duration) => self.world.sleep(duration).await,
            _ => {}
        }
        let memory = self.world.memory();
        let answer = work(memory.clone()).await;
        if let (Fate::Evicted, Way::Store(key)) = (visit.fate, way) {
            memory.evict(key);
        }
        turns(visit.after).await;
        if visit.fate == Fate::FailsAfter { Err(unanswered()) } else { answer }
    }
}

/// What an operation does to entries.
#[derive(Clone, Copy)]
enum Way<'a> {
    Read,
    /// Stores a value under this key.
    Store(&'a Key),
    Lease,
    /// Any other write.
    Write,
}

impl Way<'_> {
    fn kind(self) -> Kind {
        match self {
            Self::Read => Kind::Other,
            Self::Store(_) => Kind::Store,
            Self::Lease => Kind::Lease,
            Self::Write => Kind::Write,
        }
    }
}

fn read_only() -> Error {
    Error::new(ErrorKind::ReadOnly, "simulation: writes are refused")
}

#[deny(clippy::missing_trait_methods)]
impl Backend for SimulatedBackend {
    fn capabilities(&self) -> Capabilities {
        // Each process finds out for itself what becomes of its operations.
        Capabilities { store: None, ..self.world.memory().capabilities() }
    }

    async fn get(&self, key: &Key) -> Result<Option<Bytes>, Error> {
        self.visit(Way::Read, |memory| async move { memory.get(key).await }).await
    }

    async fn set(&self, key: &Key, value: Bytes, ttl: Duration) -> Result<(), Error> {
        self.visit(Way::Store(key), |memory| async move { memory.set(key, value, ttl).await }).await
    }

    async fn remove(&self, key: &Key) -> Result<(), Error> {
        self.visit(Way::Write, |memory| async move { memory.remove(key).await }).await
    }

    async fn ttl(&self, key: &Key) -> Result<Option<Duration>, Error> {
        self.visit(Way::Read, |memory| async move { memory.ttl(key).await }).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, Error> {
        self.visit(Way::Read, |memory| async move { memory.get_many(keys).await }).await
    }

    async fn set_many(&self, items: Vec<(Key, Bytes)>, ttl: Duration) -> Result<(), Error> {
        self.visit(Way::Write, |memory| async move { memory.set_many(items, ttl).await }).await
    }

    async fn remove_many(&self, keys: &[Key]) -> Result<(), Error> {
        self.visit(Way::Write, |memory| async move { memory.remove_many(keys).await }).await
    }

    fn part(&self, key: &Key) -> u16 {
        self.world.memory().part(key)
    }

    async fn forget(&self, order: &Order) -> Result<Forgotten, Error> {
        if let Some(message) = order.announcement.as_ref().map(|announcement| &announcement.message) {
            self.source.get_or_init(|| message::source(message));
        }
        self.visit(Way::Write, |memory| async move { memory.forget(order).await }).await
    }

    async fn lease(&self, key: &Key, hold: Duration, token: LeaseToken, seen: Option<&Bytes>) -> Result<Lease, Error> {
        self.visit(Way::Lease, |memory| async move { memory.lease(key, hold, token, seen).await }).await
    }

    async fn renew(&self, key: &Key, hold: Duration, token: LeaseToken) -> Result<bool, Error> {
        self.visit(Way::Lease, |memory| async move { memory.renew(key, hold, token).await }).await
    }

    async fn fill(&self, key: &Key, value: Bytes, ttl: Duration, token: LeaseToken) -> Result<bool, Error> {
        self.visit(Way::Store(key), |memory| async move { memory.fill(key, value, ttl, token).await }).await
    }

    async fn release(&self, key: &Key, token: LeaseToken) -> Result<(), Error> {
        self.visit(Way::Lease, |memory| async move { memory.release(key, token).await }).await
    }

    async fn ping(&self) -> Result<(), Error> {
        self.visit(Way::Read, |memory| async move { memory.ping().await }).await
    }

    fn bus(&self, name: &Key) -> Option<AnyBus> {
        Some(AnyBus::new(SimulatedBus::new(&self.world, (self.slot, self.cache), Arc::clone(&self.source), name)))
    }

    fn address(&self) -> Option<String> {
        None
    }

    async fn diagnose(&self, probe: &Key) -> Vec<Finding> {
        self.world.memory().diagnose(probe).await
    }

    async fn scan(&self, prefix: &str, after: Option<Cursor>, count: usize) -> Result<Page, Error> {
        self.visit(Way::Read, |memory| async move { memory.scan(prefix, after, count).await }).await
    }
}

impl fmt::Debug for SimulatedBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedBackend").field("slot", &self.slot).field("cache", &self.cache).finish_non_exhaustive()
    }
}
