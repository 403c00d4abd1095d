//! HTTP/1.1 over any stream: a request written, an answer read, and every length bounded.
//!
//! Heads are parsed by `httparse`, which keeps no log: what a path, a header and a body hold is told to nobody. What
//! leaves a doubt about where an answer ends is refused, since the rest would be taken for the next one.

use std::io::{self, Read};

use httparse::{EMPTY_HEADER, Status};

use super::fault::Fault;

/// The longest head of an answer, and the most bytes of interim answers and trailers, in bytes.
const MAX_HEAD: usize = 16 << 10;
/// The most headers of an answer.
const MAX_HEADERS: usize = 64;
/// The longest line before a chunk: its length, and extensions.
const MAX_CHUNK_LINE: usize = 256;
/// How much is read from a stream at once, at most.
const READ: usize = 16 << 10;

/// The status line and headers of an answer.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: u16,
    headers: Vec<(String, Vec<u8>)>,
    /// Whether the server keeps the connection.
    keeps: bool,
}

impl Head {
    /// The first header of this name.
    pub(super) fn get(&self, name: &str) -> Option<&[u8]> {
        self.all(name).next()
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let named = self.headers.iter().filter(move |(own, _)| own.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_slice())
    }

    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Where the body of an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none.
    None,
    Length(usize),
    Chunked,
    /// With the connection: it cannot be told from one that was cut off.
    Open,
}

impl Framing {
    /// The framing of the answer to a request, of which `HEAD` has no body.
    pub(super) fn of(head: &Head, is_head: bool) -> Result<Self, Fault> {
        if is_head || matches!(head.status, 204 | 304) {
            return Ok(Self::None);
        }
        let (mut encodings, mut lengths) = (head.all("transfer-encoding"), head.all("content-length"));
        match (encodings.next(), lengths.next()) {
            (None, None) => Ok(Self::Open),
            (Some(encoding), None) if encoding.eq_ignore_ascii_case(b"chunked") && encodings.next().is_none() => {
                Ok(Self::Chunked)
            }
            (None, Some(length)) if lengths.all(|other| other == length) => {
                number(length, 10).map(Self::Length).ok_or(Fault::Strange)
            }
            _ => Err(Fault::Strange),
        }
    }
}

/// A stream of answers.
pub(super) struct Answers<S> {
    stream: S,
    /// What has been read; from `start` on it has not been used.
    bytes: Vec<u8>,
    start: usize,
    /// How many bytes of heads and trailers this answer may still have.
    left: usize,
}

impl<S: Read> Answers<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, bytes: Vec::new(), start: 0, left: MAX_HEAD }
    }

    /// The head of the answer; interim ones before it are passed over.
    pub(super) fn head(&mut self) -> Result<Head, Fault> {
        loop {
            let text = self.until(b"\r\n\r\n", self.left)?;
            self.left -= text.len();
            let head = parse(&text)?;
            match head.status {
                // Nothing else was asked to be spoken here.
                101 | ..100 => return Err(Fault::Strange),
                100..200 => {}
                _ => return Ok(head),
            }
        }
    }

    /// A body of up to `limit` bytes.
    pub(super) fn body(&mut self, framing: Framing, limit: usize) -> Result<Vec<u8>, Fault> {
        match framing {
            Framing::None => Ok(Vec::new()),
            Framing::Length(length) if length > limit => Err(Fault::TooLong(limit)),
            Framing::Length(length) => {
                let mut body = Vec::new();
                self.take(length, length, &mut body)?;
                Ok(body)
            }
            Framing::Chunked => self.chunks(limit),
            Framing::Open => Err(Fault::Strange),
        }
    }

    /// Whether the connection may carry another request after an answer with this head.
    pub(super) fn is_reusable(&self, head: &Head) -> bool {
        head.keeps && self.start == self.bytes.len()
    }

    fn chunks(&mut self, limit: usize) -> Result<Vec<u8>, Fault> {
        let mut body = Vec::new();
        loop {
            let line = self.until(b"\r\n", MAX_CHUNK_LINE)?;
            let digits = line.split(|byte| matches!(byte, b';' | b' ' | b'\t' | b'\r')).next().unwrap_or_default();
            match number(digits, 16).ok_or(Fault::Strange)? {
                0 => break,
                length if length > limit - body.len() => return Err(Fault::TooLong(limit)),
                length => self.take(length, limit, &mut body)?,
            }
            if self.until(b"\r\n", 2)? != b"\r\n" {
                return Err(Fault::Strange);
            }
        }
        loop {
            let trailer = self.until(b"\r\n", self.left)?;
            self.left -= trailer.len();
            if trailer == b"\r\n" {
                body.shrink_to_fit();
                return Ok(body);
            }
        }
    }

    /// Adds the next `length` bytes, of at most `most` in all. Memory is asked for as they arrive.
    fn take(&mut self, length: usize, most: usize, out: &mut Vec<u8>) -> Result<(), Fault> {
        let end = out.len() + length;
        while out.len() < end {
            if self.start == self.bytes.len() {
                self.fill()?;
            }
            let unused = &self.bytes[self.start..];
            let part = &unused[..unused.len().min(end - out.len())];
            if out.len() + part.len() > out.capacity() {
                out.reserve_exact(out.len().max(part.len()).min(most - out.len()));
            }
            out.extend_from_slice(part);
            self.start += part.len();
        }
        Ok(())
    }

    /// The bytes up to `end` and with it, of at most `limit`.
    fn until(&mut self, end: &[u8], limit: usize) -> Result<Vec<u8>, Fault> {
        let mut looked = 0;
        loop {
            let unused = &self.bytes[self.start..];
            let found = unused[looked..].windows(end.len()).position(|window| window == end);
            if let Some(length) = found.map(|at| looked + at + end.len()).filter(|length| *length <= limit) {
                let text = unused[..length].to_vec();
                self.start += length;
                return Ok(text);
            }
            if found.is_some() || unused.len() >= limit {
                return Err(Fault::Strange);
            }
            looked = unused.len().saturating_sub(end.len() - 1);
            self.fill()?;
        }
    }

    /// Reads on, behind what has not been used.
    fn fill(&mut self) -> Result<(), Fault> {
        self.bytes.drain(..self.start);
        self.start = 0;
        let had = self.bytes.len();
        self.bytes.resize(had + READ, 0);
        let read = self.stream.read(&mut self.bytes[had..]);
        self.bytes.truncate(had + *read.as_ref().unwrap_or(&0));
        match read? {
            0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            _ => Ok(()),
        }
    }
}

fn parse(text: &[u8]) -> Result<Head, Fault> {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    if !matches!(head.parse(text), Ok(Status::Complete(length)) if length == text.len()) {
        return Err(Fault::Strange);
    }
    let (status, version) = head.code.zip(head.version).ok_or(Fault::Strange)?;
    let headers: Vec<_> = head.headers.iter().map(|header| (header.name.to_owned(), header.value.to_owned())).collect();
    let mut head = Head { status, headers, keeps: false };
    head.keeps = version == 1 && !head.all("connection").any(|value| !value.eq_ignore_ascii_case(b"keep-alive"));
    Ok(head)
}

/// A number in digits alone, which an answer may have in its head.
fn number(digits: &[u8], radix: u32) -> Option<usize> {
    let is_plain = !digits.is_empty() && digits.iter().all(|digit| char::from(*digit).is_digit(radix));
    is_plain.then(|| usize::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok())?
}

#[cfg(test)]
#[path = "wire/tests.rs"]
mod tests;
