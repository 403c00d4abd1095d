//! Capabilities, limits, errors.

use std::future::Future;

use bytes::Bytes;

use super::{Case, LONG, Suite};
use crate::backends::Backend;
use crate::error::{Error, ErrorKind};
use crate::key::Key;

pub(super) async fn check<F, M, B>(suite: &mut Suite<F>)
where
    F: Fn() -> M + Send + Sync,
    M: Future<Output = B> + Send,
    B: Backend,
{
    suite.case("Capabilities are constant, and their name is short and lower-case.", constant).await;
    suite.case("A backend answers a ping.", ping).await;
    suite.case("A value of the item limit is stored.", at_limit).await;
    if (suite.make)().await.capabilities().max_value < suite.options.largest {
        suite.case("A value above the item limit is `TooLarge`, and the old one stays.", above_limit).await;
    }
    suite.case("The longest TTL is accepted.", longest_ttl).await;
}

async fn constant<B: Backend>(case: Case<B>) {
    let first = case.backend.capabilities();
    case.set(&case.key("k"), "v", LONG).await;
    let second = case.backend.capabilities();
    case.require(first == second, || format!("first {first:?}, then {second:?}"));
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    let named = (1..=32).contains(&first.name.len()) && first.name.chars().all(plain);
    case.require(named, || format!("the name is {:?}", first.name));
}

async fn ping<B: Backend>(case: Case<B>) {
    case.done("ping", case.backend.ping().await);
}

async fn at_limit<B: Backend>(case: Case<B>) {
    let limit = case.backend.capabilities().max_value;
    let value = vec![0xA5; limit.min(case.options.largest)];
    // As long as a key gets: a limit must not depend on how long the key is.
    let key = case.key("k".repeat(Key::MAX_LEN)).reserved("chunk:ffffffffffffffff:4294967295");
    case.set(&key, value.clone(), LONG).await;
    case.holds(&key, &value, "after storing the largest value").await;
    case.remove(&key).await;
}

async fn above_limit<B: Backend>(case: Case<B>) {
    let limit = case.backend.capabilities().max_value;
    let key = case.key("secret-name");
    case.set(&key, "old", LONG).await;
    let value = Bytes::from(b"secret-value".repeat(limit / 12 + 1)).slice(..limit + 1);
    let answer = case.backend.set(&key, value.clone(), LONG).await;
    refused(&case, answer, ErrorKind::TooLarge, &key);
    case.holds(&key, b"old", "after a refused set").await;
    let answer = case.backend.set_many(vec![(key.clone(), value)], LONG).await;
    refused(&case, answer, ErrorKind::TooLarge, &key);
    case.holds(&key, b"old", "after a refused set_many").await;
}

/// Fails the check unless `answer` is an error of `kind` that tells neither the key nor a value.
pub(super) fn refused<B: Backend, T: std::fmt::Debug>(
    case: &Case<B>,
    answer: Result<T, Error>,
    kind: ErrorKind,
    key: &Key,
) {
    let error = match answer {
        Err(error) if error.kind() == kind => error,
        other => panic!("{}", case.complaint(&format!("the answer is {other:?}, not an error of kind {kind:?}"))),
    };
    let told = format!("{error} {error:?}");
    let tells = told.contains("secret") || told.contains(key.as_str());
    case.require(!tells, || format!("the message holds a key or a value: {told}"));
}

async fn longest_ttl<B: Backend>(case: Case<B>) {
    let (key, longest) = (case.key("k"), case.backend.capabilities().max_ttl);
    case.set(&key, "v", longest).await;
    case.holds(&key, b"v", "after storing for the longest TTL").await;
}
