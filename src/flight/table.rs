//! The table of flights: one per key, type and read options.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::hash::Hash;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;

use super::places::{Admission, Asker, Place, Places, Ticket};
use super::{Ending, Flight, Reads, TimeLimits};
use crate::frame::Tags;
use crate::key::Key;
use crate::order::Fence;

const SHARDS: usize = 64;

type Listed = Arc<dyn Any + Send + Sync>;
type Table = HashMap<Name, Listed, RandomState>;
type Shard = Mutex<Table>;

/// The flights under way.
pub(crate) struct Flights {
    shards: Box<[Shard]>,
    count: AtomicUsize,
    places: Places,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Name {
    key: Key,
    types: TypeId,
    reads: Reads,
}

/// What a caller is to a flight.
pub(crate) enum Role<T: Send + Sync + 'static, E: Send + Sync + 'static> {
    /// The caller starts it, and takes it off the table when it drops this.
    Lead(Leader<T, E>),
    /// Another call did.
    Follow(Arc<Flight<T, E>>),
    /// No other call shares the flight, and the caller alone keeps it going.
    Unshared(Leader<T, E>),
    /// There is no room for a flight.
    Full,
}

/// A flight's place in the table.
pub(crate) struct Leader<T: Send + Sync + 'static, E: Send + Sync + 'static> {
    pub(crate) flight: Arc<Flight<T, E>>,
    listed: Option<(Arc<Flights>, Name)>,
    /// While the flight waits in line.
    ticket: Option<Ticket>,
    /// Kept until the flight ends.
    place: Option<Place>,
}

impl Flights {
    pub(crate) fn new(places: Places) -> Arc<Self> {
        let shards = (0..SHARDS).map(|_| Shard::default()).collect();
        Arc::new(Self { shards, count: AtomicUsize::new(0), places })
    }

    /// Joins the flight of `key` that still stands at the tick `now`, or makes one for who asks, whose result will have
    /// the `tags`.
    pub(crate) fn join<T, E>(
        self: &Arc<Self>,
        fence: Fence,
        (key, asker): (&Key, Asker),
        (reads, tags): (Reads, &Tags),
        now: u64,
        limits: TimeLimits,
    ) -> Role<T, E>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
    {
        let name = Name { key: key.clone(), types: TypeId::of::<(T, E)>(), reads };
        // Outlives the lock: dropping a flight may drop the user's value.
        let _displaced;
        let mut shard = self.shard(&name);
        let slot = shard.entry(name.clone());
        let other = match &slot {
            Entry::Occupied(slot) => Arc::clone(slot.get()).downcast::<Flight<T, E>>().ok(),
            Entry::Vacant(_) => None,
        };
        if let Some(flight) = other.as_ref().filter(|flight| flight.stands(now, reads, tags)) {
            return Role::Follow(Arc::clone(flight));
        }
        let Some(admission) = self.places.admit(asker) else { return Role::Full };
        let inherited = other.and_then(|flight| flight.bequeath(now));
        let flight = Arc::new(Flight::new(fence, now, limits, Arc::clone(tags)));
        flight.holdings().inherited = inherited;
        _displaced = self.list(slot, Arc::clone(&flight) as _);
        let listed = Some((Arc::clone(self), name));
        let (ticket, place) = match admission {
            Admission::Ticket(ticket) => (Some(ticket), None),
            Admission::Place(place) => (None, Some(place)),
        };
        Role::Lead(Leader { flight, listed, ticket, place })
    }

    /// Makes a flight that no other call can join.
    pub(crate) fn unshared<T, E>(fence: Fence, tags: &Tags, now: u64, limits: TimeLimits) -> Role<T, E>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
    {
        let flight = Arc::new(Flight::new(fence, now, limits, Arc::clone(tags)));
        Role::Unshared(Leader { flight, listed: None, ticket: None, place: None })
    }

    /// Puts a flight in its slot. The flight that had it, if there is one.
    fn list(&self, slot: Entry<'_, Name, Listed>, flight: Listed) -> Option<Listed> {
        match slot {
            Entry::Occupied(mut slot) => Some(slot.insert(flight)),
            Entry::Vacant(slot) => {
                self.count.fetch_add(1, SeqCst);
                slot.insert(flight);
                None
            }
        }
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
        f.debug_struct("Flights").field("len", &self.len()).field("places", &self.places).finish_non_exhaustive()
    }
}

impl<T: Send + Sync + 'static, E: Send + Sync + 'static> Leader<T, E> {
    /// The position in the line of a flight that has to wait for its place.
    pub(crate) fn ticket(&mut self) -> Option<Ticket> {
        self.ticket.take()
    }

    /// Keeps the place until the flight ends.
    pub(crate) fn take(&mut self, place: Place) {
        self.place = Some(place);
    }

    /// Takes the flight off the table, so that the next caller starts another.
    pub(crate) fn leave(&mut self) {
        let Some((flights, name)) = self.listed.take() else { return };
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

impl<T: Send + Sync + 'static, E: Send + Sync + 'static> Drop for Leader<T, E> {
    fn drop(&mut self) {
        self.leave();
        drop(self.flight.holdings().permit.take());
        self.flight.complete(Ending::Lost);
        drop(self.place.take());
    }
}
