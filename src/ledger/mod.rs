//! The ledger: what was forgotten in a backend, and when, by a clock of its own.
//!
//! A cache keeps one ledger in each part of its backend: a *head* with the time, and *records* of the tags that were
//! forgotten. Every order to forget more than one key takes the next time. An entry carries a [`Stamp`]: the time at
//! which its computation began. It is valid if nothing that it belongs to was forgotten after that.
//!
//! A tag is noted in one of 4,096 records, by its fingerprint; each holds the 256 tags that were forgotten last. What
//! falls out raises the *floor* of its record: entries from before the floor, with any tag of that record that it does
//! not name, count as forgotten. So nothing is voided but what was meant until about a million different tags were
//! forgotten within the life of an entry, and all of it takes at most 17 MB in each part of a backend.
//!
//! A lost head is made anew with another *lineage*, a random number, and voids what was stored before. The head notes
//! which records there are, so that a lost one is known as lost: its floor is then the present. Nothing that was void
//! becomes valid again.

mod change;
mod head;
mod order;
mod record;

pub(crate) use self::change::{Change, MAX_TAGS};
pub(crate) use self::head::Head;
pub(crate) use self::order::Announcement;
pub use self::order::{Forgotten, Order};
pub(crate) use self::record::Record;
pub(crate) use crate::frame::Stamp;

/// How many records a ledger has at most.
pub(crate) const RECORDS: u16 = 4_096;

/// The record that a tag is noted in, by the tag's fingerprint.
pub(crate) fn record_of(tag: u64) -> u16 {
    // The first bits: a hash table over the tags of one record goes by the last.
    (tag >> 52) as u16
}
