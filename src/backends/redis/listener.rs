//! The listener: the task that waits for news of all streams of a hub.

use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use redis::Value;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::Shared;
use super::dedicated::Dedicated;
use super::entries;
use super::followed::Due;
use super::followers::{Next, Reading};
use super::request::{Request, SizeClass};
use super::spoiled::is_spoiled;
use super::stream::{self, Id};
use crate::clock::{Clock, SystemClock};
use crate::error::{Error, ErrorKind};
use crate::key::Key;

/// How often a reader without a connection of its own asks.
const POLL: Duration = Duration::from_millis(25);
/// How long a reader rests after news, so that many messages come with one read: also those that this process appends.
const REST: Duration = Duration::from_millis(20);
/// How often a reader that waits gives a sign of life.
const BEAT: Duration = Duration::from_millis(500);
/// Connections that may break one after another, each at once.
const BROKEN: u32 = 4;
/// A server wakes at least ten times a second: waits from here on are right enough as it keeps them.
const COARSE: Duration = Duration::from_millis(400);
/// How much earlier than asked a server may end a wait.
const EARLY: Duration = Duration::from_millis(5);
/// One wait in so many looks whether the last entries are still there: news of a flush comes by no other way. Each one
/// does while an id is of a later time than now: what is added to a new stream is no news behind such a one.
const LOOKS: u32 = 8;

pub(super) struct Listener {
    shared: Arc<Shared>,
    reading: Reading,
    /// `None` until it was tried to open one; `Some(None)` where the pool has no room for it.
    connection: Option<Option<Dedicated>>,
    waits: u32,
    /// Until when it rests before it waits again.
    rests: Option<Instant>,
}

impl Listener {
    pub(super) fn new(shared: Arc<Shared>, reading: Reading) -> Self {
        Self { shared, reading, connection: None, waits: 0, rests: None }
    }

    /// Reads until its reading ends. Broken connections are replaced.
    pub(super) async fn run(mut self) {
        let mut left = BROKEN;
        loop {
            let was_open = self.own().is_some();
            match self.step().await {
                // A connection that was only opened is none that works.
                Ok(ControlFlow::Continue(())) if was_open => left = BROKEN,
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => return,
                Err(error) if error.kind() == ErrorKind::Unavailable && left > 0 => {
                    self.connection = None;
                    left -= 1;
                }
                Err(error) => return self.reading.fail(error),
            }
        }
    }

    async fn step(&mut self) -> Result<ControlFlow<()>, Error> {
        if self.connection.is_none() {
            return self.connect().await;
        }
        let due = self.reading.due(self.run_of_server());
        if !due.is_empty() {
            return self.read(due).await;
        }
        if let Some(end) = self.rests.take() {
            return Ok(match self.living(sleep_until(end)).await {
                Some(()) => ControlFlow::Continue(()),
                None => ControlFlow::Break(()),
            });
        }
        match self.reading.next() {
            Next::Due => Ok(ControlFlow::Continue(())),
            Next::Streams(watched, wait) => {
                self.wait(&watched, stream::patience(self.shared.router.timeout(), wait)).await
            }
            Next::End => Ok(ControlFlow::Break(())),
        }
    }

    /// Opens a connection, and looks whether anything was lost since the last one.
    async fn connect(&mut self) -> Result<ControlFlow<()>, Error> {
        let Some(name) = self.reading.begin() else { return Ok(ControlFlow::Break(())) };
        let Some(opened) = self.living(self.shared.router.dedicated(&name)).await else {
            return Ok(ControlFlow::Break(()));
        };
        self.connection = Some(opened?);
        Ok(ControlFlow::Continue(()))
    }

    /// Reads what is due, all of it in one round trip.
    async fn read(&mut self, due: Vec<Due>) -> Result<ControlFlow<()>, Error> {
        let Some(first) = due.first() else { return Ok(ControlFlow::Continue(())) };
        let sent = Instant::now();
        let make = || stream::read_each(due.iter().map(|due| (&due.name, due.read, due.checked.is_some())));
        let Some(answer) = self.living(self.ask(&first.name, make, Duration::ZERO)).await else {
            return Ok(ControlFlow::Break(()));
        };
        let places = due.iter().map(|due| (due.read, due.checked));
        let each = entries::each(answer?, places).ok_or_else(|| self.shared.strange())?;
        if each.iter().any(|entries| entries.messages.len() >= stream::MOST as usize) {
            // There is more.
            self.rests = None;
        }
        for (due, entries) in due.iter().zip(each) {
            self.reading.take(due, entries, self.run_of_server(), sent);
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Waits until there is news of a stream.
    async fn wait(&mut self, watched: &[(Key, Id)], wait: Duration) -> Result<ControlFlow<()>, Error> {
        let Some((first, _)) = watched.first() else { return Ok(ControlFlow::Break(())) };
        let block = self.own().map(|_| wait);
        self.waits += 1;
        let now = SystemClock.wall();
        let is_ahead = watched.iter().any(|(_, place)| place.is_ahead(now));
        let looks = block.is_none() || is_ahead || self.waits.is_multiple_of(LOOKS);
        if block.is_none() {
            sleep(POLL).await;
        }
        let sent = Instant::now();
        let make = || stream::wait(watched, block, looks);
        let answer = async {
            match block {
                Some(block) if block < COARSE => self.ask_in_time(first, make, block).await,
                _ => self.ask(first, make, block.unwrap_or_default()).await,
            }
        };
        let Some(answer) = self.living(answer).await else { return Ok(ControlFlow::Break(())) };
        let answer = match answer {
            Err(error) if is_spoiled(&error) => return Ok(self.find_spoiled().await),
            answer => answer?,
        };
        let news = entries::news(answer, watched).ok_or_else(|| self.shared.strange())?;
        if !news.is_empty() && block.is_some() {
            self.rests = Some(Instant::now() + REST);
        }
        // Where a wait ends without news, there was none until then.
        let waited = if news.is_empty() { block.unwrap_or_default().saturating_sub(EARLY) } else { Duration::ZERO };
        self.reading.heard(watched, &news, sent + waited);
        Ok(ControlFlow::Continue(()))
    }

    /// One of the streams is none any more, and hides what there is of the others: each is read alone.
    async fn find_spoiled(&self) -> ControlFlow<()> {
        // A server that goes on saying so is not asked without end.
        sleep(POLL).await;
        if self.reading.begin().is_some() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    /// Asks over the connection of this reader, else over that of all. An answer may take `wait` longer than others.
    async fn ask(&self, name: &Key, make: impl Fn() -> Request + Send + Sync, wait: Duration) -> Result<Value, Error> {
        match self.own() {
            Some(connection) => connection.ask(make(), wait).await,
            None => self.shared.router.run(name, SizeClass::Small, |_| make()).await,
        }
    }

    /// Waits for a short time. A server that is asked nothing looks at its clock less often than that, so it is asked
    /// something when the time is over.
    async fn ask_in_time(
        &self,
        name: &Key,
        make: impl Fn() -> Request + Send + Sync,
        block: Duration,
    ) -> Result<Value, Error> {
        let mut answer = pin!(self.ask(name, make, block));
        match timeout(block + Duration::from_millis(1), answer.as_mut()).await {
            Ok(answer) => answer,
            Err(_) => {
                // Whatever it says, it was woken.
                let _ =
                    self.shared.router.run(name, SizeClass::Small, |_| Request::One(stream::look(name.as_str()))).await;
                answer.await
            }
        }
    }

    /// What `work` gives, with signs of life meanwhile. `None` if the reading has ended.
    async fn living<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        loop {
            if !self.reading.live() {
                return None;
            }
            if let Ok(done) = timeout(BEAT, work.as_mut()).await {
                return Some(done);
            }
        }
    }

    /// The run of the server that this reader is connected to.
    fn run_of_server(&self) -> Option<&str> {
        self.own().map(Dedicated::run)
    }

    fn own(&self) -> Option<&Dedicated> {
        self.connection.as_ref()?.as_ref()
    }
}
