//! One stream that is listened to: how far it was read, what was read, and when to look whether entries were removed.

use std::time::Duration;

use tokio::time::Instant;

use super::entries::Entries;
use super::stream::Id;
use crate::key::Key;

/// A stream that a receiver listens to.
pub(super) struct Followed {
    pub(super) name: Key,
    /// The last entry that was read.
    pub(super) read: Id,
    /// The run of the server in which it was.
    pub(super) run: Box<str>,
    /// Whether there is, or may be, something to read.
    pub(super) due: bool,
    /// The last place at which the server was asked whether entries were removed, and when that was.
    checked: Id,
    asked: Option<Instant>,
    /// Whether something was read since.
    is_unchecked: bool,
    /// The moment at which nothing stood behind `read`.
    pub(super) proven: Option<Instant>,
    /// What was read and not taken yet.
    pub(super) news: Option<News>,
    /// How long one wait may be.
    pub(super) wait: Duration,
}

/// What was read behind a place.
pub(super) struct News {
    pub(super) after: Id,
    pub(super) entries: Entries,
    pub(super) run: Box<str>,
    /// Whether the run is another than that of the place.
    pub(super) has_moved: bool,
}

impl News {
    pub(super) fn is_urgent(&self) -> bool {
        !self.entries.messages.is_empty() || !self.entries.unbroken || self.has_moved
    }
}

/// What is to be read of one stream.
pub(super) struct Due {
    pub(super) follower: u64,
    pub(super) name: Key,
    pub(super) read: Id,
    /// The place behind which no entry may have been removed, if the server is to be asked about that.
    pub(super) checked: Option<Id>,
}

/// How often the server is asked whether entries were removed from a stream that is read all the time. No program of
/// this library removes any; another may.
const CHECKED: Duration = Duration::from_secs(1);
/// Messages of one stream that wait to be taken. A receiver that leaves more reads them anew.
const MOST: usize = 2_000;

impl Followed {
    /// Everything behind `after` is to be read.
    pub(super) fn new(name: Key, after: Id, run: Box<str>, wait: Duration) -> Self {
        let (read, checked) = (after, after);
        let (asked, proven, news) = (None, None, None);
        Self { name, read, run, due: true, checked, asked, is_unchecked: false, proven, news, wait }
    }

    /// Everything is to be read again, and the server to be asked about it, on a new connection.
    pub(super) fn begin(&mut self) {
        self.due |= self.read != Id::NOWHERE;
        self.asked = None;
    }

    /// Whether it is time to ask about what was read without.
    pub(super) fn is_to_check(&self) -> bool {
        self.is_unchecked && self.to_check().is_some()
    }

    /// The place behind which no entry may have been removed, if it is time to ask.
    pub(super) fn to_check(&self) -> Option<Id> {
        self.asked.is_none_or(|asked| asked.elapsed() >= CHECKED).then_some(self.checked)
    }

    /// Notes what was read by a request that was sent then.
    pub(super) fn note(&mut self, due: &Due, is_empty: bool, sent: Instant) {
        (self.due, self.proven) = (false, Some(sent));
        self.is_unchecked = due.checked.is_none();
        if due.checked.is_some() {
            (self.checked, self.asked) = (due.read, Some(sent));
        } else if is_empty {
            // There was news, and it is gone: the server is asked now.
            (self.due, self.asked) = (true, None);
        }
    }

    /// The place up to which its receiver knows everything.
    pub(super) fn given(&self) -> Id {
        self.news.as_ref().map_or(self.read, |news| news.after)
    }

    /// Whether what it has read is of another run of the server than this one.
    pub(super) fn is_of_another(&self, run: Option<&str>) -> bool {
        !self.run.is_empty() && run.is_some_and(|run| *run != *self.run)
    }

    /// Adds what was read behind the last entry.
    pub(super) fn add(&mut self, entries: Entries, has_moved: bool) {
        let after = self.read;
        self.read = entries.last.unwrap_or(after);
        let run = self.run.clone();
        match &mut self.news {
            Some(news) => {
                news.entries.messages.extend(entries.messages);
                if entries.last.is_some() || !entries.unbroken {
                    news.entries.last = entries.last;
                }
                news.entries.unbroken &= entries.unbroken;
                news.run = run;
                news.has_moved |= has_moved;
            }
            None => self.news = Some(News { after, entries, run, has_moved }),
        }
        if self.news.as_ref().is_some_and(|News { entries, .. }| !entries.unbroken || entries.messages.len() > MOST) {
            // Its receiver goes on from a place of its own.
            self.read = Id::NOWHERE;
        }
    }
}
