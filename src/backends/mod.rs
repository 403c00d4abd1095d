//! Backends: where entries live beyond this process.
//!
//! A backend keeps bytes under a key for a while and knows nothing of values, codecs or freshness: dates travel
//! inside the bytes. Everything a wrapper could silently get wrong is required; only what people ask for, and no cache,
//! has a default.

use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;

use crate::bus::AnyBus;
use crate::config::LONGEST;
use crate::error::{Error, ErrorKind};
use crate::finding::Finding;
use crate::key::Key;
use crate::ledger::{Forgotten, Order};
use crate::random;

#[cfg(not(feature = "cachekitio"))]
mod absent;
pub(crate) mod announce;
mod any;
#[cfg(any(feature = "cachekitio", feature = "redis-tls"))]
mod bundle;
#[cfg(feature = "cachekitio")]
mod cachekitio;
#[cfg(feature = "file")]
mod file;
pub(crate) mod join;
pub(crate) mod late;
mod ledgers;
#[cfg(feature = "memcached")]
mod memcached;
mod memory;
mod none;
#[cfg(feature = "redis")]
mod redis;
pub(crate) mod waiting;

/// What reads bytes from outside, as functions of bytes.
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing {
    #[cfg(feature = "cachekitio")]
    pub use super::cachekitio::fuzzing::api_answers;
    #[cfg(feature = "file")]
    pub use super::file::fuzzing::file_entry;
    #[cfg(feature = "memcached")]
    pub use super::memcached::fuzzing::{memcached_answers, memcached_lease};
    #[cfg(feature = "redis")]
    pub use super::redis::fuzzing::redis_answers;
}

#[cfg(not(feature = "cachekitio"))]
pub use self::absent::CachekitIo;
pub use self::any::AnyBackend;
#[cfg(feature = "cachekitio")]
pub use self::cachekitio::CachekitIo;
#[cfg(feature = "file")]
pub use self::file::File;
pub use self::ledgers::{forget_by_leases, forget_by_set};
#[cfg(feature = "memcached")]
pub use self::memcached::Memcached;
pub use self::memory::Memory;
pub use self::none::NoBackend;
#[cfg(feature = "redis")]
pub use self::redis::Redis;

/// The longest that the lease of a living holder can last on from now, where one is asked for that is to `hold`. The
/// holder may have other settings, and where its way to the backend is long, it holds for up to half a minute. What
/// would last longer, or for ever, was left or planted, and keeps no key from being computed.
pub(crate) fn longest_lease(hold: Duration) -> Duration {
    hold.saturating_mul(2).max(Duration::from_secs(60))
}

/// A store of bytes, shared between processes or not.
///
/// Implementers write plain `async fn`; the futures must be `Send`. `examples/own_backend.rs` is a whole one. What
/// passes `cachekit::testing::conformance` (feature `testing`) keeps this contract.
///
/// # Contract
/// - What `set` or `fill` stored, `get` returns unchanged, until `ttl` is over, or `remove`, or the backend needs the
///   room. An empty value is a value. A TTL is rounded up to the backend's precision, never down.
/// - `get` of an absent or expired key is `Ok(None)`. A failure is `Err`, never `None`.
/// - `remove` of an absent key succeeds.
/// - Values are replaced whole: a reader sees the old bytes or the new ones, never a mixture.
/// - A dropped future leaves the backend usable; the operation may or may not have happened.
/// - A batch does what its operations would do one by one, in as few round trips as the backend can. It is not atomic:
///   one that fails may have happened in part.
///
/// # Leases
/// A lease is the right to fill one key, kept by the backend so that it holds across processes. At most one is out per
/// key; it ends after `hold`, by `fill`, by `release`, and by `set` or `remove` of its key. `fill` stores only if its
/// lease has not ended. A lease that has ended stays so: `renew` keeps one that holds, and never takes one anew. A lock
/// that would last for ever, or for much longer than `hold`, is of no living holder and may be taken over. The caller
/// makes the token, so that a lease whose answer was lost can be given back, or asked for again: it is granted again to
/// the token that holds it. A backend whose
/// [`Capabilities::leases`] is false answers [`ErrorKind::Unsupported`].
///
/// A lease is asked for together with the value: if there is one under the key that the caller has not seen, that is
/// the answer, and no lease is granted. So a miss asks once before it computes, and a caller that waits for another
/// holder finds the value of that holder by the question that it repeats. Two values are told apart by their length
/// and their first 128 bytes, so that a backend need not compare long values. Two different values may look the same
/// that way. Then the caller computes once more: it gets a lease where it could have read, and the value that it fills
/// in is newer than both.
///
/// # Orders to forget
/// A ledger is a head and records under reserved keys, in each part of the backend. [`forget`](Backend::forget) changes
/// that of the part which the [`Order`] names, and answers with its head once readers find the same. An order takes
/// effect as a whole: who finds its time in the head finds what it forgot in the records, and of many orders at once each
/// counts. What is lost, head or record, is made anew by the next order, and then counts as forgotten. An order that was
/// dropped or has failed may have been carried out, and can be given again.
///
/// A backend whose [`Capabilities::announces`] is true tells its [bus](Backend::bus) of an order in the same step, in
/// the order of the times, which then have no gaps.
///
/// # Errors
/// [`ErrorKind::Unavailable`] and [`ErrorKind::Timeout`] where trying again may help, [`ErrorKind::ReadOnly`] where reads
/// still work and writes do not, [`ErrorKind::TooLarge`] for a value above the item limit, [`ErrorKind::Backend`]
/// otherwise. Messages hold no key and no value.
///
/// # Wrappers
/// A wrapper forwards every method, `capabilities` included, and says in its docs which it changes.
///
/// [`ErrorKind::Unsupported`]: crate::ErrorKind::Unsupported
/// [`ErrorKind::Unavailable`]: crate::ErrorKind::Unavailable
/// [`ErrorKind::Timeout`]: crate::ErrorKind::Timeout
/// [`ErrorKind::ReadOnly`]: crate::ErrorKind::ReadOnly
/// [`ErrorKind::TooLarge`]: crate::ErrorKind::TooLarge
/// [`ErrorKind::Backend`]: crate::ErrorKind::Backend
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a cache backend",
    label = "not a `Backend`",
    note = "use `backends::{{Memory, File, AnyBackend}}`, or implement `cachekit::Backend`"
)]
pub trait Backend: fmt::Debug + Send + Sync + 'static {
    /// What this backend can do, and its limits. Constant for the life of the backend; does no I/O.
    fn capabilities(&self) -> Capabilities;

    /// Reads the bytes under `key`.
    fn get(&self, key: &Key) -> impl Future<Output = Result<Option<Bytes>, Error>> + Send;

    /// Stores `value` under `key` for `ttl`, and ends any lease on `key`.
    fn set(&self, key: &Key, value: Bytes, ttl: Duration) -> impl Future<Output = Result<(), Error>> + Send;

    /// Forgets `key`, and ends any lease on it.
    fn remove(&self, key: &Key) -> impl Future<Output = Result<(), Error>> + Send;

    /// How much longer the backend keeps what is under `key`, to its precision. `None` if there is nothing.
    fn ttl(&self, key: &Key) -> impl Future<Output = Result<Option<Duration>, Error>> + Send;

    /// Reads several keys: one answer for each, in their order.
    fn get_many(&self, keys: &[Key]) -> impl Future<Output = Result<Vec<Option<Bytes>>, Error>> + Send;

    /// Stores several values, each as [`set`](Backend::set) does.
    fn set_many(&self, items: Vec<(Key, Bytes)>, ttl: Duration) -> impl Future<Output = Result<(), Error>> + Send;

    /// Forgets several keys, each as [`remove`](Backend::remove) does.
    fn remove_many(&self, keys: &[Key]) -> impl Future<Output = Result<(), Error>> + Send;

    /// The part of the backend that has `key` now, below [`Capabilities::parts`]. Does no I/O.
    fn part(&self, key: &Key) -> u16;

    /// Carries out an order to forget: changes the ledger of a cache, in the part of the backend that it names, as
    /// [`Order`] says how.
    fn forget(&self, order: &Order) -> impl Future<Output = Result<Forgotten, Error>> + Send;

    /// Asks for the right to fill `key`, for `hold`, under a `token` that was never used before, unless there is a
    /// value under `key` other than the one that was `seen`. Without `seen`, any value is another one.
    ///
    /// Where the backend cannot look and take the lease in one step, it takes the lease first, and gives it back if it
    /// finds such a value after that.
    fn lease(
        &self,
        key: &Key,
        hold: Duration,
        token: LeaseToken,
        seen: Option<&Bytes>,
    ) -> impl Future<Output = Result<Lease, Error>> + Send;

    /// Keeps the lease `token` for `hold` from now, if it has not ended.
    ///
    /// Returns whether it had not.
    fn renew(&self, key: &Key, hold: Duration, token: LeaseToken) -> impl Future<Output = Result<bool, Error>> + Send;

    /// Stores `value` as [`set`](Backend::set) does, if the lease `token` has not ended, and ends it.
    ///
    /// Returns whether the value was stored.
    fn fill(
        &self,
        key: &Key,
        value: Bytes,
        ttl: Duration,
        token: LeaseToken,
    ) -> impl Future<Output = Result<bool, Error>> + Send;

    /// Gives the lease `token` back without filling. Does nothing if it has ended.
    fn release(&self, key: &Key, token: LeaseToken) -> impl Future<Output = Result<(), Error>> + Send;

    /// Checks that the backend answers.
    fn ping(&self) -> impl Future<Output = Result<(), Error>> + Send;

    /// The bus of this name that goes with the entries, if the backend has one: all processes over the same entries
    /// that ask for the same name hear one another. Does no I/O.
    fn bus(&self, name: &Key) -> Option<AnyBus>;

    /// Where the entries are, for people: a host and port, a directory. Never a user, a password or a key. By default
    /// it is not known. Does no I/O.
    fn address(&self) -> Option<String> {
        None
    }

    /// Finds out what is odd about the backend, as far as it can be asked: what it is, how full, what it does not let this
    /// client do. `probe` names a key that no cache uses; what is stored there is removed again. No cache calls it.
    ///
    /// By default it is [`diagnose_by_use`]: whether it answers, and reads.
    fn diagnose(&self, probe: &Key) -> impl Future<Output = Vec<Finding>> + Send {
        diagnose_by_use(self, probe)
    }

    /// Lists keys whose text begins with `prefix`: some, about `count` of them, and where to go on. `after` is where an
    /// earlier page ended. Keys that come or go meanwhile may be in no page, or in two. No cache calls it.
    ///
    /// # Errors
    /// By default, [`ErrorKind::Unsupported`]: many a store cannot list what it holds.
    fn scan(
        &self,
        prefix: &str,
        after: Option<Cursor>,
        count: usize,
    ) -> impl Future<Output = Result<Page, Error>> + Send {
        let _ = (prefix, after, count);
        let name = self.capabilities().name;
        async move { Err(cannot_list(name)) }
    }
}

/// What a backend says that cannot list its keys.
pub(crate) fn cannot_list(name: &str) -> Error {
    let message =
        format!("the {name} backend cannot list its keys: name a key, or use a backend that can, such as Redis");
    Error::new(ErrorKind::Unsupported, message)
}

/// Whether a backend answers and reads: what [`Backend::diagnose`] finds by default.
pub async fn diagnose_by_use<B: Backend + ?Sized>(backend: &B, probe: &Key) -> Vec<Finding> {
    let tried = match backend.ping().await {
        Ok(()) => backend.get(probe).await.map(drop),
        failed => failed,
    };
    let follows = "nothing is read from the backend or stored there, and L1 goes on alone";
    tried.err().map(|error| Finding::of_error(&error).follows(follows)).into_iter().collect()
}

/// Some keys of a backend, and where the next come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// Their names. There may be none though others follow.
    pub keys: Vec<Key>,
    /// Where the next ones come; `None` behind the last.
    pub next: Option<Cursor>,
}

impl Page {
    /// These keys, and what follows.
    pub fn new(keys: Vec<Key>, next: Option<Cursor>) -> Self {
        Self { keys, next }
    }
}

/// A place among the keys of a backend, as that numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cursor(u128);

impl Cursor {
    /// The place of this number.
    pub fn new(number: u128) -> Self {
        Self(number)
    }

    /// Its number.
    pub fn as_u128(self) -> u128 {
        self.0
    }
}

/// What a backend can do, and its limits.
///
/// # Examples
/// ```
/// use cachekit::Capabilities;
/// let can = Capabilities::new("shelf").max_value(1 << 20);
/// assert_eq!((can.name, can.leases, can.max_value), ("shelf", false, 1 << 20));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// A short lower-case name for messages and metrics, such as `file`.
    pub name: &'static str,
    /// Whether [`Backend::lease`], `renew`, `fill` and `release` work.
    pub leases: bool,
    /// The largest value of one item, in bytes. The cache splits larger ones.
    pub max_value: usize,
    /// The longest time the backend can keep an item, an entry's grace included.
    pub max_ttl: Duration,
    /// How long an operation takes at most by the backend's own limits. The cache gives up after it, unless the setting
    /// `operation_timeout` says otherwise.
    pub timeout: Duration,
    /// Whether it leaves a server that fails alone by itself, and goes on with the others. The cache's circuit breaker
    /// keeps out then, so that one of the two judges a server.
    pub isolates: bool,
    /// How many operations it is made to have under way at once, in all parts together. The cache lets no more through,
    /// unless the setting `max_concurrent` says otherwise.
    pub concurrency: usize,
    /// What two backends of this process that reach the same entries have in common, if that is known. Caches over them
    /// share circuit breaker, adaptive timeout and the bound of operations under way, where those are set alike.
    pub store: Option<u64>,
    /// How many parts there are that fail alone, such as servers. Each keeps a ledger of what was forgotten for its own
    /// entries, and a cache judges each by itself: a part that fails is left alone, and the others are used. An order to
    /// forget is one [`Backend::forget`] for each of them, so keep them few.
    pub parts: u16,
    /// Whether [`Backend::forget`] tells the backend's own [bus](Backend::bus) in the same step, so that no order can be
    /// carried out unheard.
    pub announces: bool,
    /// What is wrong with how the backend was set up, though it works. A cache over it warns of it once.
    pub warning: Option<&'static str>,
    /// Whether there is no store at all, as with [`AnyBackend::none`]: a cache over it lives in L1 alone. A wrapper
    /// forwards it.
    pub absent: bool,
}

impl Capabilities {
    /// No leases, no limit on values, TTLs up to 3,650 days, operations of at most 5 s, failing servers not isolated, 100
    /// operations at once.
    pub const fn new(name: &'static str) -> Self {
        let timeout = Duration::from_secs(5);
        Self {
            name,
            leases: false,
            max_value: usize::MAX,
            max_ttl: LONGEST,
            timeout,
            isolates: false,
            concurrency: 100,
            store: None,
            parts: 1,
            announces: false,
            warning: None,
            absent: false,
        }
    }

    /// Says whether leases work.
    #[must_use]
    pub const fn leases(mut self, leases: bool) -> Self {
        self.leases = leases;
        self
    }

    /// Sets the largest value of one item, in bytes.
    #[must_use]
    pub const fn max_value(mut self, bytes: usize) -> Self {
        self.max_value = bytes;
        self
    }

    /// Sets the longest TTL.
    #[must_use]
    pub const fn max_ttl(mut self, ttl: Duration) -> Self {
        self.max_ttl = ttl;
        self
    }

    /// Says whether a server that fails is left alone by the backend itself.
    ///
    /// Such a backend counts an operation that was dropped unanswered after a while as a failure of its server: the cache
    /// may give up sooner than the backend would.
    #[must_use]
    pub const fn isolates(mut self, isolates: bool) -> Self {
        self.isolates = isolates;
        self
    }

    /// Sets how many operations are under way at once at most.
    #[must_use]
    pub const fn concurrency(mut self, operations: usize) -> Self {
        self.concurrency = operations;
        self
    }

    /// Says which store this is, by whatever two backends share that reach the same entries, such as an address and a
    /// number of a database. Caches then leave it alone together when it fails, and warn of entries that they mix.
    #[must_use]
    pub fn store(mut self, identity: impl Hash) -> Self {
        // Of this process alone, so that nothing can be learnt from the number.
        static HASHES: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        self.store = Some(HASHES.hash_one((self.name, identity)));
        self
    }

    /// Sets how many parts fail alone.
    #[must_use]
    pub const fn parts(mut self, parts: u16) -> Self {
        self.parts = parts;
        self
    }

    /// Says whether an order to forget is told by the backend's own bus in the same step.
    #[must_use]
    pub const fn announces(mut self, announces: bool) -> Self {
        self.announces = announces;
        self
    }

    /// Tells of something wrong with how the backend was set up.
    #[must_use]
    pub const fn warning(mut self, warning: &'static str) -> Self {
        self.warning = Some(warning);
        self
    }

    /// Sets how long an operation takes at most.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

/// The answer to [`Backend::lease`]. `Debug` shows the length of a value, not the value.
#[derive(Clone, PartialEq, Eq)]
#[must_use = "a granted lease keeps others waiting until it is filled or released"]
pub enum Lease {
    /// The caller may fill the key.
    Granted,
    /// Another holder may; ask again for the value.
    Held,
    /// There is this value, which the caller has not seen. The caller holds no lease.
    Found(Bytes),
}

impl Lease {
    /// How many bytes of two values are compared, if they are of the same length.
    pub(crate) const COMPARED: usize = 128;

    /// Whether the value `there` is another one than was `seen`, as [`Backend::lease`] tells them apart.
    ///
    /// # Examples
    /// ```
    /// use cachekit::backends::Lease;
    /// let seen = bytes::Bytes::from("old");
    /// assert!(Lease::is_news(b"new", Some(&seen)) && Lease::is_news(b"old", None));
    /// assert!(!Lease::is_news(b"old", Some(&seen)));
    /// ```
    pub fn is_news(there: &[u8], seen: Option<&Bytes>) -> bool {
        let beginning = |bytes: &[u8]| bytes.len().min(Self::COMPARED);
        seen.is_none_or(|seen| there.len() != seen.len() || there[..beginning(there)] != seen[..beginning(seen)])
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Granted => f.write_str("Granted"),
            Self::Held => f.write_str("Held"),
            Self::Found(value) => write!(f, "Found({} bytes)", value.len()),
        }
    }
}

/// The name of one lease: 128 random bits, made by the one who asks for it. They tell holders apart, and are no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LeaseToken(u128);

impl LeaseToken {
    /// A fresh random token.
    pub fn random() -> Self {
        Self(u128::from(random::number()) << 64 | u128::from(random::number()))
    }

    /// The token as a number, for backends that send it over a wire.
    pub fn as_u128(self) -> u128 {
        self.0
    }
}
