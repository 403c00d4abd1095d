//! The two tiers as one: look in L1, read the backend, keep and write what was computed.
//!
//! What is found is judged before it is believed: by the ledger, by its dates, and by what this process has changed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;

use crate::backends::Backend;
use crate::clock::{Clock, millis};
use crate::codec::Codec;
use crate::config::Policy;
use crate::error::{Error, ErrorKind};
use crate::event::{Event, MissReason, Observers, Outcome, Unreadable, Why};
use crate::frame::{Labels, Tags};
use crate::guard::{Guard, check_size};
use crate::invalidate::{Ledgers, Local, RetryQueue};
use crate::key::{Key, Name};
use crate::memory::{self, Absence, Age, AnyValue, Cost, Hit, L1, Lead, Sealed, Share, Times};
use crate::order::{ForgottenBy, Moment};
use crate::seal::{Dates, Sealer, Value};

mod clocks;
mod explain;
mod fallback;
mod habit;
mod large;
mod options;
mod own;
mod plan;
mod read;
mod staged;
#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;

use self::clocks::Clocks;
pub use self::explain::TierEntry;
use self::habit::Habit;
use self::large::is_opened_apart;
pub(crate) use self::large::{Bulk, Sealing};
pub(crate) use self::options::{Options, check_tags};
pub(crate) use self::read::Lookup;

/// L1 and the backend, as one cache, or a tenant or a domain of it, sees them.
#[derive(Debug)]
pub(crate) struct Tiers<B: Backend, C> {
    pub(crate) sealer: Arc<Sealer<C>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) observers: Observers,
    pub(crate) policy: Arc<Policy>,
    /// The tag of all entries of the domain, if this is one.
    pub(crate) domain: Tags,
    /// What its entries may take of L1, if that is bounded.
    pub(crate) share: Option<Arc<Share>>,
    pub(crate) local: Arc<Local>,
    pub(crate) l2: Arc<L2<B>>,
}

/// The backend, if there is one, and what this process knows of it. The tenants and domains of a cache share it.
#[derive(Debug)]
pub(crate) struct L2<B: Backend> {
    pub(crate) policy: Arc<Policy>,
    pub(crate) guard: Option<Guard<B>>,
    /// What was forgotten in the backend.
    pub(crate) ledgers: Option<Arc<Ledgers>>,
    /// Changes that it did not take.
    pub(crate) retries: RetryQueue,
    habit: Habit,
    clocks: Clocks,
    /// The longest that an entry was given to be kept, in milliseconds.
    longest: AtomicU64,
}

/// The same tiers.
impl<B: Backend, C> Clone for Tiers<B, C> {
    fn clone(&self) -> Self {
        Self {
            sealer: Arc::clone(&self.sealer),
            clock: Arc::clone(&self.clock),
            observers: self.observers.clone(),
            policy: Arc::clone(&self.policy),
            domain: Tags::clone(&self.domain),
            share: self.share.clone(),
            local: Arc::clone(&self.local),
            l2: Arc::clone(&self.l2),
        }
    }
}

/// An entry found in a tier.
pub(crate) struct Found<T> {
    pub(crate) value: Arc<T>,
    pub(crate) age: Age,
    pub(crate) in_l1: bool,
    pub(crate) times: Times,
    /// `None`: there are none, or they were not asked for.
    pub(crate) labels: Option<Labels>,
}

impl<T> Found<T> {
    /// What a call that it answers counts as.
    pub(crate) fn outcome(&self) -> Outcome {
        match self.age {
            Age::Fresh | Age::Early if self.in_l1 => Outcome::L1Hit,
            Age::Fresh | Age::Early => Outcome::L2Hit,
            Age::Stale | Age::Expired => Outcome::Stale,
        }
    }

    pub(crate) fn tags(&self) -> &[u64] {
        self.labels.as_ref().map_or(&[], |labels| &labels.tags)
    }
}

/// What L1 must know of an entry to forget it.
#[derive(Debug, Clone)]
pub(crate) struct Validity {
    pub(crate) dates: Dates,
    pub(crate) lead: Lead,
    pub(crate) cost: Cost,
    /// The last order before its making began.
    pub(crate) since: Moment,
    pub(crate) labels: Labels,
}

impl<B: Backend> L2<B> {
    pub(crate) fn new(
        policy: Arc<Policy>,
        guard: Option<Guard<B>>,
        ledgers: Option<Arc<Ledgers>>,
        clock: &dyn Clock,
    ) -> Self {
        let longest = policy.ttl.saturating_add(policy.stale_if_error.of(policy.ttl));
        Self {
            policy,
            guard,
            ledgers,
            retries: RetryQueue::default(),
            habit: Habit::default(),
            clocks: Clocks::new(clock),
            longest: AtomicU64::new(millis(longest)),
        }
    }

    /// Whether what is asked of the backend is mostly there.
    pub(crate) fn is_mostly_found(&self) -> bool {
        self.habit.is_to_find()
    }

    /// Notes whether the backend had a value.
    pub(crate) fn note_found(&self, found: bool) {
        self.habit.note(found);
    }

    /// Whether what the backend has under `key`, with these tags, may be older than a change that waits.
    #[inline]
    pub(crate) fn hides(&self, key: &Key, tags: &[u64]) -> bool {
        let part = || self.guard.as_ref().map_or(0, |guard| guard.part(key));
        self.retries.len() > 0 && self.retries.hides(key, part(), tags)
    }

    /// The tick from which on the backend has no entry any more that it was given by the tick `now`.
    pub(crate) fn gone_by(&self, now: u64) -> u64 {
        now.saturating_add(self.longest.load(Relaxed))
    }
}

impl<B: Backend, C: Codec> Tiers<B, C> {
    /// The tags of an entry of these tiers: its own, and that of the domain.
    pub(crate) fn tags(&self, own: &[u64]) -> Tags {
        if own.is_empty() {
            return Tags::clone(&self.domain);
        }
        own.iter().chain(&*self.domain).copied().collect()
    }

    /// Whether a hit in L1 needs no more than its value and the counters.
    pub(crate) fn has_plain_hits(&self, observers: &Observers) -> bool {
        self.keeps_values() && !observers.tells_hits() && !self.local.orders.is_staleness_told()
    }

    /// What L1 holds for a key at the tick `now`, if it is a `T`, without its tags.
    #[inline]
    pub(crate) fn look<T: Value>(
        &self,
        name: Name<'_>,
        now: u64,
        why: &Why,
        is_due: impl FnOnce(Lead, u64) -> bool,
    ) -> Option<Found<T>> {
        let l1 = self.local.l1.as_ref()?;
        let absent = |absence| self.note_absence(why, absence);
        let Hit { held, age, times, labels } = l1.get_by(name, now, is_due, absent)?;
        let value = if C::CONFIDENTIAL {
            self.open_hit(name, &held)?
        } else {
            match held.downcast() {
                Ok(value) => Ok(value),
                Err(held) => self.unseal(name, &held)?,
            }
        };
        let value = self.readable(name, value, why)?;
        Some(Found { value, age, in_l1: true, times, labels })
    }

    /// The value of a hit that holds its frame. `None` if the flight is to open it.
    fn open_hit<T: Value>(&self, name: Name<'_>, held: &AnyValue) -> Option<Result<Arc<T>, Unreadable>> {
        let Some(Sealed(bytes)) = held.downcast_ref::<Sealed>() else { return Some(Err(Unreadable::Foreign)) };
        if is_opened_apart(bytes) {
            return None;
        }
        let open = |text: &str| self.sealer.open(text, bytes, &self.sealer.head(text, bytes)?);
        Some(name.with_text(open).map(Arc::new))
    }

    /// What L1 holds for a key, if it is a `T`, with its tags. Of what is near its end, `is_due` says whether it is to be
    /// renewed.
    pub(crate) async fn look_tagged<T: Value>(
        &self,
        key: &Key,
        is_due: impl FnOnce(Lead, u64) -> bool,
        why: &Why,
    ) -> Option<Found<T>> {
        let l1 = self.local.l1.as_ref()?;
        let absent = |absence| self.note_absence(why, absence);
        let Hit { held, age, times, labels } = l1.get_tagged(key.name(), self.clock.ticks(), is_due, absent)?;
        let value = match held.downcast_ref::<Sealed>() {
            Some(Sealed(bytes)) if C::CONFIDENTIAL => self.open_alone(key, bytes).await.map(Arc::new),
            Some(Sealed(bytes)) => self.open_staged(key, &held, bytes).await,
            None => held.downcast().map_err(|_| Unreadable::Schema),
        };
        let value = self.readable(key.name(), value, why)?;
        if matches!(age, Age::Stale | Age::Expired) {
            why.note(MissReason::Expired);
        }
        Some(Found { value, age, in_l1: true, times, labels })
    }

    /// Notes why L1 has nothing, as far as it knows.
    #[cold]
    fn note_absence(&self, why: &Why, absence: Absence) {
        why.note(match absence {
            Absence::Unknown => return,
            Absence::Evicted => MissReason::Evicted,
            Absence::Expired => MissReason::Expired,
            Absence::Doubted => MissReason::Doubted,
            Absence::Forgotten(order) => self.reason_of(order),
        });
    }

    /// Why an entry is none that this order forgot.
    fn reason_of(&self, order: ForgottenBy) -> MissReason {
        match order {
            ForgottenBy::All => MissReason::Namespace,
            ForgottenBy::Tag(tag) if self.domain.contains(&tag) => MissReason::Domain,
            ForgottenBy::Tag(_) => MissReason::Tag,
        }
    }

    async fn open_alone<T: Value>(&self, key: &Key, sealed: &Bytes) -> Result<T, Unreadable> {
        let head = self.sealer.head(key.as_str(), sealed)?;
        self.open(key, sealed, &head).await
    }

    /// The value of a hit in L1, or nothing and an event.
    #[inline]
    fn readable<T>(&self, name: Name<'_>, value: Result<Arc<T>, Unreadable>, why: &Why) -> Option<Arc<T>> {
        match value {
            Ok(value) => Some(value),
            Err(reason) => {
                why.unreadable(&self.observers, &name.to_key(), reason);
                if reason == Unreadable::Schema {
                    self.tell_types_in_turns();
                }
                None
            }
        }
    }

    /// Warns of a key that this process itself uses for values of two types. A type that has changed since the entry
    /// was stored is another matter: the process knows the new one alone.
    #[cold]
    fn tell_types_in_turns(&self) {
        let message = "a key holds values of two types in turns, so each replaces the other and is computed anew: give each \
                       type a namespace of its own, or a part of the key";
        self.observers.tell(Event::Warning { message });
    }

    /// Warns of a type that L1 keeps and no backend could, so that one can be added without a surprise.
    fn probe<T: Value>(&self, key: &Key, value: &T, weight: usize) {
        if self.l2.guard.is_some() || C::CONFIDENTIAL || weight > MAX_PROBED {
            return;
        }
        if let Some(message) = self.sealer.probe(key, value) {
            self.observers.tell(Event::Warning { message: &message });
        }
    }

    /// Whether L1 holds values as they are, and so wants their weight.
    pub(crate) fn keeps_values(&self) -> bool {
        !C::CONFIDENTIAL && self.local.l1.is_some()
    }

    /// Puts an entry into L1, if L1 is on and has room for it. `sealed` is its frame, where there is one already.
    ///
    /// Returns whether L1 holds it now. If not, an older entry of the key stays only where `admit` said no.
    ///
    /// # Errors
    /// If the value is too large for L1 or for the policy.
    pub(crate) fn keep<T: Value>(
        &self,
        key: &Key,
        value: &Arc<T>,
        weight: usize,
        sealed: Option<Bytes>,
        validity: Validity,
        admit: impl Fn() -> bool,
    ) -> Result<bool, Error> {
        let Some(l1) = self.local.l1.as_ref().filter(|_| !self.local.keeps_nothing()) else { return Ok(false) };
        let (held, weight, handle) = match sealed {
            Some(bytes) if C::CONFIDENTIAL => {
                let weight = bytes.len();
                (Arc::new(Sealed(bytes)) as AnyValue, weight, SEALED_HANDLE)
            }
            _ if C::CONFIDENTIAL => return Ok(false),
            _ => (Arc::clone(value) as AnyValue, l1.weight_of(&**value, weight), 0),
        };
        let handle = handle + validity.labels.size();
        let size = check_size(weight, self.policy.max_value_size)
            .and_then(|()| check_fits(l1, key, weight.saturating_add(handle)));
        let weight = if size.is_ok() { weight.saturating_add(handle) } else { usize::MAX };
        let ticks = self.clock.ticks();
        let entry = self.entry((held, weight), validity, ticks);
        let held = l1.put(key, entry, ticks, admit);
        self.probe(key, &**value, weight);
        size.map(|()| held)
    }

    /// What L1 is to hold from the tick `now` on.
    fn entry(&self, (held, weight): (AnyValue, usize), validity: Validity, now: u64) -> memory::Entry {
        let Validity { dates, lead, cost, since, labels } = validity;
        let (wall, last) = (self.clock.wall(), self.last_in_l1(now));
        memory::Entry {
            held,
            weight,
            fresh_until: dates.end(dates.fresh_for, wall, now),
            lead,
            cost,
            expires: dates.end(dates.ttl, wall, now).min(last),
            gone: dates.end(dates.kept(), wall, now).min(last.saturating_add(dates.grace)),
            age: wall.saturating_sub(dates.created),
            since,
            labels,
            share: self.share.clone(),
        }
    }
}

fn check_fits(l1: &L1, key: &Key, weight: usize) -> Result<(), Error> {
    if l1.fits(key, weight) {
        return Ok(());
    }
    let message = format!("a value of {weight} bytes is too large for L1: raise l1_max_size_mb to eight times that");
    Err(Error::new(ErrorKind::TooLarge, message))
}

/// Larger values are not written for a trial.
const MAX_PROBED: usize = 64 * 1024;

/// What the two handles of a sealed entry's bytes take beside them, with what the allocator adds.
const SEALED_HANDLE: usize = 120;
