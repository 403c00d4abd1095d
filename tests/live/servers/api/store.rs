//! What the service keeps: entries, locks, API keys.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The most seconds an entry may live, fresh and stale together.
pub(super) const MAX_TTL: u64 = 2_592_000;

/// What an API key may change. All may read everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// `ck_live_`: everything.
    Live,
    /// `ck_sdk_`: all but `nsapi:` keys. Each request must tell the status of the memory cache.
    Sdk,
    /// `ck_api_`: all but `ns:` keys.
    Api,
}

impl Class {
    const ALL: [Self; 3] = [Self::Live, Self::Sdk, Self::Api];

    fn prefix(self) -> &'static str {
        match self {
            Self::Live => "ck_live_",
            Self::Sdk => "ck_sdk_",
            Self::Api => "ck_api_",
        }
    }

    pub(super) fn may_change(self, key: &str) -> bool {
        match self {
            Self::Live => true,
            Self::Sdk => !key.starts_with("nsapi:"),
            Self::Api => !key.starts_with("ns:"),
        }
    }
}

#[derive(Debug)]
pub(super) struct Store {
    secret: String,
    clock: Clock,
    entries: HashMap<String, Entry>,
    locks: HashMap<String, Lock>,
}

/// What a read finds.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) value: Vec<u8>,
    pub(super) is_fresh: bool,
    /// How many seconds it stays fresh; `None` if it never expires.
    pub(super) fresh_for: Option<u64>,
}

/// Seconds since the server started.
#[derive(Debug)]
struct Entry {
    value: Vec<u8>,
    fresh_until: Option<u64>,
    stale: u64,
}

#[derive(Debug)]
struct Lock {
    id: String,
    until: Duration,
}

impl Store {
    pub(super) fn new() -> Self {
        let secret = format!("{:032x}", fastrand::u128(..));
        Self { secret, clock: Clock::start(), entries: HashMap::new(), locks: HashMap::new() }
    }

    pub(super) fn api_key(&self, class: Class) -> String {
        format!("{}{}", class.prefix(), self.secret)
    }

    pub(super) fn class_of(&self, api_key: &str) -> Option<Class> {
        Class::ALL.into_iter().find(|class| self.api_key(*class) == api_key)
    }

    pub(super) fn advance(&mut self, duration: Duration) {
        self.clock.offset += duration;
    }

    pub(super) fn stop_clock(&mut self) {
        self.clock.stop();
    }

    pub(super) fn entries(&self) -> usize {
        let second = self.clock.second();
        self.entries.values().filter(|entry| entry.is_kept(second)).count()
    }

    pub(super) fn locks(&self) -> usize {
        let now = self.clock.now();
        self.locks.values().filter(|lock| now < lock.until).count()
    }

    pub(super) fn peek(&self, key: &str) -> Option<Vec<u8>> {
        self.entry(key).map(|entry| entry.value.clone())
    }

    pub(super) fn get(&self, key: &str) -> Option<Found> {
        let (entry, second) = (self.entry(key)?, self.clock.second());
        // Rounded down: a client must not keep it longer than it is fresh.
        let fresh_for = entry.fresh_until.map(|until| until.saturating_sub(self.clock.next_second()));
        Some(Found { value: entry.value.clone(), is_fresh: entry.is_fresh(second), fresh_for })
    }

    /// Replaces what there is, with its times.
    pub(super) fn put(&mut self, key: &str, value: Vec<u8>, ttl: Option<u64>, stale: u64) {
        let fresh_until = ttl.map(|ttl| self.clock.second() + ttl);
        self.entries.insert(key.to_owned(), Entry { value, fresh_until, stale });
    }

    pub(super) fn delete(&mut self, key: &str) {
        self.entries.remove(key);
    }

    /// The seconds until it is gone, rounded up; `Some(None)` if it never is.
    pub(super) fn ttl(&self, key: &str) -> Option<Option<u64>> {
        let second = self.clock.second();
        Some(self.entry(key)?.gone_at().map(|gone| gone - second))
    }

    /// Gives an entry a new TTL, and an absent one nothing.
    pub(super) fn renew(&mut self, key: &str, ttl: u64) -> Renewed {
        let second = self.clock.second();
        let Some(entry) = self.entries.get_mut(key).filter(|entry| entry.is_kept(second)) else {
            return Renewed::Done;
        };
        if !entry.is_fresh(second) {
            return Renewed::IsStale;
        }
        if ttl + entry.stale > MAX_TTL {
            return Renewed::TooLong;
        }
        entry.fresh_until = Some(second + ttl);
        Renewed::Done
    }

    /// The id of the lock, or `None` while another holds it.
    pub(super) fn lock(&mut self, key: &str, hold: Duration) -> Option<String> {
        let now = self.clock.now();
        if self.locks.get(key).is_some_and(|lock| now < lock.until) {
            return None;
        }
        let id = lock_id();
        self.locks.insert(key.to_owned(), Lock { id: id.clone(), until: now + hold });
        Some(id)
    }

    /// Lets go of the lock, if `id` holds it.
    pub(super) fn unlock(&mut self, key: &str, id: &str) {
        if self.locks.get(key).is_some_and(|lock| lock.id == id) {
            self.locks.remove(key);
        }
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        let second = self.clock.second();
        self.entries.get(key).filter(|entry| entry.is_kept(second))
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Renewed {
    Done,
    IsStale,
    TooLong,
}

impl Entry {
    fn is_fresh(&self, second: u64) -> bool {
        self.fresh_until.is_none_or(|until| second < until)
    }

    fn is_kept(&self, second: u64) -> bool {
        self.gone_at().is_none_or(|gone| second < gone)
    }

    fn gone_at(&self) -> Option<u64> {
        self.fresh_until.map(|until| until + self.stale)
    }
}

/// In the form of a UUID.
fn lock_id() -> String {
    let digits = format!("{:032x}", fastrand::u128(..));
    format!("{}-{}-{}-{}-{}", &digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..])
}

/// Real time and an offset, or the offset alone.
#[derive(Debug)]
struct Clock {
    start: Option<Instant>,
    offset: Duration,
}

impl Clock {
    fn start() -> Self {
        Self { start: Some(Instant::now()), offset: Duration::ZERO }
    }

    fn stop(&mut self) {
        self.offset = Duration::from_secs(self.next_second());
        self.start = None;
    }

    fn now(&self) -> Duration {
        self.start.map_or(Duration::ZERO, |start| start.elapsed()) + self.offset
    }

    fn second(&self) -> u64 {
        self.now().as_secs()
    }

    /// The second, rounded up.
    fn next_second(&self) -> u64 {
        let now = self.now();
        now.as_secs() + u64::from(now.subsec_nanos() > 0)
    }
}
