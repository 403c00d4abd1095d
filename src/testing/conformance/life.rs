//! For how long what is there is kept.

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
    suite.case("`ttl` of an absent key is `None`.", no_ttl).await;
    suite.case("`ttl` tells how much longer an entry is kept, to the precision.", left).await;
}

impl<B: Backend> Case<B> {
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
