//! Orders to forget more than one key.
//!
//! What is kept carries the last order before its computation or its read began; as long as there was none since, one
//! load says that it is good. Only after an order it has to be asked whether it concerned everything or one of the
//! tags, and whether what is older is gone or only expired.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use foldhash::fast::RandomState;
use lru::LruCache;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::belief::Belief;
use super::{AtomicMoment, Moment};
use crate::clock::millis;

/// Tags remembered by name, at some 80 bytes each, so 5 MiB at most. What was ordered before the oldest of them counts
/// against every other tag, but only for what was not found good since: what L1 keeps is looked at after each order.
const MAX_TAGS: usize = 65_536;

/// The orders of one cache. Each field of a moment is that of the last order of its kind.
#[derive(Debug)]
pub(crate) struct Orders {
    /// Of all changes of this cache.
    sequence: Apart,
    /// Of any kind. Set once all else says what the order says.
    latest: AtomicMoment,
    /// To forget everything.
    all: AtomicMoment,
    /// To forget even what stands in for failing computations.
    cleared: AtomicMoment,
    /// To let everything expire.
    expired: AtomicMoment,
    /// To believe nothing that L1 held.
    doubted: AtomicMoment,
    /// To note that something others told may have been missed.
    missed: AtomicMoment,
    /// The tick from which on L1 is not believed, unless others are heard before.
    believed: AtomicU64,
    /// For how long, in ticks, L1 is believed after others were heard. The longest is for ever.
    belief: u64,
    /// Whether a setting says so, and the staleness of what is served is told.
    is_asked: bool,
    /// Says whether there is nothing to hear, where that is known at once.
    quiet: OnceLock<Quiet>,
    raised: Mutex<Raised>,
    changed: Notify,
}

/// A counter on a cache line of its own: a hit in L1 reads the fields beside it, and each miss moves it on.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Apart(AtomicMoment);

struct Quiet(Box<dyn Fn() -> bool + Send + Sync>);

#[derive(Debug)]
struct Raised {
    /// The last order of each tag.
    tags: LruCache<u64, Moment, RandomState>,
    /// The last of a tag that is no longer remembered.
    others: Moment,
    /// The tick at which everything expired for the last time.
    expiry: Option<u64>,
    /// The last expiry of each tag that ever expired. They are those of domains, so they are few.
    expiries: HashMap<u64, Expiry, RandomState>,
}

#[derive(Debug, Clone, Copy)]
struct Expiry {
    order: Moment,
    tick: u64,
}

/// What orders have made of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Good,
    /// It expired at this tick, if not before.
    Expired(u64),
    Forgotten,
}

/// The order that forgot something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ForgottenBy {
    /// One about everything.
    All,
    /// One about this tag.
    Tag(u64),
}

impl Orders {
    /// What is kept is believed for ever, or for so long after others were heard, or after the tick `now`.
    pub(crate) fn new(belief: Option<Belief>, now: u64) -> Arc<Self> {
        let tags = LruCache::unbounded_with_hasher(RandomState::default());
        let raised = Raised { tags, others: Moment::default(), expiry: None, expiries: HashMap::default() };
        let raised = Mutex::new(raised);
        let is_asked = belief.is_some_and(|belief| belief.is_asked);
        let belief = belief.map_or(u64::MAX, |belief| millis(belief.time));
        let believed = AtomicU64::new(now.saturating_add(belief));
        let [latest, all, cleared, expired, doubted, missed] = Default::default();
        Arc::new(Self {
            sequence: Apart::default(),
            latest,
            all,
            cleared,
            expired,
            doubted,
            missed,
            believed,
            belief,
            is_asked,
            quiet: OnceLock::new(),
            raised,
            changed: Notify::new(),
        })
    }

    /// Asks `quiet` before L1 is doubted: whether others have told nothing that is not known and applied.
    pub(crate) fn vouched_by(&self, quiet: impl Fn() -> bool + Send + Sync + 'static) {
        let _ = self.quiet.set(Quiet(Box::new(quiet)));
    }

    /// The last order.
    #[inline]
    pub(crate) fn latest(&self) -> Moment {
        self.latest.load()
    }

    /// The moment of another change.
    pub(super) fn next(&self) -> Moment {
        self.sequence.0.next()
    }

    /// Forgets everything from before.
    pub(crate) fn forget_all(&self) {
        let mut raised = self.raised();
        self.forget_in(&mut raised, self.next());
    }

    /// Forgets everything from before, and what flights under way would fall back on.
    pub(crate) fn clear(&self) {
        let mut raised = self.raised();
        let next = self.next();
        self.cleared.store(next);
        self.forget_in(&mut raised, next);
    }

    fn forget_in(&self, raised: &mut Raised, next: Moment) {
        raised.expiry = None;
        self.all.store(next);
        self.begin(next);
    }

    fn begin(&self, next: Moment) {
        self.latest.store(next);
        self.changed.notify_waiters();
    }

    /// Waits for the next order to forget, from now on: also one that is given before this is polled.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Lets everything from before expire at `tick`, and forgets what an earlier expiry has left.
    pub(crate) fn expire_all(&self, tick: u64) {
        let mut raised = self.raised();
        self.all.move_to(self.expired.load());
        let next = self.next();
        raised.expiry = Some(tick);
        self.expired.store(next);
        self.begin(next);
    }

    /// Lets what began since the last expiry expire with it; if everything was forgotten meanwhile, at `tick`.
    pub(crate) fn end_expiry(&self, tick: u64) {
        let mut raised = self.raised();
        raised.expiry.get_or_insert(tick);
        let next = self.next();
        self.expired.store(next);
        self.begin(next);
    }

    /// Forgets everything from before that has this tag.
    pub(crate) fn forget_tag(&self, tag: u64) {
        let mut raised = self.raised();
        let next = self.next();
        raised.forget(tag, next);
        self.begin(next);
    }

    /// Lets everything from before that has this tag expire at `tick`, and forgets what an earlier expiry has left of it.
    pub(crate) fn expire_tag(&self, tag: u64, tick: u64) {
        let mut raised = self.raised();
        if let Some(Expiry { order, .. }) = raised.expiries.get(&tag).copied() {
            raised.forget(tag, order);
        }
        let order = self.next();
        raised.expiries.insert(tag, Expiry { order, tick });
        self.begin(order);
    }

    /// Lets what has this tag and began since its last expiry expire with it.
    pub(crate) fn end_expiry_of(&self, tag: u64) {
        let mut raised = self.raised();
        let order = self.next();
        if let Some(expiry) = raised.expiries.get_mut(&tag) {
            expiry.order = order;
        }
        self.begin(order);
    }

    /// Something that others told may have been missed: L1 is not believed, and what is under way answers no
    /// caller that comes later. What is stored in the backend is judged by the ledger and by leases there, which missed
    /// nothing.
    pub(crate) fn miss(&self) {
        let _raised = self.raised();
        let next = self.next();
        self.doubted.store(next);
        self.missed.store(next);
        self.latest.store(next);
    }

    /// Whether something that others told after the order `since` may have been missed.
    pub(crate) fn missed(&self, since: Moment) -> bool {
        self.missed.load() > since
    }

    /// Everything that others had told before the tick `asked` is known, and applied.
    pub(crate) fn heard(&self, asked: u64) {
        self.believed.fetch_max(asked.saturating_add(self.belief), SeqCst);
    }

    /// Whether L1 may be believed at the tick `now`. If not, all that it holds is doubted, once for a while: what is
    /// kept from then on was read after that.
    #[inline]
    pub(crate) fn check(&self, now: u64) {
        if now >= self.believed.load(SeqCst) {
            self.doubt(now);
        }
    }

    #[cold]
    fn doubt(&self, now: u64) {
        if self.quiet.get().is_some_and(|Quiet(is_quiet)| is_quiet()) {
            return self.heard(now);
        }
        let _raised = self.raised();
        if now >= self.believed.load(SeqCst) {
            let next = self.next();
            self.doubted.store(next);
            self.latest.store(next);
            self.believed.fetch_max(now.saturating_add(self.belief), SeqCst);
        }
    }

    /// Whether what began after the order `since`, and before the next, is doubted.
    pub(crate) fn doubts(&self, since: Moment) -> bool {
        self.doubted.load() > since
    }

    /// Whether what began at the tick `begun` is believed at the tick `now` even if no other process was heard since.
    pub(crate) fn is_young(&self, begun: u64, now: u64) -> bool {
        now < begun.saturating_add(self.belief)
    }

    /// Whether [`staleness`](Self::staleness) says anything.
    pub(crate) fn is_staleness_told(&self) -> bool {
        self.is_asked
    }

    /// How many ticks ago others were heard last or everything was doubted. `None` where no setting bounds that.
    #[inline]
    pub(crate) fn staleness(&self, now: impl FnOnce() -> u64) -> Option<u64> {
        let since = |now: u64| now.saturating_add(self.belief).saturating_sub(self.believed.load(Relaxed));
        self.is_asked.then(|| since(now()))
    }

    /// Whether everything was forgotten after the order `since`.
    #[inline]
    pub(crate) fn forgot_all(&self, since: Moment) -> bool {
        self.all.load() > since
    }

    /// Whether everything was forgotten or expired after the order `since`, so that what began in it is void.
    #[inline]
    pub(crate) fn voided_all(&self, since: Moment) -> bool {
        self.forgot_all(since) || self.expired.load() > since
    }

    /// Whether nothing that began after the order `since`, and before the next, may even stand in for a failing
    /// computation.
    pub(crate) fn cleared(&self, since: Moment) -> bool {
        self.cleared.load() > since
    }

    /// What became of something that began after the order `since`, and before the next, and has these tags.
    pub(crate) fn fate(&self, since: Moment, tags: &[u64]) -> Fate {
        if self.forgot_all(since) {
            return Fate::Forgotten;
        }
        if tags.is_empty() && self.expired.load() <= since {
            return Fate::Good;
        }
        let raised = self.raised();
        if raised.forgot(since, tags) {
            return Fate::Forgotten;
        }
        // None is remembered once everything was forgotten.
        let all = (self.expired.load() > since).then(|| raised.expiry.unwrap_or(0));
        all.into_iter().chain(raised.expired(since, tags)).min().map_or(Fate::Good, Fate::Expired)
    }

    /// Which order forgot what began after the order `since`, and before the next, and has these tags, if one did.
    pub(crate) fn forgotten_by(&self, since: Moment, tags: &[u64]) -> Option<ForgottenBy> {
        if self.forgot_all(since) {
            return Some(ForgottenBy::All);
        }
        let raised = self.raised();
        tags.iter().find(|tag| raised.forgot(since, &[**tag])).map(|tag| ForgottenBy::Tag(*tag))
    }

    /// Whether what began after the order `since`, and before the next, and has these tags was forgotten after it, or
    /// expired by a tag: what is under way is then of no use.
    pub(crate) fn forgot(&self, since: Moment, tags: &[u64]) -> bool {
        if self.latest() <= since {
            return false;
        }
        if self.forgot_all(since) {
            return true;
        }
        if tags.is_empty() {
            return false;
        }
        let raised = self.raised();
        raised.forgot(since, tags) || raised.expired(since, tags).next().is_some()
    }

    fn raised(&self) -> MutexGuard<'_, Raised> {
        // Nothing between lock and unlock can panic half way through a change.
        self.raised.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Raised {
    /// Notes an order that forgets a tag, unless a later one is known.
    fn forget(&mut self, tag: u64, order: Moment) {
        let known = self.tags.peek(&tag).copied().unwrap_or(self.others);
        self.tags.put(tag, order.max(known));
        if self.tags.len() > MAX_TAGS
            && let Some((_, order)) = self.tags.pop_lru()
        {
            self.others = order.max(self.others);
        }
    }

    fn forgot(&self, since: Moment, tags: &[u64]) -> bool {
        tags.iter().any(|tag| self.tags.peek(tag).copied().unwrap_or(self.others) > since)
    }

    /// The ticks at which tags of these expired after the order `since`.
    fn expired(&self, since: Moment, tags: &[u64]) -> impl Iterator<Item = u64> {
        let expiries = tags.iter().filter_map(|tag| self.expiries.get(tag));
        expiries.filter(move |expiry| expiry.order > since).map(|expiry| expiry.tick)
    }
}

impl fmt::Debug for Quiet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Quiet")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_tag_forgets_what_has_it_and_began_before() {
        let orders = Orders::new(None, 0);
        let before = orders.latest();
        orders.forget_tag(1);
        let between = orders.latest();
        orders.forget_tag(2);
        let forgot = |since, tags: &[u64]| orders.forgot(since, tags);
        assert!(forgot(before, &[1]) && forgot(before, &[3, 2]) && !forgot(before, &[3]) && !forgot(before, &[]));
        assert!(!forgot(between, &[1]) && forgot(between, &[2]) && !forgot(orders.latest(), &[1, 2]));
        assert!(!orders.forgot_all(before));
    }

    #[test]
    fn forgetting_everything_needs_no_tags() {
        let orders = Orders::new(None, 0);
        let before = orders.latest();
        orders.forget_all();
        assert!(orders.forgot_all(before) && orders.forgot(before, &[]));
        assert!(!orders.forgot_all(orders.latest()) && !orders.forgot(orders.latest(), &[1]));
    }

    #[test]
    fn expired_entry_is_void_and_forgotten_at_the_next_expire_all() {
        let orders = Orders::new(None, 0);
        let before = orders.latest();
        orders.expire_all(10);
        let between = orders.latest();
        orders.end_expiry(11);
        for since in [before, between] {
            assert!(orders.voided_all(since) && !orders.forgot(since, &[]) && !orders.cleared(since));
            assert_eq!(orders.fate(since, &[]), Fate::Expired(10));
        }
        let later = orders.latest();
        assert!(!orders.voided_all(later) && orders.fate(later, &[]) == Fate::Good);
        orders.expire_all(20);
        assert!([before, between].iter().all(|since| orders.forgot(*since, &[])));
        assert!(!orders.forgot(later, &[]) && orders.fate(later, &[]) == Fate::Expired(20));
        let overlapped = orders.latest();
        orders.forget_all();
        let meanwhile = orders.latest();
        orders.end_expiry(30);
        assert!(orders.forgot(overlapped, &[]) && !orders.forgot(meanwhile, &[]));
        assert_eq!((orders.voided_all(meanwhile), orders.fate(meanwhile, &[])), (true, Fate::Expired(30)));
        orders.clear();
        assert!(orders.forgot_all(later) && orders.cleared(later) && !orders.cleared(orders.latest()));
    }

    #[test]
    fn tags_beyond_the_bound_are_forgotten_rather_than_missed() {
        let orders = Orders::new(None, 0);
        let before = orders.latest();
        for tag in 0..=MAX_TAGS as u64 {
            orders.forget_tag(tag);
        }
        assert_eq!(orders.raised().tags.len(), MAX_TAGS);
        assert!(orders.forgot(before, &[0]), "no longer remembered by name");
        assert!(orders.forgot(before, &[u64::MAX]), "nobody can tell");
        assert!(!orders.forgot(Moment(before.0 + 1), &[u64::MAX]));
    }

    #[test]
    fn tag_that_expires_leaves_others_and_what_its_last_expiry_left_is_gone() {
        let orders = Orders::new(None, 0);
        let first = orders.latest();
        orders.expire_tag(7, 10);
        let meanwhile = orders.latest();
        orders.end_expiry_of(7);
        for since in [first, meanwhile] {
            assert_eq!((orders.fate(since, &[7]), orders.fate(since, &[8])), (Fate::Expired(10), Fate::Good));
            assert!(orders.forgot(since, &[1, 7]) && !orders.forgot(since, &[8]) && !orders.forgot_all(since));
        }
        let second = orders.latest();
        assert_eq!(orders.fate(second, &[7]), Fate::Good);
        orders.expire_tag(7, 20);
        assert_eq!((orders.fate(first, &[7]), orders.fate(second, &[7])), (Fate::Forgotten, Fate::Expired(20)));
        orders.expire_all(15);
        assert_eq!((orders.fate(second, &[7]), orders.fate(second, &[8])), (Fate::Expired(15), Fate::Expired(15)));
        orders.forget_tag(7);
        let third = orders.latest();
        orders.expire_tag(7, 30);
        assert_eq!((orders.fate(second, &[7]), orders.fate(third, &[7])), (Fate::Forgotten, Fate::Expired(30)));
    }

    #[test]
    fn what_is_kept_is_believed_until_nobody_was_heard_for_too_long() {
        let orders = Orders::new(Belief::of(Some(Duration::from_millis(100)), true), 1_000);
        let first = orders.latest();
        orders.check(1_099);
        assert!(!orders.doubts(first) && orders.staleness(|| 1_099) == Some(99));
        orders.heard(1_050);
        orders.check(1_149);
        assert!(!orders.doubts(first) && orders.staleness(|| 1_149) == Some(99));
        orders.check(1_150);
        let second = orders.latest();
        assert!(orders.doubts(first) && !orders.doubts(second) && orders.staleness(|| 1_150) == Some(0));
        orders.check(1_249);
        assert!(!orders.doubts(second), "once for a while");
        orders.heard(1_100);
        orders.check(1_250);
        assert!(orders.doubts(second), "what was heard late counts from when it was asked for");
        assert!(!orders.forgot(first, &[1]), "what is under way is not forgotten");
        let unbounded = Orders::new(None, 1_000);
        unbounded.check(u64::MAX - 1);
        assert!(!unbounded.doubts(Moment::default()) && unbounded.staleness(|| unreachable!()).is_none());
    }
}
