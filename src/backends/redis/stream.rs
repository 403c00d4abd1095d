//! Streams: the ids of entries, and what is asked about them.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use redis::Cmd;

use super::request::{Request, Single};
use super::spoiled::is_of_another_type;
use crate::clock::millis;
use crate::key::Key;

/// The id of an entry. Ids grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    millis: u64,
    number: u64,
}

impl Id {
    /// That of no entry.
    pub(super) const NOWHERE: Self = Self { millis: 0, number: 0 };
    /// The last there can be: nothing is ever added behind it.
    pub(super) const LAST: Self = Self { millis: u64::MAX, number: u64::MAX };

    pub(super) fn read(text: &str) -> Option<Self> {
        let (millis, number) = text.split_once('-')?;
        Some(Self { millis: digits(millis)?, number: digits(number)? })
    }

    /// Whether it is of a later time than `wall`, in milliseconds since the Unix epoch. A stream that starts anew begins
    /// before it, so that a reader who waits behind it is not woken.
    pub(super) fn is_ahead(self, wall: u64) -> bool {
        self.millis > wall
    }

    /// The id behind which this one is the first there can be.
    fn before(self) -> Self {
        match self.number.checked_sub(1) {
            Some(number) => Self { number, ..self },
            None => Self { millis: self.millis.saturating_sub(1), number: u64::MAX },
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.millis, self.number)
    }
}

/// Digits alone: no sign, which the parser would take.
fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// About how many entries a stream keeps.
const KEPT: u32 = 10_000;
/// How long a stream outlives its last entry, in milliseconds: seven days.
pub(super) const LIFE: u32 = 7 * 24 * 60 * 60 * 1_000;
/// The most entries of one answer.
pub(super) const MOST: u32 = 1_000;
/// The longest message, and the longest entry of several, in bytes: of a longer entry a reader takes nothing.
pub(super) const LONGEST: usize = 1_024;
/// The field that holds a message; an entry may have several. One without it marks a position and says nothing.
pub(super) const MESSAGE: &[u8] = b"m";
pub(super) const HELLO: &[u8] = b"hello";

/// Appends a message, or an entry that marks the position of now. If it `lasts`, the server is told how long the stream
/// is kept.
pub(super) fn append(name: &str, message: Option<&[u8]>, lasts: bool) -> Request {
    let (field, value) = message.map_or((HELLO, &b""[..]), |message| (MESSAGE, message));
    let mut add = Cmd::with_capacity(8, name.len() + value.len() + 32);
    add.arg("XADD").arg(name).arg("MAXLEN").arg("~").arg(KEPT).arg("*").arg(field).arg(value);
    if !lasts {
        return Request::One(add.into());
    }
    Request::All(vec![add.into(), keep(name)])
}

/// Appends messages as one entry.
pub(super) fn append_all(name: &str, messages: &[Bytes]) -> Cmd {
    let length: usize = messages.iter().map(|message| message.len() + 1).sum();
    let mut add = Cmd::with_capacity(6 + 2 * messages.len(), name.len() + length + 32);
    add.arg("XADD").arg(name).arg("MAXLEN").arg("~").arg(KEPT).arg("*");
    for message in messages {
        add.arg(MESSAGE).arg(&message[..]);
    }
    add
}

/// Lets a stream be kept from now on.
pub(super) fn keep(name: &str) -> Single {
    let mut keep = Cmd::with_capacity(3, name.len() + 24);
    keep.arg("PEXPIRE").arg(name).arg(LIFE);
    keep.into()
}

/// Reads what stands behind `after`, and whether it is all. Ends with `beside`.
pub(super) fn read(name: &str, after: Id, beside: Option<Single>) -> Request {
    Request::All([about(name)].into_iter().chain(read_one(name, after)).chain(beside).collect())
}

/// The same of several streams. What the server says of each is asked only where that is `checked`.
pub(super) fn read_each<'a>(places: impl Iterator<Item = (&'a Key, Id, bool)>) -> Request {
    let each = |(name, after, checked): (&'a Key, Id, bool)| {
        checked.then(|| about(name.as_str())).into_iter().chain(read_one(name.as_str(), after))
    };
    Request::All(places.flat_map(each).collect())
}

/// What the server says of a stream. Asked before it is read, so that what is appended in between is only read, and
/// never missed.
fn about(name: &str) -> Single {
    let mut about = Cmd::with_capacity(3, name.len() + 16);
    about.arg("XINFO").arg("STREAM").arg(name);
    // Less is known of a stream that the server says nothing about: no such key, or no such command.
    Single::look(about, |_| true)
}

/// What stands behind `after`, and then that entry itself.
fn read_one(name: &str, after: Id) -> [Single; 2] {
    let after = after.to_string();
    let mut read = Cmd::with_capacity(6, name.len() + after.len() + 32);
    read.arg("XREAD").arg("COUNT").arg(MOST).arg("STREAMS").arg(name).arg(&after);
    let mut entry = Cmd::with_capacity(6, name.len() + 2 * after.len() + 16);
    entry.arg("XRANGE").arg(name).arg(&after).arg(&after).arg("COUNT").arg(1);
    [Single::look(read, is_of_another_type), Single::look(entry, is_of_another_type)]
}

/// Waits for `block` until there is something behind any of these places. Then `looks` whether their own entries are
/// still there.
pub(super) fn wait(places: &[(Key, Id)], block: Option<Duration>, looks: bool) -> Request {
    let mut waits = redis::cmd("XREAD");
    waits.arg("COUNT").arg(1);
    if let Some(block) = block {
        waits.arg("BLOCK").arg(millis(block).max(1));
    }
    let waits = at(waits, places, |place| place);
    let mut look = redis::cmd("XREAD");
    look.arg("COUNT").arg(1);
    let look = looks.then(|| at(look, places, Id::before).into());
    Request::All(std::iter::once(waits.into()).chain(look).collect())
}

fn at(mut read: Cmd, places: &[(Key, Id)], of: impl Fn(Id) -> Id) -> Cmd {
    read.arg("STREAMS");
    for (name, _) in places {
        read.arg(name.as_str());
    }
    for (_, place) in places {
        read.arg(of(*place).to_string());
    }
    read
}

/// A question about the stream whose answer is of no use.
pub(super) fn look(name: &str) -> Single {
    let mut exists = Cmd::with_capacity(2, name.len() + 8);
    exists.arg("EXISTS").arg(name);
    exists.into()
}

/// The longest wait for messages of those who leave it to the bus.
const PATIENCE: Duration = Duration::from_secs(10);
/// A wait up to here is kept as it is asked for.
const SHORT: Duration = Duration::from_secs(2);

/// How long one answer is waited for. Where that is left to the bus, short enough that a server silent for longer than
/// a command may take is known to be dead.
pub(super) fn patience(command: Duration, wait: Duration) -> Duration {
    if wait <= SHORT { wait } else { (command / 2).min(PATIENCE).min(wait) }
}
