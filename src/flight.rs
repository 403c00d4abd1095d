//! Flights: one computation per key.
//!
//! A flight is a spawned task, so no caller owns it: callers wait for its result and may leave. The table knows flights
//! by key, type and read options, so that callers who would get different answers do not share one.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::future::poll_fn;
use std::hash::Hash;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Poll;

use foldhash::fast::RandomState;
use tokio::sync::{Notify, SetOnce};

use crate::epochs::Tags;
use crate::error::{ComputeError, Error, ErrorKind};
use crate::event::Outcome;
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

/// Which tiers a call looks in before it computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Reads {
    pub(crate) l1: bool,
    pub(crate) l2: bool,
}

impl Reads {
    /// Whether the call takes what was computed before it came.
    fn older(self) -> bool {
        self.l1 || self.l2
    }
}

/// One computation and those who wait for it.
pub(crate) struct Flight<T, E> {
    /// Taken before anything is read.
    pub(crate) fence: Fence,
    /// The tick at which the flight began.
    begun: u64,
    /// How long the computation may take, in ticks.
    pub(crate) limit: u64,
    /// The tick after which this flight is given up.
    deadline: AtomicU64,
    landed: SetOnce<Landing<T, E>>,
    written: SetOnce<()>,
    fallback: OnceLock<Fallback<T>>,
    /// Who asks before this tick is answered with the fallback while the computation goes on.
    early: AtomicU64,
    /// Wakes those who wait when that changes, in the order in which they came: one seed of a simulation is one order.
    notice: Notify,
    given_up: AtomicBool,
}

/// An older value to answer with.
#[derive(Debug)]
pub(crate) struct Fallback<T> {
    pub(crate) value: Arc<T>,
    pub(crate) tags: Tags,
    /// Whether nobody but L1 has it.
    pub(crate) in_l1: bool,
}

/// How long a flight may take, in ticks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Until it computes: as long as the tiers may take to answer.
    pub(crate) reading: u64,
    /// From then on.
    pub(crate) computing: u64,
}

/// How a flight ended.
#[derive(Debug)]
pub(crate) enum Landing<T, E> {
    Value {
        value: Arc<T>,
        source: Outcome,
        /// The tick from which the value is expired.
        expires: u64,
        tags: Tags,
    },
    Error(ComputeError<E>),
    /// Its task was dropped, such as by the end of its runtime.
    Lost,
}

/// What a caller is to a flight.
pub(crate) enum Role<T: Send + Sync + 'static, E: Send + Sync + 'static> {
    /// The caller starts it; the pass takes it off the table when dropped.
    Lead(Pass<T, E>),
    /// Somebody else did.
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

    /// Joins the flight of `key` that still stands at the tick `now`, or makes one. Alone where the table is full.
    pub(crate) fn board<T, E>(
        self: &Arc<Self>,
        fence: Fence,
        key: &Key,
        reads: Reads,
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
        let mut shard = self.shard(&name);
        let slot = shard.entry(name.clone());
        if let Entry::Occupied(slot) = &slot
            && let Ok(flight) = Arc::clone(slot.get()).downcast::<Flight<T, E>>()
            && flight.stands(now, reads)
        {
            return Role::Join(flight);
        }
        let flight = Arc::new(Flight::new(fence, now, limits));
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
    pub(crate) fn alone<T, E>(fence: Fence, now: u64, limits: Limits) -> Role<T, E>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
    {
        Role::Alone(Pass { flight: Arc::new(Flight::new(fence, now, limits)), place: None })
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

impl<T: Send + Sync, E: Send + Sync> Flight<T, E> {
    fn new(fence: Fence, now: u64, limits: Limits) -> Self {
        Self {
            fence,
            begun: now,
            limit: limits.computing,
            deadline: AtomicU64::new(now.saturating_add(limits.reading).saturating_add(limits.computing)),
            landed: SetOnce::new(),
            written: SetOnce::new(),
            fallback: OnceLock::new(),
            early: AtomicU64::new(0),
            notice: Notify::new(),
            given_up: AtomicBool::new(false),
        }
    }

    /// Whether a caller that comes at the tick `now` may have this flight's answer.
    fn stands(&self, now: u64, reads: Reads) -> bool {
        // What others changed since this flight began may not have been heard.
        if self.fence.has_missed() || self.fence.is_outdated(self.begun, now) {
            return false;
        }
        match self.landed.get() {
            None => now < self.deadline() && !self.is_void() && !self.forgot_fallback(),
            Some(Landing::Value { expires, tags, .. }) => {
                reads.older() && now < *expires && self.may_store() && !self.fence.forgot(tags)
            }
            Some(_) => false,
        }
    }

    fn forgot_fallback(&self) -> bool {
        self.fallback.get().is_some_and(|fallback| self.fence.forgot(&fallback.tags))
    }

    pub(crate) fn deadline(&self) -> u64 {
        self.deadline.load(SeqCst)
    }

    /// The computation starts at the tick `now`: what the tiers took does not count against it.
    pub(crate) fn start(&self, now: u64) {
        self.deadline.store(now.saturating_add(self.limit), SeqCst);
    }

    /// Whether the key was changed since this flight began, or the flight was given up.
    pub(crate) fn is_void(&self) -> bool {
        !self.fence.holds() || self.given_up.load(SeqCst)
    }

    /// Whether what this flight has read or computed is still the newest there is.
    pub(crate) fn may_store(&self) -> bool {
        self.fence.is_current() && !self.given_up.load(SeqCst)
    }

    /// Asks to store this flight's result. False if the flight is void, or a younger one has stored its own.
    pub(crate) fn claim(&self) -> bool {
        !self.given_up.load(SeqCst) && self.fence.claim()
    }

    /// Lets a new flight take over and bars this one from storing.
    pub(crate) fn give_up(&self) {
        self.given_up.store(true, SeqCst);
    }

    /// Remembers an older value to answer with if the computation fails or is late.
    pub(crate) fn fall_back_on(&self, fallback: Fallback<T>) {
        let _ = self.fallback.set(fallback);
    }

    /// The older value, unless everything was cleared since, or nobody but L1 has it and L1 is not believed any more.
    pub(crate) fn fallback(&self) -> Option<&Fallback<T>> {
        let holds = |fallback: &&Fallback<T>| !(fallback.in_l1 && self.fence.is_doubted());
        self.fallback.get().filter(holds).filter(|_| !self.fence.was_cleared())
    }

    /// Answers those who ask before the tick `until` with the fallback, while the computation goes on.
    pub(crate) fn answer_early(&self, until: u64) {
        if self.fallback().is_some() {
            self.early.fetch_max(until, SeqCst);
            self.notice.notify_waiters();
        }
    }

    /// Answers everybody. Only the first landing counts.
    pub(crate) fn land(&self, landing: Landing<T, E>) {
        self.touch_down(landing);
        let _ = self.written.set(());
    }

    /// Like [`land`](Flight::land), but callers stay until the flight lands for good or ends.
    pub(crate) fn touch_down(&self, landing: Landing<T, E>) {
        let _ = self.landed.set(landing);
    }

    /// Waits until there is nothing left to wait for after the landing.
    pub(crate) async fn written(&self) {
        self.written.wait().await;
    }

    /// Waits until who asks at the tick `now` is answered early.
    async fn early_after(&self, now: u64) {
        loop {
            // Made before the look, so that no notice falls between.
            let notice = self.notice.notified();
            if now < self.early.load(SeqCst) {
                return;
            }
            notice.await;
        }
    }

    /// Waits for the landing, or for an early answer that is good enough for a caller who asks at the tick `now`.
    pub(crate) async fn wait(&self, now: u64) -> Answer<'_, T, E> {
        let mut landed = pin!(self.landed.wait());
        let mut early = pin!(self.early_after(now));
        let mut early_is_over = false;
        poll_fn(|context| {
            if let Poll::Ready(landing) = landed.as_mut().poll(context) {
                return Poll::Ready(Answer::Landed(landing));
            }
            if !early_is_over && early.as_mut().poll(context).is_ready() {
                early_is_over = true;
                if let Some(fallback) = self.fallback() {
                    return Poll::Ready(Answer::Early(fallback));
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// What [`Flight::wait`] waited for.
pub(crate) enum Answer<'a, T, E> {
    Landed(&'a Landing<T, E>),
    Early(&'a Fallback<T>),
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
        self.flight.land(Landing::Lost);
    }
}

tokio::task_local! {
    static ANCESTRY: Ancestry;
}

/// The flights whose computations led to this one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ancestry(Option<Arc<Link>>);

#[derive(Debug)]
struct Link {
    cache: usize,
    key: Key,
    parent: Ancestry,
}

impl Ancestry {
    /// The ancestry of the computation that runs on this task.
    pub(crate) fn current() -> Self {
        ANCESTRY.try_with(Clone::clone).unwrap_or_default()
    }

    /// This ancestry and one more computation.
    pub(crate) fn and(self, cache: usize, key: Key) -> Self {
        Self(Some(Arc::new(Link { cache, key, parent: self })))
    }

    /// Runs a computation that knows its ancestry.
    pub(crate) async fn scope<F: Future>(self, computation: F) -> F::Output {
        ANCESTRY.scope(self, computation).await
    }

    /// Refuses to wait for a computation that waits for this one.
    pub(crate) fn check(&self, cache: usize, key: &Key) -> Result<(), Error> {
        let mut next = self.0.as_ref();
        while let Some(link) = next {
            if link.cache == cache && link.key == *key {
                return Err(Error::new(
                    ErrorKind::Argument,
                    "the computation of a key asks the cache for that same key and would wait for itself",
                ));
            }
            next = link.parent.0.as_ref();
        }
        Ok(())
    }
}
