//! What an expired key leaves in the backend.
//!
//! The entry as it was, marked as expired, for as long as the backend would have kept it beyond its TTL. It is written
//! by a lease: what others write meanwhile is newer and stays.

use std::time::Duration;

use bytes::Bytes;

use super::Tiers;
use crate::backends::{Backend, Lease, LeaseToken};
use crate::codec::Codec;
use crate::error::Error;
use crate::frame;
use crate::guard::{Guard, check_size};
use crate::key::Key;

/// How long writing a fallback may take. Past it the entry is removed.
const HOLD: Duration = Duration::from_secs(5);

/// What stands in the backend for an entry that expired.
struct Expired {
    bytes: Bytes,
    keep: Duration,
    /// What is there now.
    stored: Bytes,
}

impl<B: Backend, C: Codec> Tiers<B, C> {
    /// Replaces what the backend has under `key` by a fallback, or removes it if there is none.
    pub(crate) async fn expire(&self, key: &Key) -> Result<(), Error> {
        let Some(guard) = &self.l2.guard else { return Ok(()) };
        // What a change that waits is to remove stands in for nothing.
        if self.l2.hides(key, &[]) {
            return guard.remove(key).await;
        }
        if !guard.capabilities().leases {
            let Some(Expired { bytes, keep, .. }) = self.fallback(guard, key).await? else {
                return guard.remove(key).await;
            };
            return guard.put(key, bytes, keep, None).await.map(drop);
        }
        let seen = match guard.short_lease(key, HOLD, None).await? {
            (Lease::Found(seen), _) => seen,
            // There is nothing to fall back on. The removal ends the lease.
            _ => return guard.remove(key).await,
        };
        match guard.short_lease(key, HOLD, Some(&seen)).await? {
            (Lease::Granted, token) => released(guard, key, token, self.expire_under(guard, key, token)).await,
            // Another process computes it. Nothing would tell whether others change it between a read and the end of
            // that lease, so that what was read could stand in for what they made.
            _ => guard.remove(key).await,
        }
    }

    /// While this process holds the lease of the key, so that no process writes unseen.
    async fn expire_under(&self, guard: &Guard<B>, key: &Key, token: LeaseToken) -> Result<(), Error> {
        let Some(Expired { bytes, keep, stored }) = self.fallback(guard, key).await? else {
            return guard.remove(key).await;
        };
        if guard.put(key, bytes, keep, Some(token)).await? {
            return Ok(());
        }
        // The lease has ended: because another process wrote something newer, or because it ran out.
        if guard.get(key).await?.is_some_and(|found| found == stored) {
            return guard.remove(key).await;
        }
        Ok(())
    }

    /// The fallback that is left of what the backend has under `key`.
    async fn fallback(&self, guard: &Guard<B>, key: &Key) -> Result<Option<Expired>, Error> {
        let Some(stored) = guard.get(key).await? else { return Ok(None) };
        let now = self.clock.wall();
        let (entry, ended) = frame::strip_expiry(stored.clone());
        let Ok(head) = self.sealer.head(key.as_str(), &entry) else { return Ok(None) };
        let Some(left) = guard.ttl(key).await? else { return Ok(None) };
        // The backend alone knows with what grace it was stored.
        let dates = head.dates().ended(ended, now);
        let keep = left.saturating_sub(Duration::from_millis(dates.left(dates.ttl, now)));
        let bytes = frame::expire(&entry, ended.unwrap_or(now).min(now));
        let fits = check_size(bytes.len(), self.policy.max_value_size).is_ok();
        Ok((fits && !keep.is_zero()).then_some(Expired { bytes, keep, stored }))
    }
}

/// Does `work` under the lease `token`. If it fails, no other process is kept waiting for it.
async fn released<B: Backend>(
    guard: &Guard<B>,
    key: &Key,
    token: LeaseToken,
    work: impl Future<Output = Result<(), Error>>,
) -> Result<(), Error> {
    let done = work.await;
    if done.is_err() {
        // A lease that cannot be given back ends by itself.
        let _ = guard.release(key, token).await;
    }
    done
}
