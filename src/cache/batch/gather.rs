//! Gathering: computations that begin at about the same time become one.
//!
//! Each key of a batch has a flight of its own, as any other; what its flight computes is asked for together with the
//! others. Those who are sure to compute soon, or to need no computation, are counted: when the last of them has come,
//! the keys that came are loaded. A flight that has to wait for something else, such as another process, is counted no
//! longer, so no two batches wait for one another.

use std::collections::{HashMap, HashSet};
use std::future::poll_fn;
use std::panic::resume_unwind;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::cache::computation::{Beside, Computation, Gathering, Party, Running, caught};
use crate::cache::computed::Computed;
use crate::clock::Clock;
use crate::event::Span;
use crate::flight::{Context, Node, Wait};
use crate::home::Home;
use crate::key::Key;

/// What was loaded: for each key that has one, a value or an error.
pub(super) type Answers<T, E> = HashMap<Key, Result<Computed<Arc<T>>, Arc<E>>>;

/// A load that has begun.
pub(super) type Loading<T, E> = Pin<Box<dyn Future<Output = Result<Answers<T, E>, E>> + Send>>;

/// Loads values for several keys.
pub(super) type Load<K, T, E> = Box<dyn Fn(Vec<K>) -> Loading<T, E> + Send + Sync>;

/// Where the keys of a batch come together.
pub(crate) struct Gather<K, T, E> {
    load: Load<K, T, E>,
    rules: Rules,
    clock: Arc<dyn Clock>,
    /// Tells caches apart.
    cache: usize,
    state: Mutex<State<K, T, E>>,
}

/// How long keys that came wait at most for the next of those that are sure to come: one that waits for a backend that
/// hangs is to hold up no other.
const PATIENCE: Duration = Duration::from_millis(100);

/// When keys that came are loaded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// How long the first that is not counted waits for others.
    pub(crate) window: Duration,
    /// The most keys of one load.
    pub(crate) most: usize,
}

struct State<K, T, E> {
    /// How many are counted that have not come.
    coming: usize,
    /// One for each runtime whose keys wait: none waits for a runtime that stands still.
    groups: Vec<Group<K, T, E>>,
}

/// Keys that are to be loaded together, on the runtime that asked for them.
struct Group<K, T, E> {
    home: Home,
    /// What all of their flights wait for.
    node: Arc<Node>,
    arrived: Vec<Arrived<K, T, E>>,
    /// Loads them when they have waited long enough.
    timer: Option<Timer>,
}

/// A task that ends with this.
struct Timer(AbortHandle);

struct Arrived<K, T, E> {
    key: Key,
    own: K,
    context: Context,
    span: Span,
    /// Told when the load begins.
    begin: Option<oneshot::Sender<()>>,
    tell: oneshot::Sender<Delivery<T, E>>,
}

/// What the flight of one key hears.
enum Delivery<T, E> {
    Loaded(Result<Option<Computed<Arc<T>>>, Arc<E>>),
    Panicked(Arc<str>),
}

/// One key of a batch.
struct Ticket<K, T, E>
where
    K: Clone + Send + 'static,
    T: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    gather: Arc<Gather<K, T, E>>,
    is_counted: AtomicBool,
    /// What the flight hears, once its key has come.
    told: Mutex<Option<Told<T, E>>>,
}

struct Told<T, E> {
    delivery: oneshot::Receiver<Delivery<T, E>>,
    _wait: Option<Wait>,
}

impl<K, T, E> Gather<K, T, E>
where
    K: Clone + Send + 'static,
    T: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    /// For the `cache` of this number. A load runs in the span of the call whose key came first.
    pub(super) fn new(load: Load<K, T, E>, rules: Rules, clock: Arc<dyn Clock>, cache: usize) -> Arc<Self> {
        let state = Mutex::new(State { coming: 0, groups: Vec::new() });
        Arc::new(Self { load, rules, clock, cache, state })
    }

    /// The computations of some keys, all of which are counted.
    pub(super) fn computations(self: &Arc<Self>, keys: Vec<(Key, K)>) -> Vec<Computation<T, E>> {
        self.state().coming += keys.len();
        keys.into_iter().map(|(key, own)| self.computation(key, own, true)).collect()
    }

    /// The computation of one key that comes by itself.
    pub(super) fn lone(self: &Arc<Self>, key: Key, own: K) -> Computation<T, E> {
        self.computation(key, own, false)
    }

    fn computation(self: &Arc<Self>, key: Key, own: K, is_counted: bool) -> Computation<T, E> {
        let is_counted = AtomicBool::new(is_counted);
        let ticket = Arc::new(Ticket { gather: Arc::clone(self), is_counted, told: Mutex::default() });
        let (party, comes) = (Some(Arc::clone(&ticket) as Arc<dyn Party>), Arc::clone(&ticket));
        let gather = move || -> Gathering { Box::pin(async move { comes.come(key, own).await }) };
        let begin = move |_| -> Running<T, E> { Box::pin(async move { ticket.loaded().await }) };
        let beside = Beside { gather: Some(Box::new(gather)), party, ..Beside::default() };
        Computation { begin: Box::new(begin), beside: Some(Box::new(beside)) }
    }

    /// Adds a key to the group; loads that if it is full. Notes that its flight waits for the load.
    fn add(self: &Arc<Self>, arrived: Arrived<K, T, E>) -> Option<Wait> {
        let (wait, full) = {
            let mut state = self.state();
            let group = state.group();
            // A load that asks the cache for one of its own keys is refused.
            let wait = arrived.context.wait_for(&group.node).ok().flatten();
            group.arrived.push(arrived);
            let (node, is_full) = (Arc::clone(&group.node), group.arrived.len() >= self.rules.most);
            (wait, if is_full { state.take(&node) } else { None })
        };
        full.into_iter().for_each(|group| self.begin(group));
        wait
    }

    /// One of those that are counted has come, or will not come soon.
    fn count_off(self: &Arc<Self>) {
        let groups = {
            let mut state = self.state();
            state.coming -= 1;
            if state.coming == 0 { std::mem::take(&mut state.groups) } else { Vec::new() }
        };
        groups.into_iter().for_each(|group| self.begin(group));
    }

    /// Sees to it that keys are loaded though not all come that are counted, and those that are not counted.
    fn load_soon(self: &Arc<Self>) {
        let mut state = self.state();
        let wait = if state.coming > 0 { PATIENCE } else { self.rules.window };
        // It may be loaded by now.
        let Some(group) = state.waiting().filter(|group| group.timer.is_none()) else { return };
        let (gather, node) = (Arc::clone(self), Arc::clone(&group.node));
        let timer = tokio::spawn(async move {
            let mut known = 0;
            loop {
                gather.clock.sleep(wait).await;
                let group = {
                    let mut state = gather.state();
                    let Some(arrived) = state.arrived(&node) else { return };
                    let goes_on = state.coming > 0 && std::mem::replace(&mut known, arrived) < arrived;
                    if goes_on { None } else { state.take(&node) }
                };
                if let Some(group) = group {
                    return gather.begin(group);
                }
            }
        });
        group.timer = Some(Timer(timer.abort_handle()));
    }

    /// Loads a group on a task.
    fn begin(self: &Arc<Self>, group: Group<K, T, E>) {
        let Group { home, node, mut arrived, timer: _timer } = group;
        // Flights that were late wait no longer.
        arrived.retain(|arrived| !arrived.tell.is_closed());
        let Some(first) = arrived.first() else { return };
        let context = first.context.clone().enter(node, self.cache, first.key.clone(), false);
        let gather = Arc::clone(self);
        home.spawn(context.scope(first.span.clone().around(async move { gather.run(arrived).await })));
    }

    async fn run(self: Arc<Self>, mut arrived: Vec<Arrived<K, T, E>>) {
        for begin in arrived.iter_mut().filter_map(|arrived| arrived.begin.take()) {
            let _ = begin.send(());
        }
        // A key that was changed while it waited may have come again, by the flight that took over.
        let mut known = HashSet::with_capacity(arrived.len());
        let keys = arrived.iter().filter(|one| known.insert(&one.key)).map(|one| one.own.clone()).collect();
        let mut loading = pin!(caught(async { (self.load)(keys).await }));
        let loaded = {
            let mut left = pin!(all_left(&mut arrived));
            poll_fn(|context| match loading.as_mut().poll(context) {
                Poll::Ready(loaded) => Poll::Ready(Some(loaded)),
                Poll::Pending => left.as_mut().poll(context).map(|()| None),
            })
            .await
        };
        if let Some(loaded) = loaded {
            deliver(arrived, loaded);
        }
    }

    fn state(&self) -> MutexGuard<'_, State<K, T, E>> {
        // Each change of it is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K, T, E> State<K, T, E> {
    /// The keys of the caller's runtime that wait, if any do.
    fn waiting(&mut self) -> Option<&mut Group<K, T, E>> {
        let here = Home::here();
        self.groups.iter_mut().find(|group| group.home.is(&here))
    }

    /// The group of the caller's runtime.
    fn group(&mut self) -> &mut Group<K, T, E> {
        let here = Home::here();
        let number = self.groups.iter().position(|group| group.home.is(&here)).unwrap_or_else(|| {
            let group = Group { home: here, node: Node::new(), arrived: Vec::new(), timer: None };
            self.groups.push(group);
            self.groups.len() - 1
        });
        &mut self.groups[number]
    }

    /// How many keys the group of this node has, if that waits still.
    fn arrived(&self, node: &Arc<Node>) -> Option<usize> {
        self.groups.iter().find(|group| Arc::ptr_eq(&group.node, node)).map(|group| group.arrived.len())
    }

    fn take(&mut self, node: &Arc<Node>) -> Option<Group<K, T, E>> {
        let number = self.groups.iter().position(|group| Arc::ptr_eq(&group.node, node))?;
        Some(self.groups.swap_remove(number))
    }
}

/// Waits until no flight waits for any of these keys.
async fn all_left<K: Send, T: Send + Sync, E: Send + Sync>(arrived: &mut [Arrived<K, T, E>]) {
    for arrived in arrived {
        arrived.tell.closed().await;
    }
}

/// Tells each flight what was loaded for its key.
fn deliver<K, T, E>(arrived: Vec<Arrived<K, T, E>>, loaded: Result<Result<Answers<T, E>, E>, Arc<str>>) {
    let answers = loaded.map(|loaded| loaded.map_err(Arc::new));
    for Arrived { key, tell, .. } in arrived {
        let delivery = match &answers {
            Err(message) => Delivery::Panicked(Arc::clone(message)),
            Ok(Err(error)) => Delivery::Loaded(Err(Arc::clone(error))),
            Ok(Ok(answers)) => Delivery::Loaded(answers.get(&key).cloned().transpose()),
        };
        // A flight that was late hears nothing.
        let _ = tell.send(delivery);
    }
}

impl<K, T, E> Ticket<K, T, E>
where
    K: Clone + Send + 'static,
    T: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    /// Adds the key to those that are loaded next, and waits until that begins.
    async fn come(&self, key: Key, own: K) {
        let ((begin, begun), (tell, delivery)) = (oneshot::channel(), oneshot::channel());
        let (context, span) = (Context::current(), Span::current());
        let _wait = self.gather.add(Arrived { key, own, context, span, begin: Some(begin), tell });
        let told = Told { delivery, _wait };
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
        self.count_off();
        self.gather.load_soon();
        // If the task of the load is lost, that is heard where its result is awaited.
        let _ = begun.await;
    }

    /// What was loaded for the key.
    async fn loaded(&self) -> Result<Option<Computed<Arc<T>>>, Arc<E>> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner).take();
        let delivery = match told {
            Some(Told { delivery, _wait }) => delivery.await.ok(),
            None => None,
        };
        match delivery {
            Some(Delivery::Loaded(loaded)) => loaded,
            Some(Delivery::Panicked(message)) => resume_unwind(Box::new(String::from(&*message))),
            None => resume_unwind(Box::new(String::from("the task that loaded the batch was lost with its runtime"))),
        }
    }

    fn count_off(&self) {
        if self.is_counted.swap(false, SeqCst) {
            self.gather.count_off();
        }
    }
}

impl<K, T, E> Party for Ticket<K, T, E>
where
    K: Clone + Send + 'static,
    T: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    fn leave(&self) {
        self.count_off();
    }
}

/// A key that needs no computation, or whose call has ended.
impl<K, T, E> Drop for Ticket<K, T, E>
where
    K: Clone + Send + 'static,
    T: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    fn drop(&mut self) {
        self.count_off();
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.0.abort();
    }
}
