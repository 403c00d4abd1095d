//! A lazy connection: one that is opened at first use, once for all who ask.
//!
//! Opening is a task of its own, so that no caller that gives up stops it, and its outcome is that of all callers: 64
//! callers and a dead address cost one connect. A failure is forgotten as soon as it is told; the next caller tries
//! again.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::batch::SharedConnection;
use super::connection::Connection;
use super::error::no_runtime;
use super::request::Limits;
use super::source::Source;
use crate::error::Error;

/// One connection, or the place for it.
#[derive(Default)]
pub(super) struct LazyConnection {
    state: RwLock<State>,
    /// Commands in flight.
    pub(super) busy: AtomicUsize,
}

#[derive(Default)]
enum State {
    #[default]
    Empty,
    Opening(Outcome),
    Open(Arc<SharedConnection>),
}

/// What becomes of an opening. Closed without a value if its task ended before it, with its runtime.
type Outcome = watch::Receiver<Option<Result<Arc<SharedConnection>, Error>>>;

impl LazyConnection {
    /// The connection, if one is open.
    pub(super) fn current(&self) -> Option<Arc<SharedConnection>> {
        match &*self.read() {
            State::Open(open) => Some(Arc::clone(open)),
            _ => None,
        }
    }

    /// The connection, which is opened if there is none; the `permit` is its place in the pool, if it needs one.
    pub(super) async fn open(
        self: &Arc<Self>,
        source: &Arc<dyn Source>,
        limits: Limits,
        mut permit: Option<OwnedSemaphorePermit>,
    ) -> Result<Arc<SharedConnection>, Error> {
        loop {
            let (mut outcome, own) = match self.join(source, limits, &mut permit)? {
                Joined::Open(open) => return Ok(open),
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

    /// Forgets the connection, if it is still this one.
    pub(super) fn discard(&self, broken: &Arc<SharedConnection>) {
        let mut state = self.write();
        if matches!(&*state, State::Open(open) if Arc::ptr_eq(open, broken)) {
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
            State::Open(open) => Ok(Joined::Open(Arc::clone(open))),
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
        let (lazy, source) = (Arc::clone(self), Arc::clone(source));
        runtime.spawn(async move {
            let result = Connection::open(&*source, limits, permit).await.map(SharedConnection::new).map(Arc::new);
            *lazy.write() = result.clone().map_or(State::Empty, State::Open);
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
    Open(Arc<SharedConnection>),
    /// And whether this caller began it.
    Opening(Outcome, bool),
}
