//! Staged entries: read from the backend before a call asks for them.
//!
//! Their types are not known then, so L1 keeps their sealed bytes, judged by their heads. The first call that asks for
//! one opens it and leaves the value in its place, with the dates of the bytes.

use std::sync::Arc;

use bytes::Bytes;

use super::large::{Bulk, is_opened_apart};
use super::{Options, SEALED_HANDLE, Tiers, Validity};
use crate::backends::Backend;
use crate::codec::Codec;
use crate::error::Error;
use crate::event::Unreadable;
use crate::frame;
use crate::guard::Guard;
use crate::invalidate::Verdict;
use crate::key::{Key, Name};
use crate::memory::{self, AnyValue, Cost, L1, Sealed};
use crate::order::Fence;
use crate::seal::{EntryHead, Value};

impl<B: Backend, C: Codec> Tiers<B, C> {
    /// Reads what the backend has under `keys`, and keeps it in L1 where that holds nothing. For each key whether the
    /// backend had a valid entry that is not expired.
    pub(crate) async fn stage(&self, keys: &[Key]) -> Result<Vec<bool>, Error> {
        let (Some(guard), Some(l1)) = (&self.l2.guard, &self.local.l1) else { return Ok(vec![false; keys.len()]) };
        let fences: Vec<Fence> = keys.iter().map(|key| self.local.fence(key)).collect();
        // Before the question: a change that waits now may be made again before the answer is judged.
        let hidden: Vec<bool> = keys.iter().map(|key| self.l2.hides(key, &[])).collect();
        let found = self.fetch_many(keys).await?;
        let mut valid = Vec::with_capacity(keys.len());
        for (((key, fence), is_hidden), bytes) in keys.iter().zip(&fences).zip(hidden).zip(found) {
            valid.push(match bytes.filter(|_| !is_hidden) {
                Some(bytes) => self.stage_one((guard, l1), key, fence, bytes).await?,
                None => false,
            });
        }
        Ok(valid)
    }

    async fn stage_one(
        &self,
        (guard, l1): (&Guard<B>, &L1),
        key: &Key,
        fence: &Fence,
        bytes: Bytes,
    ) -> Result<bool, Error> {
        let (bytes, ended) = frame::strip_expiry(bytes);
        // What cannot be read is told of when it is asked for.
        let Ok(head) = self.sealer.head(key.as_str(), &bytes) else { return Ok(false) };
        let verdict = self.judge(guard, key, &head).await?;
        if matches!(verdict, Verdict::Forgotten(_)) || self.l2.hides(key, head.tags()) {
            return Ok(false);
        }
        let dates = self.dates_of(guard, (key, Options::default()), (&bytes, ended), &head, verdict).await?;
        let wall = self.clock.wall();
        let Some(dates) = dates.filter(|dates| dates.left(dates.ttl, wall) > 0) else { return Ok(false) };
        // One that is a little ahead would live longer in L1 by as much.
        if dates.created <= wall && !self.local.keeps_nothing() {
            let (lead, labels) = (self.lead(head.cost()), head.labels().clone());
            let weight = bytes.len().saturating_add(SEALED_HANDLE).saturating_add(labels.size());
            let validity = Validity { dates, lead, cost: Cost::default(), since: fence.since(), labels };
            let now = self.clock.ticks();
            let entry = self.entry((Arc::new(Sealed(bytes)), weight), validity, now);
            l1.put_first(key, entry, now, || fence.is_current());
        }
        Ok(true)
    }

    /// The value of a hit that holds no `T`: of one that is staged. `None` if the flight is to open it.
    #[cold]
    pub(super) fn unseal<T: Value>(&self, name: Name<'_>, held: &AnyValue) -> Option<Result<Arc<T>, Unreadable>> {
        let Some(Sealed(bytes)) = held.downcast_ref::<Sealed>() else { return Some(Err(Unreadable::Schema)) };
        if is_opened_apart(bytes) {
            return None;
        }
        Some(name.with_text(|text| {
            let head = self.sealer.head(text, bytes)?;
            let value = Arc::new(self.sealer.open(text, bytes, &head)?);
            self.replace_sealed(name, held, &head, &value);
            Ok(value)
        }))
    }

    /// Opens an entry that is staged under `key`, of any length.
    pub(super) async fn open_staged<T: Value>(
        &self,
        key: &Key,
        held: &AnyValue,
        bytes: &Bytes,
    ) -> Result<Arc<T>, Unreadable> {
        let head = self.sealer.head(key.as_str(), bytes)?;
        let value = Arc::new(self.open(key, bytes, &head).await?);
        self.replace_sealed(key.name(), held, &head, &value);
        Ok(value)
    }

    /// Puts a value into L1 in the place of the bytes that it was opened from.
    fn replace_sealed<T: Value>(&self, name: Name<'_>, held: &AnyValue, head: &EntryHead, value: &Arc<T>) {
        let Some(l1) = &self.local.l1 else { return };
        let weight = if let Bulk::Small(weight) = Bulk::of(&**value) { weight } else { memory::weigh(&**value) };
        let weight = l1.weight_of(&**value, weight);
        let weight = weight.saturating_add(head.labels().size());
        l1.unseal(name, held, Arc::clone(value) as AnyValue, weight, self.clock.ticks());
    }
}
