//! The bus of a memory: one log a name.
//!
//! Caches over clones of one `Memory` behave as processes over one server, so they must hear one another as those do.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use lru::LruCache;
use tokio::sync::Notify;

use crate::bus::{Batch, Bus, Position};
use crate::clock::{Clock, within};
use crate::error::{Error, ErrorKind};
use crate::key::Key;

const MAX_NAMES: usize = 1_024;
const MAX_MESSAGES: usize = 10_000;
const MAX_LENGTH: usize = 1_024;
/// The most messages of one batch.
const BATCH: usize = 1_000;
const PATIENCE: Duration = Duration::from_millis(500);

/// The log of one name.
pub(super) struct MemoryBus {
    name: Key,
    logs: Arc<Mutex<Logs>>,
    clock: Arc<dyn Clock>,
}

/// All logs of a memory.
pub(super) struct Logs {
    logs: LruCache<Key, Log>,
    /// Where a new log begins: behind every position of those that were forgotten, so that none is taken for its own.
    begin: u64,
}

struct Log {
    /// The number of the last message.
    end: u64,
    messages: VecDeque<Bytes>,
    news: Arc<Notify>,
}

impl MemoryBus {
    pub(super) fn new(name: Key, logs: Arc<Mutex<Logs>>, clock: Arc<dyn Clock>) -> Self {
        Self { name, logs, clock }
    }

    pub(super) fn append(&self, message: Bytes) {
        // Those who wait are woken without the lock, which they take.
        self.with(|log| log.append(message)).notify_waiters();
    }

    fn with<R>(&self, work: impl FnOnce(&mut Log) -> R) -> R {
        work(self.lock().log(&self.name))
    }

    fn lock(&self) -> MutexGuard<'_, Logs> {
        // Nothing between lock and unlock can panic half way through a change.
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bus for MemoryBus {
    async fn publish(&self, message: Bytes) -> Result<(), Error> {
        let length = message.len();
        if length > MAX_LENGTH {
            let message = format!("a message of {length} bytes is too long for a bus: it takes up to {MAX_LENGTH}");
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        self.append(message);
        Ok(())
    }

    async fn receive(&self, after: Option<&Position>, wait: Duration) -> Result<Batch, Error> {
        let Some(after) = after else {
            return Ok(self.with(|log| Batch { messages: Vec::new(), position: position(log.end), gap: false }));
        };
        // Who waits is known to the log before the lock is gone, so nothing is published unheard.
        let (batch, news) = self.with(|log| (log.behind(after), Arc::clone(&log.news).notified_owned()));
        if batch.gap || !batch.messages.is_empty() {
            return Ok(batch);
        }
        within(&*self.clock, PATIENCE.min(wait), news).await;
        Ok(self.with(|log| log.behind(after)))
    }

    fn is_quiet(&self, after: &Position) -> bool {
        self.with(|log| *after == position(log.end))
    }
}

impl Logs {
    pub(super) fn new() -> Self {
        Self { logs: LruCache::unbounded(), begin: 0 }
    }

    fn log(&mut self, name: &Key) -> &mut Log {
        if self.logs.len() >= MAX_NAMES
            && !self.logs.contains(name)
            && let Some((_, forgotten)) = self.logs.pop_lru()
        {
            self.begin = self.begin.max(forgotten.end + 1);
        }
        let end = self.begin;
        self.logs.get_or_insert_mut(name.clone(), || Log { end, messages: VecDeque::new(), news: Arc::default() })
    }
}

impl Log {
    /// Returns whom to tell.
    fn append(&mut self, message: Bytes) -> Arc<Notify> {
        if self.messages.len() >= MAX_MESSAGES {
            self.messages.pop_front();
        }
        self.messages.push_back(message);
        self.end += 1;
        Arc::clone(&self.news)
    }

    /// What is kept behind a position; all of it behind one that is not, or no longer, a place in this log.
    fn behind(&self, after: &Position) -> Batch {
        let start = self.end - self.messages.len() as u64;
        let known = after.as_str().parse().ok().filter(|at| (start..=self.end).contains(at));
        let from = known.unwrap_or(start);
        let messages: Vec<Bytes> = self.messages.range((from - start) as usize..).take(BATCH).cloned().collect();
        let position = position(from + messages.len() as u64);
        Batch { messages, position, gap: known.is_none() }
    }
}

fn position(number: u64) -> Position {
    Position::new(number.to_string())
}

impl fmt::Debug for MemoryBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBus").finish_non_exhaustive()
    }
}
