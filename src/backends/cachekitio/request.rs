//! Requests and answers, as far as the backend needs them.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;

/// One request. Each may be made again: none does more when it is done twice. Clones share everything.
#[derive(Clone)]
pub(super) struct Request {
    pub(super) verb: Verb,
    /// What follows the host.
    pub(super) path: Arc<str>,
    /// Set once the answer is known to be long, which is before it is there.
    pub(super) is_long: Arc<AtomicBool>,
}

/// What is asked.
#[derive(Clone)]
pub(super) enum Verb {
    /// The bytes of an entry, or a document of a few bytes; not more than this.
    Get(usize),
    /// Store these bytes for so many seconds.
    Put(Bytes, u64),
    Delete,
}

impl Verb {
    /// The longest body an answer to this may have.
    pub(super) fn limit(&self) -> usize {
        /// No document of the service is as long, and no explanation has to be.
        const DOCUMENT: usize = 16 << 10;
        match self {
            Self::Get(limit) => (*limit).max(DOCUMENT),
            _ => DOCUMENT,
        }
    }
}

/// What the service said.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Whether the entry is past its time: another client asked that such ones be kept for a while.
    pub(super) stale: bool,
    pub(super) again: Again,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// When to ask again, if the answer is a temporary failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// The service does not say.
    Soon,
    /// Not before so long.
    After(Duration),
    /// It would be of no use, or the service says when in words of another kind.
    Never,
}

/// What `Retry-After` says.
pub(super) fn retry_after(text: &[u8]) -> Again {
    let is_number = (1..=7).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    let seconds = is_number.then(|| text.iter().fold(0, |seconds, digit| seconds * 10 + u64::from(digit - b'0')));
    seconds.map_or(Again::Never, |seconds| Again::After(Duration::from_secs(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_seconds_say_when() {
        for (text, seconds) in [("0", 0), ("2", 2), ("0007", 7), ("9999999", 9_999_999)] {
            assert_eq!(retry_after(text.as_bytes()), Again::After(Duration::from_secs(seconds)), "{text}");
        }
        for text in
            ["", "-1", "1.5", " 1", "10000000", "99999999999999999999", "Wed, 21 Oct 2026 07:28:00 GMT", "\u{663}"]
        {
            assert_eq!(retry_after(text.as_bytes()), Again::Never, "{text}");
        }
    }
}
