//! Explicit operations: get, set, exists, close.
//!
//! Unlike `get_or_compute` they return the backend's errors.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::Inner;
use super::election::Question;
use super::path::Look;
use crate::backends::Backend;
use crate::clock::{millis, within};
use crate::codec::Codec;
use crate::error::{Error, ErrorKind};
use crate::event::{Event, Outcome, Span, Why};
use crate::invalidate::Subscription;
use crate::key::{IntoKey, Key};
use crate::memory::Age;
use crate::seal::Value;
use crate::tiers::Options;

impl<B: Backend, C: Codec> Inner<B, C> {
    pub(super) async fn fetch<T: Value>(&self, key: &impl IntoKey, options: Options) -> Result<Option<Arc<T>>, Error> {
        options.check()?;
        let (key, stale, why) = if self.tiers.local.l1.is_none() {
            (self.key(key)?, None, Why::default())
        } else {
            match self.look(key, &options)? {
                Look::Hit(value) => return Ok(Some(value)),
                Look::Miss(other) => (other.key, other.stale, other.why),
            }
        };
        let options = self.bypass(&key, options);
        if stale.is_some() {
            self.observers.tell(Event::Answered { key: &key, outcome: Outcome::Stale });
            return Ok(stale);
        }
        if !options.skip_l2_read {
            self.listen().await;
        }
        let span = Span::of_call(self.traced(), &key);
        let asking = pin!(self.consult::<T>(&key, options, Question::plain(&why)));
        let (found, failure) = span.clone().around(asking).await;
        let (outcome, value) = match (found.filter(|found| found.age != Age::Expired), failure) {
            (Some(found), _) => (found.outcome(), Ok(Some(found.value))),
            (None, Some(error)) => (Outcome::Failed, Err(error)),
            (None, None) => (Outcome::Absent, Ok(None)),
        };
        if !outcome.is_hit() {
            self.tell_missed(&key, options, &why, &span);
        }
        span.outcome(outcome);
        self.observers.tell(Event::Answered { key: &key, outcome });
        value
    }

    pub(super) async fn left(&self, key: &impl IntoKey) -> Result<Option<u64>, Error> {
        let key = self.key(key)?;
        let options = self.bypass(&key, Options::default());
        self.tiers.left(&key, options).await
    }

    pub(super) async fn ping(&self) -> Result<(), Error> {
        let Some(guard) = &self.tiers.l2.guard else { return Ok(()) };
        guard.ping(&self.key(&"ping")?).await
    }

    pub(super) async fn close(&self, deadline: Duration) -> Result<(), Error> {
        let until = self.clock.ticks().saturating_add(millis(deadline));
        self.shared.tasks.close();
        let mut drained = self.shared.tasks.len() == 0;
        if !drained && self.clock.can_sleep() {
            drained = within(&*self.clock, deadline, self.shared.tasks.drained()).await.is_some();
        }
        if self.clock.can_sleep() {
            let left = Duration::from_millis(until.saturating_sub(self.clock.ticks()));
            // Boxed: a cache without a warm start needs no room for it.
            within(&*self.clock, left, Box::pin(self.warm.save(&self.shared))).await;
        }
        if let Some(Subscription(bus_reader)) = &self.shared.subscription {
            bus_reader.stop();
        }
        self.shared.failures.forget();
        #[cfg(feature = "metrics")]
        self.shared.record_metrics();
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
        self.namespace.key(key)
    }
}
