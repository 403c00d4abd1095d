//! Streams, as they travel.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use redis::{Cmd, Value};

use super::Shared;
use super::wire::{Load, Request, Single};
use crate::clock::millis;
use crate::error::Error;
use crate::key::Key;

/// What stands behind a position.
pub(super) struct Entries {
    pub(super) messages: Vec<Bytes>,
    /// The last entry, if there is any.
    pub(super) last: Option<Id>,
    /// Whether the entry at the position is still there.
    pub(super) unbroken: bool,
}

/// The id of an entry. Ids grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    millis: u64,
    number: u64,
}

impl Id {
    /// That of no entry.
    pub(super) const NOWHERE: Self = Self { millis: 0, number: 0 };

    pub(super) fn read(text: &str) -> Option<Self> {
        let (millis, number) = text.split_once('-')?;
        Some(Self { millis: digits(millis)?, number: digits(number)? })
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
const LIFE: u32 = 7 * 24 * 60 * 60 * 1_000;
/// The most entries of one answer.
const MOST: u32 = 1_000;
/// The field that holds a message. An entry without it marks a position and says nothing.
const MESSAGE: &[u8] = b"m";
const HELLO: &[u8] = b"hello";

/// Appends a message, or an entry that marks the position of now.
fn append(name: &str, message: Option<&[u8]>) -> Request {
    let (field, value) = message.map_or((HELLO, &b""[..]), |message| (MESSAGE, message));
    let mut add = Cmd::with_capacity(8, name.len() + value.len() + 32);
    add.arg("XADD").arg(name).arg("MAXLEN").arg("~").arg(KEPT).arg("*").arg(field).arg(value);
    let mut keep = Cmd::with_capacity(3, name.len() + 24);
    keep.arg("PEXPIRE").arg(name).arg(LIFE);
    Request::All(vec![add.into(), keep.into()])
}

/// Appends an entry to a stream, and returns its id.
pub(super) async fn add(shared: &Shared, name: &Key, message: Option<&[u8]>) -> Result<Id, Error> {
    let answer = shared.wire.run(name, Load::Light, |_| append(name.as_str(), message)).await?;
    appended(answer).ok_or_else(|| shared.strange())
}

/// The id in the answer to [`append`].
fn appended(answer: Value) -> Option<Id> {
    id(array(answer)?.into_iter().next()?)
}

/// Reads what stands behind `after`, and then that entry itself. Ends with `beside`.
pub(super) fn read(name: &str, after: Id, beside: Option<Single>) -> Request {
    Request::All(read_one(name, after).into_iter().chain(beside).collect())
}

/// The same of several streams.
pub(super) fn read_each<'a>(places: impl Iterator<Item = (&'a Key, Id)>) -> Request {
    Request::All(places.flat_map(|(name, after)| read_one(name.as_str(), after)).collect())
}

fn read_one(name: &str, after: Id) -> [Single; 2] {
    let after = after.to_string();
    let mut read = Cmd::with_capacity(6, name.len() + after.len() + 32);
    read.arg("XREAD").arg("COUNT").arg(MOST).arg("STREAMS").arg(name).arg(&after);
    let mut entry = Cmd::with_capacity(6, name.len() + 2 * after.len() + 16);
    entry.arg("XRANGE").arg(name).arg(&after).arg(&after).arg("COUNT").arg(1);
    [read.into(), entry.into()]
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

/// The streams of an answer to [`wait`] that have to be read: there is something behind the place, or the entry that
/// stood there is gone.
pub(super) fn news(answer: Value, places: &[(Key, Id)]) -> Option<Vec<Box<str>>> {
    let mut answers = array(answer)?.into_iter();
    let mut news: Vec<_> = streams(answers.next()?)?.into_iter().map(|(name, _)| name).collect();
    if let Some(looked) = answers.next() {
        let mut there = Vec::new();
        for (name, entries) in streams(looked)? {
            let [first, _] = <[Value; 2]>::try_from(array(entries.into_iter().next()?)?).ok()?;
            there.push((name, id(first)?));
        }
        let is_there =
            |(name, place): &&(Key, Id)| there.iter().any(|(found, id)| **found == *name.as_str() && id == place);
        news.extend(places.iter().filter(|place| !is_there(place)).map(|(name, _)| name.as_str().into()));
    }
    Some(news)
}

/// A question about the stream whose answer is of no use.
pub(super) fn look(name: &str) -> Single {
    let mut exists = Cmd::with_capacity(2, name.len() + 8);
    exists.arg("EXISTS").arg(name);
    exists.into()
}

/// The answer to [`read`], whatever was asked beside it.
pub(super) fn entries(answer: Value) -> Option<Entries> {
    let mut answers = array(answer)?.into_iter();
    behind(answers.next()?, answers.next()?)
}

/// The answer to [`read_each`].
pub(super) fn each(answer: Value) -> Option<Vec<Entries>> {
    let (mut answers, mut each) = (array(answer)?.into_iter(), Vec::new());
    while let Some(read) = answers.next() {
        each.push(behind(read, answers.next()?)?);
    }
    Some(each)
}

fn behind(read: Value, entry: Value) -> Option<Entries> {
    let unbroken = !array(entry)?.is_empty();
    let listed = streams(read)?.into_iter().next().map(|(_, listed)| listed).unwrap_or_default();
    let (mut messages, mut last) = (Vec::with_capacity(listed.len()), None);
    for entry in listed {
        let [place, fields] = <[Value; 2]>::try_from(array(entry)?).ok()?;
        last = Some(id(place)?);
        messages.extend(message(fields)?);
    }
    Some(Entries { messages, last, unbroken })
}

/// The streams of an answer to XREAD that have something, and what.
fn streams(read: Value) -> Option<Vec<(Box<str>, Vec<Value>)>> {
    let pairs: Vec<(Value, Value)> = match read {
        Value::Nil => Vec::new(),
        Value::Map(streams) => streams,
        read => {
            let pair = |stream| <[Value; 2]>::try_from(array(stream)?).ok().map(|[name, listed]| (name, listed));
            array(read)?.into_iter().map(pair).collect::<Option<_>>()?
        }
    };
    pairs.into_iter().map(|(name, listed)| Some((text(name)?, array(listed)?))).collect()
}

fn id(value: Value) -> Option<Id> {
    Id::read(&text(value)?)
}

/// The message of an entry; `Some(None)` for one that has none.
fn message(fields: Value) -> Option<Option<Bytes>> {
    let mut fields = array(fields)?.into_iter();
    match (fields.next()?, fields.next()?) {
        (Value::BulkString(name), Value::BulkString(value)) => Some((name == MESSAGE).then(|| value.into())),
        _ => None,
    }
}

fn array(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(values) => Some(values),
        _ => None,
    }
}

pub(super) fn text(value: Value) -> Option<Box<str>> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes).ok().map(Into::into),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text.into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    fn entry(id: &str, field: &str, value: &str) -> Value {
        Value::Array(vec![bulk(id), Value::Array(vec![bulk(field), bulk(value)])])
    }

    #[test]
    fn both_protocols_give_messages_in_order_and_hide_marks() {
        let listed = || Value::Array(vec![entry("1-0", "m", "a"), entry("2-0", "hello", ""), entry("3-0", "m", "")]);
        let resp2 = Value::Array(vec![Value::Array(vec![bulk("s"), listed()])]);
        let resp3 = Value::Map(vec![(bulk("s"), listed())]);
        for read in [resp2, resp3] {
            let there = Value::Array(vec![entry("0-1", "m", "z")]);
            let found = entries(Value::Array(vec![read, there])).unwrap();
            assert_eq!((found.messages, found.last), (vec!["a".into(), Bytes::new()], Id::read("3-0")));
            assert!(found.unbroken);
        }
    }

    #[test]
    fn nothing_new_and_an_entry_gone_are_told_apart() {
        let found = entries(Value::Array(vec![Value::Nil, Value::Array(vec![])])).unwrap();
        assert_eq!((found.messages.len(), found.last, found.unbroken), (0, None, false));
    }

    #[test]
    fn strange_answers_are_no_entries() {
        let odd = [Value::Okay, Value::Int(1), bulk("x"), Value::Array(vec![]), Value::Array(vec![Value::Int(1)])];
        for value in &odd {
            assert!(entries(value.clone()).is_none(), "{value:?}");
            let listed = Value::Array(vec![Value::Array(vec![bulk("s"), Value::Array(vec![value.clone()])])]);
            assert!(entries(Value::Array(vec![listed, Value::Array(vec![])])).is_none(), "{value:?}");
            assert!(appended(Value::Array(vec![value.clone()])).is_none() || matches!(value, Value::BulkString(_)));
        }
    }
}
