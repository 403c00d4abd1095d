//! Entries: what the answers about a stream say.

use bytes::Bytes;
use redis::Value;

use super::stream::{HELLO, Id, MESSAGE, MOST};
use crate::key::Key;

/// What stands behind a position.
pub(super) struct Entries {
    pub(super) messages: Vec<Bytes>,
    /// The last entry, if there is any to go on from.
    pub(super) last: Option<Id>,
    /// Whether nothing behind the position is lost.
    pub(super) unbroken: bool,
}

impl Entries {
    /// Of a stream that is lost.
    pub(super) fn lost() -> Self {
        Self { messages: Vec::new(), last: None, unbroken: false }
    }
}

/// The answer to [`read`](super::stream::read), whatever was asked beside it.
pub(super) fn entries(answer: Value, after: Id) -> Option<Entries> {
    behind(after, Some(after), &mut array(answer)?.into_iter())
}

/// The answer to [`read_each`](super::stream::read_each). With each place comes the one behind which nothing may have
/// been removed, if the server was asked about that.
pub(super) fn each(answer: Value, places: impl Iterator<Item = (Id, Option<Id>)>) -> Option<Vec<Entries>> {
    let mut answers = array(answer)?.into_iter();
    let each = places.map(|(after, checked)| behind(after, checked, &mut answers)).collect();
    answers.next().is_none().then_some(each).flatten()
}

/// Nothing is lost if the entry at the position is still there, nothing behind it was removed, all that is there can be
/// read, and more can be added. The server drops the oldest first, so what it drops behind the position takes that entry
/// along.
fn behind(after: Id, checked: Option<Id>, answers: &mut impl Iterator<Item = Value>) -> Option<Entries> {
    let about = About::read(if checked.is_some() { answers.next()? } else { Value::Nil });
    let listed = streams(answers.next()?)?.into_iter().next().map(|(_, listed)| listed).unwrap_or_default();
    let is_there = !listed_of(answers.next()?)?.is_empty();
    let is_all = listed.len() < MOST as usize;
    let (mut messages, mut last, mut is_read) = (Vec::with_capacity(listed.len()), after, true);
    for entry in listed {
        let [place, fields] = <[Value; 2]>::try_from(array(entry)?).ok()?;
        let place = id(place)?;
        is_read &= place > last;
        last = last.max(place);
        is_read &= read_fields(fields, &mut messages);
    }
    // The last that was ever added, or that was removed: servers before version 7 do not tell which were.
    let ends = last == Id::LAST || about.removed > last || is_all && about.last > last;
    let unbroken = is_there && is_read && about.removed <= checked.unwrap_or(after) && !ends;
    Some(Entries { messages, last: (last != after && !ends).then_some(last), unbroken })
}

/// What the server says of a stream: the last entry that was ever added to it, and the last of those that were removed
/// from its middle.
struct About {
    last: Id,
    removed: Id,
}

impl About {
    /// A server that says nothing knows of nothing.
    fn read(answer: Value) -> Self {
        let mut about = Self { last: Id::NOWHERE, removed: Id::NOWHERE };
        let pairs: Vec<(Value, Value)> = match answer {
            Value::Map(pairs) => pairs,
            Value::Array(parts) => {
                let mut parts = parts.into_iter();
                std::iter::from_fn(|| parts.next().zip(parts.next())).collect()
            }
            _ => Vec::new(),
        };
        for (name, value) in pairs {
            let place = match text(name).as_deref() {
                Some("last-generated-id") => &mut about.last,
                Some("max-deleted-entry-id") => &mut about.removed,
                _ => continue,
            };
            *place = id(value).unwrap_or(*place);
        }
        about
    }
}

/// The streams of an answer to [`wait`](super::stream::wait) that have to be read: there is something behind the place,
/// or the entry that stood there is gone.
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

/// The id in the answer to what appends an entry.
pub(super) fn appended(answer: Value) -> Option<Id> {
    match answer {
        Value::Array(answers) => id(answers.into_iter().next()?),
        answer => id(answer),
    }
}

/// The streams of an answer to XREAD that have something, and what.
fn streams(read: Value) -> Option<Vec<(Box<str>, Vec<Value>)>> {
    let pairs: Vec<(Value, Value)> = match read {
        Value::Map(streams) => streams,
        read => {
            let pair = |stream| <[Value; 2]>::try_from(array(stream)?).ok().map(|[name, listed]| (name, listed));
            listed_of(read)?.into_iter().map(pair).collect::<Option<_>>()?
        }
    };
    pairs.into_iter().map(|(name, listed)| Some((text(name)?, array(listed)?))).collect()
}

/// Takes the messages of an entry; one that marks a position has none. False if it is not known what the entry says: no
/// cache of this library has written it, or it was damaged.
fn read_fields(fields: Value, messages: &mut Vec<Bytes>) -> bool {
    let mut fields = array(fields).unwrap_or_default().into_iter();
    let before = messages.len();
    loop {
        match (fields.next(), fields.next()) {
            (Some(Value::BulkString(name)), Some(Value::BulkString(value))) if name == MESSAGE => {
                messages.push(value.into());
            }
            (Some(Value::BulkString(name)), Some(_)) if name == HELLO && messages.len() == before => return true,
            (None, _) => return messages.len() > before,
            _ => return false,
        }
    }
}

fn id(value: Value) -> Option<Id> {
    Id::read(&text(value)?)
}

fn array(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(values) => Some(values),
        _ => None,
    }
}

/// The same of an answer that may be nothing.
fn listed_of(value: Value) -> Option<Vec<Value>> {
    if value == Value::Nil { Some(Vec::new()) } else { array(value) }
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

    fn place(text: &str) -> Id {
        Id::read(text).unwrap()
    }

    /// What is read behind `1-0`, which is there, of a stream about which the server says this.
    fn read(about: &[(&str, &str)], listed: Vec<Value>) -> Entries {
        let about = about.iter().map(|(name, id)| (bulk(name), bulk(id))).collect();
        let listed = if listed.is_empty() { Value::Nil } else { Value::Map(vec![(bulk("s"), Value::Array(listed))]) };
        let there = Value::Array(vec![entry("1-0", "m", "z")]);
        entries(Value::Array(vec![Value::Map(about), listed, there]), place("1-0")).unwrap()
    }

    #[test]
    fn both_protocols_give_messages_in_order_and_hide_marks() {
        let listed = || Value::Array(vec![entry("1-0", "m", "a"), entry("2-0", "hello", ""), entry("3-0", "m", "")]);
        let resp2 = Value::Array(vec![Value::Array(vec![bulk("s"), listed()])]);
        let resp3 = Value::Map(vec![(bulk("s"), listed())]);
        let about = ["last-generated-id", "3-0", "entries-added", "4"].map(bulk).to_vec();
        for (read, about) in [(resp2, Value::Array(about)), (resp3, Value::Nil)] {
            let there = Value::Array(vec![entry("0-1", "m", "z")]);
            let found = entries(Value::Array(vec![about, read, there]), place("0-1")).unwrap();
            assert_eq!((found.messages, found.last), (vec!["a".into(), Bytes::new()], Id::read("3-0")));
            assert!(found.unbroken);
        }
    }

    #[test]
    fn entry_may_have_several_messages_and_nothing_else() {
        let fields = |fields: &[&str]| {
            let entry = Value::Array(vec![bulk("2-0"), Value::Array(fields.iter().map(|field| bulk(field)).collect())]);
            let found = read(&[], vec![entry]);
            (found.messages, found.unbroken)
        };
        assert_eq!(fields(&["m", "a", "m", "b"]), (vec!["a".into(), "b".into()], true));
        for odd in [&["m", "a", "x", "b"][..], &["m", "a", "m"], &["m", "a", "hello", ""], &["x", "a"], &[]] {
            assert!(!fields(odd).1, "{odd:?}");
        }
    }

    #[test]
    fn nothing_new_and_an_entry_gone_are_told_apart() {
        for gone in [Value::Array(vec![]), Value::Nil] {
            let found = entries(Value::Array(vec![Value::Nil, Value::Nil, gone]), place("1-0")).unwrap();
            assert_eq!((found.messages.len(), found.last, found.unbroken), (0, None, false));
        }
        let found = read(&[("last-generated-id", "1-0")], vec![]);
        assert_eq!((found.messages.len(), found.last, found.unbroken), (0, None, true));
    }

    #[test]
    fn message_deleted_after_the_position_is_lost_not_one_before() {
        let listed = || vec![entry("3-0", "m", "a")];
        for (removed, unbroken) in [("0-0", true), ("0-9", true), ("1-0", true), ("2-0", false)] {
            let found = read(&[("last-generated-id", "3-0"), ("max-deleted-entry-id", removed)], listed());
            assert_eq!((found.last, found.unbroken), (Id::read("3-0"), unbroken), "{removed}");
        }
        // The last ones are: by what a server of version 7 says, and by what an older one does.
        for about in
            [&[("last-generated-id", "4-0"), ("max-deleted-entry-id", "4-0")][..], &[("last-generated-id", "4-0")]]
        {
            for listed in [listed(), vec![]] {
                let found = read(about, listed);
                assert_eq!((found.last, found.unbroken), (None, false), "nothing to go on from");
            }
        }
    }

    #[test]
    fn what_was_removed_since_the_last_check_may_not_have_been_read() {
        let about = Value::Map(vec![(bulk("max-deleted-entry-id"), bulk("3-0"))]);
        let there = || Value::Array(vec![entry("4-0", "m", "z")]);
        for (checked, unbroken) in [("2-0", false), ("3-0", true), ("4-0", true)] {
            let answers = Value::Array(vec![about.clone(), Value::Nil, there()]);
            let found = each(answers, [(place("4-0"), Some(place(checked)))].into_iter()).unwrap();
            assert_eq!(found[0].unbroken, unbroken, "{checked}");
        }
    }

    #[test]
    fn foreign_stream_entry_may_have_been_a_message_and_is_a_gap() {
        let odd = [
            entry("2-0", "x", "y"),
            Value::Array(vec![bulk("2-0"), Value::Nil]),
            Value::Array(vec![bulk("2-0"), Value::Array(vec![bulk("m"), Value::Int(1)])]),
        ];
        for entry in odd {
            let found = read(&[("last-generated-id", "2-0")], vec![entry]);
            assert_eq!((found.messages.len(), found.last, found.unbroken), (0, Id::read("2-0"), false));
        }
    }

    #[test]
    fn behind_the_last_id_there_is_nothing_to_wait_for() {
        let last = Id::LAST.to_string();
        let found = read(&[("last-generated-id", &last)], vec![entry(&last, "hello", "")]);
        assert_eq!((found.last, found.unbroken), (None, false));
    }

    #[test]
    fn strange_answers_are_no_entries() {
        let after = place("1-0");
        let odd = [Value::Okay, Value::Int(1), bulk("x"), Value::Array(vec![]), Value::Array(vec![Value::Int(1)])];
        for value in &odd {
            assert!(entries(value.clone(), after).is_none(), "{value:?}");
            let listed = Value::Array(vec![Value::Array(vec![bulk("s"), Value::Array(vec![value.clone()])])]);
            let answers = Value::Array(vec![Value::Nil, listed, Value::Array(vec![])]);
            assert!(entries(answers, after).is_none(), "{value:?}");
            assert!(appended(Value::Array(vec![value.clone()])).is_none() || matches!(value, Value::BulkString(_)));
        }
        let one = || [Value::Nil, Value::Nil, Value::Nil];
        assert!(each(Value::Array([one(), one()].concat()), [(after, Some(after))].into_iter()).is_none(), "too many");
        assert!(each(Value::Array(one().to_vec()), [(after, None)].into_iter()).is_none(), "more than was asked");
        assert!(each(Value::Array(one()[1..].to_vec()), [(after, None)].into_iter()).is_some());
    }
}
