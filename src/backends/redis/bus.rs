//! The bus: a stream that every process appends to.
//!
//! A reader asks for what stands behind the last entry it saw, and whether that entry is still there. The server drops
//! the oldest first, so as long as it is, nothing behind it was trimmed. What a crash or a failover took are the
//! newest; so a position says which run of the server it is of, and any other run is a gap.

use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use redis::Value;
use tokio::time::{Instant, sleep, timeout};

use super::Shared;
use super::dedicated::Dedicated;
use super::stream::{self, Entries};
use super::wire::{Load, Request, Single};
use crate::bus::{Batch, Bus, Position};
use crate::error::{Error, ErrorKind};
use crate::key::Key;

/// The stream under a reserved key.
pub(super) struct Stream {
    shared: Arc<Shared>,
    name: Key,
    /// The connection that waits for messages, while nobody waits.
    reader: Mutex<Option<Dedicated>>,
}

/// How often a reader without a connection of its own asks.
const POLL: Duration = Duration::from_millis(25);
/// Connections that may break one after another, each at once, within one wait.
const BROKEN: u32 = 4;
/// A server wakes at least ten times a second: waits from here on are right enough as it keeps them.
const COARSE: Duration = Duration::from_millis(400);
/// The longest wait for messages.
const PATIENCE: Duration = Duration::from_secs(10);

impl Stream {
    pub(super) fn new(shared: Arc<Shared>, name: Key) -> Self {
        Self { shared, name, reader: Mutex::new(None) }
    }

    /// Appends a message or a mark, and returns its id.
    async fn append(&self, message: Option<&[u8]>) -> Result<Box<str>, Error> {
        let answer =
            self.shared.wire.run(&self.name, Load::Light, |_| stream::append(self.name.as_str(), message)).await?;
        stream::appended(answer).ok_or_else(|| self.shared.strange())
    }

    /// The connection to wait on, if the pool has room for one. It is the caller's until given back, so that a dropped
    /// call leaves no half-answered request behind.
    async fn reader(&self) -> Result<Option<Dedicated>, Error> {
        let idle = self.reader.lock().unwrap_or_else(PoisonError::into_inner).take();
        match idle {
            Some(reader) => Ok(Some(reader)),
            None => self.shared.wire.dedicated(&self.name).await,
        }
    }

    fn give_back(&self, reader: Dedicated) {
        *self.reader.lock().unwrap_or_else(PoisonError::into_inner) = Some(reader);
    }

    /// What stands behind `id`, and the run of the server, if that is known. Broken connections are replaced. `seen` is
    /// the run of the position.
    async fn read(&self, id: &str, seen: &str, wait: Duration) -> Result<(Entries, Option<Box<str>>), Error> {
        let patience = self.patience(wait);
        let (start, mut left) = (Instant::now(), BROKEN);
        loop {
            let asked = Instant::now();
            match self.wait(id, seen, patience).await {
                Ok(Some((entries, run))) => return Ok((entries, Some(run))),
                Ok(None) => return Ok((self.poll(id, patience).await?, None)),
                // A connection that broke while it waited was good; those that break at once are likely to go on so.
                Err(error) if error.kind() == ErrorKind::Unavailable && left > 0 => {
                    let was_good = asked.elapsed() > POLL && start.elapsed() <= patience;
                    left = if was_good { BROKEN } else { left - 1 };
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits on a connection of the caller's own; `None` if the pool has no room for one. Another run of the server
    /// than `seen` is a gap already, for which nobody waits.
    async fn wait(&self, id: &str, seen: &str, patience: Duration) -> Result<Option<(Entries, Box<str>)>, Error> {
        let Some(reader) = self.reader().await? else { return Ok(None) };
        let block = (seen.is_empty() || reader.run() == seen).then_some(patience);
        let answer = match block {
            Some(block) if block < COARSE => self.ask_in_time(&reader, id, block).await?,
            block => reader.ask(stream::read(self.name.as_str(), id, block, None)).await?,
        };
        let run = reader.run().into();
        self.give_back(reader);
        let entries = stream::entries(answer).ok_or_else(|| self.shared.strange())?;
        Ok(Some((entries, run)))
    }

    /// Waits for a time shorter than a server that nobody asks anything lets pass until it looks at its clock: it is
    /// asked something.
    async fn ask_in_time(&self, reader: &Dedicated, id: &str, block: Duration) -> Result<Value, Error> {
        let mut answer = pin!(reader.ask(stream::read(self.name.as_str(), id, Some(block), None)));
        match timeout(block + Duration::from_millis(1), answer.as_mut()).await {
            Ok(answer) => answer,
            Err(_) => {
                // Whatever it says, it was woken.
                let make = |_| Request::One(stream::look(self.name.as_str()));
                let _ = self.shared.wire.run(&self.name, Load::Light, make).await;
                answer.await
            }
        }
    }

    /// What stands behind `id`, asked for again and again over the connection of all.
    async fn poll(&self, id: &str, patience: Duration) -> Result<Entries, Error> {
        let start = Instant::now();
        loop {
            let entries = self.entries(id, || None).await?;
            if entries.last.is_some() || !entries.unbroken || start.elapsed() >= patience {
                return Ok(entries);
            }
            sleep(POLL).await;
        }
    }

    /// How long one answer is waited for: short enough that a server silent for longer than a command may take is known
    /// to be dead.
    pub(super) fn patience(&self, wait: Duration) -> Duration {
        (self.shared.wire.timeout() / 2).min(PATIENCE).min(wait)
    }

    /// What stands behind a position, without waiting for anything. What `beside` makes is done in the same round trip.
    pub(super) async fn look(
        &self,
        after: &Position,
        beside: impl Fn() -> Option<Single> + Send + Sync,
    ) -> Result<Batch, Error> {
        let (id, seen) = split(after);
        let entries = self.entries(id, beside).await?;
        self.batch(id, seen, entries, None).await
    }

    /// What stands behind `id` now, asked for over the connection of all, with what `beside` makes.
    async fn entries(&self, id: &str, beside: impl Fn() -> Option<Single> + Send + Sync) -> Result<Entries, Error> {
        let make = |_| stream::read(self.name.as_str(), id, None, beside());
        let answer = self.shared.wire.run(&self.name, Load::Light, make).await?;
        stream::entries(answer).ok_or_else(|| self.shared.strange())
    }

    /// What was read behind `id`, in the run that was `seen` there; `run` is that of now, if it is known.
    async fn batch(&self, id: &str, seen: &str, entries: Entries, run: Option<Box<str>>) -> Result<Batch, Error> {
        let run = run.as_deref().unwrap_or(seen);
        let gap = !entries.unbroken || !seen.is_empty() && run != seen;
        let position = match entries.last {
            Some(last) => position(&last, run),
            // Nothing to go on from: the gap covers what comes before the mark.
            None if !entries.unbroken => position(&self.append(None).await?, run),
            None => position(id, run),
        };
        Ok(Batch { messages: entries.messages, position, gap })
    }

    /// The position of now, of whatever run.
    pub(super) async fn mark(&self) -> Result<Position, Error> {
        Ok(position(&self.append(None).await?, ""))
    }

    /// Closes the connection that nobody waits on.
    pub(super) fn rest(&self) {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// The position of now.
    async fn now(&self) -> Result<Position, Error> {
        let run = match self.reader().await? {
            Some(reader) => {
                let run: Box<str> = reader.run().into();
                self.give_back(reader);
                run
            }
            None => Box::default(),
        };
        Ok(position(&self.append(None).await?, &run))
    }
}

impl Bus for Stream {
    async fn publish(&self, message: Bytes) -> Result<(), Error> {
        self.append(Some(&message)).await.map(drop)
    }

    async fn receive(&self, after: Option<&Position>, wait: Duration) -> Result<Batch, Error> {
        let Some(after) = after else {
            return Ok(Batch { messages: Vec::new(), position: self.now().await?, gap: false });
        };
        let (id, seen) = split(after);
        let (entries, run) = self.read(id, seen, wait).await?;
        self.batch(id, seen, entries, run).await
    }
}

/// The id and the run of a position.
fn split(position: &Position) -> (&str, &str) {
    position.as_str().split_once('@').unwrap_or((position.as_str(), ""))
}

/// The id of an entry, and the run of the server that gave it.
fn position(id: &str, run: &str) -> Position {
    Position::new(format!("{id}@{run}"))
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("name", &self.name).finish_non_exhaustive()
    }
}
