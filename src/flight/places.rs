//! Places: how many flights are under way, and how many wait for that.
//!
//! Each tokio runtime has places of its own, so that flights on a runtime that is not driven keep no caller on another
//! one waiting. A flight that a computation asked for does not wait: the computation would keep its place meanwhile. It
//! takes one of as many places again, or is refused.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::{self, Handle};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::context::MOST_UNSHARED;

/// The places of a cache.
pub(crate) struct Places {
    running: usize,
    queue: usize,
    lines: Mutex<HashMap<runtime::Id, Arc<Line>>>,
}

/// The places on one runtime, and the line before them.
struct Line {
    free: Semaphore,
    /// Places in use beyond the bound.
    beyond: AtomicUsize,
    waiting: AtomicUsize,
}

/// Who asks for a flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asker {
    Caller,
    /// The computation of another key, which holds a place itself.
    Computation,
    /// No caller waits for it, so it does not wait either.
    Renewal,
}

/// What a new flight is given.
pub(crate) enum Admission {
    Place(Place),
    Ticket(Ticket),
}

/// The right to fly, until dropped.
pub(crate) struct Place(Arc<Line>);

/// A position in the line.
pub(crate) struct Ticket(Arc<Line>);

impl Places {
    /// On each runtime `running` flights are under way, and `queue` more wait.
    pub(crate) fn new(running: usize, queue: usize) -> Self {
        Self { running, queue, lines: Mutex::default() }
    }

    /// A place if one is free, otherwise what is left for who asks; `None` is nothing.
    pub(super) fn admit(&self, asker: Asker) -> Option<Admission> {
        let line = self.line()?;
        let is_free = line.free.try_acquire().map(SemaphorePermit::forget).is_ok();
        match asker {
            _ if is_free => Some(Admission::Place(Place(line))),
            Asker::Caller => count(&line.waiting, self.queue).then(|| Admission::Ticket(Ticket(line))),
            Asker::Computation => {
                let most = self.running.max(MOST_UNSHARED);
                count(&line.beyond, most).then(|| Admission::Place(Place(line)))
            }
            Asker::Renewal => None,
        }
    }

    /// The line of the caller's runtime.
    fn line(&self) -> Option<Arc<Line>> {
        let runtime = Handle::try_current().ok()?.id();
        // A map operation that panics leaves the map usable.
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = lines.get(&runtime) {
            return Some(Arc::clone(line));
        }
        // Runtimes come and go; a line that nothing refers to has all its places free.
        lines.retain(|_, line| Arc::strong_count(line) > 1);
        let (beyond, waiting) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let line = Arc::new(Line { free: Semaphore::new(self.running), beyond, waiting });
        Some(Arc::clone(lines.entry(runtime).or_insert(line)))
    }
}

/// Counts one more, unless there are `most`.
fn count(counter: &AtomicUsize, most: usize) -> bool {
    counter.fetch_update(SeqCst, SeqCst, |count| (count < most).then_some(count + 1)).is_ok()
}

impl Ticket {
    /// Waits for a place. First come, first served.
    pub(super) async fn wait(&self) -> Place {
        self.0.free.acquire().await.expect("no line is ever closed").forget();
        Place(Arc::clone(&self.0))
    }

    /// Takes a place beyond the bound.
    pub(super) fn overtake(&self) -> Place {
        self.0.beyond.fetch_add(1, SeqCst);
        Place(Arc::clone(&self.0))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, SeqCst);
    }
}

impl Drop for Place {
    /// Places beyond the bound are given up first.
    fn drop(&mut self) {
        let was_beyond = self.0.beyond.fetch_update(SeqCst, SeqCst, |beyond| beyond.checked_sub(1));
        if was_beyond.is_err() {
            self.0.free.add_permits(1);
        }
    }
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Places").field("running", &self.running).field("queue", &self.queue).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().unwrap()
    }

    fn place(places: &Places, asker: Asker) -> Option<Place> {
        places
            .admit(asker)
            .and_then(|admission| if let Admission::Place(place) = admission { Some(place) } else { None })
    }

    #[test]
    fn place_beyond_the_bound_is_given_back_before_the_next_enters() {
        runtime().block_on(async {
            let places = Places::new(1, 1);
            let first = place(&places, Asker::Caller).unwrap();
            let nested = place(&places, Asker::Computation).unwrap();
            assert!(place(&places, Asker::Renewal).is_none());
            let Some(Admission::Ticket(ticket)) = places.admit(Asker::Caller) else { panic!("a ticket") };
            assert!(places.admit(Asker::Caller).is_none(), "the line is full");
            drop(nested);
            let line = Arc::clone(&ticket.0);
            assert_eq!((line.beyond.load(SeqCst), line.free.available_permits()), (0, 0));
            drop(first);
            let _place = ticket.wait().await;
            drop(ticket);
            assert_eq!((line.waiting.load(SeqCst), line.free.available_permits()), (0, 0));
        });
    }

    #[test]
    fn computations_get_as_many_places_again_and_sixteen_at_least() {
        for (running, nested) in [(1, 16), (40, 40)] {
            runtime().block_on(async {
                let places = Places::new(running, 0);
                let own: Vec<_> = std::iter::from_fn(|| place(&places, Asker::Caller)).collect();
                let more: Vec<_> = std::iter::from_fn(|| place(&places, Asker::Computation)).collect();
                assert_eq!((own.len(), more.len()), (running, nested));
                drop((own, more));
                let again: Vec<_> = std::iter::from_fn(|| place(&places, Asker::Caller)).collect();
                assert_eq!(again.len(), running);
            });
        }
    }

    #[test]
    fn each_runtime_has_its_own_and_those_that_ended_are_forgotten() {
        let places = Places::new(1, 0);
        let (one, two) = (runtime(), runtime());
        let first = one.block_on(async { place(&places, Asker::Caller).unwrap() });
        assert!(one.block_on(async { places.admit(Asker::Caller).is_none() }));
        drop(two.block_on(async { place(&places, Asker::Caller).unwrap() }));
        for _ in 0..10 {
            drop(runtime().block_on(async { place(&places, Asker::Caller).unwrap() }));
        }
        assert_eq!(places.lines.lock().unwrap().len(), 2, "the one in use, and the last");
        drop(first);
        assert!(places.admit(Asker::Caller).is_none(), "there is no runtime here");
    }
}
