//! The tracked bus: the stream, and what the server says itself.
//!
//! Programs that are not ours do not tell what they change; the server does. While it can be heard, its word also says
//! when to look at the stream, so one connection waits for both. While it cannot, the stream goes on alone, and each
//! batch says that there is a gap: changes may be lost that nothing else would tell of. A position names the connection
//! that was heard when it was given; behind that of any other there is a gap, too.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::{Instant, timeout, timeout_at};

use super::Shared;
use super::bus::Stream;
use super::stream;
use super::tracking::Tracking;
use crate::backends::LeaseToken;
use crate::bus::{Batch, Bus, Position};
use crate::error::{Error, ErrorKind};
use crate::key::Key;
use crate::message::Message;

/// A bus for one reader: what the server said is told once.
pub(super) struct Tracked {
    shared: Arc<Shared>,
    name: Key,
    /// Tells its positions from those of other readers.
    reader: Box<str>,
    stream: Stream,
    state: Mutex<State>,
    /// Held by the task that tries to get the server heard.
    opening: AsyncMutex<()>,
}

#[derive(Clone)]
enum State {
    /// Not heard. Tried again at that time, and then after longer.
    Down(Instant, Duration),
    /// Heard.
    Up(Arc<Tracking>),
    /// Of no use with this server; and why, until it was told.
    Refused(Option<Error>),
}

const SHORTEST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(5);
/// How long further changes are waited for, which come in crowds.
const LINGER: Duration = Duration::from_millis(5);
/// Who sent a message that no cache has sent.
const NOBODY: u64 = 0;

impl Tracked {
    pub(super) fn new(shared: Arc<Shared>, name: Key) -> Self {
        let stream = Stream::new(Arc::clone(&shared), name.clone());
        let reader = format!("{:x}", LeaseToken::random().as_u128()).into();
        let state = Mutex::new(State::Down(Instant::now(), SHORTEST));
        Self { shared, name, reader, stream, state, opening: AsyncMutex::default() }
    }

    /// The state of now, after an attempt to get the server heard if one is due.
    async fn look(&self) -> State {
        let _opening = self.opening.lock().await;
        let pause = match self.state().clone() {
            State::Down(due, pause) if due <= Instant::now() => pause,
            state => return state,
        };
        let state = match Tracking::open(&self.shared, &self.name).await {
            Ok(tracking) => {
                self.stream.rest();
                State::Up(Arc::new(tracking))
            }
            Err(error) if error.kind() == ErrorKind::Unsupported => State::Refused(Some(error)),
            Err(_) => State::Down(Instant::now() + pause, (pause * 2).min(LONGEST)),
        };
        self.state().clone_from(&state);
        state
    }

    /// What is heard while the server is.
    async fn follow(&self, tracking: &Arc<Tracking>, after: &Position, wait: Duration) -> Result<Batch, Error> {
        let (pushes, asked) = (tracking.pushes(), Instant::now());
        pushes.take_stream();
        let mut batch = self.check(tracking, after, wait).await?;
        if batch.position == *after && !batch.gap {
            let until = asked + stream::patience(self.shared.router.timeout(), wait);
            let _ = timeout_at(until, pushes.wait(|heard| heard.is_news())).await;
            let _ = timeout(LINGER, pushes.wait(|heard| heard.stream || heard.ended || heard.keys.is_empty())).await;
            if pushes.take_stream() {
                batch = self.stream.look(after, || None).await?;
            }
        }
        // Nothing is waited for from here on: what is taken is told.
        let heard = pushes.drain();
        batch.messages.extend(heard.keys.iter().map(|key| Message::Key(key).to_bytes(NOBODY)));
        batch.gap |= heard.everything;
        if heard.ended {
            self.lose(tracking, &mut batch);
        }
        Ok(batch)
    }

    /// What the stream has, and with it a beat if one is due.
    async fn check(&self, tracking: &Arc<Tracking>, after: &Position, wait: Duration) -> Result<Batch, Error> {
        let sent = Instant::now();
        let Some(number) = tracking.due(wait) else { return self.stream.look(after, || None).await };
        match self.stream.look(after, || Some(tracking.beat(number))).await {
            Ok(mut batch) => {
                if !tracking.returned(number, sent).await {
                    self.lose(tracking, &mut batch);
                }
                Ok(batch)
            }
            // A server that takes no writes may still be read from: it is not known whether it is heard.
            Err(_) => {
                let mut batch = self.stream.look(after, || None).await?;
                tracking.spare(sent);
                batch.gap = true;
                Ok(batch)
            }
        }
    }

    /// The server is heard no more: whatever was changed since may be lost.
    fn lose(&self, tracking: &Arc<Tracking>, batch: &mut Batch) {
        batch.gap = true;
        let mut state = self.state();
        if matches!(&*state, State::Up(current) if Arc::ptr_eq(current, tracking)) {
            *state = State::Down(Instant::now(), SHORTEST);
        }
    }

    /// A place in the stream, where the connection of this name is heard.
    fn named(&self, place: &Position, session: &str) -> Position {
        Position::new(format!("{}~{}{session}", place.as_str(), self.reader))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A change is one assignment: there is nothing half done to find.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bus for Tracked {
    async fn publish(&self, message: Bytes) -> Result<(), Error> {
        self.stream.publish(message).await
    }

    async fn receive(&self, after: Option<&Position>, wait: Duration) -> Result<Batch, Error> {
        let (after, named) = after.map(split).unzip();
        // Of what another reader was told, nothing is lost to this one.
        let session = named.and_then(|named: &str| named.strip_prefix(&*self.reader));
        match (self.look().await, after) {
            (State::Up(tracking), None) => {
                let position = self.named(&self.stream.mark().await?, tracking.session());
                Ok(Batch { messages: Vec::new(), position, gap: false })
            }
            (State::Up(tracking), Some(after)) => {
                let mut batch = match session {
                    Some(session) if session == tracking.session() => self.follow(&tracking, &after, wait).await?,
                    _ => self.stream.look(&after, || None).await?,
                };
                batch.gap |= session.is_some_and(|session| session != tracking.session());
                batch.position = self.named(&batch.position, tracking.session());
                Ok(batch)
            }
            (State::Refused(Some(error)), Some(_)) => {
                *self.state() = State::Refused(None);
                Err(error)
            }
            (State::Refused(_), after) => self.stream.receive(after.as_ref(), wait).await,
            (State::Down(..), after) => {
                let mut batch = self.stream.receive(after.as_ref(), wait).await?;
                batch.gap |= after.is_some();
                batch.position = self.named(&batch.position, "");
                Ok(batch)
            }
        }
    }

    fn rest(&self) {
        self.stream.rest();
    }
}

/// A place in the stream, and whose connection was heard there.
fn split(position: &Position) -> (Position, &str) {
    let (place, session) = position.as_str().rsplit_once('~').unwrap_or((position.as_str(), ""));
    (Position::new(place), session)
}

impl fmt::Debug for Tracked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heard = matches!(&*self.state(), State::Up(..));
        f.debug_struct("Tracked").field("name", &self.name).field("heard", &heard).finish_non_exhaustive()
    }
}
