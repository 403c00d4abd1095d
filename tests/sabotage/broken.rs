//! Backends and buses that break their contracts.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use cachekit::testing::SimulatedBackend;
use cachekit::{AnyBus, Backend, Batch, Bus, Error, Forgotten, Key, LeaseToken, Order, Position};

use harness::support::forward;

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sabotage {
    /// `fill` stores whatever became of the lease.
    IgnoresLeases,
    /// One of eight removals does nothing.
    KeepsWhatIsRemoved,
    /// What an order has noted of tags is lost, and not the time it took.
    LosesNotes,
    /// One of sixteen reads is of the key `0`.
    SwapsKeys,
    /// Every entry is kept for its whole TTL from now on, it says.
    CountsNothingDown,
    /// The bus says that nothing is lost.
    HidesGaps,
    /// One of eight batches has no messages.
    LosesMessages,
    /// Where the bus fails, it says that there are no messages.
    HidesFailures,
}

#[derive(Debug)]
pub(super) struct Broken {
    inner: SimulatedBackend,
    sabotage: Sabotage,
    count: AtomicU64,
}

impl Broken {
    pub(super) fn new(inner: SimulatedBackend, sabotage: Sabotage) -> Self {
        Self { inner, sabotage, count: AtomicU64::new(0) }
    }

    fn strikes(&self, sabotage: Sabotage, of: u64) -> bool {
        self.sabotage == sabotage && self.count.fetch_add(1, SeqCst) % of == of - 1
    }
}

impl Backend for Broken {
    forward!(inner: capabilities set set_many get_many remove_many part lease renew release ping);

    async fn get(&self, key: &Key) -> Result<Option<Bytes>, Error> {
        let other = Key::new("simulation", 0).unwrap();
        let is_user_key = key.as_str().matches(':').count() < 2;
        let asked = if is_user_key && self.strikes(Sabotage::SwapsKeys, 16) { &other } else { key };
        self.inner.get(asked).await
    }

    async fn forget(&self, order: &Order) -> Result<Forgotten, Error> {
        if self.sabotage != Sabotage::LosesNotes {
            return self.inner.forget(order).await;
        }
        let records = &order.keys()[1..];
        let before = self.inner.get_many(records).await?;
        let answer = self.inner.forget(order).await;
        for (record, before) in records.iter().zip(before) {
            if let Some(before) = before {
                self.inner.set(record, before, Duration::from_secs(3_600)).await?;
            }
        }
        answer
    }

    async fn ttl(&self, key: &Key) -> Result<Option<Duration>, Error> {
        let left = self.inner.ttl(key).await?;
        Ok(if self.sabotage == Sabotage::CountsNothingDown { left.map(|_| Duration::from_secs(2)) } else { left })
    }

    async fn remove(&self, key: &Key) -> Result<(), Error> {
        if self.strikes(Sabotage::KeepsWhatIsRemoved, 8) {
            return Ok(());
        }
        self.inner.remove(key).await
    }

    async fn fill(&self, key: &Key, value: Bytes, ttl: Duration, token: LeaseToken) -> Result<bool, Error> {
        if self.sabotage == Sabotage::IgnoresLeases {
            return self.inner.set(key, value, ttl).await.map(|()| true);
        }
        self.inner.fill(key, value, ttl, token).await
    }

    fn bus(&self, name: &Key) -> Option<AnyBus> {
        let (inner, sabotage) = (self.inner.bus(name)?, self.sabotage);
        Some(AnyBus::new(BrokenBus { inner, sabotage, count: AtomicU64::new(0) }))
    }
}

#[derive(Debug)]
struct BrokenBus {
    inner: AnyBus,
    sabotage: Sabotage,
    count: AtomicU64,
}

impl Bus for BrokenBus {
    async fn publish(&self, message: Bytes) -> Result<(), Error> {
        self.inner.publish(message).await
    }

    async fn receive(&self, after: Option<&Position>, wait: Duration) -> Result<Batch, Error> {
        let batch = match (self.inner.receive(after, wait).await, after) {
            (Err(_), Some(after)) if self.sabotage == Sabotage::HidesFailures => {
                Batch { messages: Vec::new(), position: after.clone(), gap: false }
            }
            (answer, _) => answer?,
        };
        Ok(match self.sabotage {
            Sabotage::HidesGaps => Batch { gap: false, ..batch },
            Sabotage::LosesMessages if self.count.fetch_add(1, SeqCst) % 8 == 7 => {
                Batch { messages: Vec::new(), ..batch }
            }
            _ => batch,
        })
    }
}
