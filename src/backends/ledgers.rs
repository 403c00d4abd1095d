//! Orders to forget, for backends that cannot change several keys in one step.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;

use super::{Backend, Lease, LeaseToken};
use crate::error::{Error, ErrorKind};
use crate::key::Key;
use crate::ledger::{Change, Forgotten, Order};

/// How long another process may hold an item of a ledger: three round trips, however long the way is.
const HOLD: Duration = Duration::from_secs(3);
/// How often an item is tried that others change. With the pauses between them longer than `HOLD`.
const ATTEMPTS: usize = 24;
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(256);

/// Carries out an [`Order`] by the leases of a backend.
///
/// The records are written first and the head after them, each under a lease. So a reader who finds the new time in the
/// head finds all that was noted before it.
///
/// # Errors
/// What the backend says, and [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) if other processes hold an item
/// for seconds. The order may have been carried out in part then: it can be given again.
///
/// # Cost
/// Five operations for the head and four for each record, one after another: one record for each tag at most.
pub async fn forget_by_leases<B: Backend>(backend: &B, order: &Order) -> Result<Forgotten, Error> {
    let key = order.head();
    for _ in 0..ATTEMPTS {
        let found = backend.get(&key).await?;
        let (head, is_new) = order.head_of(found.as_deref());
        if order.change == Change::Nothing && !is_new {
            return Ok(Forgotten::new(head));
        }
        let time = head.now.time + 1;
        for plan in order.plans() {
            amend(backend, &plan.key, |found| Some(plan.record(found, &head, time).to_bytes())).await?;
        }
        let mut made = None;
        amend(backend, &key, |found| {
            let (mut present, _) = order.head_of(found);
            if present.now.lineage != head.now.lineage {
                // Lost and made anew meanwhile: the records belong to the one of before.
                made = None;
                return None;
            }
            order.notes(&mut present, time);
            let bytes = present.to_bytes();
            made = Some(present);
            Some(bytes)
        })
        .await?;
        if let Some(head) = made {
            return Ok(Forgotten::new(head));
        }
    }
    Err(busy())
}

/// Carries out an [`Order`] in a backend that has no leases: makes the ledger anew, which forgets everything that was
/// stored before.
///
/// Nothing tells there whether two processes change the ledger at once, and an order that is lost would let old values
/// back in.
///
/// # Errors
/// What the backend says.
pub async fn forget_by_set<B: Backend>(backend: &B, order: &Order) -> Result<Forgotten, Error> {
    let key = order.head();
    if order.change == Change::Nothing {
        let (head, is_new) = order.head_of(backend.get(&key).await?.as_deref());
        if !is_new {
            return Ok(Forgotten::new(head));
        }
    }
    let (head, _) = order.head_of(None);
    backend.set(&key, head.to_bytes(), backend.capabilities().max_ttl).await?;
    Ok(Forgotten::new(head))
}

/// Replaces an item by what `change` makes of it, unless that is nothing.
async fn amend<B: Backend>(
    backend: &B,
    key: &Key,
    mut change: impl FnMut(Option<&[u8]>) -> Option<Bytes> + Send,
) -> Result<(), Error> {
    let ttl = backend.capabilities().max_ttl;
    let (mut pause, mut seen) = (FIRST_PAUSE, backend.get(key).await?);
    for _ in 0..ATTEMPTS {
        let token = LeaseToken::random();
        match backend.lease(key, HOLD, token, seen.as_ref()).await? {
            Lease::Granted => {
                // Once more: what differs from what was seen at its end alone is taken for the same.
                let found = backend.get(key).await?;
                let Some(bytes) = change(found.as_deref()) else { return backend.release(key, token).await };
                if backend.fill(key, bytes, ttl, token).await? {
                    return Ok(());
                }
            }
            Lease::Found(bytes) => {
                seen = Some(bytes);
                continue;
            }
            Lease::Held => {}
        }
        sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    Err(busy())
}

#[cold]
fn busy() -> Error {
    Error::new(ErrorKind::Unavailable, "other processes hold what a cache notes of its invalidations for too long")
}
