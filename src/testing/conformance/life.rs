//! What is there, for how long, and for longer.

use std::future::Future;
use std::time::{Duration, Instant};

use super::{Case, LONG, Suite};
use crate::backends::Backend;
use crate::key::Key;

pub(super) async fn check<F, M, B>(suite: &mut Suite<F>)
where
    F: Fn() -> M + Send + Sync,
    M: Future<Output = B> + Send,
    B: Backend,
{
    suite.case("`exists` says whether `get` would find something.", exists).await;
    suite.case("`exists` is false when the TTL is over.", exists_no_more).await;
    suite.case("`ttl` of an absent key is `None`.", no_ttl).await;
    suite.case("`ttl` tells how much longer an entry is kept, to the precision.", left).await;
    suite.case("`touch` keeps an entry for its TTL from now, be it longer or shorter.", touched).await;
    suite.case("A TTL of `touch` is rounded up to the backend's precision, never down.", touch_rounded_up).await;
    suite.case("`touch` of an absent key is false, and stores nothing.", touched_absent).await;
}

impl<B: Backend> Case<B> {
    pub(super) async fn exists(&self, key: &Key, expected: bool, when: &str) {
        let answer = self.backend.exists(key).await;
        let found = self.done("exists", answer);
        self.require(found == expected, || format!("exists {when} answered {found}, not {expected}"));
    }

    pub(super) async fn touch(&self, key: &Key, ttl: Duration, expected: bool, when: &str) {
        let answer = self.backend.touch(key, ttl).await;
        let touched = self.done("touch", answer);
        self.require(touched == expected, || format!("touch {when} answered {touched}, not {expected}"));
    }

    /// Fails the check unless `expected` is left, or less by the real time since `start`, give or take the precision.
    async fn leaves(&self, key: &Key, expected: Duration, start: Option<Instant>, when: &str) {
        let answer = self.backend.ttl(key).await;
        let found = self.done("ttl", answer);
        let late = start.map_or(Duration::ZERO, |start| start.elapsed());
        let most = expected + self.options.precision;
        let least = expected.saturating_sub(self.options.precision + late);
        self.require(found.is_some_and(|left| least <= left && left <= most), || {
            format!("ttl {when} answered {found:?}, not {least:?} to {most:?}")
        });
    }
}

async fn exists<B: Backend>(case: Case<B>) {
    let (key, empty) = (case.key("k"), case.key("empty"));
    case.exists(&key, false, "of a key never stored").await;
    case.set(&key, "v", LONG).await;
    case.set(&empty, "", LONG).await;
    case.exists(&key, true, "after set").await;
    case.exists(&empty, true, "after storing nothing").await;
    case.remove(&key).await;
    case.exists(&key, false, "after remove").await;
    case.exists(&empty, true, "after removing another key").await;
}

async fn exists_no_more<B: Backend>(case: Case<B>) {
    let (short, long) = (case.key("short"), case.key("long"));
    let ttl = case.unit() * 2;
    case.set(&long, "v", LONG).await;
    case.set(&short, "v", ttl).await;
    case.exists(&long, true, "before its TTL is over").await;
    case.advance(ttl + case.options.precision).await;
    case.exists(&short, false, "after its TTL").await;
    case.exists(&long, true, "before its TTL is over").await;
}

async fn no_ttl<B: Backend>(case: Case<B>) {
    let key = case.key("k");
    let none = async |when: &str| {
        let answer = case.backend.ttl(&key).await;
        let found = case.done("ttl", answer);
        case.require(found.is_none(), || format!("ttl {when} answered {found:?}, not None"));
    };
    none("of a key never stored").await;
    case.set(&key, "v", LONG).await;
    case.remove(&key).await;
    none("after remove").await;
}

async fn left<B: Backend>(case: Case<B>) {
    let (key, unit) = (case.key("k"), case.unit());
    let start = case.start();
    case.set(&key, "v", unit * 8).await;
    case.leaves(&key, unit * 8, start, "after set").await;
    case.advance(unit * 3).await;
    // Real time that was let pass is late as well as gone, which only makes the lower bound lower.
    case.leaves(&key, unit * 5, start, "after three of eight units").await;
    let start = case.start();
    case.set(&key, "w", LONG).await;
    case.leaves(&key, LONG, start, "after another set").await;
}

async fn touched<B: Backend>(case: Case<B>) {
    let (longer, shorter) = (case.key("longer"), case.key("shorter"));
    let ttl = case.unit() * 2;
    case.set(&longer, "longer", ttl).await;
    case.set(&shorter, "shorter", LONG).await;
    case.touch(&longer, LONG, true, "of an entry").await;
    let start = case.start();
    case.touch(&shorter, ttl, true, "of an entry").await;
    case.leaves(&shorter, ttl, start, "after touch").await;
    case.holds(&longer, b"longer", "after touch").await;
    case.holds(&shorter, b"shorter", "after touch").await;
    case.advance(ttl + case.options.precision).await;
    case.holds(&longer, b"longer", "after its first TTL, having been touched for longer").await;
    case.lacks(&shorter, "after the TTL given to touch").await;
    case.set(&longer, "new", LONG).await;
    case.holds(&longer, b"new", "after replacing a touched entry").await;
}

async fn touch_rounded_up<B: Backend>(case: Case<B>) {
    let unit = case.unit();
    case.outlives(unit * 3 / 2, unit * 6 / 5, true).await;
    case.advance(unit * 4 / 5).await;
    case.outlives(unit / 2, unit / 4, true).await;
    case.advance(unit * 3 / 4).await;
}

async fn touched_absent<B: Backend>(case: Case<B>) {
    let (never, removed) = (case.key("never stored"), case.key("removed"));
    case.set(&removed, "v", LONG).await;
    case.remove(&removed).await;
    for (key, when) in [(&never, "of a key never stored"), (&removed, "after remove")] {
        case.touch(key, LONG, false, when).await;
        case.lacks(key, "after touch of an absent key").await;
        case.exists(key, false, "after touch of an absent key").await;
    }
    let (expired, ttl) = (case.key("expired"), case.unit() * 2);
    case.set(&expired, "v", ttl).await;
    case.advance(ttl + case.options.precision).await;
    case.touch(&expired, LONG, false, "of an expired key").await;
    case.lacks(&expired, "after touch of an expired key").await;
}
