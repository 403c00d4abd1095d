//! A backend that fails on demand.
//!
//! Wraps any other, so that a cache can be watched while its backend misbehaves in one chosen way.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use self::bus::ChaosBus;
use self::twist::Mischief;
use super::control::ChaosControl;
use crate::backends::{Backend, Capabilities, Cursor, Lease, LeaseToken, Page};
use crate::bus::AnyBus;
use crate::clock::{Clock, SystemClock};
use crate::error::Error;
use crate::event::Operation;
use crate::finding::Finding;
use crate::key::Key;
use crate::ledger::{Change, Forgotten, Order};

mod bus;
mod twist;

/// A backend that works as the one inside it, until its [`ChaosControl`] says otherwise.
///
/// Forwards everything, `capabilities` and the buses included; those meet the faults of [`Operation::Publish`] and
/// [`Operation::Receive`]. It says of its store that it is another one than that inside it, so that what a cache over it
/// finds out of the backend is not believed by caches that go past it.
///
/// # Examples
/// ```
/// use cachekit::testing::{Chaos, Fault};
/// use cachekit::{Backend, ErrorKind, Key, Operation, backends::Memory};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let chaos = Chaos::new(Memory::new(1 << 20));
/// let control = chaos.control();
/// let key = Key::new("users", 42)?;
/// control.inject(Operation::Get, Fault::Refuse);
/// assert_eq!(chaos.get(&key).await.unwrap_err().kind(), ErrorKind::Unavailable);
/// control.heal();
/// assert_eq!(chaos.get(&key).await?, None);
/// assert_eq!(control.count(Operation::Get), 2);
/// # Ok::<(), cachekit::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct Chaos<B> {
    inner: B,
    mischief: Mischief,
}

impl<B: Backend> Chaos<B> {
    /// Wraps `inner`, at first without faults.
    pub fn new(inner: B) -> Self {
        Self::with_clock(inner, Arc::new(SystemClock))
    }

    /// Like [`new`](Chaos::new); [`Fault::Slow`](super::Fault::Slow) waits on `clock`.
    pub fn with_clock(inner: B, clock: Arc<dyn Clock>) -> Self {
        Self { inner, mischief: Mischief { clock, control: ChaosControl::new() } }
    }

    /// The handle that makes faults and counts operations.
    pub fn control(&self) -> ChaosControl {
        self.mischief.control.clone()
    }
}

#[deny(clippy::missing_trait_methods)]
impl<B: Backend> Backend for Chaos<B> {
    fn capabilities(&self) -> Capabilities {
        let can = self.inner.capabilities();
        let Some(store) = can.store else { return can };
        can.store((store, self.mischief.control.id()))
    }

    async fn get(&self, key: &Key) -> Result<Option<Bytes>, Error> {
        let twist = self.mischief.begin(Operation::Get).await?;
        if twist.loses() {
            return Ok(None);
        }
        let answer = self.inner.get(twist.key(key)).await;
        twist.end(answer.map(|value| value.map(|bytes| twist.bytes(bytes))))
    }

    async fn set(&self, key: &Key, value: Bytes, ttl: Duration) -> Result<(), Error> {
        let twist = self.mischief.begin(Operation::Set).await?;
        if twist.loses() {
            return Ok(());
        }
        twist.end(self.inner.set(twist.key(key), twist.bytes(value), ttl).await)
    }

    async fn remove(&self, key: &Key) -> Result<(), Error> {
        let twist = self.mischief.begin(Operation::Remove).await?;
        if twist.loses() {
            return Ok(());
        }
        twist.end(self.inner.remove(twist.key(key)).await)
    }

    async fn ttl(&self, key: &Key) -> Result<Option<Duration>, Error> {
        let twist = self.mischief.begin(Operation::Get).await?;
        if twist.loses() {
            return Ok(None);
        }
        twist.end(self.inner.ttl(twist.key(key)).await)
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, Error> {
        let twist = self.mischief.begin(Operation::Get).await?;
        if twist.loses() {
            return Ok(vec![None; keys.len()]);
        }
        let answer = self.inner.get_many(&twist.keys(keys)).await;
        let twisted = |value: Option<Bytes>| value.map(|bytes| twist.bytes(bytes));
        twist.end(answer.map(|values| values.into_iter().map(twisted).collect()))
    }

    async fn set_many(&self, items: Vec<(Key, Bytes)>, ttl: Duration) -> Result<(), Error> {
        let twist = self.mischief.begin(Operation::Set).await?;
        if twist.loses() {
            return Ok(());
        }
        let twisted = |(key, value)| (twist.key(&key).clone(), twist.bytes(value));
        let items = items.into_iter().map(twisted).collect();
        twist.end(self.inner.set_many(items, ttl).await)
    }

    async fn remove_many(&self, keys: &[Key]) -> Result<(), Error> {
        let twist = self.mischief.begin(Operation::Remove).await?;
        if twist.loses() {
            return Ok(());
        }
        twist.end(self.inner.remove_many(&twist.keys(keys)).await)
    }

    fn part(&self, key: &Key) -> u16 {
        self.inner.part(key)
    }

    /// It is carried out whole and as it is, or not at all.
    async fn forget(&self, order: &Order) -> Result<Forgotten, Error> {
        let twist = self.mischief.begin(Operation::Set).await?;
        if twist.loses() {
            let nothing = Order { change: Change::Nothing, announcement: None, ..order.clone() };
            return self.inner.forget(&nothing).await;
        }
        twist.end(self.inner.forget(order).await)
    }

    async fn lease(&self, key: &Key, hold: Duration, token: LeaseToken, seen: Option<&Bytes>) -> Result<Lease, Error> {
        let twist = self.mischief.begin(Operation::Lease).await?;
        if twist.loses() {
            return Ok(Lease::Granted);
        }
        let answer = match self.inner.lease(twist.key(key), hold, token, seen).await {
            Ok(Lease::Found(bytes)) => Ok(Lease::Found(twist.bytes(bytes))),
            answer => answer,
        };
        twist.end(answer)
    }

    async fn renew(&self, key: &Key, hold: Duration, token: LeaseToken) -> Result<bool, Error> {
        let twist = self.mischief.begin(Operation::Lease).await?;
        if twist.loses() {
            return Ok(true);
        }
        twist.end(self.inner.renew(twist.key(key), hold, token).await)
    }

    async fn fill(&self, key: &Key, value: Bytes, ttl: Duration, token: LeaseToken) -> Result<bool, Error> {
        let twist = self.mischief.begin(Operation::Set).await?;
        if twist.loses() {
            return Ok(true);
        }
        twist.end(self.inner.fill(twist.key(key), twist.bytes(value), ttl, token).await)
    }

    async fn release(&self, key: &Key, token: LeaseToken) -> Result<(), Error> {
        let twist = self.mischief.begin(Operation::Lease).await?;
        if twist.loses() {
            return Ok(());
        }
        twist.end(self.inner.release(twist.key(key), token).await)
    }

    async fn ping(&self) -> Result<(), Error> {
        let twist = self.mischief.begin(Operation::Ping).await?;
        if twist.loses() {
            return Ok(());
        }
        twist.end(self.inner.ping().await)
    }

    fn bus(&self, name: &Key) -> Option<AnyBus> {
        let inner = self.inner.bus(name)?;
        Some(AnyBus::new(ChaosBus { inner, mischief: self.mischief.clone() }))
    }

    fn address(&self) -> Option<String> {
        self.inner.address()
    }

    async fn diagnose(&self, probe: &Key) -> Vec<Finding> {
        self.inner.diagnose(probe).await
    }

    async fn scan(&self, prefix: &str, after: Option<Cursor>, count: usize) -> Result<Page, Error> {
        self.inner.scan(prefix, after, count).await
    }
}
