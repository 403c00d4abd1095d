//! Stored entries: what is under a key, whatever its type.
//!
//! For tools that look at what caches have stored. They know no types of the program, so they read the header, take the
//! codecs off that it names, and show what is left.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

#[cfg(feature = "encryption")]
use crate::codec::Keyring;
use crate::codec::{Context, Keys, KnownStack};
use crate::error::ErrorKind;
use crate::event::{MissReason, Unreadable};
use crate::frame::{self, Header};
use crate::key::Key;

mod text;

/// An entry as the backend has it, of whatever type: its header is read, its value is not.
///
/// [`Cache::stored`](crate::Cache::stored) and [`Cache::sample`](crate::Cache::sample) give it. What the ledger says was
/// forgotten by tag or by namespace is not looked at. `Debug` shows no key and no value.
#[derive(Clone)]
pub struct Stored {
    key: Key,
    bytes: Bytes,
    header: Option<(Header, usize)>,
    /// When it expired ahead of its time.
    ended: Option<u64>,
    /// By the wall clock, when it was read.
    now: u64,
}

/// What an entry is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EntryState {
    /// It answers calls.
    Fresh,
    /// It answers calls, and is renewed.
    Stale,
    /// It stands in for a failing computation.
    Expired,
    /// There is nothing that could be used.
    Missing(MissReason),
}

impl EntryState {
    /// Its name, as the `cachekit` command prints it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Stale => "stale",
            Self::Expired => "expired",
            Self::Missing(_) => "missing",
        }
    }
}

/// A value without its type.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Plain {
    /// Its codec names what it writes: the value as JSON.
    Text(String),
    /// Its codec writes neither names nor kinds: the bytes that it wrote.
    Bytes(Bytes),
}

impl Stored {
    /// What is stored as `bytes` under a key, where the wall clock shows `now`.
    pub(crate) fn new(key: Key, bytes: Bytes, now: u64) -> Self {
        let (bytes, ended) = frame::strip_expiry(bytes);
        let header = Header::split(&bytes).map(|(header, head, _)| (header, head.len()));
        Self { key, bytes, header, ended, now }
    }

    /// The key, as the backend has it.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The bytes as they are stored, the header included; joined, if they were split.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// How many of them are the header.
    pub fn header_len(&self) -> usize {
        self.header.as_ref().map_or(0, |(_, length)| *length)
    }

    /// What it is good for, by its dates and the clock of this machine. What is no entry that this version reads is
    /// [`EntryState::Missing`].
    pub fn state(&self) -> EntryState {
        let Some((header, _)) = &self.header else { return EntryState::Missing(MissReason::Unreadable) };
        match self.now.saturating_sub(header.created) {
            _ if self.ended.is_some() => EntryState::Expired,
            age if age >= header.ttl => EntryState::Expired,
            age if age >= header.fresh_for => EntryState::Stale,
            _ => EntryState::Fresh,
        }
    }

    /// How long ago it was made; `None` if it is no entry.
    pub fn since(&self) -> Option<Duration> {
        let (header, _) = self.header.as_ref()?;
        Some(Duration::from_millis(self.now.saturating_sub(header.created)))
    }

    /// How much longer it lives until it expires; zero once it has.
    pub fn remaining(&self) -> Duration {
        let Some((header, _)) = self.header.as_ref().filter(|_| self.ended.is_none()) else { return Duration::ZERO };
        Duration::from_millis(header.created.saturating_add(header.ttl).saturating_sub(self.now.max(header.created)))
    }

    /// How long its computation took.
    pub fn cost(&self) -> Option<Duration> {
        self.header.as_ref().map(|(header, _)| Duration::from_micros(header.cost))
    }

    /// How many tags it has, that of its domain included.
    pub fn tags(&self) -> usize {
        self.header.as_ref().map_or(0, |(header, _)| header.labels.tags.len())
    }

    /// The codecs that wrote it, such as `checked(postcard)`, if they are this library's.
    pub fn stack(&self) -> Option<String> {
        self.known_stack().map(KnownStack::name)
    }

    /// Whether its value is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.known_stack().is_some_and(KnownStack::is_encrypted)
    }

    /// Takes the codecs off, and gives the value as far as it can be told without its type. Checksums are checked.
    ///
    /// # Errors
    /// Why it cannot be read; an encrypted one is [`Unreadable::Unauthentic`] here.
    pub fn open(&self) -> Result<Plain, Unreadable> {
        self.open_by(Keys::default())
    }

    /// The same with keys to decrypt with. Entries of a tenant need keys of theirs, and cannot be opened.
    ///
    /// # Errors
    /// As of [`open`](Self::open).
    #[cfg(feature = "encryption")]
    pub fn open_with(&self, keyring: &Keyring) -> Result<Plain, Unreadable> {
        self.open_by(Some(keyring))
    }

    fn known_stack(&self) -> Option<KnownStack> {
        let (header, _) = self.header.as_ref()?;
        KnownStack::find(|name| frame::fingerprint(name) as u32 == header.stack)
    }

    fn open_by(&self, keys: Keys<'_>) -> Result<Plain, Unreadable> {
        let (header, length) = self.header.as_ref().ok_or(Unreadable::Foreign)?;
        if header.key != frame::fingerprint(self.key.as_str()) {
            return Err(Unreadable::Unauthentic);
        }
        let stack = self.known_stack().ok_or(Unreadable::Stack)?;
        let (head, body) = self.bytes.split_at(*length);
        let opened = stack.unwrap(body, Context::new(self.key.as_str(), head), keys);
        let value = opened.map_err(|error| match error.kind() {
            ErrorKind::Unauthentic => Unreadable::Unauthentic,
            ErrorKind::TooLarge => Unreadable::TooLarge,
            _ => Unreadable::Corrupt,
        })?;
        text::plain(stack.base, value).ok_or(Unreadable::Corrupt)
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stored").field("key", &self.key).field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}

/// Whether a key below a namespace is that of an entry, and of nothing that a cache keeps beside entries.
pub(crate) fn is_entry(namespace: &str, key: &str) -> bool {
    let Some(mut rest) = key.strip_prefix(namespace).and_then(|rest| rest.strip_prefix(':')) else { return false };
    while rest.starts_with(['@', '+'])
        && let Some((_, below)) = rest.split_once(':')
    {
        rest = below;
    }
    !rest.is_empty() && !rest.contains(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_entries_are_entries() {
        for key in ["users:1", "users:eu/1", "users:+orders:1", "users:@t:+orders:1", "users:#00ff", "users:a~b"] {
            assert!(is_entry("users", key), "{key}");
        }
        for key in [
            "users:1:lock",
            "users:1:chunk:0",
            "users::bus",
            "users::{ledger-a}:1",
            "users:",
            "other:1",
            "{users:1}:lock",
            "users:+orders:",
        ] {
            assert!(!is_entry("users", key), "{key}");
        }
    }
}
