//! One process of a simulation: its cache, and the calls of it.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use tokio::task::yield_now;

use super::calls::{Call, Value};
use super::deeds::{Deed, TAGS, tags_of};
use super::homes::name_of;
use super::loaders::Homes;
use super::plans::{Failure, Plan, Stay};
use super::violation::Happening;
use super::world::World;
use crate::backends::Backend;
use crate::cache::{Cache, Computed};
use crate::codec::Codec;
use crate::error::{ComputeError, Error, ErrorKind};

/// A cache from its building to its end.
pub(super) struct Process<B: Backend, C: Codec> {
    pub(super) cache: Cache<B, C>,
    pub(super) homes: Homes<B, C>,
    /// Its number, by the order in which caches were built.
    pub(super) id: usize,
    pub(super) world: Arc<World>,
    /// Calls that returned and that the cache counts.
    pub(super) answered: AtomicU64,
    /// Keys of batches that were left, or failed as a whole: the cache may have counted any of them.
    pub(super) perhaps: AtomicU64,
    /// Calls that have not returned and were not left.
    pub(super) under_way: AtomicU64,
    /// Changes that were left, and may go on.
    pub(super) left: Mutex<Vec<Call>>,
}

/// Counts a call until it returns or is dropped.
pub(super) struct UnderWay<B: Backend, C: Codec>(Arc<Process<B, C>>);

impl<B: Backend, C: Codec> UnderWay<B, C> {
    pub(super) fn new(process: &Arc<Process<B, C>>) -> Self {
        process.under_way.fetch_add(1, SeqCst);
        Self(Arc::clone(process))
    }
}

impl<B: Backend, C: Codec> Drop for UnderWay<B, C> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, SeqCst);
    }
}

impl<B: Backend, C: Codec> Process<B, C> {
    /// Where a key lives.
    pub(super) fn home(&self, key: usize) -> &Cache<B, C> {
        self.homes.of(key).unwrap_or(&self.cache)
    }

    /// Makes one call, from a task of its own.
    pub(super) async fn call(self: Arc<Self>, plan: Plan) {
        let _under_way = UnderWay::new(&self);
        let (call, versions) = {
            let now = self.world.now();
            let oracle = &mut self.world.lock().oracle;
            // Since it was drawn, a `set` of another cache may have begun.
            if plan.deed.changes() && !oracle.may_change(self.id, plan.key, plan.deed) {
                return;
            }
            let call = oracle.begin(self.id, plan.key, plan.deed, now);
            let versions = if plan.deed.changes() { oracle.versions(&call) } else { Vec::new() };
            (call, versions)
        };
        let left = match plan.deed {
            Deed::Get | Deed::GetFromL1 | Deed::GetFromL2 => self.read(plan, call).await,
            Deed::Compute | Deed::ComputeAnew => self.compute(plan, call).await,
            _ => self.change(plan, call, &versions).await,
        };
        if left {
            let now = self.world.now();
            self.world.lock().oracle.note(plan.key, now, self.id, call.number, Happening::Left, 0);
            if call.deed.changes() {
                self.left().push(call);
            }
        }
    }

    /// Says whether the caller left.
    async fn read(&self, plan: Plan, call: Call) -> bool {
        let entry = self.home(plan.key).entry(name_of(plan.key));
        let entry = match plan.deed {
            Deed::GetFromL1 => entry.skip_l2_read(),
            Deed::GetFromL2 => entry.skip_l1_read(),
            _ => entry,
        };
        let Some(answer) = self.stay(plan.stay, entry.get::<Value>()).await else { return true };
        self.answered.fetch_add(1, SeqCst);
        self.judge_read(&call, answer);
        false
    }

    /// Judges what a read gave.
    pub(super) fn judge_read(&self, call: &Call, answer: Result<Option<Value>, Error>) {
        let now = self.world.now();
        let mut state = self.world.lock();
        match answer {
            Ok(Some(value)) => state.oracle.judge(call, value, now),
            Ok(None) => state.oracle.note(call.key, now, self.id, call.number, Happening::Nothing, 0),
            Err(error) => {
                let happening = Happening::Failed(error.kind());
                state.oracle.note(call.key, now, self.id, call.number, happening, 0);
                if !state.weather.is_rough() {
                    let what = format!("cache {}: a read failed without a cause: {error}", self.id);
                    state.oracle.violated(Some(call.key), what);
                }
            }
        }
    }

    async fn compute(self: &Arc<Self>, plan: Plan, call: Call) -> bool {
        let tags = tags_of(plan.key);
        let (process, cleared) = (Arc::clone(self), Arc::new(AtomicU64::new(0)));
        let compute = {
            let cleared = Arc::clone(&cleared);
            move || async move { process.world.work(plan, call, &cleared).await }
        };
        let late = move || async move {
            let computed = Computed::new(compute().await?);
            Ok(if plan.tags_late { computed.tags(tags.iter().copied()) } else { computed })
        };
        let answer = async {
            let entry = self.home(plan.key).entry(name_of(plan.key));
            let entry = if plan.deed == Deed::ComputeAnew { entry.skip_l1_read().skip_l2_read() } else { entry };
            let entry = if plan.tags_late { entry } else { entry.tags(tags.iter().copied()) };
            if !plan.revalidates {
                return entry.get_or_decide(late).await;
            }
            let world = Arc::clone(&self.world);
            entry.get_or_revalidate(|previous| async move { Ok(world.revalidated(previous, late().await?)) }).await
        };
        let Some(answer) = self.stay(plan.stay, answer).await else { return true };
        self.answered.fetch_add(1, SeqCst);
        let now = self.world.now();
        if !plan.is_aside {
            self.world.lock().oracle.judge_wait(&call, now);
        }
        match answer {
            Ok(value) => self.world.lock().oracle.judge(&call.fails(cleared.load(SeqCst)), *value, now),
            Err(error) => self.failed(&call, &error, now),
        }
        false
    }

    /// A call of `get_or_compute` had no value: that must be its computation's fault.
    pub(super) fn failed(&self, call: &Call, error: &ComputeError<Failure>, now: u64) {
        let oracle = &mut self.world.lock().oracle;
        oracle.note(call.key, now, self.id, call.number, Happening::Fails, 0);
        let closing = oracle.is_closing(self.id);
        let fair = match error {
            ComputeError::Failed(failure) => failure.key == call.key,
            ComputeError::Panicked { .. } => true,
            ComputeError::TimedOut => closing || oracle.is_late(call, now),
            ComputeError::Cache(error) => closing && error.kind() == ErrorKind::Closed,
        };
        if !fair {
            let what = match error {
                ComputeError::Failed(_) => String::from("the failure of another key's computation"),
                ComputeError::Cache(error) => format!("the cache's own error: {error}"),
                _ => String::from("a timeout before the deadline"),
            };
            let what = format!("cache {}, call {}: get_or_compute returned {what}", self.id, call.number);
            oracle.violated(Some(call.key), what);
        }
    }

    async fn change(&self, plan: Plan, call: Call, versions: &[(usize, u64)]) -> bool {
        let Some(result) = self.stay(plan.stay, self.make(plan, call)).await else { return true };
        let now = self.world.now();
        let mut state = self.world.lock();
        let failure = result.as_ref().err().map(|error| Happening::Failed(error.kind()));
        state.oracle.changed(&call, versions, failure, now);
        if let Err(error) = result
            && !state.weather.is_rough()
        {
            let what = format!("cache {}: {:?} failed without a cause: {error}", self.id, call.deed);
            state.oracle.violated(Some(call.key), what);
        }
        false
    }

    async fn make(&self, plan: Plan, call: Call) -> Result<(), Error> {
        let (key, cache, home) = (plan.key, &self.cache, self.home(plan.key));
        let name = name_of(key);
        match plan.deed {
            Deed::Set => {
                let value = Value { key, version: call.version, maker: self.id, made: self.world.now() };
                home.entry(name).tags(tags_of(key).iter().copied()).set(value).await
            }
            Deed::InvalidateMany => {
                let all = 0..self.world.keys.len();
                home.invalidate_many(all.filter(|one| plan.deed.concerns(key, *one)).map(name_of)).await
            }
            // Whatever handle is told of a tag.
            Deed::InvalidateTag(tag) => home.invalidate_tag(tag).await,
            Deed::InvalidateTags => home.invalidate_tags(TAGS).await,
            Deed::InvalidateDomain => home.invalidate_namespace().await,
            Deed::ClearDomain => home.clear().await,
            Deed::ExpireDomain => home.expire_all().await,
            Deed::InvalidateNamespace => cache.invalidate_namespace().await,
            Deed::Clear => cache.clear().await,
            Deed::Expire => home.expire(name).await,
            Deed::ExpireAll => cache.expire_all().await,
            _ => home.invalidate(name).await,
        }
    }

    /// Waits for a call, or leaves it. `None` if it was left.
    pub(super) async fn stay<F: Future>(&self, stay: Stay, call: F) -> Option<F::Output> {
        let mut call = pin!(call);
        let (turns, parked) = match stay {
            Stay::Always => return Some(call.await),
            Stay::For(turns) => (turns, None),
            Stay::Parks(turns, time) => (turns, Some(time)),
        };
        for _ in 0..=turns {
            if let Poll::Ready(answer) = once(call.as_mut()).await {
                return Some(answer);
            }
            yield_now().await;
        }
        if let Some(time) = parked {
            self.world.sleep(time).await;
        }
        None
    }

    fn left(&self) -> MutexGuard<'_, Vec<Call>> {
        // Nothing between lock and unlock can panic half way through a change.
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes that were left, and those that failed, are over once the cache has nothing to do.
    pub(super) fn settle(&self) {
        if self.cache.pending() > 0 {
            return;
        }
        let oracle = &mut self.world.lock().oracle;
        oracle.rest(self.id);
        self.left().drain(..).for_each(|call| oracle.settle(&call));
    }
}

/// Polls once.
async fn once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
}

impl<B: Backend, C: Codec> fmt::Debug for Process<B, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("id", &self.id).field("cache", &self.cache).finish_non_exhaustive()
    }
}
