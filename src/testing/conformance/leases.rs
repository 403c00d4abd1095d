//! Leases: at most one, and only the living fill.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::concurrency::all;
use super::limits::refused;
use super::{Case, LONG, Suite, shown};
use crate::backends::{Backend, Lease, LeaseToken, waiting};
use crate::error::ErrorKind;
use crate::key::Key;

pub(super) async fn check<F, M, B>(suite: &mut Suite<F>)
where
    F: Fn() -> M + Send + Sync,
    M: Future<Output = B> + Send,
    B: Backend,
{
    if !(suite.make)().await.capabilities().leases {
        suite.case("A backend without leases answers `Unsupported`.", unsupported).await;
        return;
    }
    suite.case("At most one lease is out per key.", at_most_one).await;
    suite.case("A lease is granted again to the token that holds it.", granted_again).await;
    suite.case("Of many who ask at once, one gets the lease.", one_of_many).await;
    suite.case("`fill` stores the value and ends the lease.", filled).await;
    suite.case("A filled entry lives as long as its TTL.", filled_for_a_while).await;
    suite.case("A lease ends by `release`.", ended_by_release).await;
    suite.case("A lease ends after `hold`.", ended_by_time).await;
    suite.case("A lease that is renewed outlives its first `hold`, and ends after its last.", renewed).await;
    suite.case("A lease on a value is renewed alike.", renewed_on_a_value).await;
    suite.case("`renew` of a lease that has ended, or of another's, does nothing.", renewed_late).await;
    suite.case("A lease ends by `set`.", ended_by_set).await;
    suite.case("A lease ends by `remove`.", ended_by_remove).await;
    suite.case("A lease ends by `set_many`.", ended_by_set_many).await;
    suite.case("A lease ends by `remove_many`.", ended_by_remove_many).await;
    suite.case("`fill` with a token that was never granted stores nothing.", unknown_token).await;
    suite.case("`release` of a lease that has ended does nothing.", late_release).await;
    suite.case("A holder hears of those who wait for its lease, if the backend notes them.", awaited).await;
}

impl<B: Backend> Case<B> {
    pub(super) async fn lease(
        &self,
        key: &Key,
        hold: Duration,
        token: LeaseToken,
        seen: Option<&'static str>,
    ) -> Lease {
        let seen = seen.map(Bytes::from);
        let answer = self.backend.lease(key, hold, token, seen.as_ref()).await;
        self.done("lease", answer)
    }

    pub(super) async fn answers(&self, key: &Key, seen: Option<&'static str>, expected: Lease, when: &str) {
        let answer = self.lease(key, LONG, LeaseToken::random(), seen).await;
        self.require(answer == expected, || {
            format!("lease {when} answered {}, not {}", told(&answer), told(&expected))
        });
    }

    pub(super) async fn granted(&self, key: &Key, hold: Duration, when: &str) -> LeaseToken {
        self.granted_over(key, None, hold, when).await
    }

    /// The token of a lease on a key whose value was `seen`, or that has none.
    pub(super) async fn granted_over(
        &self,
        key: &Key,
        seen: Option<&'static str>,
        hold: Duration,
        when: &str,
    ) -> LeaseToken {
        let token = LeaseToken::random();
        let answer = self.lease(key, hold, token, seen).await;
        self.require(answer == Lease::Granted, || format!("lease {when} answered {}, not Granted", told(&answer)));
        token
    }

    pub(super) async fn held(&self, key: &Key, when: &str) {
        self.answers(key, None, Lease::Held, when).await;
    }

    async fn renew(&self, key: &Key, hold: Duration, token: LeaseToken, expected: bool, when: &str) {
        let answer = self.backend.renew(key, hold, token).await;
        let renewed = self.done("renew", answer);
        self.require(renewed == expected, || format!("renew {when} answered {renewed}, not {expected}"));
    }

    pub(super) async fn fill(&self, key: &Key, value: &'static str, token: LeaseToken, expected: bool, when: &str) {
        let answer = self.backend.fill(key, value.into(), LONG, token).await;
        let stored = self.done("fill", answer);
        self.require(stored == expected, || format!("fill {when} answered {stored}, not {expected}"));
    }

    async fn release(&self, key: &Key, token: LeaseToken) {
        let answer = self.backend.release(key, token).await;
        self.done("release", answer);
    }
}

async fn unsupported<B: Backend>(case: Case<B>) {
    let (key, token) = (case.key("secret-name"), LeaseToken::random());
    case.set(&key, "old", LONG).await;
    refused(&case, case.backend.lease(&key, LONG, token, None).await, ErrorKind::Unsupported, &key);
    refused(&case, case.backend.renew(&key, LONG, token).await, ErrorKind::Unsupported, &key);
    refused(&case, case.backend.fill(&key, "secret".into(), LONG, token).await, ErrorKind::Unsupported, &key);
    refused(&case, case.backend.release(&key, token).await, ErrorKind::Unsupported, &key);
    case.holds(&key, b"old", "after an unsupported fill").await;
}

async fn at_most_one<B: Backend>(case: Case<B>) {
    let (key, other) = (case.key("k"), case.key("other"));
    let first = case.granted(&key, LONG, "of a key without a lease").await;
    case.held(&key, "of a leased key").await;
    case.held(&key, "of a leased key, the second time").await;
    let _ = case.granted(&other, LONG, "of another key").await;
    case.lacks(&key, "of a leased key without a value").await;
    case.fill(&key, "v", first, true, "after others asked in vain").await;
    case.holds(&key, b"v", "after fill").await;
    case.held(&other, "of a leased key, another having been filled").await;
}

async fn granted_again<B: Backend>(case: Case<B>) {
    let (key, old) = (case.key("k"), case.key("old"));
    case.set(&old, "old", LONG).await;
    for (key, seen) in [(&key, None), (&old, Some("old"))] {
        let token = case.granted_over(key, seen, LONG, "of a key without a lease").await;
        let again = case.lease(key, LONG, token, seen).await;
        case.require(again == Lease::Granted, || format!("lease by its holder answered {}, not Granted", told(&again)));
        case.answers(key, seen, Lease::Held, "of a leased key").await;
        case.fill(key, "v", token, true, "under a lease that was granted twice").await;
        case.holds(key, b"v", "after fill").await;
    }
}

async fn one_of_many<B: Backend>(case: Case<B>) {
    for round in 0..8 {
        let mut tasks = JoinSet::new();
        for _ in 0..16 {
            let case = case.clone();
            tasks.spawn(async move { case.lease(&case.key(round), LONG, LeaseToken::random(), None).await });
        }
        let granted = all(tasks).await.iter().filter(|lease| **lease == Lease::Granted).count();
        case.require(granted == 1, || format!("{granted} of 16 got it"));
    }
}

/// The answer to a request for a lease, as a message shows it.
pub(super) fn told(answer: &Lease) -> String {
    if let Lease::Found(value) = answer { format!("Found({})", shown(Some(value))) } else { format!("{answer:?}") }
}

async fn filled<B: Backend>(case: Case<B>) {
    let key = case.key("k");
    let token = case.granted(&key, LONG, "of a key without a lease").await;
    case.fill(&key, "first", token, true, "under a lease").await;
    case.holds(&key, b"first", "after fill").await;
    case.fill(&key, "twice", token, false, "for the second time").await;
    case.holds(&key, b"first", "after a fill that was refused").await;
    let token = case.granted_over(&key, Some("first"), LONG, "after fill").await;
    case.holds(&key, b"first", "while a lease is out").await;
    case.fill(&key, "second", token, true, "over a value").await;
    case.holds(&key, b"second", "after fill over a value").await;
}

async fn filled_for_a_while<B: Backend>(case: Case<B>) {
    let (key, ttl) = (case.key("k"), case.unit() * 2);
    let token = case.granted(&key, LONG, "of a key without a lease").await;
    let answer = case.backend.fill(&key, "v".into(), ttl, token).await;
    let stored = case.done("fill", answer);
    case.require(stored, || "fill under a lease answered false, not true".into());
    case.advance(ttl + case.options.precision).await;
    case.lacks(&key, "after the TTL given to fill").await;
}

async fn ended_by_release<B: Backend>(case: Case<B>) {
    let key = case.key("k");
    let token = case.granted(&key, LONG, "of a key without a lease").await;
    case.release(&key, token).await;
    case.fill(&key, "late", token, false, "after release").await;
    case.lacks(&key, "after a fill that was refused").await;
    let token = case.granted(&key, LONG, "after release").await;
    case.fill(&key, "v", token, true, "under the second lease").await;
    case.holds(&key, b"v", "after fill").await;
}

async fn ended_by_time<B: Backend>(case: Case<B>) {
    let (key, hold) = (case.key("k"), case.unit() * 2);
    let token = case.granted(&key, hold, "of a key without a lease").await;
    case.advance(hold + case.options.precision).await;
    case.fill(&key, "late", token, false, "after the lease was over").await;
    case.lacks(&key, "after a fill that was refused").await;
    let second = case.granted(&key, LONG, "after the first was over").await;
    case.fill(&key, "late", token, false, "while another holds the lease").await;
    case.fill(&key, "v", second, true, "under the second lease").await;
    case.holds(&key, b"v", "after fill").await;
}

async fn renewed<B: Backend>(case: Case<B>) {
    let (key, hold) = (case.key("k"), case.unit() * 2);
    let token = case.granted(&key, hold, "of a key without a lease").await;
    case.renew(&key, hold * 3, token, true, "of a lease that holds").await;
    case.advance(hold + case.options.precision).await;
    case.held(&key, "of a key whose lease was renewed").await;
    case.renew(&key, hold, token, true, "of a lease that was renewed").await;
    case.advance(hold + case.options.precision).await;
    case.fill(&key, "late", token, false, "after the renewed lease was over").await;
    let second = case.granted(&key, hold, "after the first was over").await;
    case.renew(&key, LONG, second, true, "of the second lease").await;
    case.fill(&key, "v", second, true, "under a lease that was renewed").await;
    case.holds(&key, b"v", "after fill").await;
}

async fn renewed_on_a_value<B: Backend>(case: Case<B>) {
    let (key, hold) = (case.key("k"), case.unit() * 2);
    case.set(&key, "old", LONG).await;
    let token = case.granted_over(&key, Some("old"), hold, "of a key with a value").await;
    case.renew(&key, LONG, token, true, "of a lease that holds").await;
    case.holds(&key, b"old", "after renew").await;
    case.advance(hold + case.options.precision).await;
    case.answers(&key, Some("old"), Lease::Held, "of a key whose lease was renewed").await;
    case.fill(&key, "new", token, true, "under a lease that was renewed").await;
    case.holds(&key, b"new", "after fill").await;
}

async fn renewed_late<B: Backend>(case: Case<B>) {
    let (key, absent) = (case.key("k"), case.key("absent"));
    case.renew(&absent, LONG, LeaseToken::random(), false, "without a lease").await;
    let first = case.granted(&key, LONG, "of a key without a lease").await;
    case.renew(&key, LONG, LeaseToken::random(), false, "with a forged token").await;
    case.remove(&key).await;
    case.renew(&key, LONG, first, false, "after remove").await;
    let second = case.granted(&key, LONG, "after remove").await;
    case.renew(&key, LONG, first, false, "while another holds the lease").await;
    case.release(&key, second).await;
    case.renew(&key, LONG, second, false, "after release").await;
    let third = case.granted(&key, LONG, "after release").await;
    case.fill(&key, "v", third, true, "under the third lease").await;
    case.renew(&key, LONG, third, false, "after fill").await;
    case.holds(&key, b"v", "after a renewal that was refused").await;
}

async fn ended_by_set<B: Backend>(case: Case<B>) {
    let key = case.key("k");
    let token = case.granted(&key, LONG, "of a key without a lease").await;
    case.set(&key, "set", LONG).await;
    case.fill(&key, "late", token, false, "after set").await;
    case.holds(&key, b"set", "after a fill that was refused").await;
    let _ = case.granted_over(&key, Some("set"), LONG, "after set").await;
}

async fn ended_by_remove<B: Backend>(case: Case<B>) {
    let key = case.key("k");
    case.set(&key, "old", LONG).await;
    let token = case.granted_over(&key, Some("old"), LONG, "of a key with a value").await;
    case.remove(&key).await;
    case.fill(&key, "late", token, false, "after remove").await;
    case.lacks(&key, "after a fill that was refused").await;
    let _ = case.granted(&key, LONG, "after remove").await;
}

async fn ended_by_set_many<B: Backend>(case: Case<B>) {
    let (key, other) = (case.key("k"), case.key("other"));
    let token = case.granted(&key, LONG, "of a key without a lease").await;
    case.set_many(&[(&other, "w"), (&key, "set")], LONG).await;
    case.fill(&key, "late", token, false, "after set_many").await;
    case.holds(&key, b"set", "after a fill that was refused").await;
    let _ = case.granted_over(&key, Some("set"), LONG, "after set_many").await;
}

async fn ended_by_remove_many<B: Backend>(case: Case<B>) {
    let (key, other) = (case.key("k"), case.key("other"));
    case.set(&key, "old", LONG).await;
    let token = case.granted_over(&key, Some("old"), LONG, "of a key with a value").await;
    case.remove_many(&[other, key.clone()]).await;
    case.fill(&key, "late", token, false, "after remove_many").await;
    case.lacks(&key, "after a fill that was refused").await;
    let _ = case.granted(&key, LONG, "after remove_many").await;
}

async fn unknown_token<B: Backend>(case: Case<B>) {
    let (key, other) = (case.key("k"), case.key("other"));
    case.fill(&key, "forged", LeaseToken::random(), false, "without a lease").await;
    case.lacks(&key, "after a fill that was refused").await;
    let token = case.granted(&key, LONG, "of a key without a lease").await;
    let elsewhere = case.granted(&other, LONG, "of another key").await;
    case.fill(&key, "forged", LeaseToken::random(), false, "with a forged token").await;
    case.fill(&key, "forged", elsewhere, false, "with the token of another key").await;
    case.lacks(&key, "after fills that were refused").await;
    case.fill(&key, "v", token, true, "after others were refused").await;
    case.holds(&key, b"v", "after fill").await;
}

async fn late_release<B: Backend>(case: Case<B>) {
    let key = case.key("k");
    let first = case.granted(&key, LONG, "of a key without a lease").await;
    case.release(&key, first).await;
    case.release(&key, first).await;
    let second = case.granted(&key, LONG, "after release").await;
    case.release(&key, first).await;
    case.release(&key, LeaseToken::random()).await;
    case.held(&key, "after a late and a forged release").await;
    case.fill(&key, "v", second, true, "after a late and a forged release").await;
    case.holds(&key, b"v", "after fill").await;
}

/// The caches of this library ask beside the answers; a backend that notes nothing leaves its callers to ask again.
async fn awaited<B: Backend>(case: Case<B>) {
    let key = case.key("k");
    let hears = |heard: bool, expected: bool, when: &str| {
        case.require(heard == expected, || format!("the holder heard {heard}, not {expected}, of others {when}"));
    };
    let token = case.granted(&key, LONG, "of a key without a lease").await;
    let ((), heard) = waiting::told(case.fill(&key, "v", token, true, "under a lease")).await;
    hears(heard, false, "when it filled, and nobody had asked");
    let token = case.granted_over(&key, Some("v"), LONG, "after fill").await;
    let ((), notes) = waiting::told(case.answers(&key, Some("v"), Lease::Held, "of a leased key")).await;
    case.renew(&key, LONG, token, true, "of a lease that others wait for").await;
    let ((), heard) = waiting::told(case.release(&key, LeaseToken::random())).await;
    hears(heard, false, "whose lease it gave back under a forged token");
    let ((), heard) = waiting::told(case.fill(&key, "w", token, true, "under a lease that others wait for")).await;
    hears(heard, notes, "when it filled");
    let token = case.granted_over(&key, Some("w"), LONG, "after fill").await;
    let ((), heard) = waiting::told(case.release(&key, token)).await;
    hears(heard, false, "who had waited for the lease before");
    let token = case.granted_over(&key, Some("w"), LONG, "after release").await;
    case.answers(&key, Some("w"), Lease::Held, "of a leased key").await;
    let ((), heard) = waiting::told(case.release(&key, token)).await;
    hears(heard, notes, "when it gave its lease back");
}
