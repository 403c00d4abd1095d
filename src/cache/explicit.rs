//! Explicit operations: get, set, invalidate, exists, close.
//!
//! Unlike `get_or_compute` they return the backend's errors. Whatever changes a key raises its fence before and after the
//! backend is told, so that no read that overlaps the change outlives it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Inner;
use super::options::Options;
use super::path::{Look, Other};
use crate::backends::Backend;
use crate::clock::{millis, within};
use crate::codec::Codec;
use crate::error::{Error, ErrorKind};
use crate::event::{Event, Outcome};
use crate::guard::Peek;
use crate::key::{IntoKey, Key};
use crate::memory::{self, Age};
use crate::seal::Value;

impl<B: Backend, C: Codec> Inner<B, C> {
    pub(super) async fn fetch<T: Value>(&self, key: &impl IntoKey, options: Options) -> Result<Option<Arc<T>>, Error> {
        options.check()?;
        let Other { key, stale } = match self.look(key, &options)? {
            Look::Fresh(value) => return Ok(Some(value)),
            Look::Other(other) => *other,
        };
        if stale.is_some() {
            self.observers.tell(Event::Answered { key: &key, outcome: Outcome::Stale });
            return Ok(stale);
        }
        let result = if options.skip_l2_read {
            Ok(None)
        } else {
            let fence = self.fences.take(&key);
            self.read::<T>(&key, options, || fence.holds()).await
        };
        let (outcome, value) = match result {
            Ok(Some(found)) if found.age == Age::Fresh => (Outcome::L2Hit, Ok(Some(found.value))),
            Ok(Some(found)) if found.age == Age::Stale => (Outcome::Stale, Ok(Some(found.value))),
            Ok(_) => (Outcome::Absent, Ok(None)),
            Err(error) => (Outcome::Failed, Err(error)),
        };
        self.observers.tell(Event::Answered { key: &key, outcome });
        value
    }

    pub(super) async fn set<T: Value>(&self, key: &impl IntoKey, options: Options, value: T) -> Result<(), Error> {
        options.check()?;
        let key = self.key(key)?;
        let plan = self.plan(options, None, &value)?;
        let value = Arc::new(value);
        let guard = self.guard.as_ref().filter(|_| !options.skip_l2_write);
        let frame = if guard.is_some() || C::CONFIDENTIAL {
            Some(self.sealer.seal(&key, &*value, plan.dates, Duration::ZERO, &[])?)
        } else {
            None
        };
        self.check_size(frame.as_ref().map_or_else(|| memory::weigh(&*value), Bytes::len))?;
        let fence = self.fences.take(&key);
        fence.raise();
        self.forget(&key);
        let result = match (guard, &frame) {
            (Some(guard), Some(frame)) => {
                let _turn = fence.turn().await;
                guard.put(&key, frame.clone(), plan.keep(), None).await.map(|_| ())
            }
            _ => Ok(()),
        };
        fence.raise();
        self.throttle.succeeded(&key);
        self.keep(&key, &value, frame, plan, options, || fence.holds());
        result
    }

    pub(super) async fn invalidate(&self, key: &impl IntoKey) -> Result<(), Error> {
        let key = self.key(key)?;
        let fence = self.fences.take(&key);
        fence.raise();
        self.forget(&key);
        let result = match &self.guard {
            Some(guard) => {
                let _turn = fence.turn().await;
                guard.remove(&key).await
            }
            None => Ok(()),
        };
        // What was read from the backend before it forgot is void, too.
        fence.raise();
        self.forget(&key);
        self.throttle.succeeded(&key);
        result
    }

    pub(super) async fn exists(&self, key: &impl IntoKey) -> Result<bool, Error> {
        let key = self.key(key)?;
        let Some(guard) = &self.guard else {
            let hit = self.l1.as_ref().and_then(|l1| l1.get(key.hash64(), key.as_str(), self.clock.ticks()));
            return Ok(hit.is_some_and(|hit| hit.age != Age::Expired));
        };
        let now = self.clock.wall();
        Ok(match guard.peek(&key).await? {
            None => false,
            Some(Peek::Split { expires }) => now < expires,
            Some(Peek::Bytes(bytes)) => self.sealer.dates(&bytes).is_some_and(|dates| dates.left(dates.ttl, now) > 0),
        })
    }

    pub(super) async fn ping(&self) -> Result<(), Error> {
        let Some(guard) = &self.guard else { return Ok(()) };
        guard.ping(&self.key(&"ping")?).await
    }

    pub(super) async fn close(&self, deadline: Duration) -> Result<(), Error> {
        let mut running = self.tasks.close();
        let drained = within(&*self.clock, deadline, async { while running.join_next().await.is_some() {} }).await;
        if drained.is_some() {
            return Ok(());
        }
        let left = running.len();
        running.abort_all();
        let message = format!("{left} tasks had not ended {} ms after close and were stopped", millis(deadline));
        Err(Error::new(ErrorKind::Timeout, message))
    }

    fn key(&self, key: &impl IntoKey) -> Result<Key, Error> {
        self.namespace.with(key, Key::from_parts)
    }

    fn forget(&self, key: &Key) {
        if let Some(l1) = &self.l1 {
            l1.remove(key);
        }
    }
}
