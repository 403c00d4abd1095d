//! Leases that are answered with the value.

use std::future::Future;

use bytes::Bytes;
use tokio::task::{JoinSet, yield_now};

use super::concurrency::all;
use super::leases::told;
use super::{Case, LONG, Suite};
use crate::backends::{Backend, Lease, LeaseToken};
use crate::key::Key;

pub(super) async fn check<F, M, B>(suite: &mut Suite<F>)
where
    F: Fn() -> M + Send + Sync,
    M: Future<Output = B> + Send,
    B: Backend,
{
    if !(suite.make)().await.capabilities().leases {
        return;
    }
    suite.case("A lease is answered with the value of its key, and then none is granted.", answered).await;
    suite.case("A lease on a value that was seen is granted.", granted_over_a_value).await;
    suite.case("Values are told apart by their length and their first 128 bytes.", told_apart).await;
    suite.case("Who is told that a lease is held finds its value by the same question.", found_after_held).await;
    suite.case("Of many who saw a value and ask at once, one gets the lease.", one_of_many_over_a_value).await;
    suite.case("Of many who ask until they have a lease or a value, one fills.", one_value).await;
}

impl<B: Backend> Case<B> {
    /// Fails the check unless a lease is answered with these bytes, and none is granted.
    async fn found(&self, key: &Key, seen: Option<&'static str>, value: &'static str, when: &str) {
        self.answers(key, seen, Lease::Found(value.into()), when).await;
    }
}

async fn answered<B: Backend>(case: Case<B>) {
    let (key, empty, old) = (case.key("k"), case.key("empty"), case.key("old"));
    case.set(&key, "v", LONG).await;
    case.set(&empty, "", LONG).await;
    let ttl = case.unit() * 2;
    case.set(&old, "old", ttl).await;
    case.found(&key, None, "v", "of a key with a value").await;
    case.found(&empty, None, "", "of a key with an empty value").await;
    let _ = case.granted_over(&key, Some("v"), LONG, "after one that was answered with the value").await;
    case.found(&key, None, "v", "while a lease is out, without the value").await;
    case.advance(ttl + case.options.precision).await;
    let _ = case.granted(&old, LONG, "of a key whose value has expired").await;
}

async fn granted_over_a_value<B: Backend>(case: Case<B>) {
    let (key, absent) = (case.key("k"), case.key("absent"));
    case.set(&key, "old", LONG).await;
    let token = case.granted_over(&key, Some("old"), LONG, "of a key whose value was seen").await;
    case.holds(&key, b"old", "while a lease is out").await;
    case.answers(&key, Some("old"), Lease::Held, "while a lease is out").await;
    case.fill(&key, "newer", token, true, "over the value that was seen").await;
    case.found(&key, Some("old"), "newer", "of one who saw the value of before").await;
    let _ = case.granted_over(&absent, Some("gone"), LONG, "of a key whose value is gone").await;
}

async fn told_apart<B: Backend>(case: Case<B>) {
    let key = case.key("k");
    let value = Bytes::from([vec![b'a'; 127], vec![b'b'; 400]].concat());
    case.set(&key, value.clone(), LONG).await;
    let mut last = value.to_vec();
    last[127] = b'c';
    for (seen, what) in [
        (value.slice(..526), "that is a byte shorter"),
        (value.slice(..0), "that is empty"),
        ([&value[..], b"b"].concat().into(), "that is a byte longer"),
        (last.into(), "whose 128th byte is another"),
    ] {
        let answer = case.backend.lease(&key, LONG, LeaseToken::random(), Some(&seen)).await;
        let answer = case.done("lease", answer);
        let kept = matches!(&answer, Lease::Found(found) if *found == value);
        case.require(kept, || format!("lease of one who saw a value {what} answered {}, not Found", told(&answer)));
    }
    let answer = case.backend.lease(&key, LONG, LeaseToken::random(), Some(&value)).await;
    let answer = case.done("lease", answer);
    case.require(answer == Lease::Granted, || format!("lease of one who saw it answered {}", told(&answer)));
}

async fn found_after_held<B: Backend>(case: Case<B>) {
    let key = case.key("k");
    let token = case.granted(&key, LONG, "of a key without a lease").await;
    case.held(&key, "of a leased key").await;
    case.fill(&key, "first", token, true, "under a lease").await;
    case.found(&key, None, "first", "of one who was told that it is held").await;
    let token = case.granted_over(&key, Some("first"), LONG, "over the first value").await;
    case.answers(&key, Some("first"), Lease::Held, "while the value is renewed").await;
    case.fill(&key, "second", token, true, "over the first value").await;
    case.found(&key, Some("first"), "second", "of one who was told that it is held").await;
    case.set(&key, "third", LONG).await;
    case.found(&key, Some("second"), "third", "after set").await;
}

async fn one_of_many_over_a_value<B: Backend>(case: Case<B>) {
    for round in 0..4 {
        case.set(&case.key(round), "seen", LONG).await;
        let mut tasks = JoinSet::new();
        for _ in 0..16 {
            let case = case.clone();
            tasks.spawn(async move { case.lease(&case.key(round), LONG, LeaseToken::random(), Some("seen")).await });
        }
        let answers = all(tasks).await;
        let granted = answers.iter().filter(|lease| **lease == Lease::Granted).count();
        let kept = granted == 1 && !answers.iter().any(|lease| matches!(lease, Lease::Found(_)));
        case.require(kept, || format!("{granted} of 16 got it"));
    }
}

async fn one_value<B: Backend>(case: Case<B>) {
    for round in 0..8 {
        let mut tasks = JoinSet::new();
        for _ in 0..8 {
            let case = case.clone();
            tasks.spawn(async move { computed_or_found(&case, &case.key(round)).await });
        }
        let computed = all(tasks).await.into_iter().filter(|computed| *computed).count();
        case.require(computed == 1, || format!("{computed} of 8 got a lease in turn"));
    }
}

/// Asks until there is a lease or a value; fills the value in under a lease. Returns whether it had to.
async fn computed_or_found<B: Backend>(case: &Case<B>, key: &Key) -> bool {
    loop {
        let token = LeaseToken::random();
        match case.lease(key, LONG, token, None).await {
            Lease::Granted => {
                yield_now().await;
                case.fill(key, "v", token, true, "under a lease").await;
                return true;
            }
            Lease::Held => yield_now().await,
            Lease::Found(_) => return false,
        }
    }
}
