//! Whole values, however many write and however many leave.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::task::{JoinSet, yield_now};

use super::{Case, LONG, Suite};
use crate::backends::{Backend, LeaseToken};
use crate::key::Key;

pub(super) async fn check<F, M, B>(suite: &mut Suite<F>)
where
    F: Fn() -> M + Send + Sync,
    M: Future<Output = B> + Send,
    B: Backend,
{
    suite.case("A reader sees the old bytes or the new ones, never a mixture.", whole).await;
    suite.case("Writers of different keys do not disturb each other.", undisturbed).await;
    suite.case("A dropped future leaves the backend usable.", dropped).await;
}

const WRITERS: u8 = 4;
const ROUNDS: usize = 25;

/// What one writer writes: its own byte, in a length of its own.
fn signed(writer: u8, length: usize) -> Vec<u8> {
    vec![writer; length + usize::from(writer)]
}

async fn whole<B: Backend>(case: Case<B>) {
    let key = case.key("k");
    let length = case.backend.capabilities().max_value.min(64 << 10).saturating_sub(usize::from(WRITERS));
    case.set(&key, signed(0, length), LONG).await;
    let mut tasks = JoinSet::new();
    for writer in 1..=WRITERS {
        let (case, key) = (case.clone(), key.clone());
        tasks.spawn(async move {
            for _ in 0..ROUNDS {
                case.set(&key, signed(writer, length), LONG).await;
                yield_now().await;
            }
        });
    }
    for _ in 0..WRITERS {
        let (case, key) = (case.clone(), key.clone());
        tasks.spawn(async move {
            for _ in 0..ROUNDS * 2 {
                let found = case.get(&key).await;
                let whole = found.as_deref().is_some_and(|bytes| (0..=WRITERS).any(|by| bytes == signed(by, length)));
                case.require(whole, || format!("a reader saw {}", super::shown(found.as_deref())));
                yield_now().await;
            }
        });
    }
    all(tasks).await;
}

async fn undisturbed<B: Backend>(case: Case<B>) {
    let mut tasks = JoinSet::new();
    for writer in 0..WRITERS * 4 {
        let case = case.clone();
        tasks.spawn(async move {
            let key = case.key(writer);
            for round in 0..ROUNDS {
                let value = format!("writer {writer}, round {round}");
                case.set(&key, value.clone(), LONG).await;
                yield_now().await;
                case.holds(&key, value.as_bytes(), "while others write other keys").await;
                case.remove(&key).await;
                yield_now().await;
                case.lacks(&key, "after remove, while others write other keys").await;
            }
        });
    }
    all(tasks).await;
}

/// Waits for all tasks, and passes on the first panic.
pub(super) async fn all<T: Send + 'static>(mut tasks: JoinSet<T>) -> Vec<T> {
    let mut results = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        match ended.map_err(tokio::task::JoinError::try_into_panic) {
            Ok(result) => results.push(result),
            Err(Ok(panic)) => std::panic::resume_unwind(panic),
            Err(Err(cancelled)) => panic!("a task of the suite was {cancelled}"),
        }
    }
    results
}

/// How many polls an operation gets before it is dropped, at most.
const POLLS: usize = 16;

async fn dropped<B: Backend>(case: Case<B>) {
    let leases = case.backend.capabilities().leases;
    for polls in 0..POLLS {
        let key = case.key(polls);
        case.set(&key, "old", LONG).await;
        let mut unfinished = drop_each(&case, &key, polls).await;
        one_of(&case, &key, &["old", "new"], polls).await;
        if leases {
            unfinished |= drop_leases(&case, &key, polls).await;
            one_of(&case, &key, &["old", "new", "filled"], polls).await;
        }
        usable(&case, &key, polls).await;
        if !unfinished {
            return;
        }
    }
}

/// How many writes are dropped under one key. What a dropped future began may still be done once, late.
const LATE: usize = 6;

/// Fails the check unless `set` and `remove` work again, once those that were dropped have been done.
async fn usable<B: Backend>(case: &Case<B>, key: &Key, polls: usize) {
    for stored in [Some("usable"), None] {
        let mut found = None;
        for _ in 0..=LATE {
            match stored {
                Some(value) => case.set(key, value, LONG).await,
                None => case.remove(key).await,
            }
            found = case.get(key).await;
            if found.as_deref() == stored.map(str::as_bytes) {
                break;
            }
        }
        let kept = found.as_deref() == stored.map(str::as_bytes);
        case.require(kept, || {
            let found = super::shown(found.as_deref());
            format!("get answered {found} again and again, not {stored:?}, after futures were dropped at poll {polls}")
        });
    }
}

/// Fails the check unless `get` finds nothing or one of `values`.
async fn one_of<B: Backend>(case: &Case<B>, key: &Key, values: &[&str], polls: usize) {
    let found = case.get(key).await;
    let whole = found.as_deref().is_none_or(|found| values.iter().any(|value| value.as_bytes() == found));
    case.require(whole, || {
        format!("get answered {} after futures were dropped at poll {polls}", super::shown(found.as_deref()))
    });
}

/// Drops one future of each operation after `polls` polls. Returns whether one was not done by then.
async fn drop_each<B: Backend>(case: &Case<B>, key: &Key, polls: usize) -> bool {
    let backend = Arc::clone(&case.backend);
    let get = dropped_after(polls, backend.get(key)).await;
    let remove = dropped_after(polls, backend.remove(key)).await;
    let set = dropped_after(polls, backend.set(key, "new".into(), LONG)).await;
    let ping = dropped_after(polls, backend.ping()).await;
    let unfinished = drop_others(&*backend, key, polls).await;
    unfinished || get.is_none() || remove.is_none() || set.is_none() || ping.is_none()
}

async fn drop_others<B: Backend>(backend: &B, key: &Key, polls: usize) -> bool {
    let keys = std::slice::from_ref(key);
    let ttl = dropped_after(polls, backend.ttl(key)).await;
    let get = dropped_after(polls, backend.get_many(keys)).await;
    let remove = dropped_after(polls, backend.remove_many(keys)).await;
    let set = dropped_after(polls, backend.set_many(vec![(key.clone(), "new".into())], LONG)).await;
    ttl.is_none() || get.is_none() || remove.is_none() || set.is_none()
}

async fn drop_leases<B: Backend>(case: &Case<B>, key: &Key, polls: usize) -> bool {
    let backend = Arc::clone(&case.backend);
    let token = LeaseToken::random();
    let lease = dropped_after(polls, backend.lease(key, LONG, token, None)).await;
    let fill = dropped_after(polls, backend.fill(key, "filled".into(), LONG, token)).await;
    let release = dropped_after(polls, backend.release(key, token)).await;
    lease.is_none() || fill.is_none() || release.is_none()
}

/// What `future` gave within `polls` polls; it is dropped after them.
pub(super) async fn dropped_after<T>(polls: usize, future: impl Future<Output = T> + Send) -> Option<T> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
