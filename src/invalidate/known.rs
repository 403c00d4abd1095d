//! What this process knows of one ledger.
//!
//! The head, as it was read last or as the bus has told since, and what was forgotten since a moment: every order after
//! that is known, so most entries are judged without asking. Only of an entry from before that moment the records of
//! its tags are read.

use std::collections::HashMap;
use std::num::NonZeroUsize;

use foldhash::fast::RandomState;
use lru::LruCache;

use crate::ledger::{Change, Head, Record, Stamp, record_of};
use crate::order::ForgottenBy;

/// The time between two questions about an entry of another ledger, in ticks.
const PAUSE: u64 = 1_000;
/// The most tags that are remembered from the bus, at some 40 bytes each.
const MAX_RECENT: usize = 65_536;
/// The most records that are kept, at up to 4 KB each.
const MAX_RECORDS: NonZeroUsize = NonZeroUsize::new(1_024).unwrap();

/// A replica of a ledger.
#[derive(Debug)]
pub(super) struct Known {
    head: Option<Head>,
    /// Every order after this time, up to `heard`, is in `recent` and in the head.
    since: u64,
    heard: u64,
    /// Tags that were forgotten after `since`, and when.
    recent: HashMap<u64, u64, RandomState>,
    records: LruCache<u16, Noted, RandomState>,
    /// The tick of the last answer about the head.
    asked: u64,
    /// For how many ticks the head is believed after it was read.
    believed_for: u64,
    /// The tick up to which the head is believed.
    believed: u64,
    /// Whether orders may have been missed.
    is_doubted: bool,
    distrusts: u64,
}

/// A record, and the time up to which it knows all.
#[derive(Debug)]
struct Noted {
    until: u64,
    record: Record,
}

/// The moment at which the head was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    tick: u64,
    known: Stamp,
    distrusts: u64,
}

/// What a ledger says of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Valid,
    /// It expired with everything else, at this moment of the wall clock.
    Expired(u64),
    /// By which order, as far as that is known.
    Forgotten(ForgottenBy),
}

/// What must be known first.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    Head,
    /// The records of these numbers.
    Records(Vec<u16>),
}

/// Whether a head that was read can be one of the same ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Learned {
    Yes,
    /// It is older than what was known when it was asked for: the ledger has lost orders.
    RolledBack,
}

impl Known {
    /// Nothing. What is read is believed for so many ticks.
    pub(super) fn new(believed_for: u64) -> Self {
        Self {
            head: None,
            since: 0,
            heard: 0,
            recent: HashMap::default(),
            records: LruCache::unbounded_with_hasher(RandomState::default()),
            asked: 0,
            believed_for,
            believed: 0,
            is_doubted: false,
            distrusts: 0,
        }
    }

    /// The time of the ledger, if that is known well enough at the tick `now`.
    pub(super) fn stamp(&self, now: u64) -> Option<Stamp> {
        Some(self.head.as_ref().filter(|_| !self.is_doubted && now < self.believed)?.now)
    }

    pub(super) fn asked(&self, tick: u64) -> Asked {
        let known = self.head.as_ref().map(|head| head.now).unwrap_or_default();
        Asked { tick, known, distrusts: self.distrusts }
    }

    /// Believes nothing of the head until it is read anew: orders may have been missed.
    pub(super) fn distrust(&mut self) {
        self.is_doubted = true;
        self.distrusts += 1;
    }

    /// Takes note of the head that was read.
    pub(super) fn learn(&mut self, head: Head, asked: Asked) -> Learned {
        let same = self.head.as_ref().filter(|known| known.now.lineage == head.now.lineage);
        if asked.known.lineage == head.now.lineage && head.now.time < asked.known.time {
            return Learned::RolledBack;
        }
        match same.map(|known| known.now.time) {
            // Another ledger was made since it was asked for.
            None if self.certain().lineage != asked.known.lineage => return Learned::Yes,
            None => {
                self.recent.clear();
                self.records.clear();
                self.begin(&head);
                self.head = Some(head);
            }
            Some(_) if asked.distrusts != self.distrusts => {}
            Some(time) => {
                if self.is_doubted || head.now.time > self.heard {
                    self.begin(&head);
                }
                if head.now.time >= time {
                    self.head = Some(head);
                }
            }
        }
        if asked.distrusts != self.distrusts {
            // Asked before something was missed: it is read once more before it is believed.
            return Learned::Yes;
        }
        self.is_doubted = false;
        self.asked = self.asked.max(asked.tick);
        self.believed = self.believed.max(asked.tick.saturating_add(self.believed_for));
        Learned::Yes
    }

    /// From the time of this head on, every order is known.
    fn begin(&mut self, head: &Head) {
        self.since = head.now.time;
        self.heard = self.heard.max(self.since);
        if self.head.as_ref().is_none_or(|known| known.now.lineage != head.now.lineage) {
            self.heard = self.since;
        }
        let since = self.since;
        self.recent.retain(|_, time| *time > since);
    }

    /// Everything that was told is known, and believed up to this tick.
    pub(super) fn believe(&mut self, until: u64) {
        self.believed = self.believed.max(until);
    }

    /// Takes note of an order of this process, which left this `head` behind.
    pub(super) fn note_own(&mut self, head: Head, change: &Change, asked: Asked) {
        let stamp = head.now;
        match &self.head {
            Some(known) if known.now.lineage == stamp.lineage => self.note(stamp, change, false),
            // The order has made the ledger anew, or this process did not know it yet.
            _ => drop(self.learn(head, asked)),
        }
    }

    /// Takes note of an order, of this process or `told` of by the bus. A gap between the times of those is a hole in
    /// what is known.
    pub(super) fn note(&mut self, stamp: Stamp, change: &Change, told: bool) {
        let Some(head) = self.head.as_mut().filter(|head| head.now.lineage == stamp.lineage) else {
            return self.distrust();
        };
        head.note(change, stamp.time);
        if let Change::Tags(tags) = change {
            for tag in tags {
                let time = self.recent.entry(*tag).or_default();
                *time = stamp.time.max(*time);
            }
        }
        self.advance(stamp.time, told);
        if self.recent.len() > MAX_RECENT && self.heard > self.since {
            self.since = self.heard;
            let since = self.since;
            self.recent.retain(|_, time| *time > since);
        }
    }

    /// Takes note of the time of an order that this process gave itself, and that the bus tells of.
    pub(super) fn echo(&mut self, stamp: Stamp) {
        if self.head.as_ref().is_some_and(|head| head.now.lineage == stamp.lineage) {
            self.advance(stamp.time, true);
        }
    }

    fn advance(&mut self, time: u64, told: bool) {
        if time == self.heard + 1 {
            self.heard = time;
        } else if told && time > self.heard {
            self.distrust();
        }
    }

    /// What is known of an entry with this stamp and these tags at the tick `now`.
    pub(super) fn judge(&mut self, stamp: Stamp, tags: &[u64], now: u64) -> Result<Verdict, Unknown> {
        let Some(present) = self.stamp(now) else { return Err(Unknown::Head) };
        let Some(head) = &self.head else { return Err(Unknown::Head) };
        if present.lineage != stamp.lineage {
            // Its ledger may be a new one, of which the bus tells nothing.
            return if now < self.asked.saturating_add(PAUSE) {
                Ok(Verdict::Forgotten(ForgottenBy::All))
            } else {
                Err(Unknown::Head)
            };
        }
        let since = |time: u64| time > stamp.time;
        if since(head.forgot_all) {
            return Ok(Verdict::Forgotten(ForgottenBy::All));
        }
        if let Some(tag) = tags.iter().find(|tag| self.recent.get(*tag).copied().is_some_and(since)) {
            return Ok(Verdict::Forgotten(ForgottenBy::Tag(*tag)));
        }
        if since(self.since) {
            let mut missing = Vec::new();
            for tag in tags.iter().filter(|tag| head.has(record_of(**tag))) {
                match self.records.get(&record_of(*tag)).filter(|noted| noted.until >= self.since) {
                    Some(noted) if since(noted.record.forgotten_at(*tag)) => {
                        return Ok(Verdict::Forgotten(ForgottenBy::Tag(*tag)));
                    }
                    Some(_) => {}
                    None => missing.push(record_of(*tag)),
                }
            }
            if !missing.is_empty() {
                missing.sort_unstable();
                missing.dedup();
                return Err(Unknown::Records(missing));
            }
        }
        let (expired, at) = head.expired_all;
        Ok(if since(expired) { Verdict::Expired(at) } else { Verdict::Valid })
    }

    /// The time up to which everything is known, of no lineage if nothing is. What is read from now on knows all of that,
    /// too.
    pub(super) fn certain(&self) -> Stamp {
        let lineage = self.head.as_ref().map_or(0, |head| head.now.lineage);
        Stamp { lineage, time: self.heard }
    }

    /// Takes note of a record that was read `from` then on. One that was made and is not there was lost, and what it knew
    /// with it.
    pub(super) fn keep(&mut self, number: u16, found: Option<&[u8]>, from: Stamp) {
        if self.certain().lineage != from.lineage {
            return;
        }
        let record = found.and_then(|bytes| Record::read(bytes, from.lineage));
        let record = record.unwrap_or(Record::new(from.lineage, from.time));
        self.records.put(number, Noted { until: from.time, record });
        if self.records.len() > MAX_RECORDS.get() {
            self.records.pop_lru();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::RECORDS;

    const TAG: u64 = 7;
    const OTHER: u64 = 8;
    const FORGOTTEN: Verdict = Verdict::Forgotten(ForgottenBy::Tag(TAG));

    fn at(time: u64) -> Stamp {
        Stamp { lineage: 1, time }
    }

    fn head(time: u64) -> Head {
        let mut head = Head::new(1);
        head.note(&Change::Tags(vec![TAG, OTHER]), time);
        head
    }

    /// What knows the ledger at this time, as it was read at the tick 0.
    fn known(time: u64) -> Known {
        let mut known = Known::new(1_000);
        let asked = known.asked(0);
        assert_eq!(known.learn(head(time), asked), Learned::Yes);
        known
    }

    fn tag(tag: u64) -> Change {
        Change::Tags(vec![tag])
    }

    #[test]
    fn orders_that_are_told_without_a_gap_need_no_question() {
        let mut known = known(5);
        known.believe(10_000);
        for time in 6..=9 {
            known.note(at(time), &tag(TAG), true);
        }
        assert_eq!(known.stamp(9_999), Some(at(9)));
        assert_eq!(known.judge(at(8), &[TAG], 0), Ok(FORGOTTEN));
        assert_eq!(known.judge(at(9), &[TAG], 0), Ok(Verdict::Valid));
        assert_eq!(known.judge(at(5), &[OTHER], 0), Ok(Verdict::Valid), "it is known since then");
        assert_eq!(known.judge(at(4), &[OTHER], 0), Err(Unknown::Records(vec![0])));
        assert_eq!(known.judge(at(9), &[], 10_000), Err(Unknown::Head), "nothing was heard for too long");
    }

    #[test]
    fn a_gap_between_orders_is_a_doubt_until_the_head_is_read() {
        let mut known = known(5);
        known.note(at(7), &tag(TAG), true);
        assert_eq!(known.stamp(0), None);
        let early = Asked { distrusts: 0, ..known.asked(0) };
        assert_eq!((known.learn(head(7), early), known.stamp(0)), (Learned::Yes, None), "it was asked for before");
        let asked = known.asked(1);
        assert_eq!((known.learn(head(7), asked), known.stamp(1)), (Learned::Yes, Some(at(7))));
        assert_eq!(known.judge(at(6), &[OTHER], 1), Err(Unknown::Records(vec![0])));
    }

    #[test]
    fn own_invalidation_amid_those_of_others_is_no_gap_once_echoed() {
        let mut known = known(5);
        let asked = known.asked(0);
        known.note_own(head(7), &tag(TAG), asked);
        assert_eq!((known.stamp(0), known.certain()), (Some(at(7)), at(5)));
        known.note(at(6), &tag(OTHER), true);
        known.echo(at(7));
        assert_eq!(known.certain(), at(7));
        assert_eq!([TAG, OTHER].map(|tag| known.judge(at(6), &[tag], 0)), [Ok(FORGOTTEN), Ok(Verdict::Valid)]);
    }

    #[test]
    fn a_record_that_is_lost_is_a_floor_of_the_present() {
        let mut known = known(5);
        let from = known.certain();
        known.keep(0, None, from);
        assert_eq!(known.judge(at(4), &[TAG], 0), Ok(FORGOTTEN));
        known.keep(0, Some(&Record::new(1, 2).to_bytes()), from);
        assert_eq!([1, 2, 4].map(|time| known.judge(at(time), &[TAG], 0).unwrap()), {
            [FORGOTTEN, Verdict::Valid, Verdict::Valid]
        });
        let never_made = u64::from(RECORDS - 1) << 52;
        assert_eq!(known.judge(at(0), &[never_made], 0), Ok(Verdict::Valid));
    }

    #[test]
    fn head_that_goes_back_is_told_and_one_of_an_old_ledger_ignored() {
        let mut known = known(5);
        let asked = known.asked(0);
        assert_eq!(known.learn(head(4), asked), Learned::RolledBack);
        assert_eq!(known.learn(Head::new(2), asked), Learned::Yes);
        assert_eq!(known.stamp(0), Some(Stamp { lineage: 2, time: 0 }));
        assert_eq!(known.learn(head(9), asked), Learned::Yes);
        assert_eq!(known.stamp(0), Some(Stamp { lineage: 2, time: 0 }), "the answer was on its way");
        assert_eq!(known.judge(at(9), &[], 500), Ok(Verdict::Forgotten(ForgottenBy::All)));
        known.believe(5_000);
        assert_eq!(known.judge(at(9), &[], 1_000), Err(Unknown::Head), "it may be a new one");
    }
}
