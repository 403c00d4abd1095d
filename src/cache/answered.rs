//! What a call was answered with, and whence it came.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Inner;
use super::computation::Computation;
use crate::backends::Backend;
use crate::codec::Codec;
use crate::error::ComputeError;
use crate::event::{Event, MissReason, Outcome, Why};
use crate::flight::Fallback;
use crate::frame::{self, Tags};
use crate::key::IntoKey;
use crate::memory::{Age, Lead, Times};
use crate::seal::Value;
use crate::tiers::{Found, Options};

/// The answer of a call.
pub(super) struct Answered<T> {
    pub(super) value: Arc<T>,
    pub(super) outcome: Outcome,
    pub(super) times: Times,
    pub(super) tags: Tags,
    /// Why it had to be computed, if it had.
    pub(super) missed: Option<MissReason>,
}

impl<T> Answered<T> {
    pub(super) fn new(found: Found<T>, outcome: Outcome) -> Self {
        let Found { value, times, labels, .. } = found;
        let tags = labels.map(|labels| labels.tags).unwrap_or_default();
        Self { value, outcome, times, tags, missed: None }
    }

    /// The answer of a flight whose computation goes on, or failed.
    pub(super) fn early(fallback: &Fallback<T>) -> Self {
        let Fallback { value, labels, times, outcome, .. } = fallback;
        let (value, tags) = (Arc::clone(value), Arc::clone(&labels.tags));
        Self { value, outcome: *outcome, times: *times, tags, missed: None }
    }

    /// As users see it at the tick `now`.
    pub(super) fn seen<V>(self, now: u64, value: impl FnOnce(Arc<T>) -> V) -> Fetched<V> {
        let Times { made, fresh_until, expires } = self.times;
        let span = |from: i64, to: i64| Duration::from_millis(u64::try_from(to.saturating_sub(from)).unwrap_or(0));
        Fetched {
            age: span(made, now as i64),
            fresh_for: span(now as i64, fresh_until.min(expires as i64)),
            remaining: Duration::from_millis(expires.saturating_sub(now)),
            outcome: self.outcome,
            missed: self.missed,
            tags: self.tags,
            value: value(self.value),
        }
    }
}

/// A value, whence it came, and how long it lives: what [`Cache::fetch`](crate::Cache::fetch) gives.
///
/// # Examples
/// ```
/// use cachekit::{CacheBuilder, MissReason, Outcome};
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let pages = CacheBuilder::new().namespace("pages").build()?;
/// let load = || async { Ok::<_, std::io::Error>("<html>".to_owned()) };
/// let page = pages.entry("home").tags(["pages"]).fetch(load).await?;
/// assert!(page.outcome() == Outcome::Computed && page.has_tag("pages"));
/// assert_eq!(page.miss_reason(), Some(MissReason::New));
/// let page = pages.fetch("home", load).await?;
/// let header = if page.outcome().is_hit() { "HIT" } else { "MISS" };
/// assert_eq!((header, page.value().as_str()), ("HIT", "<html>"));
/// assert!(page.age() < page.remaining());
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Fetched<T> {
    value: T,
    outcome: Outcome,
    age: Duration,
    fresh_for: Duration,
    remaining: Duration,
    missed: Option<MissReason>,
    tags: Tags,
}

impl<T> Fetched<T> {
    /// The value.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// The value itself.
    pub fn into_value(self) -> T {
        self.value
    }

    pub(crate) fn map<V>(self, make: impl FnOnce(T) -> V) -> Fetched<V> {
        let Self { value, outcome, age, fresh_for, remaining, missed, tags } = self;
        Fetched { value: make(value), outcome, age, fresh_for, remaining, missed, tags }
    }

    /// Where it came from.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Why neither tier answered, if the value was computed for this call, or for another that it joined. `None` for a
    /// value that a tier had.
    pub fn miss_reason(&self) -> Option<MissReason> {
        self.missed
    }

    /// How long ago it was computed or set, or was found not to be modified. Exact to the millisecond for a day, then to
    /// a part in sixty million.
    pub fn age(&self) -> Duration {
        self.age
    }

    /// How much longer it is fresh. Zero for a value that is stale, or that is not kept.
    pub fn fresh_for(&self) -> Duration {
        self.fresh_for
    }

    /// How much longer until it expires. Zero for a value that has expired and stands in, or that is not kept.
    pub fn remaining(&self) -> Duration {
        self.remaining
    }

    /// Whether the entry has this tag.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.contains(&frame::fingerprint(tag))
    }
}

/// Without the value.
impl<T> fmt::Debug for Fetched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Fetched");
        shown.field("outcome", &self.outcome).field("age", &self.age).field("remaining", &self.remaining);
        shown.finish_non_exhaustive()
    }
}

impl<B: Backend, C: Codec> Inner<B, C> {
    /// Answers a call that wants to know whence its value came. Its entry has the tags of the program's that are `named`.
    /// `None` if its computation finds that there is no value.
    pub(super) async fn answer_whole<T: Value, E: Send + Sync + 'static>(
        self: &Arc<Self>,
        key: &impl IntoKey,
        options: Options,
        named: &[u64],
        compute: Computation<T, E>,
    ) -> Result<Option<Answered<T>>, ComputeError<E>> {
        let tags = self.tiers.tags(named);
        let why = Why::default();
        let (key, options) = match self.key(key) {
            Ok(key) => {
                let options = self.bypass(&key, options);
                (key, options)
            }
            Err(error) => (self.stand_in_key(&error), options.unfindable()),
        };
        if let Some(l1) = &self.tiers.local.l1 {
            l1.note_read(key.hash64());
        }
        let timer = self.timer(key.hash64());
        let found = match options.skip_l1_read {
            true => None,
            false => self.tiers.look_tagged::<T>(&key, Lead::is_drawn, &why).await,
        };
        if let Some((meters, begun)) = timer {
            meters.looked(self.clock.precise().saturating_sub(begun));
        }
        let options = Options { early: found.as_ref().is_some_and(|found| found.age == Age::Early), ..options };
        let is_answer = |found: &Found<T>| match found.age {
            Age::Fresh => true,
            Age::Early | Age::Stale => self.policy().background,
            Age::Expired => false,
        };
        let Some(found) = found.filter(is_answer) else {
            return self.load(key, options, tags, (why, compute)).await;
        };
        if let Some(staleness) = self.tiers.local.orders.staleness(|| self.clock.ticks()) {
            self.observers.served(staleness);
        }
        let outcome = found.outcome();
        self.observers.tell(Event::Answered { key: &key, outcome });
        if outcome == Outcome::Stale || options.early {
            self.renew(key, options, tags, compute);
        }
        Ok(Some(Answered::new(found, outcome)))
    }
}
