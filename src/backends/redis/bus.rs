//! The bus: a stream that every process appends to.
//!
//! A reader asks for what stands behind the last entry it saw, whether that entry is still there, and whether anything
//! was removed behind it. The server drops the oldest first, so as long as it is, nothing behind it was trimmed. What a
//! crash or a failover took are the newest; so a position says which run of the server it is of, and any other run is a
//! gap.
//!
//! A stream can be lost in other ways: it is removed, replaced by something of another type, has used up its ids, or has
//! an entry that is longer than any message, which a reader removes with the stream. To
//! all readers that is a gap; the first process that appends to it, a message or the mark at which a reader goes on,
//! begins a new stream under the same name, so that processes need not agree on another.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::entries::{self, Entries};
use super::followers::Heard;
use super::hub::Hub;
use super::request::{Single, SizeClass};
use super::stream::{self, Id};
use super::streams::Known;
use super::{Shared, append};
use crate::bus::{Batch, Bus, Position};
use crate::error::{Error, ErrorKind};
use crate::key::Key;

/// The stream under a reserved key.
pub(super) struct Stream {
    shared: Arc<Shared>,
    name: Key,
    hub: Hub,
    /// Who this is to the hub.
    follower: u64,
    known: Arc<Known>,
}

/// How often a stream is asked that the hub cannot listen to.
const POLL: Duration = Duration::from_millis(25);

impl Stream {
    pub(super) fn new(shared: Arc<Shared>, name: Key) -> Self {
        // In a cluster one command names the streams of one slot, so each has a hub of its own.
        let hub = if shared.router.is_single_node() { shared.hub.clone() } else { Hub::default() };
        let follower = hub.join();
        let known = shared.streams.get(&name);
        Self { shared, name, hub, follower, known }
    }

    /// What stands behind `id`, asked for again and again over the connection of all.
    async fn poll(&self, id: Id, wait: Duration) -> Result<Entries, Error> {
        let (start, wait) = (Instant::now(), stream::patience(self.shared.router.timeout(), wait));
        loop {
            let entries = self.entries(id, || None).await?;
            if entries.last.is_some() || !entries.unbroken || start.elapsed() >= wait {
                return Ok(entries);
            }
            sleep(POLL).await;
        }
    }

    /// What stands behind a position, without waiting for anything. What `beside` makes is done in the same round trip.
    pub(super) async fn look(
        &self,
        after: &Position,
        beside: impl Fn() -> Option<Single> + Send + Sync,
    ) -> Result<Batch, Error> {
        let (id, seen) = split(after)?;
        let entries = self.entries(id, beside).await?;
        self.batch(id, seen, entries, None).await
    }

    /// What stands behind `id` now, asked for over the connection of all, with what `beside` makes.
    async fn entries(&self, id: Id, beside: impl Fn() -> Option<Single> + Send + Sync) -> Result<Entries, Error> {
        let make = |_| stream::read(self.name.as_str(), id, beside());
        match self.shared.router.run(&self.name, SizeClass::Small, make).await {
            // No cache writes a message that is too long, and no reader gets past it: the stream goes with it.
            Err(error) if error.kind() == ErrorKind::TooLarge => {
                append::remove(&self.shared, &self.name).await?;
                Ok(Entries::lost())
            }
            answer => entries::entries(answer?, id).ok_or_else(|| self.shared.strange()),
        }
    }

    /// What was read behind `id`, in the run that was `seen` there; `run` is that of now, if it is known.
    async fn batch(&self, id: Id, seen: &str, entries: Entries, run: Option<Box<str>>) -> Result<Batch, Error> {
        let run = run.as_deref().unwrap_or(seen);
        let gap = !entries.unbroken || !seen.is_empty() && run != seen;
        let position = match entries.last {
            Some(last) => {
                if !entries.unbroken {
                    // It may have been begun by a message. If this fails, the next message tries again.
                    self.known.lasts.forget();
                    let _ = append::keep(&self.shared, &self.name).await;
                }
                position(last, run)
            }
            // Nothing to go on from: the gap covers what comes before the mark, which begins a new stream if it must.
            None if !entries.unbroken => position(self.append_mark().await?, run),
            None => position(id, run),
        };
        Ok(Batch { messages: entries.messages, position, gap })
    }

    /// The position of now, of whatever run.
    pub(super) async fn mark(&self) -> Result<Position, Error> {
        Ok(position(self.append_mark().await?, ""))
    }

    async fn append_mark(&self) -> Result<Id, Error> {
        let id = append::mark(&self.shared, &self.name).await?;
        self.known.lasts.renewed();
        self.known.appends.store(true, Relaxed);
        Ok(id)
    }

    /// The position of now.
    async fn now(&self, wait: Duration) -> Result<Position, Error> {
        let id = self.append_mark().await?;
        let run = match self.hub.receive(&self.shared, (self.follower, &self.name), (id, ""), wait).await {
            // What came behind it is read from there.
            Ok(Heard::News(_, run) | Heard::Nothing(run)) => run,
            Err(error) if error.is_temporary() => return Err(error),
            Err(_) => Box::default(),
        };
        Ok(position(id, &run))
    }
}

impl Bus for Stream {
    async fn publish(&self, message: Bytes) -> Result<(), Error> {
        if message.len() > stream::LONGEST {
            let length = message.len();
            let message =
                format!("a message of {length} bytes is too long for a bus: it takes up to {}", stream::LONGEST);
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        if !self.known.appends.load(Relaxed) {
            // A server that does not know a command quotes its arguments: of a message, which is no text, the client
            // takes that for a broken connection, and all that is under way on it is lost.
            self.append_mark().await?;
        }
        let lasts = self.known.lasts.is_due();
        append::message(&self.shared, &self.name, &message, lasts).await?;
        if lasts {
            self.known.lasts.renewed();
        }
        Ok(())
    }

    async fn receive(&self, after: Option<&Position>, wait: Duration) -> Result<Batch, Error> {
        let Some(after) = after else {
            return Ok(Batch { messages: Vec::new(), position: self.now(wait).await?, gap: false });
        };
        let (id, seen) = split(after)?;
        let follower = (self.follower, &self.name);
        match self.hub.receive(&self.shared, follower, (id, seen), wait).await {
            Ok(Heard::News(entries, run)) => self.batch(id, seen, entries, Some(run)).await,
            Ok(Heard::Nothing(run)) => Ok(Batch { messages: Vec::new(), position: position(id, &run), gap: false }),
            // It may be about another stream, or about waiting alone.
            Err(error) if !error.is_temporary() => {
                let entries = self.poll(id, wait).await?;
                self.batch(id, seen, entries, None).await
            }
            Err(error) => Err(error),
        }
    }

    /// The reader of all streams waits for this one no longer.
    fn rest(&self) {
        self.hub.leave(self.follower);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.rest();
    }
}

/// The id and the run of a position.
fn split(position: &Position) -> Result<(Id, &str), Error> {
    let (id, run) = position.as_str().split_once('@').unwrap_or((position.as_str(), ""));
    let strange = || Error::new(ErrorKind::Argument, "a position is none of a stream: pass on what the bus gave");
    Id::read(id).map(|id| (id, run)).ok_or_else(strange)
}

/// The id of an entry, and the run of the server that gave it.
fn position(id: Id, run: &str) -> Position {
    Position::new(format!("{id}@{run}"))
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("name", &self.name).finish_non_exhaustive()
    }
}
