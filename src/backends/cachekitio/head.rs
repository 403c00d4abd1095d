//! The head of an answer, and where its body ends.

use httparse::{EMPTY_HEADER, Response, Status};

/// The most headers of an answer.
const MAX_HEADERS: usize = 64;

/// Where the body of an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none: another answer follows, the one that was asked for.
    Interim,
    Length(usize),
    Chunked,
    /// With the connection: it cannot be told from one that was cut off.
    Open,
}

impl Framing {
    /// The framing of an answer by its head. `None` if the head is none, or leaves a doubt about where the body ends: the
    /// rest would be taken for the next answer.
    pub(super) fn of(text: &[u8]) -> Option<Self> {
        let mut headers = [EMPTY_HEADER; MAX_HEADERS];
        let mut head = Response::new(&mut headers);
        if !matches!(head.parse(text), Ok(Status::Complete(length)) if length == text.len()) {
            return None;
        }
        let all = |name: &'static str| {
            let named = head.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
            named.map(|header| header.value)
        };
        match head.code? {
            // Nothing else was asked to be spoken here.
            101 | ..100 => return None,
            100..200 => return Some(Self::Interim),
            204 | 304 => return Some(Self::Length(0)),
            _ => {}
        }
        let (mut encodings, mut lengths) = (all("transfer-encoding"), all("content-length"));
        match (encodings.next(), lengths.next()) {
            (None, None) => Some(Self::Open),
            (Some(encoding), None) if encoding.eq_ignore_ascii_case(b"chunked") && encodings.next().is_none() => {
                Some(Self::Chunked)
            }
            (None, Some(length)) if lengths.all(|other| other == length) => number(length, 10).map(Self::Length),
            _ => None,
        }
    }
}

/// A number in digits alone.
pub(super) fn number(digits: &[u8], radix: u32) -> Option<usize> {
    let is_plain = !digits.is_empty() && digits.iter().all(|digit| char::from(*digit).is_digit(radix));
    is_plain.then(|| usize::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok())?
}
