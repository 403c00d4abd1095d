//! Epochs: what this process was told to forget.
//!
//! One counter, raised by every order to forget more than one key. What is kept carries the epoch in which its
//! computation or its read began; as long as the counter stands there, one load says that it is good. Only after a
//! raise it has to be asked whether the raise concerned everything or one of the tags, and whether what is older is
//! gone or only expired.

use std::fmt;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use foldhash::fast::RandomState;
use lru::LruCache;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::clock::millis;

/// Tags remembered by name, at some 80 bytes each, so 5 MiB at most. What was raised before the oldest of them counts
/// against every other tag, but only for what was not found good since: what L1 keeps is looked at after each order.
const MAX_TAGS: usize = 65_536;

/// The epochs of one cache.
#[derive(Debug)]
pub(crate) struct Epochs {
    now: AtomicU64,
    /// The epoch that began by forgetting everything.
    all: AtomicU64,
    /// The epoch that began by forgetting even what stands in for failing computations.
    cleared: AtomicU64,
    /// The epoch that began by letting everything expire.
    expired: AtomicU64,
    /// The epoch that began by believing nothing that L1 held.
    doubted: AtomicU64,
    /// The epoch that began by learning that something others told may have been missed.
    missed: AtomicU64,
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

/// For how long L1 is believed while no other process is heard.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Belief {
    time: Duration,
    /// Whether a setting says so.
    is_asked: bool,
}

/// The belief of a cache that listens, where no setting says so.
const USUAL: Duration = Duration::from_secs(3);

impl Belief {
    /// What the setting says; for a cache that `listens` to a bus, never for ever.
    pub(crate) fn of(max_staleness: Option<Duration>, listens: bool) -> Option<Self> {
        let usual = || listens.then_some(Self { time: USUAL, is_asked: false });
        max_staleness.map(|time| Self { time, is_asked: true }).or_else(usual)
    }

    /// For how many ticks what was heard is believed.
    pub(crate) fn ticks(self) -> u64 {
        millis(self.time)
    }

    /// How long one answer of the bus may take, its way included: two may lie between what L1 knows and the next. Of a
    /// bound that is asked for, half is left for what goes wrong on the way.
    pub(crate) fn wait(self) -> Duration {
        if self.is_asked { self.time / 4 } else { self.time * 9 / 20 }
    }
}

struct Quiet(Box<dyn Fn() -> bool + Send + Sync>);

#[derive(Debug)]
struct Raised {
    epochs: LruCache<u64, u64, RandomState>,
    /// The youngest epoch of a tag that is no longer remembered.
    others: u64,
    /// The tick at which everything expired for the last time.
    expiry: Option<u64>,
}

impl Epochs {
    /// What is kept is believed for ever, or for so long after others were heard, or after the tick `now`.
    pub(crate) fn new(belief: Option<Belief>, now: u64) -> Arc<Self> {
        let epochs = LruCache::unbounded_with_hasher(RandomState::default());
        let raised = Mutex::new(Raised { epochs, others: 0, expiry: None });
        let is_asked = belief.is_some_and(|belief| belief.is_asked);
        let belief = belief.map_or(u64::MAX, |belief| millis(belief.time));
        let believed = AtomicU64::new(now.saturating_add(belief));
        let [now, all, cleared, expired, doubted, missed] = Default::default();
        Arc::new(Self {
            now,
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

    #[inline]
    pub(crate) fn now(&self) -> u64 {
        self.now.load(SeqCst)
    }

    /// Forgets everything from before.
    pub(crate) fn raise_all(&self) {
        self.forget_in(&mut self.raised());
    }

    /// Forgets everything from before, and what flights under way would fall back on.
    pub(crate) fn clear(&self) {
        let mut raised = self.raised();
        self.cleared.store(self.now() + 1, SeqCst);
        self.forget_in(&mut raised);
    }

    fn forget_in(&self, raised: &mut Raised) {
        raised.expiry = None;
        let next = self.now() + 1;
        self.all.store(next, SeqCst);
        self.begin(next);
    }

    fn begin(&self, next: u64) {
        self.now.store(next, SeqCst);
        self.changed.notify_waiters();
    }

    /// Waits for the next order to forget, from now on: also one that is given before this is polled.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Lets everything from before expire at `tick`, and forgets what an earlier expiry has left.
    pub(crate) fn expire_all(&self, tick: u64) {
        let mut raised = self.raised();
        self.all.fetch_max(self.expired.load(SeqCst), SeqCst);
        let next = self.now() + 1;
        raised.expiry = Some(tick);
        self.expired.store(next, SeqCst);
        self.begin(next);
    }

    /// Lets what began since the last expiry expire with it; if everything was forgotten meanwhile, at `tick`.
    pub(crate) fn end_expiry(&self, tick: u64) {
        let mut raised = self.raised();
        raised.expiry.get_or_insert(tick);
        let next = self.now() + 1;
        self.expired.store(next, SeqCst);
        self.begin(next);
    }

    /// Forgets everything from before that has this tag.
    pub(crate) fn raise_tag(&self, tag: u64) {
        let mut raised = self.raised();
        let next = self.now() + 1;
        raised.epochs.put(tag, next);
        if raised.epochs.len() > MAX_TAGS
            && let Some((_, epoch)) = raised.epochs.pop_lru()
        {
            raised.others = epoch;
        }
        self.begin(next);
    }

    /// Something that others told may have been missed: L1 is not believed, and what is under way is nobody's answer who
    /// comes later. What is stored in the backend is judged by the versions and leases there, which missed nothing.
    pub(crate) fn miss(&self) {
        let _raised = self.raised();
        let next = self.now() + 1;
        self.doubted.store(next, SeqCst);
        self.missed.store(next, SeqCst);
        self.now.store(next, SeqCst);
    }

    /// Whether something that others told after the epoch `since` may have been missed.
    pub(crate) fn missed(&self, since: u64) -> bool {
        self.missed.load(SeqCst) > since
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
            let next = self.now() + 1;
            self.doubted.store(next, SeqCst);
            self.now.store(next, SeqCst);
            self.believed.fetch_max(now.saturating_add(self.belief), SeqCst);
        }
    }

    /// Whether what began in the epoch `since` is doubted.
    pub(crate) fn doubts(&self, since: u64) -> bool {
        self.doubted.load(SeqCst) > since
    }

    /// Whether what began at the tick `begun` is believed at the tick `now` even if nobody was heard since.
    pub(crate) fn is_young(&self, begun: u64, now: u64) -> bool {
        now < begun.saturating_add(self.belief)
    }

    /// How many ticks ago others were heard last or everything was doubted. `None` where no setting bounds that.
    #[inline]
    pub(crate) fn staleness(&self, now: impl FnOnce() -> u64) -> Option<u64> {
        let since = |now: u64| now.saturating_add(self.belief).saturating_sub(self.believed.load(Relaxed));
        self.is_asked.then(|| since(now()))
    }

    /// Whether everything was forgotten after the epoch `since`.
    #[inline]
    pub(crate) fn forgot_all(&self, since: u64) -> bool {
        self.all.load(SeqCst) > since
    }

    /// Whether everything was forgotten or expired after the epoch `since`, so that what began in it is void.
    #[inline]
    pub(crate) fn voided_all(&self, since: u64) -> bool {
        self.forgot_all(since) || self.expired.load(SeqCst) > since
    }

    /// Whether nothing that began in the epoch `since` may even stand in for a failing computation.
    pub(crate) fn cleared(&self, since: u64) -> bool {
        self.cleared.load(SeqCst) > since
    }

    /// The tick at which what began in the epoch `since` expired with everything else, if it did.
    pub(crate) fn expired_at(&self, since: u64) -> Option<u64> {
        if self.expired.load(SeqCst) <= since {
            return None;
        }
        // None is remembered once everything was forgotten.
        Some(self.raised().expiry.unwrap_or(0))
    }

    /// Whether what began in the epoch `since` and has these tags was forgotten after it.
    pub(crate) fn forgot(&self, since: u64, tags: &[u64]) -> bool {
        if self.now() <= since {
            return false;
        }
        if self.forgot_all(since) {
            return true;
        }
        if tags.is_empty() {
            return false;
        }
        let raised = self.raised();
        tags.iter().any(|tag| raised.epochs.peek(tag).copied().unwrap_or(raised.others) > since)
    }

    fn raised(&self) -> MutexGuard<'_, Raised> {
        // Nothing between lock and unlock can panic half way through a change.
        self.raised.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Quiet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Quiet")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_forgets_what_has_it_and_began_before() {
        let epochs = Epochs::new(None, 0);
        let before = epochs.now();
        epochs.raise_tag(1);
        let between = epochs.now();
        epochs.raise_tag(2);
        let forgot = |since, tags: &[u64]| epochs.forgot(since, tags);
        assert!(forgot(before, &[1]) && forgot(before, &[3, 2]) && !forgot(before, &[3]) && !forgot(before, &[]));
        assert!(!forgot(between, &[1]) && forgot(between, &[2]) && !forgot(epochs.now(), &[1, 2]));
        assert!(!epochs.forgot_all(before));
    }

    #[test]
    fn forgetting_everything_needs_no_tags() {
        let epochs = Epochs::new(None, 0);
        let before = epochs.now();
        epochs.raise_all();
        assert!(epochs.forgot_all(before) && epochs.forgot(before, &[]));
        assert!(!epochs.forgot_all(epochs.now()) && !epochs.forgot(epochs.now(), &[1]));
    }

    #[test]
    fn what_expired_is_void_and_forgotten_once_everything_expires_again() {
        let epochs = Epochs::new(None, 0);
        let before = epochs.now();
        epochs.expire_all(10);
        let between = epochs.now();
        epochs.end_expiry(11);
        for since in [before, between] {
            assert!(epochs.voided_all(since) && !epochs.forgot(since, &[]) && !epochs.cleared(since));
            assert_eq!(epochs.expired_at(since), Some(10));
        }
        let later = epochs.now();
        assert!(!epochs.voided_all(later) && epochs.expired_at(later).is_none());
        epochs.expire_all(20);
        assert!([before, between].iter().all(|since| epochs.forgot(*since, &[])));
        assert!(!epochs.forgot(later, &[]) && epochs.expired_at(later) == Some(20));
        let overlapped = epochs.now();
        epochs.raise_all();
        let meanwhile = epochs.now();
        epochs.end_expiry(30);
        assert!(epochs.forgot(overlapped, &[]) && !epochs.forgot(meanwhile, &[]));
        assert_eq!((epochs.voided_all(meanwhile), epochs.expired_at(meanwhile)), (true, Some(30)));
        epochs.clear();
        assert!(epochs.forgot_all(later) && epochs.cleared(later) && !epochs.cleared(epochs.now()));
    }

    #[test]
    fn tags_beyond_the_bound_are_forgotten_too_often_and_never_too_rarely() {
        let epochs = Epochs::new(None, 0);
        let before = epochs.now();
        for tag in 0..=MAX_TAGS as u64 {
            epochs.raise_tag(tag);
        }
        assert_eq!(epochs.raised().epochs.len(), MAX_TAGS);
        assert!(epochs.forgot(before, &[0]), "no longer remembered by name");
        assert!(epochs.forgot(before, &[u64::MAX]), "nobody can tell");
        assert!(!epochs.forgot(before + 1, &[u64::MAX]));
    }

    #[test]
    fn what_is_kept_is_believed_until_nobody_was_heard_for_too_long() {
        let epochs = Epochs::new(Belief::of(Some(Duration::from_millis(100)), true), 1_000);
        let first = epochs.now();
        epochs.check(1_099);
        assert!(!epochs.doubts(first) && epochs.staleness(|| 1_099) == Some(99));
        epochs.heard(1_050);
        epochs.check(1_149);
        assert!(!epochs.doubts(first) && epochs.staleness(|| 1_149) == Some(99));
        epochs.check(1_150);
        let second = epochs.now();
        assert!(epochs.doubts(first) && !epochs.doubts(second) && epochs.staleness(|| 1_150) == Some(0));
        epochs.check(1_249);
        assert!(!epochs.doubts(second), "once for a while");
        epochs.heard(1_100);
        epochs.check(1_250);
        assert!(epochs.doubts(second), "what was heard late counts from when it was asked for");
        assert!(!epochs.forgot(first, &[1]), "what is under way is not forgotten");
        let unbounded = Epochs::new(None, 1_000);
        unbounded.check(u64::MAX - 1);
        assert!(!unbounded.doubts(0) && unbounded.staleness(|| unreachable!()).is_none());
    }
}
