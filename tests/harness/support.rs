//! What several subjects share.
#![allow(
    missing_docs,
    missing_debug_implementations,
    clippy::new_without_default,
    clippy::unwrap_used,
    reason = "for tests alone, which may fail at any line"
)]

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use cachekit::backends::{Memory, forget_by_set};
use cachekit::testing::ManualClock;
use cachekit::testing::conformance::{self, BackendOptions};
use cachekit::{
    Backend, Capabilities, Error, ErrorKind, Event, Forgotten, Key, Lease, LeaseToken, Observer, Operation, Order,
    Outcome,
};
use tokio::sync::Semaphore;

/// The error of computations that fail on purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken(pub &'static str);

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Broken {}

/// A computation that waits for permission, and counts how often it was started.
#[derive(Clone)]
pub struct Slow {
    started: Arc<AtomicUsize>,
    has_started: Arc<Semaphore>,
    gate: Arc<Semaphore>,
}

impl Slow {
    pub fn new() -> Self {
        Self { started: Arc::default(), has_started: Arc::new(Semaphore::new(0)), gate: Arc::new(Semaphore::new(0)) }
    }

    /// The computation: counts, waits for [`finish`](Slow::finish), gives `result`.
    pub async fn run<T>(self, result: Result<T, Broken>) -> Result<T, Broken> {
        self.started.fetch_add(1, SeqCst);
        self.has_started.add_permits(1);
        self.gate.acquire().await.unwrap().forget();
        result
    }

    /// Waits until one more computation has started.
    pub async fn wait_for_start(&self) {
        self.has_started.acquire().await.unwrap().forget();
    }

    /// Lets `count` computations end.
    pub fn finish(&self, count: usize) {
        self.gate.add_permits(count);
    }

    /// How many computations were started.
    pub fn started(&self) -> usize {
        self.started.load(SeqCst)
    }
}

/// Polls a future once, as a caller does before it is parked or dropped.
pub fn poll_once<F: Future + ?Sized>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// Lets every task that can run do so, a good while.
pub async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// Writes down what a cache tells, without its borrowed parts.
#[derive(Debug, Default)]
pub struct Journal(Mutex<Vec<Note>>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    Answered(Outcome),
    Computed(bool),
    Fenced,
    BackendFailed(cachekit::Operation, cachekit::ErrorKind),
    Unreadable(cachekit::Unreadable),
    NotStored(cachekit::ErrorKind, String),
    Warning(String),
}

impl Journal {
    pub fn notes(&self) -> Vec<Note> {
        self.0.lock().unwrap().clone()
    }

    pub fn contains(&self, note: &Note) -> bool {
        self.0.lock().unwrap().contains(note)
    }

    pub fn count(&self, wanted: impl Fn(&Note) -> bool) -> usize {
        self.0.lock().unwrap().iter().filter(|note| wanted(note)).count()
    }
}

impl Observer for Journal {
    fn event(&self, event: &Event<'_>) {
        let note = match event {
            Event::Answered { outcome, .. } => Note::Answered(*outcome),
            Event::Computed { succeeded, .. } => Note::Computed(*succeeded),
            Event::Fenced { .. } => Note::Fenced,
            Event::BackendFailed { operation, error, .. } => Note::BackendFailed(*operation, error.kind()),
            Event::Unreadable { reason, .. } => Note::Unreadable(*reason),
            Event::NotStored { error, .. } => Note::NotStored(error.kind(), error.to_string()),
            Event::Warning { message, .. } => Note::Warning((*message).to_owned()),
            _ => return,
        };
        self.0.lock().unwrap().push(note);
    }
}

/// The sentences of the contract that a backend keeps that has leases, and that announces orders or does not.
pub async fn contract(announces: bool) -> Vec<&'static str> {
    let clock = ManualClock::new();
    let memory = || async { Memory::with_clock(4 << 20, Arc::new(clock.clone())) };
    let mut kept = conformance::backend(memory, BackendOptions::manual(clock.clone())).await;
    if !announces {
        kept.truncate(kept.len() - 2);
        kept.push("A backend that does not announce tells of no order.");
    }
    kept
}

/// Asks for a lease under a fresh token, over the value that there is, if any. The token, if it was granted.
pub async fn leased<B: Backend>(backend: &B, key: &Key, hold: Duration) -> Result<Option<LeaseToken>, Error> {
    let (token, mut seen) = (LeaseToken::random(), None);
    loop {
        match backend.lease(key, hold, token, seen.as_ref()).await? {
            Lease::Granted => return Ok(Some(token)),
            Lease::Held => return Ok(None),
            Lease::Found(value) => seen = Some(value),
        }
    }
}

/// The message of an error that must be there.
pub fn message<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    result.unwrap_err().to_string()
}

/// Methods of `Backend` that a wrapper hands on to one of its fields.
#[macro_export]
macro_rules! forward {
    (@ $inner:tt capabilities) => {
        fn capabilities(&self) -> cachekit::Capabilities {
            self.$inner.capabilities()
        }
    };
    (@ $inner:tt bus) => {
        fn bus(&self, name: &cachekit::Key) -> Option<cachekit::AnyBus> {
            self.$inner.bus(name)
        }
    };
    (@ $inner:tt get) => { $crate::forward!(% $inner get(key: &cachekit::Key) -> Option<bytes::Bytes>); };
    (@ $inner:tt set) => {
        $crate::forward!(% $inner set(key: &cachekit::Key, value: bytes::Bytes, ttl: std::time::Duration) -> ());
    };
    (@ $inner:tt remove) => { $crate::forward!(% $inner remove(key: &cachekit::Key) -> ()); };
    (@ $inner:tt ttl) => { $crate::forward!(% $inner ttl(key: &cachekit::Key) -> Option<std::time::Duration>); };
    (@ $inner:tt get_many) => { $crate::forward!(% $inner get_many(keys: &[cachekit::Key]) -> Vec<Option<bytes::Bytes>>); };
    (@ $inner:tt set_many) => {
        $crate::forward!(% $inner set_many(items: Vec<(cachekit::Key, bytes::Bytes)>, ttl: std::time::Duration) -> ());
    };
    (@ $inner:tt remove_many) => { $crate::forward!(% $inner remove_many(keys: &[cachekit::Key]) -> ()); };
    (@ $inner:tt lease) => {
        $crate::forward!(
            % $inner lease(
                key: &cachekit::Key,
                hold: std::time::Duration,
                token: cachekit::LeaseToken,
                seen: Option<&bytes::Bytes>
            ) -> cachekit::Lease
        );
    };
    (@ $inner:tt renew) => {
        $crate::forward!(
            % $inner renew(key: &cachekit::Key, hold: std::time::Duration, token: cachekit::LeaseToken) -> bool
        );
    };
    (@ $inner:tt fill) => {
        $crate::forward!(
            % $inner fill(
                key: &cachekit::Key,
                value: bytes::Bytes,
                ttl: std::time::Duration,
                token: cachekit::LeaseToken
            ) -> bool
        );
    };
    (@ $inner:tt part) => {
        fn part(&self, key: &cachekit::Key) -> u16 {
            self.$inner.part(key)
        }
    };
    (@ $inner:tt forget) => { $crate::forward!(% $inner forget(order: &cachekit::Order) -> cachekit::Forgotten); };
    (@ $inner:tt release) => { $crate::forward!(% $inner release(key: &cachekit::Key, token: cachekit::LeaseToken) -> ()); };
    (@ $inner:tt ping) => { $crate::forward!(% $inner ping() -> ()); };
    (% $inner:tt $method:ident($($name:ident: $type:ty),*) -> $answer:ty) => {
        async fn $method(&self, $($name: $type),*) -> Result<$answer, cachekit::Error> {
            self.$inner.$method($($name),*).await
        }
    };
    ($inner:tt: $($method:ident)*) => { $($crate::forward!(@ $inner $method);)* };
}
pub use crate::forward;

/// A backend that differs from `Memory` in what it says it can do.
macro_rules! limited {
    ($(#[$doc:meta])* $name:ident($($field:ty),*): $can:expr) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name($(pub $field),*);

        impl Backend for $name {
            fn capabilities(&self) -> Capabilities {
                $can(self)
            }
            forward!(0: get set remove ttl get_many set_many remove_many part ping bus);
            async fn forget(&self, order: &Order) -> Result<Forgotten, Error> {
                forget_by_set(self, order).await
            }
            async fn lease(&self, _: &Key, _: Duration, _: LeaseToken, _: Option<&Bytes>) -> Result<Lease, Error> {
                Err(Error::new(ErrorKind::Unsupported, "no leases"))
            }
            async fn renew(&self, _: &Key, _: Duration, _: LeaseToken) -> Result<bool, Error> {
                Err(Error::new(ErrorKind::Unsupported, "no leases"))
            }
            async fn fill(&self, _: &Key, _: Bytes, _: Duration, _: LeaseToken) -> Result<bool, Error> {
                Err(Error::new(ErrorKind::Unsupported, "no leases"))
            }
            async fn release(&self, _: &Key, _: LeaseToken) -> Result<(), Error> {
                Err(Error::new(ErrorKind::Unsupported, "no leases"))
            }
        }
    };
}

limited! {
    /// Has everything but leases.
    NoLeases(Memory): |backend: &NoLeases| backend.0.capabilities().leases(false).announces(false)
}

limited! {
    /// Keeps entries for a limited time only.
    ShortLived(Memory, Duration): |backend: &ShortLived| backend.0.capabilities().leases(false).announces(false).max_ttl(backend.1)
}

/// Does what it is asked, and keeps one answer back until it is let go.
#[derive(Debug, Clone)]
pub struct Late<B> {
    inner: B,
    held: Arc<Mutex<Option<Operation>>>,
    has_arrived: Arc<Semaphore>,
    gate: Arc<Semaphore>,
}

impl<B: Backend> Late<B> {
    pub fn new(inner: B) -> Self {
        Self {
            inner,
            held: Arc::default(),
            has_arrived: Arc::new(Semaphore::new(0)),
            gate: Arc::new(Semaphore::new(0)),
        }
    }

    /// Holds the answer to the next `operation`.
    pub fn hold(&self, operation: Operation) {
        *self.held.lock().unwrap() = Some(operation);
    }

    /// Waits until the operation is done and its answer held.
    pub async fn wait_until_done(&self) {
        self.has_arrived.acquire().await.unwrap().forget();
    }

    /// Lets the answer go.
    pub fn let_go(&self) {
        self.gate.add_permits(1);
    }

    async fn answer<T>(&self, operation: Operation, answer: T) -> T {
        if self.held.lock().unwrap().take_if(|held| *held == operation).is_some() {
            self.has_arrived.add_permits(1);
            self.gate.acquire().await.unwrap().forget();
        }
        answer
    }
}

impl<B: Backend> Backend for Late<B> {
    forward!(inner: capabilities ttl set_many remove_many part renew release ping bus);
    async fn forget(&self, order: &Order) -> Result<Forgotten, Error> {
        let answer = self.inner.forget(order).await;
        self.answer(Operation::Set, answer).await
    }
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, Error> {
        let answer = self.inner.get_many(keys).await;
        self.answer(Operation::Get, answer).await
    }
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, Error> {
        let answer = self.inner.get(key).await;
        self.answer(Operation::Get, answer).await
    }
    async fn set(&self, key: &Key, value: Bytes, ttl: Duration) -> Result<(), Error> {
        let answer = self.inner.set(key, value, ttl).await;
        self.answer(Operation::Set, answer).await
    }
    async fn remove(&self, key: &Key) -> Result<(), Error> {
        let answer = self.inner.remove(key).await;
        self.answer(Operation::Remove, answer).await
    }
    async fn lease(&self, key: &Key, hold: Duration, token: LeaseToken, seen: Option<&Bytes>) -> Result<Lease, Error> {
        let answer = self.inner.lease(key, hold, token, seen).await;
        self.answer(Operation::Lease, answer).await
    }
    async fn fill(&self, key: &Key, value: Bytes, ttl: Duration, token: LeaseToken) -> Result<bool, Error> {
        let answer = self.inner.fill(key, value, ttl, token).await;
        self.answer(Operation::Set, answer).await
    }
}
