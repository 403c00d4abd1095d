//! The tracked bus: the stream, and what the server says itself.
//!
//! Programs that are not ours tell nobody what they change; the server does. While it can be heard, its word also says
//! when to look at the stream, so one connection waits for both. While it cannot, the stream goes on alone, and each
//! batch says that there is a gap: changes may be lost that nobody else would tell of.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::{Instant, timeout, timeout_at};

use super::Shared;
use super::bus::Stream;
use super::tracking::Tracking;
use crate::bus::{Batch, Bus, Position};
use crate::error::{Error, ErrorKind};
use crate::key::Key;
use crate::message::Message;

/// A bus for one reader: what the server said is told once.
pub(super) struct Tracked {
    shared: Arc<Shared>,
    name: Key,
    stream: Stream,
    state: Mutex<State>,
}

#[derive(Clone)]
enum State {
    /// Not heard. Tried again at that time, and then after longer.
    Down(Instant, Duration),
    /// Heard; and whether the gap before that was not told yet.
    Up(Arc<Tracking>, bool),
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
        Self { shared, name, stream, state: Mutex::new(State::Down(Instant::now(), SHORTEST)) }
    }

    /// The state of now, after an attempt to get the server heard if one is due.
    async fn look(&self) -> State {
        let (due, pause) = match self.state().clone() {
            State::Down(due, pause) => (due, pause),
            state => return state,
        };
        if due > Instant::now() {
            return State::Down(due, pause);
        }
        let opened = Tracking::open(&self.shared, &self.name).await;
        let state = match opened {
            Ok(tracking) => {
                self.stream.rest();
                State::Up(Arc::new(tracking), true)
            }
            Err(error) if error.kind() == ErrorKind::Unsupported => State::Refused(Some(error)),
            Err(_) => State::Down(Instant::now() + pause, (pause * 2).min(LONGEST)),
        };
        self.state().clone_from(&state);
        state
    }

    /// What is heard while the server is.
    async fn follow(&self, tracking: &Tracking, after: &Position, wait: Duration) -> Result<Batch, Error> {
        let (pushes, asked) = (tracking.pushes(), Instant::now());
        pushes.take_stream();
        let beat = tracking.due(wait);
        let mut batch = self.stream.look(after, || Some(tracking.beat(beat?))).await?;
        if let Some(number) = beat
            && !tracking.returned(number, asked).await
        {
            self.lose(&mut batch);
            return Ok(batch);
        }
        if batch.position == *after && !batch.gap {
            let until = asked + self.stream.patience(wait);
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
            self.lose(&mut batch);
        }
        Ok(batch)
    }

    /// The server is heard no more: whatever was changed since may be lost.
    fn lose(&self, batch: &mut Batch) {
        batch.gap = true;
        *self.state() = State::Down(Instant::now(), SHORTEST);
    }

    /// Takes note that the gap before the server was heard is told of.
    fn settle(&self, tracking: &Arc<Tracking>) {
        let mut state = self.state();
        if matches!(&*state, State::Up(current, _) if Arc::ptr_eq(current, tracking)) {
            *state = State::Up(Arc::clone(tracking), false);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A change is one assignment: there is nothing half done to find.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Bus for Tracked {
    async fn publish(&self, message: Bytes) -> Result<(), Error> {
        self.stream.publish(message).await
    }

    async fn receive(&self, after: Option<&Position>, wait: Duration) -> Result<Batch, Error> {
        match (self.look().await, after) {
            (State::Up(tracking, _), None) => {
                let position = self.stream.mark().await?;
                self.settle(&tracking);
                Ok(Batch { messages: Vec::new(), position, gap: false })
            }
            (State::Up(tracking, true), Some(after)) => {
                let mut batch = self.stream.look(after, || None).await?;
                self.settle(&tracking);
                batch.gap = true;
                Ok(batch)
            }
            (State::Up(tracking, false), Some(after)) => self.follow(&tracking, after, wait).await,
            (State::Refused(Some(error)), Some(_)) => {
                *self.state() = State::Refused(None);
                Err(error)
            }
            (State::Refused(_), after) => self.stream.receive(after, wait).await,
            (State::Down(..), after) => {
                let mut batch = self.stream.receive(after, wait).await?;
                batch.gap |= after.is_some();
                Ok(batch)
            }
        }
    }
}

impl fmt::Debug for Tracked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heard = matches!(&*self.state(), State::Up(..));
        f.debug_struct("Tracked").field("name", &self.name).field("heard", &heard).finish_non_exhaustive()
    }
}
