//! Pushes: what a server says was changed.
//!
//! It names every key below a prefix that anybody writes, removes or lets expire, the cache's own writes included:
//! several changes within one turn of the server are one push, so it cannot be told whose they were, and none is passed
//! over for having been one's own. Names that the cache keeps for itself are.

use std::collections::HashSet;
use std::mem::take;

use redis::{PushInfo, PushKind, Value};
use tokio::sync::watch;

use crate::backends::LeaseToken;
use crate::key::Key;

/// What was pushed over one connection and not yet told.
#[derive(Debug)]
pub(super) struct Pushes {
    names: Names,
    heard: watch::Sender<Heard>,
}

#[derive(Debug)]
struct Names {
    /// What all keys of the cache begin with.
    prefix: Box<str>,
    stream: Box<str>,
    /// What the names of this connection's beats begin with.
    beat: Box<str>,
}

/// What was pushed.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// The entries that were changed.
    pub(super) keys: HashSet<Box<str>>,
    /// Everything was, or more than anybody remembers.
    pub(super) everything: bool,
    /// The stream was.
    pub(super) stream: bool,
    /// The youngest beat that came back.
    pub(super) beat: u64,
    /// The connection is no more.
    pub(super) ended: bool,
}

/// Entries remembered one by one.
const MOST: usize = 10_000;

impl Pushes {
    /// What goes with the stream of this name: its prefix is the name without its last part.
    pub(super) fn new(stream: &Key) -> Self {
        let stream = stream.as_str();
        let prefix = stream.rsplit_once(':').map_or(stream, |(prefix, _)| prefix);
        let beat = format!("{prefix}:beat:{:032x}:", LeaseToken::random().as_u128());
        let names = Names { prefix: prefix.into(), stream: stream.into(), beat: beat.into() };
        Self { names, heard: watch::Sender::default() }
    }

    pub(super) fn prefix(&self) -> &str {
        &self.names.prefix
    }

    /// The name of the key that the beat of this number writes. No other beat has it.
    pub(super) fn beat(&self, number: u64) -> String {
        format!("{}{number}", self.names.beat)
    }

    /// Takes what the connection was sent.
    pub(super) fn take(&self, push: PushInfo) {
        self.heard.send_if_modified(|heard| heard.note(push, &self.names));
    }

    /// Waits until what was heard is as `wanted`.
    pub(super) async fn wait(&self, wanted: impl FnMut(&Heard) -> bool) {
        let mut heard = self.heard.subscribe();
        // The sender outlives this call, so the wait ends with what is waited for.
        let _ = heard.wait_for(wanted).await;
    }

    /// Whether the beat of this number came back.
    pub(super) fn has_beat(&self, number: u64) -> bool {
        self.heard.borrow().beat >= number
    }

    /// Whether the stream was changed since this was asked last.
    pub(super) fn take_stream(&self) -> bool {
        let mut was = false;
        self.heard.send_if_modified(|heard| {
            was = take(&mut heard.stream);
            false
        });
        was
    }

    /// What was heard and not told yet.
    pub(super) fn drain(&self) -> Heard {
        let mut told = Heard::default();
        self.heard.send_if_modified(|heard| {
            let (keys, everything) = (take(&mut heard.keys), take(&mut heard.everything));
            told = Heard { keys, everything, stream: heard.stream, beat: heard.beat, ended: heard.ended };
            false
        });
        told
    }
}

impl Heard {
    /// Whether there is anything to tell.
    pub(super) fn is_news(&self) -> bool {
        self.stream || self.everything || self.ended || !self.keys.is_empty()
    }

    /// Returns whether anybody has to know.
    fn note(&mut self, push: PushInfo, names: &Names) -> bool {
        match (push.kind, push.data.first()) {
            (PushKind::Invalidate, Some(Value::Array(keys))) => {
                keys.iter().filter(|key| self.note_key(key, names)).count() > 0
            }
            // All databases were flushed.
            (PushKind::Invalidate, _) => {
                self.everything = true;
                true
            }
            (PushKind::Disconnection, _) => {
                self.ended = true;
                true
            }
            _ => false,
        }
    }

    fn note_key(&mut self, key: &Value, names: &Names) -> bool {
        let Value::BulkString(bytes) = key else { return false };
        let Ok(text) = std::str::from_utf8(bytes) else { return false };
        if text == &*names.stream {
            self.stream = true;
            return true;
        }
        if let Some(number) = text.strip_prefix(&*names.beat) {
            self.beat = self.beat.max(number.parse().unwrap_or(0));
            return true;
        }
        if text.len() > Key::MAX_LEN || !text.strip_prefix(&*names.prefix).is_some_and(is_entry) {
            return false;
        }
        if self.keys.len() < MOST {
            self.keys.insert(text.into());
        } else {
            self.everything = true;
        }
        true
    }
}

/// Whether what stands behind the head of a namespace names an entry, of whatever tenant. Reserved names have one `:`
/// more.
fn is_entry(rest: &str) -> bool {
    let colons = rest.bytes().filter(|byte| *byte == b':').count();
    !rest.is_empty() && colons == usize::from(rest.starts_with('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushes() -> Pushes {
        Pushes::new(&Key::from_text("users::bus"))
    }

    fn push(keys: &[&str]) -> PushInfo {
        let keys = keys.iter().map(|key| Value::BulkString(key.as_bytes().to_vec())).collect();
        PushInfo { kind: PushKind::Invalidate, data: vec![Value::Array(keys)] }
    }

    #[test]
    fn entries_are_told_once_and_reserved_names_never() {
        let pushes = pushes();
        assert_eq!(pushes.prefix(), "users:");
        pushes.take(push(&["users:1", "users:1", "users:eu/2", "users:@acme:3", "users:#0a"]));
        pushes.take(push(&["users:1:lock", "users:@acme:3:lock", "users::ns", "users:1:chunk:0", "users:", "pages:1"]));
        let mut keys: Vec<_> = pushes.drain().keys.into_iter().collect();
        keys.sort_unstable();
        assert_eq!(keys, ["users:#0a", "users:1", "users:@acme:3", "users:eu/2"].map(Box::from));
        assert!(!pushes.drain().is_news());
    }

    #[test]
    fn only_the_own_beats_count() {
        let (own, other) = (pushes(), pushes());
        own.take(push(&[&other.beat(7), &own.beat(2), &own.beat(1)]));
        let heard = own.drain();
        assert!(heard.beat == 2 && !heard.is_news(), "{heard:?}");
    }

    #[test]
    fn a_flush_is_everything_and_so_is_more_than_is_remembered() {
        let flushed = pushes();
        flushed.take(PushInfo { kind: PushKind::Invalidate, data: vec![Value::Nil] });
        assert!(flushed.drain().everything && !flushed.drain().everything);
        let many = pushes();
        for id in 0..=MOST {
            many.take(push(&[&format!("users:{id}")]));
        }
        let heard = many.drain();
        assert!(heard.everything && heard.keys.len() == MOST);
    }

    #[test]
    fn the_stream_and_the_end_are_told_apart() {
        let pushes = pushes();
        pushes.take(push(&["users::bus"]));
        assert!(pushes.take_stream() && !pushes.take_stream());
        pushes.take(PushInfo { kind: PushKind::Disconnection, data: vec![] });
        assert!(pushes.drain().ended && pushes.drain().ended);
        let strange = [vec![], vec![Value::Int(1)], vec![Value::Array(vec![Value::Int(1)])]];
        strange.into_iter().for_each(|data| pushes.take(PushInfo { kind: PushKind::Invalidate, data }));
        pushes.take(PushInfo { kind: PushKind::Other("later".into()), data: vec![] });
        assert!(pushes.drain().keys.is_empty());
    }
}
