//! The reader: which task reads the bus, and whether it still does.
//!
//! A task runs on the runtime of the caller who started it. That runtime may end, or be driven no more: a thread that
//! has left `block_on`, a worker that is stuck. So the reader leaves a sign of life, and where it is missing the next
//! caller on another runtime takes its turn over. Each turn has a number; a reader whose turn is over ends by itself.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::runtime::{self, Handle};
use tokio::task::AbortHandle;

use crate::bus::Position;

/// How long a reader may give no sign of life, in ticks.
const SILENT: u64 = 2_000;
/// How long the bus may fail until that is told, in ticks.
const PASSING: u64 = 2_000;

#[derive(Default)]
pub(super) struct ReaderState {
    state: Mutex<State>,
    /// The tick of the last sign of life; none while no task reads.
    alive: AtomicU64,
}

#[derive(Default)]
struct State {
    position: Option<Position>,
    /// The runtime of the task that reads.
    home: Option<runtime::Id>,
    task: Option<AbortHandle>,
    /// The number of the turn.
    turn: u64,
    stopped: bool,
    /// Whether this process may hold what it read before it listened.
    was_deaf: bool,
    trouble: Option<Trouble>,
}

/// A bus that fails.
struct Trouble {
    since: u64,
    /// The warning, once it was told.
    told: Option<Box<str>>,
}

/// What there is to do once the bus was heard.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Heard {
    /// Whether something was read before this process listened.
    pub(super) was_deaf: bool,
    /// A warning that holds no more.
    pub(super) well: Option<Box<str>>,
}

/// The turn that a caller begins.
pub(super) struct Turn {
    pub(super) number: u64,
    /// Whether there is another reader, on a runtime that is not driven.
    pub(super) takes_over: bool,
}

impl ReaderState {
    /// Whether a task reads and has given a sign of life lately.
    #[inline]
    pub(super) fn is_alive(&self, now: u64) -> bool {
        let alive = self.alive.load(SeqCst);
        alive > 0 && now < alive.saturating_add(SILENT)
    }

    /// A sign of life.
    pub(super) fn live(&self, now: u64) {
        self.alive.store(now.max(1), SeqCst);
    }

    /// Begins a turn on the caller's runtime, if a reader is needed.
    ///
    /// A silent one on the caller's own runtime is left alone: that runtime is driven right now.
    pub(super) fn begin(&self, runtime: &Handle, now: u64) -> Option<Turn> {
        let mut state = self.lock();
        if state.stopped || self.is_alive(now) || state.home == Some(runtime.id()) {
            return None;
        }
        let takes_over = state.home.replace(runtime.id()).is_some();
        if let Some(task) = state.task.take() {
            task.abort();
        }
        state.turn += 1;
        self.live(now);
        Some(Turn { number: state.turn, takes_over })
    }

    /// Notes the task of a turn, to stop it by.
    pub(super) fn attach(&self, turn: u64, task: AbortHandle) {
        let mut state = self.lock();
        if state.turn == turn && state.home.is_some() {
            state.task = Some(task);
        } else {
            task.abort();
        }
    }

    /// The turn is over, because its task ended.
    pub(super) fn end(&self, turn: u64) {
        let mut state = self.lock();
        if state.turn == turn {
            (state.home, state.task) = (None, None);
            self.alive.store(0, SeqCst);
        }
    }

    /// Where to read on; `None` if the turn is over.
    pub(super) fn position(&self, turn: u64) -> Option<Option<Position>> {
        let state = self.lock();
        (state.turn == turn).then(|| state.position.clone())
    }

    /// Whether the bus has answered, and has not failed since.
    pub(super) fn is_well(&self) -> bool {
        let state = self.lock();
        state.position.is_some() && state.trouble.is_none()
    }

    /// Where the last answer ended.
    pub(super) fn place(&self) -> Option<Position> {
        self.lock().position.clone()
    }

    /// Notes where an answer of the turn ends. `None` if the turn is over.
    pub(super) fn advance(&self, turn: u64, position: Position) -> Option<Heard> {
        let mut state = self.lock();
        if state.turn != turn {
            return None;
        }
        state.position = Some(position);
        let well = state.trouble.take().and_then(|trouble| trouble.told);
        Some(Heard { was_deaf: std::mem::take(&mut state.was_deaf), well })
    }

    /// Notes that the bus failed. Returns whether `warning` is to be told now: once, and not of what passes at once.
    pub(super) fn fail(&self, now: u64, passes: bool, warning: &str) -> bool {
        let mut state = self.lock();
        state.was_deaf |= state.position.is_none();
        let trouble = state.trouble.get_or_insert(Trouble { since: now, told: None });
        let due = !passes || now.saturating_sub(trouble.since) >= PASSING;
        if !due || trouble.told.is_some() {
            return false;
        }
        trouble.told = Some(warning.into());
        true
    }

    /// Notes that something is read that no message is heard of.
    pub(super) fn be_deaf(&self) {
        self.lock().was_deaf = true;
    }

    /// Ends reading for good.
    pub(super) fn stop(&self) {
        let mut state = self.lock();
        state.stopped = true;
        state.turn += 1;
        if let Some(task) = state.task.take() {
            task.abort();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing between lock and unlock can panic half way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
