//! The followers of streams: how far each has read, what is to be read next, and which task reads for all.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::entries::Entries;
use super::followed::{Due, Followed, News};
use super::stream::Id;
use crate::error::Error;
use crate::key::Key;

/// The receivers that wait for news of streams, and the task that reads for all of them.
#[derive(Default)]
pub(super) struct Followers {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    followed: BTreeMap<u64, Followed>,
    last: u64,
    reader: Option<Reader>,
    /// The number of the last reading.
    reading: u64,
    /// The last failure, and when it was.
    failure: Option<(Instant, Error)>,
}

/// The task that reads.
struct Reader {
    home: runtime::Id,
    task: Option<AbortHandle>,
    alive: Instant,
    /// A stream that it waits for, until a receiver of another one has asked it to look up.
    waits_for: Option<Key>,
}

/// What a reader is to do next.
pub(super) enum Next {
    /// Read what is due.
    Due,
    /// Wait for news of these streams behind these places, for so long.
    Streams(Vec<(Key, Id)>, Duration),
    /// No receiver is left.
    End,
}

/// What a receiver gets.
pub(super) enum Heard {
    News(Entries, Box<str>),
    /// Nothing stood behind its place at some moment after it asked.
    Nothing(Box<str>),
}

/// How long a reader may give no sign of life.
pub(super) const SILENT: Duration = Duration::from_millis(1_500);
impl Followers {
    /// A number for a stream to follow.
    pub(super) fn join(&self) -> u64 {
        let mut state = self.lock();
        state.last += 1;
        state.last
    }

    /// Follows no longer. The reader ends with the last.
    pub(super) fn leave(&self, follower: u64) {
        let mut state = self.lock();
        state.followed.remove(&follower);
        if state.followed.is_empty() {
            state.reading += 1;
            if let Some(task) = state.reader.take().and_then(|reader| reader.task) {
                task.abort();
            }
        }
        drop(state);
        // Another receiver of the same stream may wait still.
        self.changed.notify_waiters();
    }

    /// Follows a stream from a place. Returns the stream by which to wake the reader, if it waits without this one.
    pub(super) fn follow(
        &self,
        (follower, name): (u64, &Key),
        (after, run): (Id, &str),
        wait: Duration,
    ) -> Option<Key> {
        let mut state = self.lock();
        match state.followed.get_mut(&follower) {
            Some(followed) if followed.given() == after => {
                followed.wait = wait;
                return None;
            }
            _ => {}
        }
        let (name, run) = (name.clone(), run.into());
        state.followed.insert(follower, Followed::new(name, after, run, wait));
        state.reader.as_mut().and_then(|reader| reader.waits_for.take())
    }

    /// What there is for a receiver that asked then.
    pub(super) fn heard(&self, follower: u64, asked: Instant) -> Option<Result<Heard, Error>> {
        let mut state = self.lock();
        if let Some((at, error)) = &state.failure
            && *at > asked
        {
            return Some(Err(error.clone()));
        }
        let followed = state.followed.get_mut(&follower)?;
        // Marks alone are no answer while a message may have come behind them.
        let is_all = !followed.due && followed.proven.is_some_and(|proven| proven >= asked);
        match followed.news.take_if(|news| is_all || news.is_urgent()) {
            Some(News { entries, run, .. }) => Some(Ok(Heard::News(entries, run))),
            None => is_all.then(|| Ok(Heard::Nothing(followed.run.clone()))),
        }
    }

    /// Begins a reading on this runtime, unless a living reader goes on.
    pub(super) fn begin(self: &Arc<Self>, runtime: runtime::Id) -> Option<Reading> {
        let mut state = self.lock();
        if state.reader.as_ref().is_some_and(|reader| reader.home == runtime || reader.alive.elapsed() < SILENT) {
            return None;
        }
        if let Some(task) = state.reader.take().and_then(|reader| reader.task) {
            task.abort();
        }
        state.reading += 1;
        state.reader = Some(Reader { home: runtime, task: None, alive: Instant::now(), waits_for: None });
        Some(Reading { followers: Arc::clone(self), number: state.reading })
    }

    /// The task of a reading that has begun. It is ended if the reading has.
    pub(super) fn attend(&self, reading: u64, task: AbortHandle) {
        let mut state = self.lock();
        let goes_on = state.reading == reading;
        match &mut state.reader {
            Some(reader) if goes_on => reader.task = Some(task),
            _ => task.abort(),
        }
    }

    /// Notified whenever there may be something for a receiver.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing between lock and unlock can panic half way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right of a task to read. It ends when another task takes over, and with the last receiver.
pub(super) struct Reading {
    followers: Arc<Followers>,
    number: u64,
}

impl Reading {
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Gives a sign of life. Returns whether the reading goes on.
    pub(super) fn live(&self) -> bool {
        self.with(|state| state.reader.as_mut().map(|reader| reader.alive = Instant::now())).flatten().is_some()
    }

    /// Everything is to be read again, on a new connection. Returns one of the streams.
    pub(super) fn begin(&self) -> Option<Key> {
        self.with(|state| {
            state.followed.values_mut().for_each(Followed::begin);
            state.followed.values().next().map(|followed| followed.name.clone())
        })
        .flatten()
    }

    /// What is to be read now, in this run of the server, if that is known.
    pub(super) fn due(&self, run: Option<&str>) -> Vec<Due> {
        let due = |state: &mut State| {
            let is_due = |followed: &Followed| followed.due || followed.is_of_another(run);
            let due = state.followed.iter().filter(|(_, followed)| is_due(followed));
            due.map(|(follower, followed)| Due {
                follower: *follower,
                name: followed.name.clone(),
                read: followed.read,
                checked: followed.to_check(),
            })
            .collect()
        };
        self.with(due).unwrap_or_default()
    }

    /// Takes what was read of a stream, by a request that was sent then.
    pub(super) fn take(&self, due: &Due, entries: Entries, run: Option<&str>, sent: Instant) {
        self.with(|state| {
            let Some(followed) = state.followed.get_mut(&due.follower).filter(|found| found.read == due.read) else {
                return;
            };
            let has_moved = followed.is_of_another(run);
            let is_news = entries.last.is_some() || !entries.unbroken || has_moved;
            followed.note(due, entries.last.is_none(), sent);
            if let Some(run) = run {
                followed.run = run.into();
            }
            if is_news {
                followed.add(entries, has_moved);
            }
        });
        self.followers.changed.notify_waiters();
    }

    /// What to do next.
    pub(super) fn next(&self) -> Next {
        let next = |state: &mut State| {
            if state.followed.values().any(|followed| followed.due) {
                return Next::Due;
            }
            let mut watched = BTreeMap::<&str, (&Key, Id)>::new();
            let mut wait = Duration::MAX;
            for followed in state.followed.values().filter(|followed| followed.read != Id::NOWHERE) {
                let place = watched.entry(followed.name.as_str()).or_insert((&followed.name, followed.read));
                place.1 = place.1.min(followed.read);
                wait = wait.min(followed.wait);
            }
            let watched: Vec<_> = watched.into_values().map(|(name, place)| (name.clone(), place)).collect();
            if let Some(reader) = &mut state.reader {
                reader.waits_for = watched.first().map(|(name, _)| name.clone());
            }
            if watched.is_empty() { Next::End } else { Next::Streams(watched, wait) }
        };
        self.with(next).unwrap_or(Next::End)
    }

    /// Those of these streams that there is news of are due; of all others it is proven that there is none.
    pub(super) fn heard(&self, watched: &[(Key, Id)], news: &[Box<str>], proven: Instant) {
        self.with(|state| {
            if let Some(reader) = &mut state.reader {
                reader.waits_for = None;
            }
            for followed in state.followed.values_mut() {
                let Some((_, from)) = watched.iter().find(|(name, _)| *name == followed.name) else { continue };
                let is_news = news.iter().any(|name| **name == *followed.name.as_str());
                if is_news || followed.is_to_check() {
                    followed.due = followed.read != Id::NOWHERE;
                } else if *from <= followed.read && !followed.due {
                    followed.proven = followed.proven.max(Some(proven));
                }
            }
        });
        self.followers.changed.notify_waiters();
    }

    /// Tells all receivers of a failure, and ends the reading.
    pub(super) fn fail(&self, error: Error) {
        self.with(|state| state.failure = Some((Instant::now(), error)));
    }

    fn with<R>(&self, work: impl FnOnce(&mut State) -> R) -> Option<R> {
        let mut state = self.followers.lock();
        (state.reading == self.number).then(|| work(&mut state))
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.with(|state| state.reader = None);
        self.followers.changed.notify_waiters();
    }
}

impl fmt::Debug for Followers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Followers")
            .field("followed", &state.followed.len())
            .field("reads", &state.reader.is_some())
            .finish_non_exhaustive()
    }
}
