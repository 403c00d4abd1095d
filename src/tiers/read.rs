//! Reading the backend: its bytes, and what they are worth.

use std::sync::Arc;

use bytes::Bytes;

use super::large::Bulk;
use super::{Found, Options, Tiers, Validity};
use crate::backends::Backend;
use crate::codec::Codec;
use crate::error::{Error, ErrorKind};
use crate::event::{MissReason, Unreadable, Why};
use crate::frame::{self, Labels};
use crate::guard::Guard;
use crate::invalidate::{Boxed, Verdict};
use crate::key::Key;
use crate::ledger::Stamp;
use crate::memory::{Age, Cost, Lead, Times};
use crate::order::Fence;
use crate::seal::{Dates, EntryHead, Value};

/// What a read is for.
pub(crate) struct Lookup<'a, T> {
    pub(crate) key: &'a Key,
    pub(crate) options: Options,
    /// What L1 has.
    pub(crate) known: Option<&'a Found<T>>,
    /// Taken before the read began.
    pub(crate) fence: &'a Fence,
    pub(crate) why: &'a Why,
}

/// An entry that the backend has.
struct Stored<T> {
    /// As they were sealed.
    bytes: Bytes,
    value: Arc<T>,
    /// What it takes in L1 as a value.
    weight: usize,
    dates: Dates,
    lead: Lead,
    labels: Labels,
}

impl<B: Backend, C: Codec> Tiers<B, C> {
    /// The bytes that the backend has under `key`, and with them the head of the ledger where that is due.
    pub(crate) async fn fetch(&self, key: &Key, why: &Why) -> Result<Option<Bytes>, Error> {
        let Some(guard) = &self.l2.guard else { return Ok(None) };
        let due = self.l2.ledgers.as_ref().and_then(|ledgers| {
            let part = guard.part(key);
            Some((ledgers, part, ledgers.due(part)?))
        });
        let found = match due {
            None => guard.read(key, why).await?,
            Some((ledgers, part, (head, asked))) => {
                let both: Boxed<'_, _> = Box::pin(guard.read_with(key, head, why));
                let (bytes, found) = both.await?;
                if bytes.is_some() || found.is_some() {
                    ledgers.learn(guard, part, found.as_ref(), asked).await?;
                }
                bytes
            }
        };
        self.l2.note_found(found.is_some());
        Ok(found)
    }

    /// The bytes that the backend has under each key, and with them the heads of the ledgers where those are due.
    pub(crate) async fn fetch_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, Error> {
        let Some(guard) = &self.l2.guard else { return Ok(vec![None; keys.len()]) };
        let mut parts: Vec<u16> = Vec::new();
        if let Some(ledgers) = &self.l2.ledgers {
            parts.extend(keys.iter().map(|key| guard.part(key)));
            parts.sort_unstable();
            parts.dedup();
            parts.retain(|part| ledgers.due(*part).is_some());
        }
        let due = |part: &u16| self.l2.ledgers.as_ref().and_then(|ledgers| Some((ledgers, *part, ledgers.due(*part)?)));
        let due: Vec<_> = parts.iter().filter_map(due).collect();
        let heads = due.iter().map(|(.., (head, _))| (*head).clone());
        let all: Vec<Key> = heads.chain(keys.iter().cloned()).collect();
        let mut found = guard.read_many(&all).await?;
        let values = found.split_off(due.len());
        let is_empty = values.iter().all(Option::is_none);
        for ((ledgers, part, (_, asked)), head) in due.into_iter().zip(found) {
            if head.is_some() || !is_empty {
                ledgers.learn(guard, part, head.as_ref(), asked).await?;
            }
        }
        values.iter().for_each(|value| self.l2.note_found(value.is_some()));
        Ok(values)
    }

    /// The entry in bytes that the backend has, which is kept in L1 for the rest of its life if `admit` says so. `None`
    /// if it is of no use, or not newer than what is known.
    pub(crate) async fn accept<T: Value>(
        &self,
        lookup: Lookup<'_, T>,
        bytes: Bytes,
        admit: impl Fn() -> bool,
    ) -> Result<Option<Found<T>>, Error> {
        let (Some(guard), key) = (&self.l2.guard, lookup.key) else { return Ok(None) };
        let (bytes, ended) = frame::strip_expiry(bytes);
        let opened = match self.sealer.head(key.as_str(), &bytes) {
            Err(reason) => Err(reason),
            // Judged by its head, so that a value that was forgotten is not decoded.
            Ok(head) => match self.judge(guard, key, &head).await? {
                Verdict::Forgotten(order) => {
                    lookup.why.note(self.reason_of(order));
                    return Ok(None);
                }
                verdict => self.open::<T>(key, &bytes, &head).await.map(|value| (value, head, verdict)),
            },
        };
        let (value, head, verdict) = match opened {
            Ok(opened) => opened,
            Err(reason) => {
                // Boxed: rare, and as deep as the backend's removal.
                Box::pin(self.reject(guard, &lookup, &bytes, reason)).await?;
                return Ok(None);
            }
        };
        let judged = self.dates_of(guard, (key, lookup.options), (&bytes, ended), &head, verdict).await?;
        let Some(dates) = judged else { return Ok(None) };
        let value = Arc::new(value);
        let weight = if self.keeps_values() { Bulk::of(&*value).weigh(&value).await } else { 0 };
        let (lead, labels) = (self.lead(head.cost()), head.labels().clone());
        Ok(self.promote(lookup, Stored { bytes, value, weight, dates, lead, labels }, admit))
    }

    /// The dates of an entry that was just read as `bytes`, and had perhaps `ended` ahead of its time, by the clock of
    /// this process. `None` if its age cannot be told.
    pub(super) async fn dates_of(
        &self,
        guard: &Guard<B>,
        (key, options): (&Key, Options),
        (bytes, ended): (&Bytes, Option<u64>),
        head: &EntryHead,
        verdict: Verdict,
    ) -> Result<Option<Dates>, Error> {
        let dates = head.dates();
        let judged = if ended.is_none() { self.by_own_clock(guard, key, bytes, dates).await? } else { Some(dates) };
        let Some(dates) = judged else { return Ok(None) };
        let (grace, now) = (self.grace_of(options, &dates), self.clock.wall());
        let swept = if let Verdict::Expired(at) = verdict { Some(at) } else { None };
        Ok(Some(Dates { grace, ..dates.ended(ended, now).ended(swept, now) }))
    }

    /// Takes what the backend has, if it is not gone and newer than what is `known`, and keeps it in L1.
    fn promote<T: Value>(
        &self,
        lookup: Lookup<'_, T>,
        stored: Stored<T>,
        admit: impl Fn() -> bool,
    ) -> Option<Found<T>> {
        let Lookup { key, options, known, fence, why } = lookup;
        let Stored { bytes, value, weight, dates, lead, labels } = stored;
        let now = self.clock.wall();
        if dates.left(dates.kept(), now) == 0 {
            why.note(MissReason::Expired);
            return None;
        }
        let age = match (dates.left(dates.fresh_for, now), dates.left(dates.ttl, now)) {
            (_, 0) => Age::Expired,
            (0, _) => Age::Stale,
            (left, _) if left <= lead.window() && (options.early || lead.is_drawn(left)) => Age::Early,
            _ => Age::Fresh,
        };
        let expires = dates.end(dates.ttl, now, self.clock.ticks());
        if known.is_some_and(|known| expires < known.times.expires) {
            return None;
        }
        if self.l2.hides(key, &labels.tags) {
            why.note(MissReason::Fenced);
            return None;
        }
        if matches!(age, Age::Stale | Age::Expired) {
            // It may stand in, and is no answer for one who does not take it.
            why.note(MissReason::Expired);
        }
        // One that is a little ahead would live longer in L1 by as much.
        if dates.created <= now && !options.skip_l1_write {
            // What does not fit into L1 is read again.
            let validity =
                Validity { dates, lead, cost: Cost::default(), since: fence.since(), labels: labels.clone() };
            let _ = self.keep(key, &value, weight, Some(bytes), validity, admit);
        }
        let made = (self.clock.ticks() as i64).saturating_sub_unsigned(now.saturating_sub(dates.created));
        let times = Times { made, fresh_until: made.saturating_add_unsigned(dates.fresh_for), expires };
        Some(Found { value, age, in_l1: false, times, labels: Some(labels) })
    }

    /// Deals with an entry that cannot be read. One that is not authentic leaves the backend, unless the cache is set
    /// to fail closed.
    async fn reject<T: Value>(
        &self,
        guard: &Guard<B>,
        lookup: &Lookup<'_, T>,
        bytes: &Bytes,
        reason: Unreadable,
    ) -> Result<(), Error> {
        lookup.why.unreadable(&self.observers, lookup.key, reason);
        if reason == Unreadable::Schema && self.sealer.is_of_a_type_in_use(bytes) {
            self.tell_types_in_turns();
        }
        if reason != Unreadable::Unauthentic || !C::CONFIDENTIAL {
            return Ok(());
        }
        if self.policy.fail_closed {
            let message = "the stored entry is not authentic, and the cache is set to fail closed: \
                           invalidate the key once you know why";
            return Err(Error::new(ErrorKind::Unauthentic, message));
        }
        // A failure is told by the guard, and is no failure of the read: the entry is a miss either way.
        let _ = guard.remove(lookup.key).await;
        Ok(())
    }

    /// What the ledger says of an entry under `key`.
    pub(super) async fn judge(&self, guard: &Guard<B>, key: &Key, head: &EntryHead) -> Result<Verdict, Error> {
        match &self.l2.ledgers {
            Some(ledgers) => ledgers.judge(guard, guard.part(key), head.stamp(), head.tags()).await,
            None => Ok(Verdict::Valid),
        }
    }

    /// How many ticks more the entry under `key` lives, of whatever type. `None` if there is none, or it has expired.
    pub(crate) async fn left(&self, key: &Key, options: Options) -> Result<Option<u64>, Error> {
        let Some(guard) = self.l2.guard.as_ref().filter(|_| !options.skip_l2_read) else {
            let (l1, now) = (self.local.l1.as_ref().filter(|_| !options.skip_l1_read), self.clock.ticks());
            let hit = l1.and_then(|l1| l1.get(key.name(), now));
            return Ok(hit.filter(|hit| hit.age != Age::Expired).map(|hit| hit.times.expires.saturating_sub(now)));
        };
        let Some(bytes) = self.fetch(key, &Why::default()).await? else { return Ok(None) };
        // One that expired ahead of its time has no head of its own.
        let Ok(head) = self.sealer.head(key.as_str(), &bytes) else { return Ok(None) };
        if self.l2.hides(key, head.tags()) {
            return Ok(None);
        }
        // One that was replaced meanwhile is there, and as young.
        let dates = self.by_own_clock(guard, key, &bytes, head.dates()).await?.unwrap_or(head.dates());
        let left = Some(dates.left(dates.ttl, self.clock.wall())).filter(|left| *left > 0);
        let is_valid = left.is_some() && self.judge(guard, key, &head).await? == Verdict::Valid;
        Ok(left.filter(|_| is_valid))
    }

    /// The time of the ledger, for an entry of `key` whose making begins now.
    pub(crate) async fn stamp(&self, key: &Key) -> Result<Stamp, Error> {
        match (&self.l2.guard, &self.l2.ledgers) {
            (Some(guard), Some(ledgers)) => ledgers.stamp(guard, guard.part(key)).await,
            _ => Ok(Stamp::default()),
        }
    }

    /// The same, if it is known without asking.
    pub(crate) fn known_stamp(&self, key: &Key) -> Option<Stamp> {
        match (&self.l2.guard, &self.l2.ledgers) {
            (Some(guard), Some(ledgers)) => ledgers.known(guard.part(key)),
            _ => Some(Stamp::default()),
        }
    }
}
