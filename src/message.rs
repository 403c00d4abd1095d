//! Messages: what processes tell one another.
//!
//! ```text
//! 01 | source u64 | kind u8 | 00 key: its text           01 namespace: nothing   02 tag: fingerprint u64
//!                           | 03 expired key: its text   04 expired namespace: nothing
//! ```
//! Numbers are big-endian. A version or a kind that is not known is passed over: an older process among newer ones
//! forgets what it understands. That is why many keys are as many messages of a kind that everybody knows, and why a
//! namespace that was cleared is told as forgotten. A build that does not know the kinds of expiry goes on with what
//! its L1 holds until that expires by itself; what it reads from the backend it finds expired or gone. So all
//! processes know these kinds before one lets entries expire.

use bytes::Bytes;

use crate::frame::Fields;
use crate::key::Key;

const VERSION: u8 = 1;

/// What to forget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message<'a> {
    /// The key of this text.
    Key(&'a str),
    Namespace,
    /// What has the tag of this fingerprint.
    Tag(u64),
    /// The key of this text stays as a fallback.
    ExpiredKey(&'a str),
    /// What there is stays as fallbacks.
    ExpiredNamespace,
}

/// Why bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Of a later version.
    Unknown,
    Malformed,
}

impl<'a> Message<'a> {
    pub(crate) fn to_bytes(self, source: u64) -> Bytes {
        let mut out = Vec::with_capacity(10 + Key::MAX_LEN);
        out.push(VERSION);
        out.extend_from_slice(&source.to_be_bytes());
        out.push(self.kind());
        match self {
            Self::Key(text) | Self::ExpiredKey(text) => out.extend_from_slice(text.as_bytes()),
            Self::Tag(tag) => out.extend_from_slice(&tag.to_be_bytes()),
            Self::Namespace | Self::ExpiredNamespace => {}
        }
        out.into()
    }

    fn kind(self) -> u8 {
        match self {
            Self::Key(_) => 0,
            Self::Namespace => 1,
            Self::Tag(_) => 2,
            Self::ExpiredKey(_) => 3,
            Self::ExpiredNamespace => 4,
        }
    }

    /// Reads a message and who sent it.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<(u64, Self), Refusal> {
        let (version, rest) = bytes.split_first().ok_or(Refusal::Malformed)?;
        if *version != VERSION {
            return Err(Refusal::Unknown);
        }
        let mut fields = Fields(rest);
        let source = fields.u64().ok_or(Refusal::Malformed)?;
        let (kind, payload) = fields.0.split_first().ok_or(Refusal::Malformed)?;
        let message = match (kind, payload.len()) {
            (0, 1..=Key::MAX_LEN) => std::str::from_utf8(payload).ok().map(Self::Key),
            (1, 0) => Some(Self::Namespace),
            (2, 8) => Fields(payload).u64().map(Self::Tag),
            (3, 1..=Key::MAX_LEN) => std::str::from_utf8(payload).ok().map(Self::ExpiredKey),
            (4, 0) => Some(Self::ExpiredNamespace),
            (0..=4, _) => None,
            _ => return Err(Refusal::Unknown),
        };
        message.map(|message| (source, message)).ok_or(Refusal::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_read_back_as_they_were_written() {
        let long = "k".repeat(Key::MAX_LEN);
        let expired = [Message::ExpiredKey("users:42"), Message::ExpiredKey(&long), Message::ExpiredNamespace];
        let gone = [Message::Key("users:42"), Message::Key(&long), Message::Namespace, Message::Tag(u64::MAX - 1)];
        for message in gone.into_iter().chain(expired) {
            let bytes = message.to_bytes(7);
            assert_eq!(Message::read(&bytes), Ok((7, message)));
            assert!(bytes.len() <= 1_024);
        }
        assert_eq!(Message::Tag(0x0102).to_bytes(3)[..], [1, 0, 0, 0, 0, 0, 0, 0, 3, 2, 0, 0, 0, 0, 0, 0, 1, 2]);
    }

    #[test]
    fn what_is_cut_short_too_long_or_not_text_is_malformed() {
        let bytes = Message::Tag(9).to_bytes(7);
        for length in 0..bytes.len() {
            assert_eq!(Message::read(&bytes[..length]), Err(Refusal::Malformed), "{length} bytes");
        }
        let head = |kind: u8| [&[VERSION; 1][..], &[0; 8], &[kind]].concat();
        let with = |kind, payload: &[u8]| [head(kind), payload.to_vec()].concat();
        for (kind, payload) in [(0, &b""[..]), (0, &[0xFF]), (0, &[b'k'; Key::MAX_LEN + 1]), (1, &[0]), (2, &[0; 9])] {
            assert_eq!(Message::read(&with(kind, payload)), Err(Refusal::Malformed), "kind {kind}");
        }
        for (kind, payload) in [(3, &b""[..]), (3, &[0xFF]), (3, &[b'k'; Key::MAX_LEN + 1]), (4, &[0])] {
            assert_eq!(Message::read(&with(kind, payload)), Err(Refusal::Malformed), "kind {kind}");
        }
    }

    #[test]
    fn later_versions_and_kinds_are_passed_over() {
        let mut later = Message::Namespace.to_bytes(7).to_vec();
        later[0] = 2;
        assert_eq!(Message::read(&later), Err(Refusal::Unknown));
        let kind = [&[VERSION][..], &[0; 8], &[5, 1, 2]].concat();
        assert_eq!(Message::read(&kind), Err(Refusal::Unknown));
    }
}
