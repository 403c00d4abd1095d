//! Calls about several keys, and calls by way of a loader: each key is a call of its own, as far as the oracle is
//! concerned.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use super::calls::Value;
use super::deeds::Deed;
use super::loaders::{Asked, load_all};
use super::plans::{Failure, Plan};
use super::process::{Process, UnderWay};
use super::violation::Happening;
use crate::backends::{Backend, join};
use crate::codec::Codec;
use crate::error::ComputeError;

/// What the cache answers for one key.
type Answer = Result<Option<Value>, ComputeError<Failure>>;

impl<B: Backend, C: Codec> Process<B, C> {
    /// Makes one call about all keys that the deed concerns, from a task of its own.
    pub(super) async fn batch(self: Arc<Self>, plan: Plan) {
        let _under_way = UnderWay::new(&self);
        let asked: Vec<Asked> = {
            let now = self.world.now();
            let oracle = &mut self.world.lock().oracle;
            let keys = (0..self.world.keys.len()).filter(|key| plan.deed.concerns(plan.key, *key));
            keys.map(|key| Asked { call: oracle.begin(self.id, key, plan.deed, now), plan }).collect()
        };
        let left = match plan.deed {
            Deed::GetMany => self.read_all(plan, &asked).await,
            _ => self.compute_all(plan, &asked).await,
        };
        if left {
            self.perhaps.fetch_add(asked.len() as u64, SeqCst);
            let now = self.world.now();
            let oracle = &mut self.world.lock().oracle;
            asked.iter().for_each(|one| oracle.note(one.call.key, now, self.id, one.call.number, Happening::Left, 0));
        }
    }

    async fn read_all(&self, plan: Plan, asked: &[Asked]) -> bool {
        let found = self.home(plan.key).get_many::<Value, _>(asked.iter().copied());
        let Some(found) = self.stay(plan.stay, found).await else { return true };
        match found {
            Ok(found) => {
                for (Asked { call, .. }, found) in asked.iter().zip(found) {
                    self.answered.fetch_add(1, SeqCst);
                    self.judge_read(call, Ok(found));
                }
            }
            // The cache may have counted any key of a batch that fails.
            Err(error) => {
                self.perhaps.fetch_add(asked.len() as u64, SeqCst);
                asked.iter().for_each(|one| self.judge_read(&one.call, Err(error.clone())));
            }
        }
        false
    }

    async fn compute_all(&self, plan: Plan, asked: &[Asked]) -> bool {
        let Some(found) = self.stay(plan.stay, self.find_all(plan, asked)).await else { return true };
        let now = self.world.now();
        for (Asked { call, .. }, found) in asked.iter().zip(found) {
            self.answered.fetch_add(1, SeqCst);
            if plan.deed.loads_alone() && !plan.is_aside {
                self.world.lock().oracle.judge_wait(call, now);
            }
            match found {
                // A key may have its answer long before the others have theirs, so what was cleared since may be in it.
                Ok(Some(value)) => self.world.lock().oracle.judge(call, value, now),
                Ok(None) => self.world.lock().oracle.violated(Some(call.key), "a batch lost a value".to_owned()),
                Err(error) => self.failed(call, &error, now),
            }
        }
        false
    }

    async fn find_all(&self, plan: Plan, asked: &[Asked]) -> Vec<Answer> {
        let (homes, asked) = (&self.homes, asked.iter().copied());
        match plan.deed {
            Deed::Load => join::all(asked.map(async |one| homes.loading.get(&one).await.map(Some))).await,
            Deed::LoadTogether => join::all(asked.map(async |one| homes.gathering.get(&one).await.map(Some))).await,
            Deed::LoadMany => {
                let found = homes.loading.get_many(asked).await;
                found.into_iter().map(|found| found.map(Some)).collect()
            }
            _ => {
                let world = Arc::clone(&self.world);
                let load = move |missing: Vec<Asked>| {
                    let world = Arc::clone(&world);
                    async move { Ok(load_all(&world, &missing).await) }
                };
                self.home(plan.key).get_or_compute_many(asked, load).await
            }
        }
    }
}
