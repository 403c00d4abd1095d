//! What each tier has under a key, for one who asks why.

use std::fmt;
use std::time::Duration;

use super::{Options, Tiers};
use crate::backends::Backend;
use crate::codec::Codec;
use crate::error::Error;
use crate::event::{MissReason, Tier, Why};
use crate::frame;
use crate::guard::Guard;
use crate::invalidate::Verdict;
use crate::key::Key;
use crate::memory::Age;
use crate::seal::Dates;
use crate::stored::EntryState;

/// What a tier has under a key, as [`Explanation`](crate::Explanation) says it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TierEntry {
    /// What it is good for.
    pub state: EntryState,
    /// Why the backend could not say.
    pub error: Option<Error>,
    /// How long ago it was computed or set.
    pub age: Duration,
    /// How much longer it is fresh.
    pub fresh_for: Duration,
    /// How much longer until it expires.
    pub remaining: Duration,
    /// How much longer it stands in for a failing computation, beyond that.
    pub grace: Duration,
    /// Its bytes: in L1 what it takes of the budget, in the backend what is stored, its header included.
    pub size: usize,
    /// How long its computation took, as the backend has noted it.
    pub cost: Duration,
    /// 64 bits of a hash of each tag, that of its domain included.
    pub tags: Vec<u64>,
}

impl TierEntry {
    fn missing(reason: MissReason) -> Self {
        let zero = Duration::ZERO;
        Self {
            state: EntryState::Missing(reason),
            error: None,
            age: zero,
            fresh_for: zero,
            remaining: zero,
            grace: zero,
            size: 0,
            cost: zero,
            tags: Vec::new(),
        }
    }

    /// Whether it answers calls.
    pub fn is_valid(&self) -> bool {
        matches!(self.state, EntryState::Fresh | EntryState::Stale)
    }
}

/// In one line.
impl fmt::Display for TierEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.state {
            EntryState::Missing(reason) => write!(f, "nothing to use ({reason})")?,
            EntryState::Fresh => write!(f, "fresh for {:?}, expires in {:?}", self.fresh_for, self.remaining)?,
            EntryState::Stale => write!(f, "stale, expires in {:?}", self.remaining)?,
            EntryState::Expired => write!(f, "expired, stands in for failures for {:?}", self.grace)?,
        }
        if let Some(error) = &self.error {
            write!(f, ": {error}")?;
        }
        if self.size > 0 {
            write!(f, "; made {:?} ago, {} bytes", self.age, self.size)?;
        }
        if !self.cost.is_zero() {
            write!(f, ", computed in {:?}", self.cost)?;
        }
        for (number, tag) in self.tags.iter().enumerate() {
            write!(f, "{} {tag:016x}", if number == 0 { ", tags" } else { "," })?;
        }
        Ok(())
    }
}

impl<B: Backend, C: Codec> Tiers<B, C> {
    /// What L1 has. `None` if there is no L1.
    pub(crate) fn explain_l1(&self, key: &Key) -> Option<TierEntry> {
        let (l1, now) = (self.local.l1.as_ref()?, self.clock.ticks());
        if self.local.switches.is_paused(Tier::L1) {
            return Some(TierEntry::missing(MissReason::Paused));
        }
        let examined = match l1.examine(key.name(), now) {
            Ok(examined) => examined,
            Err(absence) => {
                let why = Why::default();
                self.note_absence(&why, absence);
                return Some(TierEntry::missing(why.reason()));
            }
        };
        let span = |from: i64, to: i64| Duration::from_millis(u64::try_from(to.saturating_sub(from)).unwrap_or(0));
        let signed = |tick: u64| i64::try_from(tick).unwrap_or(i64::MAX);
        let (now, expires) = (signed(now), signed(examined.expires));
        Some(TierEntry {
            state: state_of(examined.age),
            age: span(examined.made, now),
            fresh_for: span(now, examined.fresh_until.min(expires)),
            remaining: span(now, expires),
            grace: span(now.max(expires), signed(examined.gone)),
            size: examined.weight,
            tags: examined.tags,
            ..TierEntry::missing(MissReason::New)
        })
    }

    /// What the backend has. `None` if there is none.
    pub(crate) async fn explain_l2(&self, key: &Key) -> Option<TierEntry> {
        let guard = self.l2.guard.as_ref()?;
        if self.local.switches.is_paused(Tier::L2) {
            return Some(TierEntry::missing(MissReason::Paused));
        }
        let why = Why::default();
        let found = self.examine_l2(guard, key, &why).await;
        Some(match found {
            Ok(Some(entry)) => entry,
            Ok(None) => TierEntry::missing(why.reason()),
            Err(error) => TierEntry { error: Some(error.clone()), ..TierEntry::missing((&error).into()) },
        })
    }

    async fn examine_l2(&self, guard: &Guard<B>, key: &Key, why: &Why) -> Result<Option<TierEntry>, Error> {
        let Some(bytes) = self.fetch(key, why).await? else { return Ok(None) };
        let size = bytes.len();
        let (bytes, ended) = frame::strip_expiry(bytes);
        let missing = |reason| Ok(Some(TierEntry { size, ..TierEntry::missing(reason) }));
        let head = match self.sealer.head(key.as_str(), &bytes) {
            Ok(head) => head,
            Err(reason) => return missing(reason.into()),
        };
        let (dates, tags) = (head.dates(), head.tags().to_vec());
        let (verdict, is_hidden) = (self.judge(guard, key, &head).await?, self.l2.hides(key, &tags));
        let known = |state, dates| Ok(Some(TierEntry { size, cost: head.cost(), tags, ..self.dated(state, dates) }));
        let reason = match verdict {
            _ if is_hidden => MissReason::Fenced,
            _ if !self.sealer.is_authentic(key.as_str(), &bytes, &head) => MissReason::Unauthentic,
            Verdict::Forgotten(order) => self.reason_of(order),
            verdict => {
                let about = (key, Options::default());
                return match self.dates_of(guard, about, (&bytes, ended), &head, verdict).await? {
                    Some(dates) => known(self.state_at(dates), dates),
                    None => Ok(None),
                };
            }
        };
        known(EntryState::Missing(reason), dates)
    }

    /// What an entry with these dates is good for.
    fn state_at(&self, dates: Dates) -> EntryState {
        let now = self.clock.wall();
        let is_over = |span| dates.left(span, now) == 0;
        match (is_over(dates.fresh_for), is_over(dates.ttl)) {
            (false, false) => EntryState::Fresh,
            (true, false) => EntryState::Stale,
            (_, true) if !is_over(dates.kept()) => EntryState::Expired,
            (_, true) => EntryState::Missing(MissReason::Expired),
        }
    }

    /// An entry with these dates, as the clock of this process sees them.
    fn dated(&self, state: EntryState, dates: Dates) -> TierEntry {
        let now = self.clock.wall();
        let left = |span| Duration::from_millis(dates.left(span, now));
        TierEntry {
            state,
            age: Duration::from_millis(now.saturating_sub(dates.created)),
            fresh_for: left(dates.fresh_for),
            remaining: left(dates.ttl),
            grace: left(dates.kept()).saturating_sub(left(dates.ttl)),
            ..TierEntry::missing(MissReason::New)
        }
    }
}

fn state_of(age: Age) -> EntryState {
    match age {
        Age::Fresh | Age::Early => EntryState::Fresh,
        Age::Stale => EntryState::Stale,
        Age::Expired => EntryState::Expired,
    }
}
