//! A slot: one connection, opened once for all.
//!
//! Opening is a task of its own, so that nobody who waits for it can stop it, and its outcome is everybody's: 64
//! callers and a dead address cost one connect. A failure is forgotten as soon as it is told; the next caller tries
//! again.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::held::{Held, Limits};
use super::source::Source;
use crate::error::{Error, ErrorKind};

/// The place of one connection.
#[derive(Default)]
pub(super) struct Slot {
    state: RwLock<State>,
    /// Commands in flight.
    pub(super) busy: AtomicUsize,
}

#[derive(Default)]
enum State {
    #[default]
    Empty,
    Opening(Outcome),
    Open(Arc<Held>),
}

/// What becomes of an opening. Closed without a value if its task ended before it, with its runtime.
type Outcome = watch::Receiver<Option<Result<Arc<Held>, Error>>>;

impl Slot {
    /// The connection, if one is open.
    pub(super) fn current(&self) -> Option<Arc<Held>> {
        match &*self.read() {
            State::Open(held) => Some(Arc::clone(held)),
            _ => None,
        }
    }

    /// The connection, which is opened if there is none; the `permit` is its place in the pool, if it needs one.
    pub(super) async fn open(
        self: &Arc<Self>,
        source: &Arc<dyn Source>,
        limits: Limits,
        mut permit: Option<OwnedSemaphorePermit>,
    ) -> Result<Arc<Held>, Error> {
        loop {
            let (mut outcome, own) = match self.join(source, limits, &mut permit)? {
                Joined::Open(held) => return Ok(held),
                Joined::Opening(outcome, own) => (outcome, own),
            };
            if let Ok(told) = outcome.wait_for(Option::is_some).await
                && let Some(result) = &*told
            {
                return result.clone();
            }
            self.abandon(&outcome);
            if own {
                return Err(no_runtime());
            }
        }
    }

    /// Opens a connection in the background, unless there is one or one is being opened.
    pub(super) fn begin(self: &Arc<Self>, source: &Arc<dyn Source>, limits: Limits, permit: OwnedSemaphorePermit) {
        let mut state = self.write();
        if let State::Opening(outcome) = &*state
            && outcome.has_changed().is_err()
        {
            *state = State::Empty;
        }
        if let (State::Empty, Ok(runtime)) = (&*state, Handle::try_current()) {
            *state = State::Opening(self.spawn(&runtime, source, limits, Some(permit)));
        }
    }

    /// Empties the slot, if it still holds this connection.
    pub(super) fn discard(&self, broken: &Arc<Held>) {
        let mut state = self.write();
        if matches!(&*state, State::Open(held) if Arc::ptr_eq(held, broken)) {
            *state = State::Empty;
        }
    }

    fn join(
        self: &Arc<Self>,
        source: &Arc<dyn Source>,
        limits: Limits,
        permit: &mut Option<OwnedSemaphorePermit>,
    ) -> Result<Joined, Error> {
        let mut state = self.write();
        match &*state {
            State::Open(held) => Ok(Joined::Open(Arc::clone(held))),
            State::Opening(outcome) => Ok(Joined::Opening(outcome.clone(), false)),
            State::Empty => {
                let runtime = Handle::try_current().map_err(|_| no_runtime())?;
                let outcome = self.spawn(&runtime, source, limits, permit.take());
                *state = State::Opening(outcome.clone());
                Ok(Joined::Opening(outcome, true))
            }
        }
    }

    fn spawn(
        self: &Arc<Self>,
        runtime: &Handle,
        source: &Arc<dyn Source>,
        limits: Limits,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Outcome {
        let (tell, outcome) = watch::channel(None);
        let (slot, source) = (Arc::clone(self), Arc::clone(source));
        runtime.spawn(async move {
            let result = Held::open(&*source, limits, permit).await.map(Arc::new);
            *slot.write() = result.clone().map_or(State::Empty, State::Open);
            tell.send_replace(Some(result));
        });
        outcome
    }

    /// Forgets an opening whose task has ended without an outcome.
    fn abandon(&self, outcome: &Outcome) {
        let mut state = self.write();
        if matches!(&*state, State::Opening(current) if current.same_channel(outcome)) {
            *state = State::Empty;
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        // A change is one assignment: there is nothing half done to find.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Joined {
    Open(Arc<Held>),
    /// And whether this caller began it.
    Opening(Outcome, bool),
}

pub(super) fn no_runtime() -> Error {
    let message = "Redis needs a tokio runtime with I/O and time: run the cache within one, built with enable_all()";
    Error::new(ErrorKind::Closed, message)
}
