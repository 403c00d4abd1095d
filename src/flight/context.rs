//! Who waits for whom.
//!
//! Computations that ask for one another's keys would wait for ever. So each computation knows its own flight, and what
//! it waits for is noted for the whole process, whatever the cache: the call that would close a ring is refused.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, ErrorKind};
use crate::key::Key;

tokio::task_local! {
    static CURRENT: Context;
}

/// Of each computation that waits, the flights it waits for.
static WAITS: LazyLock<Mutex<HashMap<u64, Vec<u64>>>> = LazyLock::new(Mutex::default);

/// How many unshared computations may run within one another: the stack of one call holds them all.
pub(super) const MOST_UNSHARED: usize = 16;

/// The computation that the code at hand is part of.
///
/// A computation that waits for itself by way of other keys is refused, because the cache knows which computation a
/// call comes from. It knows by the task: what a computation spawns, it does not know, unless it is given the context.
/// Outside of computations the context is empty, and has no effect.
///
/// # Examples
/// ```
/// use cachekit::{CacheBuilder, ComputeError, Context, Intent};
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let cache = CacheBuilder::new().intent(Intent::Minimal).build()?;
/// let inner = cache.clone();
/// let result: Result<u32, ComputeError<String>> = cache
///     .get_or_compute("total", || async move {
///         // Without the context this would wait for itself until the deadline.
///         let part = async move { inner.get_or_compute("total", || async { Ok::<_, String>(1) }).await };
///         let part = tokio::spawn(Context::current().scope(part));
///         part.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
///     })
///     .await;
/// assert!(result.unwrap_err().to_string().contains("wait for itself"));
/// # Ok::<(), cachekit::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Default)]
pub struct Context(Option<Arc<Link>>);

struct Link {
    flight: Arc<Node>,
    cache: usize,
    key: Key,
    /// How many computations up to this one run within one another.
    unshared: usize,
    parent: Context,
}

/// A flight, as far as who waits for whom is concerned.
#[derive(Debug)]
pub(crate) struct Node {
    id: u64,
    /// The ring that its computation would have closed.
    ring: Mutex<Vec<u64>>,
}

/// Ends when the waiting does.
#[derive(Debug)]
pub(crate) struct Wait {
    computation: u64,
    flight: u64,
}

impl Node {
    pub(crate) fn new() -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Arc::new(Self { id: NEXT.fetch_add(1, Relaxed), ring: Mutex::default() })
    }

    fn ring(&self) -> MutexGuard<'_, Vec<u64>> {
        // It is replaced whole.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Context {
    /// The context of the task at hand.
    pub fn current() -> Self {
        CURRENT.try_with(Clone::clone).unwrap_or_default()
    }

    /// Whether the code at hand is part of no computation.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Runs `future` in this context.
    pub async fn scope<F: Future>(self, future: F) -> F::Output {
        CURRENT.scope(self, future).await
    }

    /// Runs `compute` on this thread in this context.
    #[cfg(feature = "blocking")]
    pub(crate) fn run<R>(self, compute: impl FnOnce() -> R) -> R {
        CURRENT.sync_scope(self, compute)
    }

    /// The context of the computation of `flight`, which this computation asked for. An `unshared` computation runs on
    /// the stack of the call that asked.
    pub(crate) fn enter(self, flight: Arc<Node>, cache: usize, key: Key, unshared: bool) -> Self {
        let depth = self.0.as_ref().map_or(0, |link| link.unshared);
        let unshared = if unshared { depth + 1 } else { 0 };
        Self(Some(Arc::new(Link { flight, cache, key, unshared, parent: self })))
    }

    /// Notes that this computation waits for `flight`, unless the flight waits for this computation. Notes nothing
    /// outside of computations: no flight waits for such a call.
    pub(crate) fn wait_for(&self, flight: &Node) -> Result<Option<Wait>, Error> {
        let Some(Link { flight: own, .. }) = self.0.as_deref() else { return Ok(None) };
        let mut waits = waits();
        if let Some(ring) = path(&waits, flight.id, own.id) {
            let message = if ring.len() == 1 {
                "the computation of a key asks the cache for that same key and would wait for itself"
            } else {
                "computations ask the cache for one another's keys, and this one would wait for itself by way of others"
            };
            *own.ring() = ring;
            return Err(Error::new(ErrorKind::Argument, message));
        }
        waits.entry(own.id).or_default().push(flight.id);
        Ok(Some(Wait { computation: own.id, flight: flight.id }))
    }

    /// Whether `flight` failed because it and this computation waited for one another. This one goes on without it.
    pub(crate) fn is_free_of(&self, flight: &Node) -> bool {
        self.0.as_ref().is_some_and(|link| flight.ring().contains(&link.flight.id))
    }

    /// Refuses an unshared computation of `key` within another of the same key, and one too many within one another.
    pub(crate) fn check_unshared(&self, cache: usize, key: &Key) -> Result<(), Error> {
        let links = || std::iter::successors(self.0.as_deref(), |link| link.parent.0.as_deref());
        if links().any(|link| link.cache == cache && link.key == *key) {
            let message = "the computation of a key asks the cache for that same key and would wait for itself";
            return Err(Error::new(ErrorKind::Argument, message));
        }
        if self.0.as_ref().is_some_and(|link| link.unshared >= MOST_UNSHARED) {
            let message = "more than 16 computations within one another, in a cache that is closed or has \
                           max_flights under way: they would end the stack";
            return Err(Error::new(ErrorKind::Argument, message));
        }
        Ok(())
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("flight", &self.0.as_ref().map(|link| link.flight.id)).finish_non_exhaustive()
    }
}

/// A long chain ends link by link, not one within the other.
impl Drop for Link {
    fn drop(&mut self) {
        let mut next = self.parent.0.take();
        while let Some(mut link) = next.and_then(Arc::into_inner) {
            next = link.parent.0.take();
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Entry::Occupied(mut flights) = waits().entry(self.computation) {
            if let Some(index) = flights.get().iter().position(|flight| *flight == self.flight) {
                flights.get_mut().swap_remove(index);
            }
            if flights.get().is_empty() {
                flights.remove();
            }
        }
    }
}

fn waits() -> MutexGuard<'static, HashMap<u64, Vec<u64>>> {
    // Every change of it is one call of a map or a vector.
    WAITS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The flights on a way from `start` to `goal` along what waits for what, if there is one.
fn path(waits: &HashMap<u64, Vec<u64>>, start: u64, goal: u64) -> Option<Vec<u64>> {
    let (mut came_from, mut next) = (HashMap::from([(start, start)]), vec![start]);
    while let Some(id) = next.pop() {
        if id == goal {
            let back = std::iter::successors(Some(goal), |id| (*id != start).then(|| came_from[id]));
            return Some(back.collect());
        }
        for other in waits.get(&id).into_iter().flatten() {
            if let Entry::Vacant(slot) = came_from.entry(*other) {
                slot.insert(id);
                next.push(*other);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inside(flight: &Arc<Node>) -> Context {
        Context::default().enter(Arc::clone(flight), 0, Key::new("n", "k").unwrap(), false)
    }

    #[test]
    fn wait_that_would_close_a_ring_is_refused_and_others_are_not() {
        for length in 1..6usize {
            let flights: Vec<_> = (0..length).map(|_| Node::new()).collect();
            let waits = |from: usize| inside(&flights[from]).wait_for(&flights[(from + 1) % length]);
            let noted: Vec<_> = (0..length - 1).map(|from| waits(from).unwrap().unwrap()).collect();
            assert_eq!(waits(length - 1).unwrap_err().kind(), ErrorKind::Argument);
            for flight in &flights {
                assert!(inside(flight).is_free_of(&flights[length - 1]));
            }
            assert!(!inside(&Node::new()).is_free_of(&flights[length - 1]));
            drop(noted);
            assert!(waits(length - 1).is_ok() || length == 1, "no flight waits any more");
        }
    }

    #[test]
    fn flight_waited_for_twice_is_noted_until_both_waits_end() {
        let (one, two) = (Node::new(), Node::new());
        let first = inside(&one).wait_for(&two).unwrap();
        let second = inside(&one).wait_for(&two).unwrap();
        drop(first);
        assert!(inside(&two).wait_for(&one).is_err());
        drop(second);
        assert!(inside(&two).wait_for(&one).is_ok());
        assert!(!waits().contains_key(&one.id));
    }

    #[test]
    fn outside_of_computations_nothing_is_noted() {
        assert!(Context::current().wait_for(&Node::new()).unwrap().is_none());
    }

    #[test]
    fn a_long_chain_ends_without_a_deep_stack() {
        let key = Key::new("n", "k").unwrap();
        let chain = (0..200_000).fold(Context::default(), |chain, _| chain.enter(Node::new(), 0, key.clone(), false));
        drop(chain);
    }
}
