//! One process of a simulation: its cache, and the calls of it.

use std::fmt;
use std::future::poll_fn;
use std::panic::resume_unwind;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::task::yield_now;

use super::calls::{Call, Ending, Value};
use super::deeds::{Deed, TAGS, tags_of};
use super::violation::Happening;
use super::world::{World, turns};
use crate::backends::Backend;
use crate::cache::{Cache, Computed};
use crate::codec::Codec;
use crate::error::{ComputeError, Error, ErrorKind};

/// A cache from its building to its end.
pub(super) struct Process<B: Backend, C: Codec> {
    pub(super) cache: Cache<B, C>,
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

/// How one call goes, drawn before it begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) key: usize,
    pub(super) deed: Deed,
    pub(super) stay: Stay,
    pub(super) end: End,
    /// How long the computation takes.
    pub(super) turns: u8,
    pub(super) pause: Option<Duration>,
    /// Whether tags are named by the computation instead of the call.
    pub(super) tags_late: bool,
    /// Whether the computation says of a previous value of its version that it is not modified.
    pub(super) revalidates: bool,
    /// Whether the call runs on the runtime that may stand still.
    pub(super) is_aside: bool,
}

impl Plan {
    /// The plan of one key of a batch. No computation of it panics, and only that of the plan's own key fails.
    pub(super) fn of(self, key: usize) -> Self {
        let fails = key == self.key && self.end != End::Value;
        Self { key, end: if fails { End::Failure } else { End::Value }, ..self }
    }
}

/// Whether the caller waits for the answer.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stay {
    Always,
    /// Leaves after so many turns.
    For(u8),
    /// Stops asking after so many turns, and leaves much later.
    Parks(u8, Duration),
}

/// How a computation ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Value,
    Failure,
    Panic,
}

/// The error of computations that fail.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failure {
    pub(super) key: usize,
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
        let entry = self.cache.entry(plan.key);
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
            move || async move { process.work(plan, call, &cleared).await }
        };
        let late = move || async move {
            let computed = Computed::new(compute().await?);
            Ok(if plan.tags_late { computed.tags(tags.iter().copied()) } else { computed })
        };
        let answer = async {
            let entry = self.cache.entry(plan.key);
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
        let (key, cache) = (plan.key, &self.cache);
        match plan.deed {
            Deed::Set => {
                let value = Value { key, version: call.version, maker: self.id, made: self.world.now() };
                cache.entry(key).tags(tags_of(key).iter().copied()).set(value).await
            }
            Deed::InvalidateMany => {
                let all = 0..self.world.keys.len();
                cache.invalidate_many(all.filter(|one| plan.deed.concerns(key, *one))).await
            }
            Deed::InvalidateTag(tag) => cache.invalidate_tag(tag).await,
            Deed::InvalidateTags => cache.invalidate_tags(TAGS).await,
            Deed::InvalidateNamespace => cache.invalidate_namespace().await,
            Deed::Clear => cache.clear().await,
            Deed::Expire => cache.expire(key).await,
            Deed::ExpireAll => cache.expire_all().await,
            _ => cache.invalidate(key).await,
        }
    }

    /// The computation of a call: reads its source at once, and takes its time. If it fails, `cleared` says what cannot
    /// stand in for it.
    pub(super) async fn work(&self, plan: Plan, call: Call, cleared: &AtomicU64) -> Result<Value, Failure> {
        let now = self.world.now();
        let (id, value) = self.world.lock().oracle.compute(&call, now);
        let mut working = Working { world: &self.world, call, id, ending: Ending::Dropped, cleared };
        turns(plan.turns).await;
        if let Some(pause) = plan.pause {
            self.world.sleep(pause).await;
        }
        working.ending = if plan.end == End::Value { Ending::Well } else { Ending::Failed };
        drop(working);
        match plan.end {
            End::Value => Ok(Value { made: self.world.now(), ..value }),
            End::Failure => Err(Failure { key: plan.key }),
            // Unlike `panic!`, prints nothing.
            End::Panic => resume_unwind(Box::new("a computation of the simulation panics")),
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

/// A computation under way.
struct Working<'a> {
    world: &'a World,
    call: Call,
    id: u64,
    ending: Ending,
    /// What may not stand in for it.
    cleared: &'a AtomicU64,
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        let now = self.world.now();
        let cleared = self.world.lock().oracle.computed(self.id, &self.call, self.ending, now);
        self.cleared.store(cleared, SeqCst);
    }
}

impl<B: Backend, C: Codec> fmt::Debug for Process<B, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("id", &self.id).field("cache", &self.cache).finish_non_exhaustive()
    }
}
