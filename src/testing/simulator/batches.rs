//! Calls about several keys: each key of a batch is a call of its own, as far as the oracle is concerned.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use super::calls::{Call, Value};
use super::deeds::{Deed, tags_of};
use super::process::{Failure, Plan, Process, UnderWay};
use super::violation::Happening;
use crate::backends::{Backend, join};
use crate::cache::{Computed, Loaded};
use crate::codec::Codec;

/// What a batch loads.
type Rows = Loaded<usize, Value, Failure>;

impl<B: Backend, C: Codec> Process<B, C> {
    /// Makes one call about every second key, from a task of its own.
    pub(super) async fn batch(self: Arc<Self>, plan: Plan) {
        let _under_way = UnderWay::new(&self);
        let calls: Vec<Call> = {
            let now = self.world.now();
            let oracle = &mut self.world.lock().oracle;
            let keys = (0..self.world.keys.len()).filter(|key| key % 2 == plan.key % 2);
            keys.map(|key| oracle.begin(self.id, key, plan.deed, now)).collect()
        };
        let left = match plan.deed {
            Deed::GetMany => self.read_all(plan, &calls).await,
            _ => self.compute_all(plan, &calls).await,
        };
        if left {
            self.perhaps.fetch_add(calls.len() as u64, SeqCst);
            let now = self.world.now();
            let oracle = &mut self.world.lock().oracle;
            calls.iter().for_each(|call| oracle.note(call.key, now, self.id, call.number, Happening::Left, 0));
        }
    }

    async fn read_all(&self, plan: Plan, calls: &[Call]) -> bool {
        let keys = calls.iter().map(|call| call.key);
        let Some(found) = self.stay(plan.stay, self.cache.get_many::<Value, _>(keys)).await else { return true };
        match found {
            Ok(found) => {
                for (call, found) in calls.iter().zip(found) {
                    self.answered.fetch_add(1, SeqCst);
                    self.judge_read(call, Ok(found));
                }
            }
            // The cache may have counted any key of a batch that fails.
            Err(error) => {
                self.perhaps.fetch_add(calls.len() as u64, SeqCst);
                calls.iter().for_each(|call| self.judge_read(call, Err(error.clone())));
            }
        }
        false
    }

    async fn compute_all(self: &Arc<Self>, plan: Plan, calls: &[Call]) -> bool {
        let load = {
            let (process, calls) = (Arc::clone(self), Arc::<[Call]>::from(calls));
            move |missing: Vec<usize>| {
                let (process, calls) = (Arc::clone(&process), Arc::clone(&calls));
                async move { Ok(process.load(plan, &missing, &calls).await) }
            }
        };
        let found = self.cache.get_or_compute_many(calls.iter().map(|call| call.key), load);
        let Some(found) = self.stay(plan.stay, found).await else { return true };
        let now = self.world.now();
        for (call, found) in calls.iter().zip(found) {
            self.answered.fetch_add(1, SeqCst);
            match found {
                // A key may have its answer long before the others have theirs, so what was cleared since may be in it.
                Ok(Some(value)) => self.world.lock().oracle.judge(call, value, now),
                Ok(None) => self.world.lock().oracle.violated(Some(call.key), "a batch lost a value".to_owned()),
                Err(error) => self.failed(call, &error, now),
            }
        }
        false
    }

    /// The computation of a batch: that of each key by itself. The key of the plan may fail alone.
    async fn load(&self, plan: Plan, missing: &[usize], calls: &[Call]) -> Rows {
        let asked = calls.iter().filter(|call| missing.contains(&call.key));
        let works = asked.map(async |call| (call.key, self.work(plan.of(call.key), *call, &AtomicU64::new(0)).await));
        let mut rows = Rows::new();
        for (key, work) in join::all(works).await {
            match work {
                Ok(value) => rows.insert(key, Computed::new(value).tags(tags_of(key).iter().copied())),
                Err(failure) => rows.insert_error(key, failure),
            }
        }
        rows
    }
}
