//! Streams, as they travel.

use std::time::Duration;

use bytes::Bytes;
use redis::{Cmd, Value};

use super::wire::{Request, Single};
use crate::clock::millis;

/// What stands behind a position.
pub(super) struct Entries {
    pub(super) messages: Vec<Bytes>,
    /// The id of the last entry, if there is any.
    pub(super) last: Option<Box<str>>,
    /// Whether the entry at the position is still there.
    pub(super) unbroken: bool,
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
pub(super) fn append(name: &str, message: Option<&[u8]>) -> Request {
    let (field, value) = message.map_or((HELLO, &b""[..]), |message| (MESSAGE, message));
    let mut add = Cmd::with_capacity(8, name.len() + value.len() + 32);
    add.arg("XADD").arg(name).arg("MAXLEN").arg("~").arg(KEPT).arg("*").arg(field).arg(value);
    let mut keep = Cmd::with_capacity(3, name.len() + 24);
    keep.arg("PEXPIRE").arg(name).arg(LIFE);
    Request::All(vec![add.into(), keep.into()])
}

/// The id in the answer to [`append`].
pub(super) fn appended(answer: Value) -> Option<Box<str>> {
    text(array(answer)?.into_iter().next()?)
}

/// Reads what stands behind `after`, and then that entry itself; waits for `block` if nothing does. Ends with `beside`.
pub(super) fn read(name: &str, after: &str, block: Option<Duration>, beside: Option<Single>) -> Request {
    let mut read = Cmd::with_capacity(8, name.len() + after.len() + 48);
    read.arg("XREAD").arg("COUNT").arg(MOST);
    if let Some(block) = block {
        read.arg("BLOCK").arg(millis(block).max(1));
    }
    read.arg("STREAMS").arg(name).arg(after);
    let mut entry = Cmd::with_capacity(6, name.len() + 2 * after.len() + 16);
    entry.arg("XRANGE").arg(name).arg(after).arg(after).arg("COUNT").arg(1);
    Request::All([read.into(), entry.into()].into_iter().chain(beside).collect())
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
    let (read, entry) = (answers.next()?, answers.next()?);
    let unbroken = !array(entry)?.is_empty();
    let listed = match read {
        Value::Nil => Vec::new(),
        Value::Map(streams) => array(streams.into_iter().next()?.1)?,
        read => array(array(array(read)?.into_iter().next()?)?.into_iter().nth(1)?)?,
    };
    let (mut messages, mut last) = (Vec::with_capacity(listed.len()), None);
    for entry in listed {
        let [id, fields] = <[Value; 2]>::try_from(array(entry)?).ok()?;
        last = Some(text(id)?);
        messages.extend(message(fields)?);
    }
    Some(Entries { messages, last, unbroken })
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
            assert_eq!((found.messages, found.last.as_deref()), (vec!["a".into(), Bytes::new()], Some("3-0")));
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
