//! Looking at an entry without reading it: nothing is counted, moved or removed.

use super::node::Now;
use super::{Absence, Age, L1};
use crate::key::Name;

/// What L1 holds for a key. Moments are ticks of the cache's clock.
#[derive(Debug)]
pub(crate) struct Examined {
    pub(crate) age: Age,
    pub(crate) made: i64,
    pub(crate) fresh_until: i64,
    pub(crate) expires: u64,
    pub(crate) gone: u64,
    /// What it takes of the budget, in bytes.
    pub(crate) weight: usize,
    pub(crate) tags: Vec<u64>,
}

impl L1 {
    /// What is held for a key at the tick `now`, or why nothing is.
    pub(crate) fn examine(&self, name: Name<'_>, now: u64) -> Result<Examined, Absence> {
        self.orders.check(now);
        let hash = name.hash64();
        let shard = self.lock(hash);
        let Some(node) = shard.peek(hash).filter(|node| node.is_of(name)) else {
            return Err(shard.absence(hash));
        };
        let moment = Now { tick: now, orders: &self.orders };
        let (age, expires) = node.life(moment, |_, _| false).ok_or_else(|| node.absence(moment))?;
        Ok(Examined {
            age,
            made: node.made(),
            fresh_until: node.fresh_until(),
            expires,
            gone: node.gone(),
            weight: node.weight(),
            tags: node.tags().to_vec(),
        })
    }
}
