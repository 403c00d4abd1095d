//! A backend that answers when it pleases.

use std::future::Future;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use cachekit::{Backend, Error, Forgotten, Key, Lease, LeaseToken, Order};
use fastrand::Rng;

use harness::support::forward;

/// A backend that takes a random number of turns before and after it works.
#[derive(Debug)]
pub(super) struct Tardy<B>(pub(super) B, pub(super) Mutex<Rng>);

impl<B: Backend> Tardy<B> {
    async fn dawdle(&self) {
        let turns = self.1.lock().unwrap().u8(0..4);
        turns_pass(turns).await;
    }

    async fn around<T>(&self, work: impl Future<Output = T> + Send) -> T {
        self.dawdle().await;
        let answer = work.await;
        self.dawdle().await;
        answer
    }
}

impl<B: Backend> Backend for Tardy<B> {
    forward!(0: capabilities bus);
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, Error> {
        self.around(self.0.get(key)).await
    }
    async fn set(&self, key: &Key, value: Bytes, ttl: Duration) -> Result<(), Error> {
        self.around(self.0.set(key, value, ttl)).await
    }
    async fn remove(&self, key: &Key) -> Result<(), Error> {
        self.around(self.0.remove(key)).await
    }
    async fn ttl(&self, key: &Key) -> Result<Option<Duration>, Error> {
        self.around(self.0.ttl(key)).await
    }
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, Error> {
        self.around(self.0.get_many(keys)).await
    }
    async fn set_many(&self, items: Vec<(Key, Bytes)>, ttl: Duration) -> Result<(), Error> {
        self.around(self.0.set_many(items, ttl)).await
    }
    async fn remove_many(&self, keys: &[Key]) -> Result<(), Error> {
        self.around(self.0.remove_many(keys)).await
    }
    fn part(&self, _: &Key) -> u16 {
        0
    }
    async fn forget(&self, order: &Order) -> Result<Forgotten, Error> {
        self.around(self.0.forget(order)).await
    }
    async fn lease(&self, key: &Key, hold: Duration, token: LeaseToken, seen: Option<&Bytes>) -> Result<Lease, Error> {
        self.around(self.0.lease(key, hold, token, seen)).await
    }
    async fn renew(&self, key: &Key, hold: Duration, token: LeaseToken) -> Result<bool, Error> {
        self.around(self.0.renew(key, hold, token)).await
    }
    async fn fill(&self, key: &Key, value: Bytes, ttl: Duration, token: LeaseToken) -> Result<bool, Error> {
        self.around(self.0.fill(key, value, ttl, token)).await
    }
    async fn release(&self, key: &Key, token: LeaseToken) -> Result<(), Error> {
        self.around(self.0.release(key, token)).await
    }
    async fn ping(&self) -> Result<(), Error> {
        self.around(self.0.ping()).await
    }
}

pub(super) async fn turns_pass(turns: u8) {
    for _ in 0..turns {
        tokio::task::yield_now().await;
    }
}
