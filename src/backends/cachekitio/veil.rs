//! What the client may see of an answer: its head, and how long its body is.
//!
//! ureq writes the bytes that it receives to the program's log (level TRACE), and a library cannot turn that off. So it
//! gets zeros in place of a body, which is kept here. On the way every length is bounded, interim answers are left out,
//! and an answer is refused if it leaves a doubt about where it ends.

use super::head::{Framing, number};

/// The longest head of an answer, interim ones and trailers included, in bytes.
pub(super) const MAX_HEAD: usize = 16 << 10;
/// The longest line before a chunk: its length, and extensions.
const MAX_CHUNK_LINE: usize = 256;

/// One answer, while it arrives.
pub(super) struct Veil {
    next: Next,
    /// What has arrived of a head or line.
    text: Vec<u8>,
    /// How many bytes of heads and trailers may still come.
    left: usize,
    body: Vec<u8>,
    /// The most bytes of the body.
    limit: usize,
    /// Whether more has arrived than the answer.
    is_exceeded: bool,
}

/// What comes next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Head,
    /// So many bytes of a body.
    Body(usize),
    ChunkLine,
    /// So many bytes of a chunk.
    Chunk(usize),
    ChunkEnd,
    Trailer,
    /// A body that ends with the connection.
    Open,
    Nothing,
}

impl Veil {
    pub(super) fn new(limit: usize) -> Self {
        Self { next: Next::Head, text: Vec::new(), left: MAX_HEAD, body: Vec::new(), limit, is_exceeded: false }
    }

    /// Takes what arrived, and adds what the client may see of it to `seen`.
    pub(super) fn pass(&mut self, bytes: &[u8], seen: &mut Vec<u8>) -> Result<(), ureq::Error> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = match self.next {
                Next::Head => self.line(rest, b"\r\n\r\n", self.left, seen, Self::end_head)?,
                Next::ChunkLine => self.line(rest, b"\r\n", MAX_CHUNK_LINE, seen, Self::end_chunk_line)?,
                Next::ChunkEnd => self.line(rest, b"\r\n", 2, seen, |_, _| Some(Next::ChunkLine))?,
                Next::Trailer => self.line(rest, b"\r\n", self.left, seen, Self::end_trailer)?,
                Next::Body(length) => self.hide(rest, length, seen, Next::Body, Next::Nothing)?,
                Next::Chunk(length) => self.hide(rest, length, seen, Next::Chunk, Next::ChunkEnd)?,
                Next::Open => self.hide(rest, usize::MAX, seen, |_| Next::Open, Next::Nothing)?,
                Next::Nothing => {
                    self.is_exceeded = true;
                    return Ok(());
                }
            };
            rest = &rest[taken..];
        }
        Ok(())
    }

    /// Whether the connection has nothing but this answer on it, so far.
    pub(super) fn is_alone(&self) -> bool {
        !self.is_exceeded
    }

    pub(super) fn into_body(mut self) -> Vec<u8> {
        self.body.shrink_to_fit();
        self.body
    }

    /// Takes bytes up to `end`, of at most `limit`, and has `then` say what comes after them.
    fn line(
        &mut self,
        bytes: &[u8],
        end: &[u8],
        limit: usize,
        seen: &mut Vec<u8>,
        then: impl FnOnce(&mut Self, &mut Vec<u8>) -> Option<Next>,
    ) -> Result<usize, ureq::Error> {
        for (at, byte) in bytes.iter().enumerate() {
            if self.text.len() >= limit {
                return Err(strange());
            }
            self.text.push(*byte);
            if *byte == b'\n' && !self.text.ends_with(b"\r\n") {
                // The client would take it for the end of a line.
                return Err(strange());
            }
            if self.text.ends_with(end) {
                self.next = then(self, seen).ok_or_else(strange)?;
                self.text.clear();
                return Ok(at + 1);
            }
        }
        Ok(bytes.len())
    }

    fn end_head(&mut self, seen: &mut Vec<u8>) -> Option<Next> {
        self.left -= self.text.len();
        let next = match Framing::of(&self.text)? {
            Framing::Interim => return Some(Next::Head),
            Framing::Length(0) => Next::Nothing,
            Framing::Length(length) => Next::Body(length),
            Framing::Chunked => Next::ChunkLine,
            Framing::Open => Next::Open,
        };
        seen.extend_from_slice(&self.text);
        Some(next)
    }

    fn end_chunk_line(&mut self, seen: &mut Vec<u8>) -> Option<Next> {
        let digits = self.text.split(|byte| matches!(byte, b';' | b' ' | b'\t' | b'\r')).next()?;
        let length = number(digits, 16)?;
        seen.extend_from_slice(format!("{length:x}\r\n").as_bytes());
        Some(if length == 0 { Next::Trailer } else { Next::Chunk(length) })
    }

    fn end_trailer(&mut self, seen: &mut Vec<u8>) -> Option<Next> {
        self.left -= self.text.len();
        if self.text != b"\r\n" {
            return Some(Next::Trailer);
        }
        seen.extend_from_slice(b"\r\n");
        Some(Next::Nothing)
    }

    /// Keeps bytes of the body, of which `length` are left, and shows as many zeros.
    fn hide(
        &mut self,
        bytes: &[u8],
        length: usize,
        seen: &mut Vec<u8>,
        more: impl FnOnce(usize) -> Next,
        then: Next,
    ) -> Result<usize, ureq::Error> {
        let (part, room) = (&bytes[..bytes.len().min(length)], self.limit - self.body.len());
        if part.len() > room {
            return Err(ureq::Error::BodyExceedsLimit(self.limit as u64));
        }
        if self.body.len() + part.len() > self.body.capacity() {
            // Memory is asked for as bytes arrive, not as they are announced.
            self.body.reserve_exact(self.body.len().max(part.len()).min(room));
        }
        self.body.extend_from_slice(part);
        seen.resize(seen.len() + part.len(), 0);
        let left = length - part.len();
        self.next = if left == 0 { then } else { more(left) };
        if then == Next::ChunkEnd && left == 0 {
            seen.extend_from_slice(b"\r\n");
        }
        Ok(part.len())
    }
}

/// The answer is none that the service gives.
pub(super) fn strange() -> ureq::Error {
    ureq::Error::Other("the answer is not HTTP as it was asked for".into())
}

#[cfg(test)]
mod tests;
