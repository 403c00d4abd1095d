//! Messages: what processes tell one another.
//!
//! ```text
//! 03 | source u64 | kind u8 | 00 key: its text           03 expired key: its text
//!                           | 05 a lease has ended: the text of its key
//!                           | 01 everything              stamps
//!                           | 02 tags                    stamps, up to 94 times u64
//!                           | 04 everything expired      stamps, u64 milliseconds since the Unix epoch
//! stamps: their number u8, and at the end of the message for each part of the backend, up to 16, lineage u64 | time u64,
//!         of the order in the ledger of that part; zeros of a part that has not taken the order
//! ```
//! Numbers are big-endian, tags are fingerprints. The stamps come last, so that a server which gives an order its time
//! can write it. Without any, it is not known which times the order took. A version or a kind that is not known is
//! passed over: an older process among newer ones forgets what it understands.

use bytes::Bytes;

use crate::frame::Fields;
use crate::key::Key;
use crate::ledger::{Change, MAX_TAGS, Stamp};

const VERSION: u8 = 3;
const STAMP: usize = 2 * size_of::<u64>();
/// The most parts of a backend whose times a message tells.
const MOST_STAMPS: usize = 16;

/// What to forget, or to look at again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message<'a> {
    /// The key of this text.
    Key(&'a str),
    /// The key of this text stays as a fallback.
    ExpiredKey(&'a str),
    /// A lease of the key of this text has ended, for which others wait.
    LeaseEnded(&'a str),
    /// What an order is about, and the time that it took in each part of the backend, if that is known.
    Order(Change, Vec<Stamp>),
}

/// Why bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Of a later version.
    Unknown,
    Malformed,
}

impl<'a> Message<'a> {
    /// The message of an order that took these times in the parts of the backend.
    pub(crate) fn order(change: &Change, times: &[Stamp]) -> Self {
        let times = if times.len() > MOST_STAMPS { &[] } else { times };
        Self::Order(change.clone(), times.to_vec())
    }

    pub(crate) fn to_bytes(&self, source: u64) -> Bytes {
        let mut out = self.start(source);
        if let Self::Order(_, times) = self {
            times.iter().for_each(|time| out.extend_from_slice(&time.to_bytes()));
        }
        out.into()
    }

    /// The bytes of a message but its stamps.
    pub(crate) fn start(&self, source: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(10 + Key::MAX_LEN);
        out.push(VERSION);
        out.extend_from_slice(&source.to_be_bytes());
        out.push(self.kind());
        if let Self::Order(_, times) = self {
            out.push(times.len() as u8);
        }
        match self {
            Self::Key(text) | Self::ExpiredKey(text) | Self::LeaseEnded(text) => out.extend_from_slice(text.as_bytes()),
            Self::Order(Change::Tags(tags), _) => out.extend(tags.iter().flat_map(|tag| tag.to_be_bytes())),
            Self::Order(Change::Expiry { at }, _) => out.extend_from_slice(&at.to_be_bytes()),
            Self::Order(..) => {}
        }
        out
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Key(_) => 0,
            Self::Order(Change::Everything | Change::Nothing, _) => 1,
            Self::Order(Change::Tags(_), _) => 2,
            Self::ExpiredKey(_) => 3,
            Self::Order(Change::Expiry { .. }, _) => 4,
            Self::LeaseEnded(_) => 5,
        }
    }

    /// Reads a message and its source.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<(u64, Self), Refusal> {
        let (version, rest) = bytes.split_first().ok_or(Refusal::Malformed)?;
        if *version != VERSION {
            return Err(Refusal::Unknown);
        }
        let mut fields = Fields(rest);
        let source = fields.u64().ok_or(Refusal::Malformed)?;
        let (kind, payload) = fields.0.split_first().ok_or(Refusal::Malformed)?;
        let message = match kind {
            0 => text(payload).map(Self::Key),
            3 => text(payload).map(Self::ExpiredKey),
            5 => text(payload).map(Self::LeaseEnded),
            1 | 2 | 4 => order(*kind, payload),
            _ => return Err(Refusal::Unknown),
        };
        message.map(|message| (source, message)).ok_or(Refusal::Malformed)
    }
}

/// The source of a message that was made here.
#[cfg(feature = "testing")]
pub(crate) fn source(bytes: &[u8]) -> u64 {
    Fields(&bytes[1..]).u64().unwrap_or_default()
}

fn text(payload: &[u8]) -> Option<&str> {
    std::str::from_utf8(payload).ok().filter(|text| (1..=Key::MAX_LEN).contains(&text.len()))
}

fn order<'a>(kind: u8, payload: &[u8]) -> Option<Message<'a>> {
    let (count, payload) = payload.split_first()?;
    let count = usize::from(*count).min(MOST_STAMPS + 1);
    let (what, times) = payload.split_at_checked(payload.len().checked_sub(count * STAMP)?)?;
    let times: Vec<Stamp> = times.chunks(STAMP).map(|bytes| Fields(bytes).stamp()).collect::<Option<_>>()?;
    let (numbers, rest) = what.as_chunks::<8>();
    let mut numbers = numbers.iter().map(|bytes| u64::from_be_bytes(*bytes));
    let change = match (kind, numbers.len()) {
        (1, 0) => Change::Everything,
        (2, 1..=MAX_TAGS) => Change::Tags(numbers.collect()),
        (4, 1) => Change::Expiry { at: numbers.next()? },
        _ => return None,
    };
    (rest.is_empty() && count <= MOST_STAMPS).then_some(Message::Order(change, times))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { lineage: 0x0506, time: 0x0708 };

    #[test]
    fn messages_read_back_as_they_were_written() {
        let long = "k".repeat(Key::MAX_LEN);
        let keys = [
            Message::Key("users:42"),
            Message::Key(&long),
            Message::ExpiredKey("users:42"),
            Message::LeaseEnded(&long),
        ];
        let most = Change::Tags((0..MAX_TAGS as u64).collect());
        let orders = [Change::Everything, Change::Tags(vec![u64::MAX - 1]), most, Change::Expiry { at: 9 }];
        let orders =
            orders.into_iter().flat_map(|change| [0, 1, 16].map(|parts| Message::order(&change, &vec![STAMP; parts])));
        for message in keys.into_iter().chain(orders) {
            let bytes = message.to_bytes(7);
            assert!(bytes.len() <= 1_024);
            assert_eq!(Message::read(&bytes), Ok((7, message)));
        }
        let tag = Message::order(&Change::Tags(vec![0x0102]), &[STAMP]);
        let numbers =
            [3u64.to_be_bytes().to_vec(), vec![2, 1], [0x0102u64, 0x0506, 0x0708].map(u64::to_be_bytes).concat()];
        assert_eq!(tag.to_bytes(3), [vec![3], numbers.concat()].concat());
        assert_eq!([tag.start(3), STAMP.to_bytes().to_vec()].concat(), tag.to_bytes(3));
    }

    #[test]
    fn what_is_cut_short_too_long_or_not_text_is_malformed() {
        let bytes = Message::order(&Change::Tags(vec![9]), &[STAMP]).to_bytes(7);
        for length in 0..bytes.len() {
            assert_eq!(Message::read(&bytes[..length]), Err(Refusal::Malformed), "{length} bytes");
        }
        let head = |kind: u8| [&[VERSION; 1][..], &[0; 8], &[kind]].concat();
        let with = |kind, payload: &[u8]| [head(kind), payload.to_vec()].concat();
        for (kind, payload) in [
            (0, &b""[..]),
            (0, &[0xFF]),
            (0, &[b'k'; Key::MAX_LEN + 1]),
            (1, &[0; 9]),
            (1, &[1; 16]),
            (1, &[17; 1 + 17 * 16]),
            (2, &[0; 1]),
            (2, &[1; 26]),
            (2, &[0; 1 + 8 * (MAX_TAGS + 1)]),
            (3, &b""[..]),
            (3, &[b'k'; Key::MAX_LEN + 1]),
            (4, &[0; 1]),
            (4, &[0; 17]),
            (5, &b""[..]),
            (5, &[b'k'; Key::MAX_LEN + 1]),
        ] {
            assert_eq!(Message::read(&with(kind, payload)), Err(Refusal::Malformed), "kind {kind}");
        }
    }

    #[test]
    fn later_versions_and_kinds_are_passed_over() {
        let mut later = Message::order(&Change::Everything, &[STAMP]).to_bytes(7).to_vec();
        later[0] = VERSION + 1;
        assert_eq!(Message::read(&later), Err(Refusal::Unknown));
        let kind = [&[VERSION][..], &[0; 8], &[6, 1, 2]].concat();
        assert_eq!(Message::read(&kind), Err(Refusal::Unknown));
    }
}
