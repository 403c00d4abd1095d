//! Turns: one task of this process at a time writes a key to the backend.
//!
//! A task keeps its turn while it waits for the backend, and so for as long as its runtime stands still. Tasks of other
//! runtimes then go ahead without a turn. Which of the two writes the backend has in the end is not known, so the older
//! one removes the entry.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard};

use super::Moment;
use crate::home::{Home, while_driven};

/// The turns of one key.
#[derive(Debug, Default)]
pub(super) struct Turns {
    mutex: AsyncMutex<()>,
    line: Mutex<Line>,
}

#[derive(Debug, Default)]
struct Line {
    /// The runtimes of the tasks that have the turn or wait for it, and how many of each there are.
    homes: Vec<(Home, usize)>,
    /// How many tasks went ahead without a turn.
    passed: u64,
    /// When the youngest change began that was made in the backend.
    made: Moment,
}

/// A task's turn, or its leave to go ahead without one.
pub(crate) struct WriteTurn<'a> {
    turns: &'a Turns,
    home: Home,
    /// How many tasks had gone ahead before.
    passed: u64,
    held: Option<AsyncMutexGuard<'a, ()>>,
}

impl Turns {
    /// Waits until no other task has the turn, or one of those that have it or wait is of a runtime that stands still.
    pub(super) async fn take(&self) -> WriteTurn<'_> {
        let mut turn = self.line_up();
        turn.held = self.mutex.try_lock().ok();
        if turn.held.is_some() {
            return turn;
        }
        let mut lock = Box::pin(self.mutex.lock());
        loop {
            let homes: Vec<Home> = self.line().homes.iter().map(|(home, _)| home.clone()).collect();
            match while_driven(&homes, lock.as_mut()).await {
                Ok(held) => {
                    turn.held = Some(held);
                    return turn;
                }
                Err(index) => {
                    let mut line = self.line();
                    // Its tasks may have ended since.
                    if line.homes.iter().any(|(home, _)| home.is(&homes[index])) {
                        line.passed += 1;
                        return turn;
                    }
                }
            }
        }
    }

    fn line_up(&self) -> WriteTurn<'_> {
        let (mut line, home) = (self.line(), Home::here());
        match line.homes.iter_mut().find(|(other, _)| other.is(&home)) {
            Some((_, count)) => *count += 1,
            None => line.homes.push((home.clone(), 1)),
        }
        WriteTurn { turns: self, home, passed: line.passed, held: None }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        // Nothing between lock and unlock can panic half way through a change.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WriteTurn<'_> {
    /// When the youngest change began that was made in the backend.
    pub(crate) fn made(&self) -> Moment {
        self.turns.line().made
    }

    /// Notes that the change was made that `begun` then.
    pub(crate) fn make(&self, begun: Moment) {
        let mut line = self.turns.line();
        line.made = line.made.max(begun);
    }

    /// Whether another task may have written at the same time.
    pub(crate) fn was_passed(&self) -> bool {
        self.held.is_none() || self.turns.line().passed != self.passed
    }
}

impl Drop for WriteTurn<'_> {
    fn drop(&mut self) {
        self.held = None;
        let mut line = self.turns.line();
        if let Some((_, count)) = line.homes.iter_mut().find(|(home, _)| home.is(&self.home)) {
            *count -= 1;
        }
        line.homes.retain(|(_, count)| *count > 0);
    }
}
