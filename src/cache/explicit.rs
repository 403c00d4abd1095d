//! Explicit operations: get, set, exists, close.
//!
//! Unlike `get_or_compute` they return the backend's errors.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Inner;
use super::change::Change;
use super::election::Question;
use super::path::Look;
use crate::backends::Backend;
use crate::clock::{check_time, millis, within};
use crate::codec::Codec;
use crate::error::{Error, ErrorKind};
use crate::event::{Complaint, Event, Outcome};
use crate::frame::Tags;
use crate::guard::check_size;
use crate::invalidate::{Subscription, Work};
use crate::key::{IntoKey, Key};
use crate::ledger::Stamp;
use crate::memory::Age;
use crate::seal::{Marks, Value};
use crate::tiers::{Bulk, Found, Options, Sealing, Validity, check_tags};

impl<B: Backend, C: Codec> Inner<B, C> {
    pub(super) async fn fetch<T: Value>(&self, key: &impl IntoKey, options: Options) -> Result<Option<Arc<T>>, Error> {
        options.check()?;
        let (key, stale, complaint) = if self.tiers.local.l1.is_none() {
            (self.key(key)?, None, Complaint::default())
        } else {
            match self.look(key, &options)? {
                Look::Hit(value) => return Ok(Some(value)),
                Look::Miss(other) => (other.key, other.stale, other.complaint),
            }
        };
        if stale.is_some() {
            self.observers.tell(Event::Answered { key: &key, outcome: Outcome::Stale });
            return Ok(stale);
        }
        if !options.skip_l2_read {
            self.listen().await;
        }
        let (found, failure) = self.consult::<T>(&key, options, Question::plain(&complaint)).await;
        let (outcome, value) = match (found, failure) {
            (Some(Found { value, age: Age::Fresh, in_l1: true, .. }), _) => (Outcome::L1Hit, Ok(Some(value))),
            (Some(Found { value, age: Age::Fresh, .. }), _) => (Outcome::L2Hit, Ok(Some(value))),
            (Some(Found { value, age: Age::Stale, .. }), _) => (Outcome::Stale, Ok(Some(value))),
            (_, Some(error)) => (Outcome::Failed, Err(error)),
            (_, None) => (Outcome::Absent, Ok(None)),
        };
        self.observers.tell(Event::Answered { key: &key, outcome });
        value
    }

    pub(super) async fn set<T: Value>(
        self: &Arc<Self>,
        key: &impl IntoKey,
        options: Options,
        tags: &[u64],
        value: Arc<T>,
    ) -> Result<(), Error> {
        options.check()?;
        check_tags(tags)?;
        if !self.is_alone() {
            check_time(&*self.clock)?;
        }
        let key = self.key(key)?;
        let dates = self.tiers.plan(options, None, &*value)?;
        // Before the versions are looked at: an invalidation that comes in between voids the value in both tiers.
        let validity = Validity { dates, since: self.tiers.local.orders.latest(), tags: Tags::from(tags) };
        let to_l2 = self.tiers.l2.guard.is_some() && !options.skip_l2_write;
        // Of a tag that others may have forgotten unheard, the time of now is asked for.
        let asks = !tags.is_empty() && self.tiers.l2.ledgers.as_ref().is_some_and(|ledgers| !ledgers.hears());
        let known = if !to_l2 { Some(Stamp::default()) } else { self.tiers.known_stamp(&key).filter(|_| !asks) };
        let bulk = Bulk::of(&*value);
        let stored = Arc::clone(self).store_set(key, options, validity, known, value, bulk);
        // Sealing a large one takes a while, in which the caller may leave.
        if bulk.is_large() { self.change(stored).await } else { stored.await }
    }

    async fn store_set<T: Value>(
        self: Arc<Self>,
        key: Key,
        options: Options,
        validity: Validity,
        known: Option<Stamp>,
        value: Arc<T>,
        bulk: Bulk,
    ) -> Result<(), Error> {
        let dates = validity.dates;
        let to_l2 = self.tiers.l2.guard.is_some() && !options.skip_l2_write;
        // Sealed here, so that a value that cannot be written changes nothing; once more where the time of its ledger is not known.
        let (sealer, cost) = (Arc::clone(&self.tiers.sealer), Duration::ZERO);
        let sealing = Sealing { sealer, key: key.clone(), value: Arc::clone(&value), bulk, dates, cost };
        let frame = if to_l2 || C::CONFIDENTIAL {
            let marks = Marks { stamp: known.unwrap_or_default(), tags: Arc::clone(&validity.tags) };
            Some(sealing.seal(marks).await?)
        } else {
            None
        };
        let weight = if self.tiers.keeps_values() || frame.is_none() { bulk.weigh(&value).await } else { 0 };
        let size = frame.as_ref().map_or(weight, Bytes::len);
        check_size(size, self.policy().max_value_size)?;
        let change = Change::begin(&self, key, None);
        if self.is_alone() {
            change.void();
            if options.skip_l1_write {
                return Ok(());
            }
            return self.tiers.keep(&change.key, &value, weight, frame, validity, || change.may_keep()).map(|_| ());
        }
        self.change(async move {
            let cache = Arc::clone(&change.cache);
            cache.listen().await;
            let turn = change.fence.turn().await;
            if change.is_overtaken(&turn) {
                return change.end_overtaken(&turn).await;
            }
            let written = match &frame {
                Some(frame) if to_l2 => change.write(frame, known.is_some(), &validity.tags, &sealing).await,
                _ => Ok(()),
            };
            cache.remove_if_raced(&change.key, &change.fence, &turn).await;
            change.end(&turn, &written);
            let mut kept = Ok(());
            if !options.skip_l1_write {
                let admit = || change.may_keep();
                kept = cache.tiers.keep(&change.key, &value, weight, frame, validity, admit).map(drop);
            }
            if cache.tiers.l2.guard.is_some() && !to_l2 {
                return Ok(());
            }
            let told = cache.finish(&[change.part()], written, Work::Remove).await;
            // Too large for L1 is no failure where there is a backend.
            if cache.tiers.l2.guard.is_some() { told } else { kept.and(told) }
        })
        .await
    }

    pub(super) async fn exists(&self, key: &impl IntoKey) -> Result<bool, Error> {
        self.tiers.has(&self.key(key)?).await
    }

    pub(super) async fn ping(&self) -> Result<(), Error> {
        let Some(guard) = &self.tiers.l2.guard else { return Ok(()) };
        guard.ping(&self.key(&"ping")?).await
    }

    pub(super) async fn close(&self, deadline: Duration) -> Result<(), Error> {
        self.shared.tasks.close();
        let mut drained = self.shared.tasks.len() == 0;
        if !drained && self.clock.can_sleep() {
            drained = within(&*self.clock, deadline, self.shared.tasks.drained()).await.is_some();
        }
        if let Some(Subscription(bulletin)) = &self.shared.subscription {
            bulletin.stop();
        }
        let lost = self.tiers.l2.retries.len();
        if drained && lost == 0 {
            return Ok(());
        }
        let left = self.shared.tasks.stop();
        let message = format!(
            "{left} tasks had not ended {} ms after close and were stopped; {lost} changes never reached the backend",
            millis(deadline)
        );
        Err(Error::new(ErrorKind::Timeout, message))
    }

    pub(super) fn key(&self, key: &impl IntoKey) -> Result<Key, Error> {
        self.namespace.with(key, Key::from_parts)
    }
}
