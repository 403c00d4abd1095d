//! Forgetting keys, one or many.

use std::sync::Arc;

use crate::backends::Backend;
use crate::cache::Inner;
use crate::cache::change::{KeyChange, Notice};
use crate::codec::Codec;
use crate::error::Error;
use crate::event::Effect;
use crate::invalidate::Work;
use crate::key::{IntoKey, Key};

/// How many keys the backend is told of at once.
const BATCH: usize = 128;

impl<B: Backend, C: Codec> Inner<B, C> {
    pub(in crate::cache) async fn invalidate(self: &Arc<Self>, key: &impl IntoKey) -> Result<(), Error> {
        self.forget_key(self.key(key)?, Effect::Invalidated).await
    }

    pub(in crate::cache) async fn expire(self: &Arc<Self>, key: &impl IntoKey) -> Result<(), Error> {
        self.forget_key(self.key(key)?, Effect::Expired).await
    }

    async fn forget_key(self: &Arc<Self>, key: Key, effect: Effect) -> Result<(), Error> {
        let change = KeyChange::begin(self, key, Some(effect));
        if self.is_alone() {
            return Ok(());
        }
        self.change(async move {
            let cache = Arc::clone(&change.cache);
            let turn = change.fence.turn().await;
            if change.is_overtaken(&turn) {
                return Ok(());
            }
            let made = match (&cache.tiers.l2.guard, effect) {
                (None, _) => Ok(()),
                (Some(_), Effect::Expired) => cache.tiers.expire(&change.key).await,
                (Some(guard), _) => change.remove(guard).await,
            };
            cache.remove_if_raced(&change.key, &change.fence, &turn).await;
            change.end(&turn, &made);
            cache.finish(&[change.notice()], made, Work::Remove).await
        })
        .await
    }

    pub(super) async fn invalidate_many(self: &Arc<Self>, mut keys: Vec<Key>) -> Result<(), Error> {
        // In one order for all, so that those who take the turns of some of the same keys never wait for one another;
        // and in every process, unlike that of the hashes, so that one seed of a simulation is one course of events.
        keys.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        keys.dedup();
        let changes = keys.into_iter().map(|key| KeyChange::begin(self, key, Some(Effect::Invalidated)));
        let changes: Vec<_> = changes.collect();
        if self.is_alone() || changes.is_empty() {
            return Ok(());
        }
        let cache = Arc::clone(self);
        self.change(async move {
            let mut result = Ok(());
            for batch in changes.chunks(BATCH) {
                if result.is_err() && cache.retries_changes() {
                    // Nor would the backend take these.
                    cache.retry_all_later(batch);
                } else {
                    result = result.and(cache.remove_all(batch).await);
                }
            }
            result
        })
        .await
    }

    async fn remove_all(&self, batch: &[KeyChange<B, C>]) -> Result<(), Error> {
        let mut due = Vec::with_capacity(batch.len());
        for change in batch {
            let turn = change.fence.turn().await;
            if !change.is_overtaken(&turn) {
                due.push((change, turn));
            }
        }
        let keys: Vec<Key> = due.iter().map(|(change, _)| change.key.clone()).collect();
        let removed = match &self.tiers.l2.guard {
            Some(guard) => guard.remove_many(&keys).await,
            None => Ok(()),
        };
        for (change, turn) in &due {
            change.end(turn, &removed);
        }
        let notices: Vec<Notice<'_>> = due.iter().map(|(change, _)| change.notice()).collect();
        self.finish(&notices, removed, Work::Remove).await
    }

    fn retry_all_later(&self, batch: &[KeyChange<B, C>]) {
        for change in batch {
            change.void();
            self.make_later(&change.notice(), Work::Remove);
        }
    }
}
