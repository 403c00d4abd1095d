//! Where the text of a key is written, if it has to be.
//!
//! On the stack while it is short, which spares a hit the heap.

use super::escape::{ESCAPES, PLAIN, are_plain};
use super::name::Rest;

/// Room for what stands behind the head of a key that is not shortened.
const ROOM: usize = 184;

/// The text of a key behind its head, as far as it is written. ASCII.
pub(super) struct Text {
    short: [u8; ROOM],
    len: usize,
    /// The whole of it, once it is too long for that.
    long: Option<String>,
}

impl Text {
    #[inline]
    pub(super) fn new() -> Self {
        Self { short: [0; ROOM], len: 0, long: None }
    }

    /// What is written so far.
    #[inline]
    pub(super) fn as_rest(&self) -> Rest<'_> {
        match &self.long {
            None => Rest::Written(&self.short[..self.len]),
            Some(long) => Rest::Text(long),
        }
    }

    /// Appends text, and escapes the bytes that do not stand for themselves.
    #[inline]
    pub(super) fn escaped(&mut self, text: &str) {
        if are_plain(text) { self.plain(text) } else { self.escape(text) }
    }

    /// Appends text that needs no escapes.
    #[inline]
    pub(super) fn plain(&mut self, text: &str) {
        self.append(text.as_bytes());
    }

    #[inline]
    fn append(&mut self, text: &[u8]) {
        match self.short[self.len..].get_mut(..text.len()) {
            Some(place) if self.long.is_none() => {
                place.copy_from_slice(text);
                self.len += text.len();
            }
            _ => self.spill(text),
        }
    }

    /// Appends text of which some bytes are escaped.
    pub(super) fn escape(&mut self, text: &str) {
        let mut rest = text.as_bytes();
        while let Some(at) = rest.iter().position(|byte| !PLAIN[usize::from(*byte)]) {
            self.append(&rest[..at]);
            self.append(&ESCAPES[usize::from(rest[at]) * 3..][..3]);
            rest = &rest[at + 1..];
        }
        self.append(rest);
    }

    /// Appends text where there is no room for it on the stack.
    #[cold]
    fn spill(&mut self, more: &[u8]) {
        let Self { short, len, long } = self;
        let ascii = |bytes: &[u8]| bytes.iter().map(|byte| char::from(*byte)).collect::<String>();
        long.get_or_insert_with(|| ascii(&short[..*len])).push_str(&ascii(more));
    }
}
