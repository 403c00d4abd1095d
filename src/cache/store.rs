//! Keeping what was computed: in L1, then in the backend.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Inner;
use super::computed::Computed;
use super::election::release;
use super::lease::HeldLease;
use crate::backends::Backend;
use crate::codec::Codec;
use crate::error::{Error, ErrorKind};
use crate::event::{Event, Outcome, Tier};
use crate::flight::{Ending, Flight, Leader};
use crate::frame::Labels;
use crate::guard::{self, Filled};
use crate::invalidate::{Target, Work};
use crate::key::Key;
use crate::ledger::Stamp;
use crate::memory::Times;
use crate::message::Message;
use crate::order::Moment;
use crate::seal::{Dates, Marks, Value};
use crate::tiers::{Options, Sealing, Validity, check_tags};

/// What a computation that ended leaves to [`Inner::store`].
pub(super) struct WritePlan<B: Backend> {
    pub(super) cost: Duration,
    /// What held when it started.
    pub(super) stamp: Stamp,
    pub(super) lease: Option<HeldLease<B>>,
    pub(super) to_l2: bool,
    pub(super) read_failed: bool,
    /// Dropped once L1 has the value.
    pub(super) until_kept: Option<Box<dyn Send>>,
}

impl<B: Backend, C: Codec> Inner<B, C> {
    /// Keeps what was computed: L1 first, then the callers' answer, then the backend.
    pub(super) async fn store<T: Value, E: Send + Sync + 'static>(
        &self,
        leader: &mut Leader<T, E>,
        key: &Key,
        options: Options,
        computed: Computed<Arc<T>>,
        mut plan: WritePlan<B>,
    ) {
        let (flight, options) = (Arc::clone(&leader.flight), self.without_paused(options));
        let Computed { value, decided } = computed;
        let allowed = check_tags(&decided.tags);
        let tags = self.tiers.tags(&decided.tags);
        let labels = Labels { tags: Arc::clone(&tags), validator: decided.validator.clone() };
        let options = decided.over(options);
        let ending = |fresh_for: u64, ttl: u64| {
            let (value, tags, now) = (Arc::clone(&value), Arc::clone(&tags), self.clock.ticks());
            let (made, expires) = (now as i64, now.saturating_add(ttl));
            let times = Times { made, fresh_until: made.saturating_add_unsigned(fresh_for), expires };
            Ending::Value { value, source: Outcome::Computed, expires, times, tags }
        };
        let dates = allowed.and_then(|()| self.tiers.plan(options, &*value)).map(|dates| decided.of(dates));
        let Some(dates) = self.claim(&flight, key, dates, decided.store) else {
            leader.leave();
            flight.complete(ending(0, 0));
            return release(plan.lease).await;
        };
        let sealing = self.tiers.sealing(key, &value, dates, plan.cost);
        let marks = Marks { stamp: plan.stamp, labels };
        let sealed = if C::CONFIDENTIAL { Some(sealing.seal(marks.clone()).await) } else { None };
        let frame = sealed.as_ref().and_then(|sealed| sealed.as_ref().ok()).cloned();
        let kept = self.keep(&flight, options, &sealing, frame, &marks.labels).await;
        let ending = ending(dates.fresh_for, dates.ttl);
        drop(plan.until_kept.take());
        if !self.writes(options, &plan) {
            flight.complete(ending);
            if let Some(error) = sealed.and_then(Result::err).or(kept.err()) {
                self.observers.tell(Event::NotStored { key, error: &error });
            }
            return;
        }
        let in_l1 = matches!(kept, Ok(true));
        let is_late = plan.read_failed || !options.wait_for_write.unwrap_or(self.policy().wait_for_write || !in_l1);
        if is_late {
            flight.complete(ending);
        } else {
            flight.complete_before_write(ending);
        }
        let sealed = match sealed {
            Some(sealed) => sealed,
            None => sealing.seal(marks).await,
        };
        let is_written = self.write(&flight, key, sealed, (dates, !is_late), plan.lease).await;
        if is_written && options.tells_others {
            self.tell_refreshed(key, flight.fence.since()).await;
        }
    }

    /// Tells other processes that the backend has a newer value. What failed is tried again.
    async fn tell_refreshed(&self, key: &Key, begun: Moment) {
        if self.shared.publish(key, &Message::Key(key.as_str())).await.is_err() {
            self.retry_later(Target::Key(key.clone()), key, begun, Work::Publish);
        }
    }

    /// The dates of a value that may be kept. If it may not, observers hear why, unless its computation said so.
    fn claim<T: Value, E: Send + Sync>(
        &self,
        flight: &Flight<T, E>,
        key: &Key,
        dates: Result<Dates, Error>,
        store: bool,
    ) -> Option<Dates> {
        match dates {
            Err(error) => self.observers.tell(Event::NotStored { key, error: &error }),
            Ok(_) if !store => {}
            Ok(dates) if flight.claim() => return Some(dates),
            Ok(_) => self.observers.tell(Event::Fenced { key }),
        }
        None
    }

    /// Keeps a computed value in L1. Whether it is there now.
    async fn keep<T: Value, E: Send + Sync>(
        &self,
        flight: &Flight<T, E>,
        options: Options,
        sealing: &Sealing<T, C>,
        frame: Option<Bytes>,
        labels: &Labels,
    ) -> Result<bool, Error> {
        let Sealing { key, value, bulk, dates, cost, .. } = sealing;
        if options.skip_l1_write {
            self.tiers.local.evict(key);
            return Ok(false);
        }
        let weight = if self.tiers.keeps_values() { bulk.weigh(value).await } else { 0 };
        let (lead, cost) = (self.tiers.lead(*cost), self.tiers.cost(*cost));
        let validity = Validity { dates: *dates, lead, cost, since: flight.fence.since(), labels: labels.clone() };
        self.tiers.keep(key, value, weight, frame, validity, || flight.may_store())
    }

    /// Whether a computed entry goes to the backend. After a failed read only where no caller waits for a failed write,
    /// too.
    fn writes(&self, options: Options, plan: &WritePlan<B>) -> bool {
        let may = self.tiers.l2.guard.is_some() && plan.to_l2 && !options.skip_l2_write;
        may && (!plan.read_failed || self.policy().background)
    }

    /// Writes a computed entry to the backend, if the flight's fence and its lease hold. The lease is renewed while the
    /// write waits for its turn, which it does for as long as it takes, unless a caller waits for it. Returns whether it was
    /// stored.
    async fn write<T: Value, E: Send + Sync>(
        &self,
        flight: &Flight<T, E>,
        key: &Key,
        sealed: Result<Bytes, Error>,
        (dates, is_waited_for): (Dates, bool),
        lease: Option<HeldLease<B>>,
    ) -> bool {
        let Some(guard) = &self.tiers.l2.guard else { return false };
        let stored = match sealed {
            Err(error) => Err(error),
            Ok(bytes) => match guard.queue_write(key, bytes.len(), is_waited_for).await {
                // It may have waited for long.
                Ok(_) if self.tiers.local.switches.is_paused(Tier::L2) => {
                    release(lease).await;
                    return false;
                }
                Ok(permit) => self.write_next(permit, flight, (key, bytes, dates), lease.as_ref()).await,
                Err(error) => Err(error),
            },
        };
        match stored {
            Ok(Filled { stored: true, is_awaited }) => {
                lease.into_iter().for_each(|lease| lease.filled(is_awaited));
                return true;
            }
            Ok(_) => {
                self.observers.tell(Event::Fenced { key });
                // A lease that has not run out was ended: another process knows better.
                if lease.as_ref().is_some_and(|lease| lease.lasts(self.clock.ticks())) && flight.may_store() {
                    flight.give_up();
                    self.tiers.local.evict(key);
                }
            }
            Err(error) => self.not_stored(key, &error),
        }
        release(lease).await;
        false
    }

    async fn write_next<T: Value, E: Send + Sync>(
        &self,
        permit: guard::WritePermit<'_>,
        flight: &Flight<T, E>,
        (key, bytes, dates): (&Key, Bytes, Dates),
        lease: Option<&HeldLease<B>>,
    ) -> Result<Filled, Error> {
        let none = Filled { stored: false, is_awaited: false };
        let Some(guard) = &self.tiers.l2.guard else { return Ok(none) };
        let turn = flight.fence.turn().await;
        let token = if let Some(lease) = lease { lease.settle().await } else { None };
        // Without a lease nothing but the bus would have told of a change by another process.
        let may = token.is_some() || (lease.is_none() && !flight.fence.has_missed());
        if !may || !flight.may_store() {
            return Ok(none);
        }
        let filled = guard.put_next(&permit, key, bytes, dates.keep(), token).await?;
        if filled.stored {
            self.remove_if_raced(key, &flight.fence, &turn).await;
        }
        Ok(filled)
    }

    /// Tells of a value that cannot be stored; what the backend refused was told by the guard.
    pub(super) fn not_stored(&self, key: &Key, error: &Error) {
        if matches!(error.kind(), ErrorKind::TooLarge | ErrorKind::Encode | ErrorKind::Argument) {
            self.observers.tell(Event::NotStored { key, error });
        }
    }
}
