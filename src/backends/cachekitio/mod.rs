//! CachekitIO: entries behind an HTTPS API.
//!
//! The client blocks, so requests are made by threads of the backend's own, one for each connection, and nothing else
//! waits for them. Where the host leads is checked at every look-up.

use std::collections::HashSet;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;

use self::calls::Calls;
use self::request::{Answer, Request, Verb};
use self::service::Service;
use self::workers::Workers;
use super::late::{self, LONG};
use super::{Backend, Capabilities, Cursor, Lease, LeaseToken, Page, cannot_list, diagnose_by_use, forget_by_set};
use crate::bus::AnyBus;
use crate::config::{CachekitIoSettings, LONGEST};
use crate::error::Error;
use crate::finding::Finding;
use crate::key::Key;
use crate::ledger::{Forgotten, Order};

mod batch;
mod calls;
mod error;
mod exchange;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod head;
mod name;
mod names;
mod request;
mod service;
mod tls;
mod veil;
mod workers;

/// Entries in CachekitIO, over HTTPS.
///
/// Clones share threads and connections. Nothing is started or connected to before the first operation. It has no
/// leases, because the API cannot store a value on a condition, and no bus.
///
/// A key that consists of letters, digits and `_ . : -` is the name of its entry there, unless it begins with `ck:`,
/// `ns:` or `nsapi:` or has two dots in a row; any other is written out as `ck:` and what the service takes. A value is
/// stored as it is. A TTL is sent in whole seconds, rounded up; the service counts them from the second that has begun,
/// so that an entry may be gone up to a second early.
///
/// # Connections
/// At most [`CachekitIoSettings::pool_size`], each with a thread that is started when it is first needed. 4,096
/// operations may wait for one; further ones fail at once. What was not begun when its caller left is not done; what
/// was begun is.
///
/// # Retries
/// After a status of 429 or 5xx, a timeout or a broken connection, an operation is tried again, up to
/// [`CachekitIoSettings::max_retries`] times, after a random pause of at most 50 ms, 100 ms, and so on to 2 s, or after
/// what the service says in `Retry-After`. [`CachekitIoSettings::timeout`] covers all of it, a batch's operations
/// together: a pause that does not fit into it is not made, and the failure is told at once.
///
/// # Security
/// `https` alone, verified against Mozilla's roots and those of [`CachekitIoSettings::ca_bundle`]. A redirect is not
/// followed, and no proxy is used. Without [`CachekitIoSettings::allow_custom_host`] the host is the service's own, and
/// of its addresses only public ones are connected to: not private, loopback, shared, link-local or reserved ones, nor
/// IPv6 addresses that lead to such. With it, only link-local addresses and those of metadata services are refused. A
/// look-up holds for 30 s, and what was checked is what is connected to. Nothing of a request or an answer is written to
/// the program's log. A value is read up to what the cache takes (`max_value_size`) and 25 MB, its head and what comes before and after it
/// up to 16 KiB.
///
/// # Errors
/// [`ErrorKind::Denied`] for an API key that is refused; [`ErrorKind::Timeout`] if there is no answer in time;
/// [`ErrorKind::TooLarge`] for a value above 25 MB, or what the service takes; [`ErrorKind::Argument`] for a TTL above
/// 30 days; [`ErrorKind::Key`] for a key that the service cannot name.
///
/// # Cost
/// One round trip per operation; each operation of a batch is one, up to 16 at a
/// time. A value read is copied once, out of the connection's buffer.
///
/// [`ErrorKind::Denied`]: crate::ErrorKind::Denied
/// [`ErrorKind::Timeout`]: crate::ErrorKind::Timeout
/// [`ErrorKind::TooLarge`]: crate::ErrorKind::TooLarge
/// [`ErrorKind::Argument`]: crate::ErrorKind::Argument
/// [`ErrorKind::Key`]: crate::ErrorKind::Key
///
/// # Examples
/// ```no_run
/// use std::time::Duration;
/// use cachekit::{Backend, CachekitIoSettings, Key, backends::CachekitIo};
///
/// # async fn run() -> Result<(), cachekit::Error> {
/// let mut settings = CachekitIoSettings::new("ck_live_42")?;
/// settings.timeout = Duration::from_secs(2);
/// let io = CachekitIo::new(settings)?;
///
/// let key = Key::new("users", 42)?;
/// io.set(&key, "ada".into(), Duration::from_secs(60)).await?;
/// assert_eq!(io.get(&key).await?.as_deref(), Some(&b"ada"[..]));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct CachekitIo {
    shared: Arc<Shared>,
}

struct Shared {
    calls: Calls,
    capabilities: Capabilities,
    /// The path that the names of entries follow.
    base: String,
    width: usize,
}

/// The largest value the service takes: 25 MB.
const MAX_VALUE: usize = 25_000_000;

/// The longest TTL the service takes: 30 days.
const MAX_TTL: Duration = Duration::from_secs(2_592_000);

impl CachekitIo {
    /// The service that `settings` name. Connects to nothing, starts no thread, and needs no runtime; reads the CA
    /// bundle.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for settings out of their range, a missing API key, a host that
    /// is not let through, and a CA bundle that cannot be used.
    pub fn new(settings: CachekitIoSettings) -> Result<Self, Error> {
        settings.check()?;
        let service = Service::new(&settings)?;
        let base = format!("{}/v1/cache/", service.root());
        let CachekitIoSettings { url, api_key, timeout, max_retries: retries, pool_size: width, .. } = settings;
        let capabilities = Capabilities::new("cachekitio").max_value(MAX_VALUE).max_ttl(MAX_TTL).timeout(timeout);
        let capabilities = capabilities.store((url.as_str(), api_key.as_ref().map(|key| key.expose())));
        let calls = Calls { workers: Workers::new(service, width), timeout, retries };
        Ok(Self { shared: Arc::new(Shared { calls, capabilities, base, width }) })
    }
}

impl Shared {
    /// A request for the entry of `key`, or what the service keeps beside it.
    fn request(&self, key: &Key, beside: &str, verb: Verb) -> Result<Request, Error> {
        Ok(self.request_at(&format!("{}{beside}", name::segment(key.as_str())?), verb))
    }

    fn request_at(&self, path: &str, verb: Verb) -> Request {
        Request { verb, path: format!("{}{path}", self.base).into(), is_long: Arc::default() }
    }

    /// Makes one request in the time of an operation.
    async fn ask(&self, request: Result<Request, Error>) -> Result<Answer, Error> {
        let request = request?;
        self.calls.within(|deadline| self.calls.ask(request, deadline)).await
    }

    /// Does each of `count` operations of one request in the time of one.
    async fn ask_each<T: Send>(
        &self,
        count: usize,
        request: impl Fn(usize) -> Result<Request, Error> + Send + Sync,
        read: impl Fn(Answer) -> Result<T, Error> + Send + Sync,
    ) -> Result<Vec<T>, Error> {
        let one = |index, deadline| {
            let (request, read) = (request(index), &read);
            async move { read(self.calls.ask(request?, deadline).await?) }
        };
        let all = |deadline: Instant| batch::each(count, self.width, move |index| one(index, deadline));
        self.calls.within(all).await
    }

    fn get(&self, key: &Key) -> Result<Request, Error> {
        let limit = late::accepted().map_or(MAX_VALUE, |entry| entry.clamp(LONG, MAX_VALUE));
        self.request(key, "", Verb::Get(limit))
    }

    fn put(&self, key: &Key, value: &Bytes, ttl: Duration) -> Result<Request, Error> {
        self.request(key, "", Verb::Put(value.clone(), seconds(ttl)?))
    }

    fn delete(&self, key: &Key) -> Result<Request, Error> {
        self.request(key, "", Verb::Delete)
    }

    fn value(&self, answer: Answer) -> Result<Option<Bytes>, Error> {
        match answer.status {
            200 if answer.stale => Ok(None),
            200 => Ok(Some(answer.body)),
            404 => Ok(None),
            _ => Err(self.failure(&answer)),
        }
    }

    fn done(&self, answer: &Answer) -> Result<(), Error> {
        if answer.is_success() { Ok(()) } else { Err(self.failure(answer)) }
    }

    fn gone(&self, answer: &Answer) -> Result<(), Error> {
        if answer.status == 404 { Ok(()) } else { self.done(answer) }
    }

    fn failure(&self, answer: &Answer) -> Error {
        if answer.is_success() { self.strange() } else { error::of_status(answer.status, self.place()) }
    }

    fn strange(&self) -> Error {
        error::strange(self.place())
    }

    fn place(&self) -> &str {
        self.calls.service().place()
    }
}

fn fits(value: &Bytes) -> Result<(), Error> {
    if value.len() <= MAX_VALUE { Ok(()) } else { Err(error::too_large(value.len(), MAX_VALUE)) }
}

/// Whole seconds, rounded up, at least one.
fn seconds(ttl: Duration) -> Result<u64, Error> {
    if ttl > MAX_TTL {
        return Err(error::too_long(MAX_TTL));
    }
    Ok((ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0)).max(1))
}

#[deny(clippy::missing_trait_methods)]
impl Backend for CachekitIo {
    fn capabilities(&self) -> Capabilities {
        self.shared.capabilities
    }

    async fn get(&self, key: &Key) -> Result<Option<Bytes>, Error> {
        let shared = &*self.shared;
        let request = shared.get(key)?;
        let is_long = Arc::clone(&request.is_long);
        let answer = pin!(shared.ask(Ok(request)));
        let known = move |_: &mut Context<'_>| if is_long.load(Relaxed) { Poll::Ready(true) } else { Poll::Pending };
        let answer = late::or_ask(answer, || poll_fn(known));
        shared.value(answer.await?)
    }

    async fn set(&self, key: &Key, value: Bytes, ttl: Duration) -> Result<(), Error> {
        fits(&value)?;
        let shared = &*self.shared;
        shared.done(&shared.ask(shared.put(key, &value, ttl)).await?)
    }

    async fn remove(&self, key: &Key) -> Result<(), Error> {
        let shared = &*self.shared;
        shared.gone(&shared.ask(shared.delete(key)).await?)
    }

    async fn ttl(&self, key: &Key) -> Result<Option<Duration>, Error> {
        let shared = &*self.shared;
        let answer = shared.ask(shared.request(key, "/ttl", Verb::Get(0))).await?;
        if answer.status == 404 {
            return Ok(None);
        }
        shared.done(&answer)?;
        let document: Value = serde_json::from_slice(&answer.body).map_err(|_| shared.strange())?;
        match document.get("ttl") {
            // Kept for ever: some other program stored it.
            Some(Value::Null) => Ok(Some(LONGEST)),
            Some(Value::Number(left)) => {
                let left = left.as_u64().ok_or_else(|| shared.strange())?;
                Ok(Some(Duration::from_secs(left).min(LONGEST)))
            }
            _ => Err(shared.strange()),
        }
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, Error> {
        let shared = &*self.shared;
        shared.ask_each(keys.len(), |index| shared.get(&keys[index]), |answer| shared.value(answer)).await
    }

    async fn set_many(&self, items: Vec<(Key, Bytes)>, ttl: Duration) -> Result<(), Error> {
        items.iter().try_for_each(|(_, value)| fits(value))?;
        // Requests of one batch overtake each other, so of a key that comes twice only the last is made.
        let mut known = HashSet::new();
        let last: Vec<_> = items.iter().rev().filter(|(key, _)| known.insert(key)).collect();
        let (shared, items) = (&*self.shared, &last);
        let put = |index: usize| shared.put(&items[index].0, &items[index].1, ttl);
        shared.ask_each(items.len(), put, |answer| shared.done(&answer)).await.map(drop)
    }

    async fn remove_many(&self, keys: &[Key]) -> Result<(), Error> {
        let shared = &*self.shared;
        let delete = |index: usize| shared.delete(&keys[index]);
        shared.ask_each(keys.len(), delete, |answer| shared.gone(&answer)).await.map(drop)
    }

    fn part(&self, _: &Key) -> u16 {
        0
    }

    async fn forget(&self, order: &Order) -> Result<Forgotten, Error> {
        forget_by_set(self, order).await
    }

    async fn lease(&self, _: &Key, _: Duration, _: LeaseToken, _: Option<&Bytes>) -> Result<Lease, Error> {
        Err(error::no_leases())
    }

    async fn renew(&self, _: &Key, _: Duration, _: LeaseToken) -> Result<bool, Error> {
        Err(error::no_leases())
    }

    async fn fill(&self, _: &Key, _: Bytes, _: Duration, _: LeaseToken) -> Result<bool, Error> {
        Err(error::no_leases())
    }

    async fn release(&self, _: &Key, _: LeaseToken) -> Result<(), Error> {
        Err(error::no_leases())
    }

    async fn ping(&self) -> Result<(), Error> {
        let shared = &*self.shared;
        shared.done(&shared.ask(Ok(shared.request_at("health", Verb::Get(0)))).await?)
    }

    fn bus(&self, _: &Key) -> Option<AnyBus> {
        None
    }

    fn address(&self) -> Option<String> {
        Some(self.shared.calls.service().place().to_owned())
    }

    async fn diagnose(&self, probe: &Key) -> Vec<Finding> {
        diagnose_by_use(self, probe).await
    }

    async fn scan(&self, _: &str, _: Option<Cursor>, _: usize) -> Result<Page, Error> {
        Err(cannot_list("cachekitio"))
    }
}

impl fmt::Debug for CachekitIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachekitIo").field("calls", &self.shared.calls).finish_non_exhaustive()
    }
}
