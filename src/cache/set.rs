//! Setting a value: it is sealed, then kept and written as a change of its key.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Inner;
use super::change::KeyChange;
use super::computed::Decided;
use crate::backends::Backend;
use crate::clock::check_time;
use crate::codec::Codec;
use crate::error::Error;
use crate::frame::Labels;
use crate::guard::check_size;
use crate::invalidate::Work;
use crate::key::{IntoKey, Key};
use crate::ledger::Stamp;
use crate::memory::{Cost, Lead};
use crate::seal::{Marks, Value};
use crate::tiers::{Bulk, Options, Sealing, Tiers, Validity, check_tags};

/// A value on its way into the tiers.
struct Set<T, C> {
    options: Options,
    validity: Validity,
    sealing: Sealing<T, C>,
    /// Sealed, where it is.
    frame: Option<Bytes>,
    /// Whether the stamp in its frame is known to be right.
    is_stamped: bool,
    /// What it takes in L1 as a value.
    weight: usize,
    to_l2: bool,
    /// Whether the backend is paused: the older value is to go, and nothing comes in its place.
    removes: bool,
}

impl<B: Backend, C: Codec> Inner<B, C> {
    pub(super) async fn set<T: Value>(
        self: &Arc<Self>,
        key: &impl IntoKey,
        options: Options,
        decided: Decided,
        value: Arc<T>,
    ) -> Result<(), Error> {
        let options = decided.over(options);
        options.check()?;
        check_tags(&decided.tags)?;
        if !self.is_alone() {
            check_time(&*self.clock)?;
        }
        let key = self.key(key)?;
        let (asked, options) = (options, self.bypass(&key, options));
        let removes = options.skip_l2_write && !asked.skip_l2_write;
        let dates = decided.of(self.tiers.plan(options, &*value)?);
        let Decided { tags, validator, .. } = decided;
        // Before the stamp is looked up: an invalidation that comes in between voids the value in both tiers.
        let (lead, labels) = (Lead::default(), Labels { tags: self.tiers.tags(&tags), validator });
        let validity = Validity { dates, lead, cost: Cost::default(), since: self.tiers.local.orders.latest(), labels };
        if self.is_replaced_in_place(&key, options)
            && let Bulk::Small(weight) = Bulk::of(&*value)
        {
            check_size(weight, self.policy().max_value_size)?;
            self.shared.throttle.succeeded(&key);
            return self.tiers.keep(&key, &value, weight, None, validity, || true).map(drop);
        }
        let to_l2 = self.tiers.l2.guard.is_some() && !options.skip_l2_write;
        // Of a tag that others may have forgotten unheard, the time of now is asked for.
        let asks = !tags.is_empty() && self.tiers.l2.ledgers.as_ref().is_some_and(|ledgers| !ledgers.hears());
        let known = if !to_l2 { Some(Stamp::default()) } else { self.tiers.known_stamp(&key).filter(|_| !asks) };
        let sealing = self.tiers.sealing(&key, &value, dates, Duration::ZERO);
        let is_apart = sealing.is_apart();
        let stored = Arc::clone(self).store_set(key, (options, removes), validity, known, sealing);
        // Sealing a large one takes a while, in which the caller may leave.
        if is_apart { self.change(stored).await } else { stored.await }
    }

    /// Whether L1 is all that a `set` changes, and no other task of this process works on the key: then there is nothing to
    /// void, and who reads meanwhile finds the older value or the new one. What begins to work on the key from here on has
    /// begun after the `set`.
    fn is_replaced_in_place(&self, key: &Key, options: Options) -> bool {
        let local = &self.tiers.local;
        let in_l1 = self.tiers.keeps_values() && !options.skip_l1_write && !local.keeps_nothing();
        in_l1 && self.is_alone() && local.fences.is_idle(key)
    }

    async fn store_set<T: Value>(
        self: Arc<Self>,
        key: Key,
        (options, removes): (Options, bool),
        validity: Validity,
        known: Option<Stamp>,
        sealing: Sealing<T, C>,
    ) -> Result<(), Error> {
        let to_l2 = self.tiers.l2.guard.is_some() && !options.skip_l2_write;
        // Sealed here, so that a value that cannot be written changes nothing; once more where the stamp is not known.
        let frame = if to_l2 || C::CONFIDENTIAL {
            let marks = Marks { stamp: known.unwrap_or_default(), labels: validity.labels.clone() };
            Some(sealing.seal(marks).await?)
        } else {
            None
        };
        let weighs = self.tiers.keeps_values() || frame.is_none();
        let weight = if weighs { sealing.bulk.weigh(&sealing.value).await } else { 0 };
        check_size(frame.as_ref().map_or(weight, Bytes::len), self.policy().max_value_size)?;
        let set = Set { options, validity, sealing, frame, is_stamped: known.is_some(), weight, to_l2, removes };
        let change = KeyChange::begin(&self, key, None);
        if self.is_alone() {
            change.void();
            return set.keep(&self.tiers, &change);
        }
        self.change(change.set(set)).await
    }
}

impl<B: Backend, C: Codec> KeyChange<B, C> {
    async fn set<T: Value>(self, set: Set<T, C>) -> Result<(), Error> {
        let cache = Arc::clone(&self.cache);
        cache.listen().await;
        let turn = self.fence.turn().await;
        if self.is_overtaken(&turn) {
            return self.end_overtaken(&turn).await;
        }
        let written = match (&set.frame, &cache.tiers.l2.guard) {
            (Some(frame), _) if set.to_l2 => {
                self.write(frame, set.is_stamped, &set.validity.labels, &set.sealing).await
            }
            (_, Some(guard)) if set.removes => self.remove(guard).await,
            _ => Ok(()),
        };
        cache.remove_if_raced(&self.key, &self.fence, &turn).await;
        self.end(&turn, &written);
        let (has_backend, changes) = (cache.tiers.l2.guard.is_some(), set.to_l2 || set.removes);
        let kept = set.keep(&cache.tiers, &self);
        if has_backend && !changes {
            return Ok(());
        }
        let told = cache.finish(&[self.notice()], written, Work::Remove).await;
        // Too large for L1 is no failure where there is a backend.
        if has_backend { told } else { kept.and(told) }
    }
}

impl<T: Value, C: Codec> Set<T, C> {
    /// Keeps the value in L1.
    fn keep<B: Backend>(self, tiers: &Tiers<B, C>, change: &KeyChange<B, C>) -> Result<(), Error> {
        if self.options.skip_l1_write {
            return Ok(());
        }
        let admit = || change.may_keep();
        tiers.keep(&change.key, &self.sealing.value, self.weight, self.frame, self.validity, admit).map(drop)
    }
}
