//! The table of flights: one per key, type and read options.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::hash::Hash;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;

use super::{Flight, Landing, Limits, Reads};
use crate::epochs::Tags;
use crate::fence::Fence;
use crate::key::Key;

const SHARDS: usize = 64;

type Table = HashMap<Name, Arc<dyn Any + Send + Sync>, RandomState>;
type Shard = Mutex<Table>;

/// The flights under way.
pub(crate) struct Flights {
    shards: Box<[Shard]>,
    count: AtomicUsize,
    max: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Name {
    key: Key,
    types: TypeId,
    reads: Reads,
}

/// What a caller is to a flight.
pub(crate) enum Role<T: Send + Sync + 'static, E: Send + Sync + 'static> {
    /// The caller starts it; the pass takes it off the table when dropped.
    Lead(Pass<T, E>),
    /// Another call did.
    Join(Arc<Flight<T, E>>),
    /// Nobody shares the flight, and nobody but the caller keeps it going.
    Alone(Pass<T, E>),
}

/// A flight's place in the table.
pub(crate) struct Pass<T: Send + Sync + 'static, E: Send + Sync + 'static> {
    pub(crate) flight: Arc<Flight<T, E>>,
    place: Option<(Arc<Flights>, Name)>,
}

impl Flights {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { shards: (0..SHARDS).map(|_| Shard::default()).collect(), count: AtomicUsize::new(0), max })
    }

    /// Joins the flight of `key` that still stands at the tick `now`, or makes one, whose result will have the `tags`.
    /// Alone where the table is full.
    pub(crate) fn board<T, E>(
        self: &Arc<Self>,
        fence: Fence,
        key: &Key,
        (reads, tags): (Reads, &Tags),
        now: u64,
        limits: Limits,
    ) -> Role<T, E>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
    {
        let name = Name { key: key.clone(), types: TypeId::of::<(T, E)>(), reads };
        // Outlives the lock: dropping a flight may drop the user's value.
        let _displaced;
        let mut inherited = None;
        let mut shard = self.shard(&name);
        let slot = shard.entry(name.clone());
        if let Entry::Occupied(slot) = &slot
            && let Ok(flight) = Arc::clone(slot.get()).downcast::<Flight<T, E>>()
        {
            if flight.stands(now, reads, tags) {
                return Role::Join(flight);
            }
            inherited = flight.bequeath(now);
        }
        let flight = Arc::new(Flight::new(fence, now, limits, Arc::clone(tags)));
        flight.holdings().inherited = inherited;
        match slot {
            Entry::Occupied(mut slot) => {
                _displaced = slot.insert(Arc::clone(&flight) as _);
            }
            Entry::Vacant(_) if self.count.load(SeqCst) >= self.max => {
                return Role::Alone(Pass { flight, place: None });
            }
            Entry::Vacant(slot) => {
                self.count.fetch_add(1, SeqCst);
                slot.insert(Arc::clone(&flight) as _);
            }
        }
        Role::Lead(Pass { flight, place: Some((Arc::clone(self), name)) })
    }

    /// Makes a flight that nobody can join.
    pub(crate) fn alone<T, E>(fence: Fence, tags: &Tags, now: u64, limits: Limits) -> Role<T, E>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
    {
        Role::Alone(Pass { flight: Arc::new(Flight::new(fence, now, limits, Arc::clone(tags))), place: None })
    }

    /// How many flights the table holds.
    pub(crate) fn len(&self) -> usize {
        self.count.load(SeqCst)
    }

    fn shard(&self, name: &Name) -> MutexGuard<'_, Table> {
        // A map operation that panics leaves the map usable.
        self.shards[name.key.hash64() as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Flights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights").field("len", &self.len()).field("max", &self.max).finish_non_exhaustive()
    }
}

impl<T: Send + Sync + 'static, E: Send + Sync + 'static> Pass<T, E> {
    /// Takes the flight off the table, so that the next caller starts another.
    pub(crate) fn leave(&mut self) {
        let Some((flights, name)) = self.place.take() else { return };
        let mut shard = flights.shard(&name);
        if let Entry::Occupied(slot) = shard.entry(name)
            && Arc::as_ptr(slot.get()).cast::<()>() == Arc::as_ptr(&self.flight).cast::<()>()
        {
            let removed = slot.remove();
            flights.count.fetch_sub(1, SeqCst);
            drop(shard);
            drop(removed);
        }
    }
}

impl<T: Send + Sync + 'static, E: Send + Sync + 'static> Drop for Pass<T, E> {
    fn drop(&mut self) {
        self.leave();
        drop(self.flight.holdings().permit.take());
        self.flight.land(Landing::Lost);
    }
}
