//! Does it keep the contract?
//!
//! Suites for those who write a [`Backend`], a [`Bus`](crate::Bus) or a [`Codec`](crate::Codec). Each sentence of a
//! contract has a check, and every check compares values: a suite that is content with *some* answer proves nothing.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::ManualClock;
use crate::backends::Backend;
use crate::clock::{Clock, SystemClock};
use crate::error::Error;
use crate::key::{IntoKey, Key};
use crate::random;

mod batches;
mod bus;
mod codec;
mod concurrency;
mod found;
mod keys;
mod leases;
mod ledgers;
mod life;
mod limits;
mod listing;
mod orders;
mod shapes;
mod time;
mod values;

pub use self::bus::bus;
pub use self::codec::{CodecOptions, codec};

type Pause = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How [`backend`] and [`bus()`] make time pass, and how exact it is.
#[derive(Clone)]
pub struct BackendOptions {
    advance: Arc<dyn Fn(Duration) -> Pause + Send + Sync>,
    real: bool,
    precision: Duration,
    patience: Duration,
    largest: usize,
}

impl BackendOptions {
    /// For backends that live on a clock of the caller's. Precision 1 ms.
    pub fn manual(clock: ManualClock) -> Self {
        let advance = move |duration| {
            clock.advance(duration);
            Box::pin(std::future::ready(())) as Pause
        };
        Self::new(advance, false, Duration::from_millis(1))
    }

    /// For backends that live on real time. Precision 1 s: the suite then waits for about 40 s.
    pub fn real() -> Self {
        let advance = |duration| Box::pin(async move { SystemClock.sleep(duration).await }) as Pause;
        Self::new(advance, true, Duration::from_secs(1))
    }

    /// For backends with a clock of their own, which `advance` moves and nothing else does. Precision 1 ms.
    pub fn advanced_by<F>(advance: impl Fn(Duration) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::new(move |duration| Box::pin(advance(duration)) as Pause, false, Duration::from_millis(1))
    }

    fn new(advance: impl Fn(Duration) -> Pause + Send + Sync + 'static, real: bool, precision: Duration) -> Self {
        let patience = Duration::from_secs(60);
        Self { advance: Arc::new(advance), real, precision, patience, largest: 16 << 20 }
    }

    /// How much longer than its TTL the backend may keep an entry: the unit it rounds up to.
    #[must_use]
    pub fn precision(mut self, precision: Duration) -> Self {
        self.precision = precision.max(Duration::from_millis(1));
        self
    }

    /// How long one check may take in real time before it fails. Default 60 s.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The largest value the suite tries, in bytes: the item limit of a backend is checked if it is below. Default 16
    /// MiB.
    #[must_use]
    pub fn largest(mut self, bytes: usize) -> Self {
        self.largest = bytes;
        self
    }
}

impl fmt::Debug for BackendOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackendOptions")
            .field("real", &self.real)
            .field("precision", &self.precision)
            .field("patience", &self.patience)
            .field("largest", &self.largest)
            .finish_non_exhaustive()
    }
}

/// Checks that the backends `make` gives keep the contract of [`Backend`], and returns the sentences checked.
///
/// `make` is called once per check; its backends may share one store. Keys are fresh in each run, so a store may be
/// used again. It needs room for one item as large as it accepts, up to [`largest`](BackendOptions::largest), and for 2
/// MiB and 2,000 items in any case. Its buses are checked by [`bus()`]. Call it on a `tokio` runtime; several threads
/// make the checks of concurrency sharper.
///
/// What a backend's [`Capabilities`](crate::backends::Capabilities) exclude is not checked and not returned: leases
/// it does not have, orders to forget that change no more than they must where there are none, and the refusal of values
/// above a limit that is beyond `largest`.
///
/// # Panics
/// At the first sentence the backend breaks. The message has the backend's name, the sentence, and what happened
/// instead.
///
/// # Examples
/// ```
/// use cachekit::testing::{ManualClock, conformance};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let clock = ManualClock::new();
/// let make = || async { cachekit::backends::Memory::with_clock(8 << 20, std::sync::Arc::new(clock.clone())) };
/// let kept = conformance::backend(make, conformance::BackendOptions::manual(clock.clone())).await;
/// assert!(kept.contains(&"An empty value is a value."));
/// # });
/// ```
pub async fn backend<B, M>(make: impl Fn() -> M + Send + Sync, options: BackendOptions) -> Vec<&'static str>
where
    B: Backend,
    M: Future<Output = B> + Send,
{
    let mut suite = Suite { make, options, space: format!("conformance-{:016x}", random::number()), kept: Vec::new() };
    limits::check(&mut suite).await;
    values::check(&mut suite).await;
    keys::check(&mut suite).await;
    time::check(&mut suite).await;
    life::check(&mut suite).await;
    batches::check(&mut suite).await;
    listing::check(&mut suite).await;
    concurrency::check(&mut suite).await;
    leases::check(&mut suite).await;
    found::check(&mut suite).await;
    ledgers::check(&mut suite).await;
    orders::check(&mut suite).await;
    suite.kept
}

struct Suite<F> {
    make: F,
    options: BackendOptions,
    space: String,
    kept: Vec<&'static str>,
}

impl<F, M, B> Suite<F>
where
    F: Fn() -> M + Send + Sync,
    M: Future<Output = B> + Send,
    B: Backend,
{
    /// Checks one sentence of the contract on a backend of its own.
    async fn case<R>(&mut self, sentence: &'static str, check: impl FnOnce(Case<B>) -> R + Send)
    where
        R: Future<Output = ()> + Send,
    {
        let backend = Arc::new((self.make)().await);
        let space = format!("{}-{}", self.space, self.kept.len());
        let case = Case { backend, sentence, space: space.into(), options: self.options.clone() };
        let complaint = case.complaint(&format!("no end after {:?}", self.options.patience));
        let check = pin!(check(case));
        assert!(in_time(self.options.patience, check).await, "{complaint}");
        self.kept.push(sentence);
    }
}

/// Runs `check`, and gives up after `patience` of real time. A thread waits, so that no timer of a runtime is needed.
async fn in_time(patience: Duration, mut check: Pin<&mut (impl Future<Output = ()> + Send)>) -> bool {
    let (ended, end) = mpsc::channel::<()>();
    let (late, mut too_late) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        if end.recv_timeout(patience) == Err(mpsc::RecvTimeoutError::Timeout) {
            let _ = late.send(());
        }
    });
    let _ended = ended;
    poll_fn(|context| {
        if check.as_mut().poll(context).is_ready() {
            return Poll::Ready(true);
        }
        match Pin::new(&mut too_late).poll(context) {
            Poll::Ready(Ok(())) => Poll::Ready(false),
            // Without a sender there is no bound; the check goes on.
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// A backend under one check.
struct Case<B> {
    backend: Arc<B>,
    sentence: &'static str,
    space: Arc<str>,
    options: BackendOptions,
}

impl<B> Clone for Case<B> {
    fn clone(&self) -> Self {
        Self {
            backend: Arc::clone(&self.backend),
            sentence: self.sentence,
            space: Arc::clone(&self.space),
            options: self.options.clone(),
        }
    }
}

/// Longer than any check takes.
const LONG: Duration = Duration::from_secs(3_600);

impl<B: Backend> Case<B> {
    fn complaint(&self, what: &str) -> String {
        format!("backend `{}` breaks its contract: \"{}\": {what}", self.backend.capabilities().name, self.sentence)
    }

    /// Fails the check unless `kept`.
    fn require(&self, kept: bool, what: impl FnOnce() -> String) {
        assert!(kept, "{}", self.complaint(&what()));
    }

    fn done<T>(&self, call: &str, answer: Result<T, Error>) -> T {
        answer.unwrap_or_else(|error| panic!("{}", self.complaint(&format!("{call} failed: {error:?}"))))
    }

    fn key(&self, key: impl IntoKey) -> Key {
        Key::new(&self.space, key).expect("the suite's keys are neither empty nor too long")
    }

    async fn set(&self, key: &Key, value: impl Into<Bytes>, ttl: Duration) {
        let answer = self.backend.set(key, value.into(), ttl).await;
        self.done("set", answer);
    }

    async fn remove(&self, key: &Key) {
        let answer = self.backend.remove(key).await;
        self.done("remove", answer);
    }

    async fn get(&self, key: &Key) -> Option<Bytes> {
        let answer = self.backend.get(key).await;
        self.done("get", answer)
    }

    /// Fails the check unless `get` answers with exactly these bytes.
    async fn holds(&self, key: &Key, expected: &[u8], when: &str) {
        let found = self.get(key).await;
        self.require(found.as_deref() == Some(expected), || {
            format!("get {when} answered {}, not {}", shown(found.as_deref()), shown(Some(expected)))
        });
    }

    /// Fails the check unless `get` finds nothing.
    async fn lacks(&self, key: &Key, when: &str) {
        let found = self.get(key).await;
        self.require(found.is_none(), || format!("get {when} answered {}, not None", shown(found.as_deref())));
    }

    async fn advance(&self, duration: Duration) {
        (self.options.advance)(duration).await;
    }

    /// A moment, to ask how much real time has passed since. On other clocks time passes only by `advance`.
    fn start(&self) -> Option<Instant> {
        self.options.real.then(Instant::now)
    }
}

/// Bytes as a message shows them: all if few, else the first of them and the length.
fn shown(bytes: Option<&[u8]>) -> String {
    match bytes {
        None => "None".into(),
        Some(bytes) if bytes.len() <= 16 => format!("{bytes:02x?}"),
        Some(bytes) => format!("{} bytes from {:02x?}", bytes.len(), &bytes[..16]),
    }
}
