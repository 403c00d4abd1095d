//! Leases, as the guard asks for them.
//!
//! What the backend does is pinned where it is made: a function that it is handed to by value has room for it several times.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;

use super::Guard;
use super::limits::{Attempt, Filled};
use crate::backends::{Backend, Lease, LeaseToken, waiting};
use crate::error::{Error, ErrorKind};
use crate::event::Operation;
use crate::key::Key;

/// No answer to a request for a lease.
#[derive(Debug)]
pub(crate) struct Unleased {
    pub(crate) error: Error,
    /// Whether the backend was asked, and may have granted it all the same.
    pub(crate) perhaps_granted: bool,
}

impl<B: Backend> Guard<B> {
    /// How long a lease of `key` is to hold that is asked for `hold`: longer where the way to the backend is long.
    pub(crate) fn hold(&self, key: &Key, hold: Duration) -> Duration {
        self.executor(key).hold(hold)
    }

    /// A task that was to renew the lease of `key` ran so many milliseconds late: the next leases last longer.
    pub(crate) fn note_delay(&self, key: &Key, late: u64) {
        self.executor(key).note_delay(late);
    }

    /// Asks for the lease of `key`, unless there is another value than was `seen`: see [`whole`](Guard::whole) for what is
    /// found.
    pub(crate) async fn lease(
        &self,
        key: &Key,
        hold: Duration,
        token: LeaseToken,
        seen: Option<&Bytes>,
    ) -> Result<Lease, Unleased> {
        let asked = AtomicBool::new(false);
        let ask = async || {
            asked.store(true, Relaxed);
            let (answer, is_noted) = waiting::told(pin!(self.backend.lease(key, hold, token, seen))).await;
            if is_noted {
                self.notes_waiters.store(true, Relaxed);
            }
            answer
        };
        let answer = self.learned(self.executor(key).run(key, Operation::Lease, Attempt::AGAIN, ask).await);
        answer.map_err(|error| {
            let unanswered = matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unavailable);
            Unleased { perhaps_granted: unanswered && asked.load(Relaxed), error }
        })
    }

    pub(crate) async fn renew(&self, key: &Key, hold: Duration, token: LeaseToken) -> Result<bool, Error> {
        let renew = || self.backend.renew(key, hold, token);
        self.learned(self.executor(key).run(key, Operation::Lease, Attempt::FIRST, renew).await)
    }

    /// Asks for a short lease under a token of its own, which is given back if its answer is lost.
    pub(crate) async fn short_lease(
        &self,
        key: &Key,
        hold: Duration,
        seen: Option<&Bytes>,
    ) -> Result<(Lease, LeaseToken), Error> {
        let token = LeaseToken::random();
        match self.lease(key, self.hold(key, hold), token, seen).await {
            Ok(answer) => Ok((answer, token)),
            Err(Unleased { error, perhaps_granted }) => {
                if perhaps_granted {
                    // If this fails too, the lease ends by itself.
                    let _ = self.release(key, token).await;
                }
                Err(error)
            }
        }
    }

    /// Gives a lease back. Whether other processes wait for it, as far as the backend notes that.
    pub(crate) async fn release(&self, key: &Key, token: LeaseToken) -> Result<bool, Error> {
        let release = async || {
            let (released, is_awaited) = waiting::told(pin!(self.backend.release(key, token))).await;
            released.map(|()| is_awaited)
        };
        self.executor(key).run(key, Operation::Lease, Attempt::FIRST, release).await
    }

    /// Fills `key` by a lease.
    pub(super) async fn fill(
        &self,
        attempt: Attempt,
        key: &Key,
        value: Bytes,
        ttl: Duration,
        token: LeaseToken,
    ) -> Result<Filled, Error> {
        let fill = async || {
            let (stored, is_awaited) = waiting::told(pin!(self.backend.fill(key, value.clone(), ttl, token))).await;
            stored.map(|stored| Filled { stored, is_awaited })
        };
        self.learned(self.executor(key).run(key, Operation::Set, attempt, fill).await)
    }

    /// Whether the backend was seen to note that a process waits for a lease, so that its holder hears of it.
    pub(crate) fn notes_waiters(&self) -> bool {
        self.notes_waiters.load(Relaxed)
    }

    /// Remembers a backend whose leases do not work, such as a server that refuses what they are made of.
    pub(super) fn learned<T>(&self, answer: Result<T, Error>) -> Result<T, Error> {
        if answer.as_ref().is_err_and(|error| error.kind() == ErrorKind::Unsupported) {
            self.unleased.store(true, Relaxed);
        }
        answer
    }
}
