//! Leases, and what becomes of them on a server without scripts.
//!
//! A lease is taken, filled and given back by scripts, for only those compare and write in one step. A server that
//! refuses them is found out by the first; from then on no lease is asked for.

use std::pin::pin;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use redis::Value;

use super::ceiling::fits;
use super::commands::{self, Beside, Fill};
use super::request::{Request, SizeClass};
use super::{Shared, error, whole_millis};
use crate::backends::{Lease, LeaseToken, late, longest_lease, waiting};
use crate::error::{Error, ErrorKind};
use crate::key::Key;

impl Shared {
    pub(super) async fn lease(
        &self,
        key: &Key,
        hold: Duration,
        token: LeaseToken,
        seen: Option<&Bytes>,
    ) -> Result<Lease, Error> {
        if self.unscripted.load(Relaxed) {
            return Err(error::no_leases(self.router.place()));
        }
        self.accept();
        let (beside, name, times) =
            (self.beside(key), commands::text(token), [hold, longest_lease(hold)].map(whole_millis));
        let make = |attempt| Request::One(commands::lease(attempt, key, &beside, (&name, times), seen));
        let size = self.sizes.expected(key);
        let answer = match late::or_ask(pin!(self.router.run(key, size, make)), || self.is_long(key)).await {
            // Others may have been asked for together with this one.
            Err(error) if error.kind() == ErrorKind::TooLarge => {
                Box::pin(async {
                    self.check_length(key, error).await?;
                    self.router.run(key, SizeClass::LargeAnswer, make).await
                })
                .await
            }
            answer => answer,
        };
        match self.learned(answer)? {
            Value::Int(1) => Ok(Lease::Granted),
            Value::Int(_) => {
                waiting::note();
                Ok(Lease::Held)
            }
            Value::BulkString(value) => {
                self.sizes.note(key, size, value.len());
                Ok(Lease::Found(value.into()))
            }
            _ => Err(self.strange()),
        }
    }

    pub(super) async fn renew(&self, key: &Key, hold: Duration, token: LeaseToken) -> Result<bool, Error> {
        let (lock, token, hold) = (self.lock(key), commands::text(token), whole_millis(hold));
        let renew = |attempt| commands::renew(attempt, key, &lock, &token, hold);
        Ok(self.learned(self.number(key, SizeClass::Small, renew).await)? == 1)
    }

    pub(super) async fn fill(&self, key: &Key, value: Bytes, ttl: Duration, token: LeaseToken) -> Result<bool, Error> {
        fits(&value)?;
        let (beside, aside, token) = (self.beside(key), self.router.companion_key(key, "fill"), commands::text(token));
        let fill = Fill { key, beside: &beside, aside: &aside, value: &value, ttl: whole_millis(ttl), token: &token };
        let answer = self.learned(self.write(key, value.len(), |attempt| fill.command(attempt)).await)?;
        let decision = match answer {
            Value::Array(mut parts) => parts.pop(),
            decision => Some(decision),
        };
        match decision {
            Some(Value::Int(ended)) => Ok(has_ended(ended)),
            _ => Err(self.strange()),
        }
    }

    pub(super) async fn release(&self, key: &Key, token: LeaseToken) -> Result<(), Error> {
        let (beside, token) = (self.beside(key), commands::text(token));
        let release = |attempt| commands::release(attempt, key, &beside, &token);
        has_ended(self.learned(self.number(key, SizeClass::Small, release).await)?);
        Ok(())
    }

    fn beside(&self, key: &Key) -> Beside {
        Beside { lock: self.lock(key), mark: self.router.companion_key(key, "wait") }
    }

    /// Remembers whether the server takes scripts.
    fn learned<T>(&self, answer: Result<T, Error>) -> Result<T, Error> {
        match &answer {
            Ok(_) if !self.scripted.load(Relaxed) => self.scripted.store(true, Relaxed),
            Err(error) if error.kind() == ErrorKind::Unsupported => self.unscripted.store(true, Relaxed),
            _ => {}
        }
        answer
    }
}

/// Whether a script has ended the lease, by how many keys that removed: the lock, and the mark of those who wait.
fn has_ended(removed: i64) -> bool {
    if removed > 1 {
        waiting::note();
    }
    removed > 0
}
