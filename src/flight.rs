//! Flights: one computation per key.
//!
//! A flight is a spawned task, so no caller owns it: callers wait for its result and may leave. The table knows flights
//! by key, type and read options, so that callers who would get different answers do not share one.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Poll, Waker};

use tokio::sync::{Notify, OwnedSemaphorePermit, SetOnce};

use self::places::Place;
use crate::backends::LeaseToken;
use crate::error::ComputeError;
use crate::event::{MissReason, Outcome, Span};
use crate::frame::{Labels, Tags};
use crate::home::Home;
use crate::memory::Times;
use crate::order::Fence;

mod context;
mod places;
mod table;

pub use self::context::Context;
pub(crate) use self::context::{Node, Wait};
pub(crate) use self::places::{Asker, Places, Ticket};
pub(crate) use self::table::{Flights, Leader, Role};

/// Which tiers a call looks in before it computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Reads {
    pub(crate) l1: bool,
    pub(crate) l2: bool,
}

impl Reads {
    /// Whether the call takes what was computed before it came.
    fn older(self) -> bool {
        self.l1 || self.l2
    }
}

/// One computation and those who wait for it.
pub(crate) struct Flight<T, E> {
    /// Taken before anything is read.
    pub(crate) fence: Fence,
    /// The tick at which the flight began.
    begun: u64,
    /// How long the computation may take, in ticks.
    pub(crate) limit: u64,
    /// How long a caller waits at most, in ticks.
    pub(crate) patience: u64,
    /// The tick after which this flight is given up.
    deadline: AtomicU64,
    ending: SetOnce<Ending<T, E>>,
    written: SetOnce<()>,
    /// Boxed: most flights have none.
    fallback: OnceLock<Box<Fallback<T>>>,
    /// Who asks before this tick is answered with the fallback while the computation goes on.
    early: AtomicU64,
    /// Wakes those who wait when that changes, in the order in which they came: one seed of a simulation is one order.
    notice: Notify,
    /// Wakes the flight where it waits in line.
    hurry: Notify,
    given_up: AtomicBool,
    /// Whether a caller runs it, until it has to wait or to compute.
    ahead: AtomicBool,
    /// The tags that its result will have for sure.
    tags: Tags,
    /// The flight among those that wait for one another.
    pub(crate) node: Arc<Node>,
    home: Home,
    /// Whether a task sees to it that the flight is given up if its runtime stands still.
    watched: AtomicBool,
    holdings: Mutex<Holdings>,
    /// Why neither tier answered, by its code; zero as long as one may.
    missed: AtomicU8,
    /// Its span, if anything hears of it. Boxed: mostly nothing does.
    span: OnceLock<Box<Span>>,
}

/// What a flight keeps from others, until it ends or is void.
#[derive(Debug, Default)]
struct Holdings {
    lease: Option<LeaseToken>,
    /// The lease of the void flight that this one replaces.
    inherited: Option<LeaseToken>,
    /// One of the renewals that may be under way.
    permit: Option<OwnedSemaphorePermit>,
}

/// A flight, whatever it computes, as the keeper of its lease sees it.
pub(crate) trait LeaseHolder: Send + Sync {
    /// That under which the flight began.
    fn fence(&self) -> &Fence;
    /// Whether its result is of no use to anybody who comes now.
    fn is_void(&self) -> bool;
    fn lease(&self) -> Option<LeaseToken>;
    /// Notes the lease of this flight.
    fn hold(&self, token: LeaseToken);
    /// The lease of the flight that this one replaces; the caller gives it back.
    fn inherited(&self) -> Option<LeaseToken>;
    /// The caller that takes the token gives the lease back.
    fn take_lease(&self) -> Option<LeaseToken>;
}

/// An older value to answer with.
#[derive(Debug)]
pub(crate) struct Fallback<T> {
    pub(crate) value: Arc<T>,
    pub(crate) labels: Labels,
    pub(crate) times: Times,
    /// Whether only L1 has it.
    pub(crate) in_l1: bool,
    /// What it is as an answer while the computation goes on.
    pub(crate) outcome: Outcome,
}

/// How long a flight may take, in ticks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TimeLimits {
    /// Until it computes: as long as the tiers may take to answer.
    pub(crate) reading: u64,
    /// From then on.
    pub(crate) computing: u64,
}

/// How a flight ended.
#[derive(Debug)]
pub(crate) enum Ending<T, E> {
    Value {
        value: Arc<T>,
        source: Outcome,
        /// The tick from which it is no answer for who comes.
        expires: u64,
        times: Times,
        tags: Tags,
    },
    Error(ComputeError<E>),
    /// The computation found that there is no value. Only that of a batch can.
    Absent,
    /// Its task was dropped, such as by the end of its runtime.
    Lost,
}

impl<T: Send + Sync, E: Send + Sync> Flight<T, E> {
    fn new(fence: Fence, now: u64, limits: TimeLimits, tags: Tags) -> Self {
        let patience = limits.reading.saturating_add(limits.computing);
        Self {
            fence,
            begun: now,
            limit: limits.computing,
            patience,
            deadline: AtomicU64::new(now.saturating_add(patience)),
            ending: SetOnce::new(),
            written: SetOnce::new(),
            fallback: OnceLock::new(),
            early: AtomicU64::new(0),
            notice: Notify::new(),
            hurry: Notify::new(),
            given_up: AtomicBool::new(false),
            ahead: AtomicBool::new(false),
            tags,
            node: Node::new(),
            home: Home::here(),
            watched: AtomicBool::new(false),
            holdings: Mutex::default(),
            missed: AtomicU8::new(0),
            span: OnceLock::new(),
        }
    }

    /// Whether a caller that comes at the tick `now`, for a result with the `tags`, may have this flight's answer.
    fn stands(&self, now: u64, reads: Reads, tags: &Tags) -> bool {
        // What others changed since this flight began may not have been heard.
        if self.fence.has_missed() || self.fence.is_outdated(self.begun, now) {
            return false;
        }
        match self.ending.get() {
            None => now < self.deadline() && !self.is_void() && !self.forgot_fallback() && !self.fence.forgot(tags),
            Some(Ending::Value { expires, tags, .. }) => {
                reads.older() && now < *expires && self.may_store() && !self.fence.forgot(tags)
            }
            Some(_) => false,
        }
    }

    fn forgot_fallback(&self) -> bool {
        self.fallback.get().is_some_and(|fallback| self.fence.forgot(&fallback.labels.tags))
    }

    pub(crate) fn deadline(&self) -> u64 {
        self.deadline.load(SeqCst)
    }

    /// Waits in line, until a computation needs the flight's result at the latest: one that is waited for by a
    /// computation would otherwise wait for its place.
    pub(crate) async fn place(&self, ticket: &Ticket) -> Place {
        let (mut place, mut hurried) = (pin!(ticket.wait()), pin!(self.hurry.notified()));
        let place = poll_fn(|context| match place.as_mut().poll(context) {
            Poll::Ready(place) => Poll::Ready(Some(place)),
            Poll::Pending => hurried.as_mut().poll(context).map(|()| None),
        });
        place.await.unwrap_or_else(|| ticket.overtake())
    }

    /// A computation needs the result: the flight waits in line no longer.
    pub(crate) fn hurry(&self) {
        self.hurry.notify_one();
    }

    /// The flight has its place at the tick `now`: its wait in line does not count against what it does.
    pub(crate) fn take_place(&self, now: u64) {
        self.deadline.store(now.saturating_add(self.patience), SeqCst);
    }

    /// The computation starts at the tick `now`: what the tiers took does not count against it.
    pub(crate) fn start(&self, now: u64) {
        self.deadline.store(now.saturating_add(self.limit), SeqCst);
    }

    /// Whether the key, or a tag of the result, was changed since this flight began, or the flight was given up.
    pub(crate) fn is_void(&self) -> bool {
        !self.fence.holds() || self.given_up.load(SeqCst) || self.fence.forgot(&self.tags)
    }

    /// Whether what this flight has read or computed is still the newest there is.
    pub(crate) fn may_store(&self) -> bool {
        self.fence.is_current() && !self.given_up.load(SeqCst)
    }

    /// Asks to store this flight's result. False if the flight is void, or a younger one has stored its own.
    pub(crate) fn claim(&self) -> bool {
        !self.given_up.load(SeqCst) && self.fence.claim()
    }

    /// Runs the task of this flight as far as it comes without waiting, and not into its computation, which belongs to no
    /// caller. Returns whether it has ended.
    pub(crate) fn run_ahead(&self, task: Pin<&mut (impl Future<Output = ()> + ?Sized)>) -> bool {
        self.ahead.store(true, SeqCst);
        let polled = task.poll(&mut std::task::Context::from_waker(Waker::noop()));
        self.ahead.store(false, SeqCst);
        polled.is_ready()
    }

    /// Waits until the flight is on a task of its own.
    pub(crate) async fn on_own_task(&self) {
        // A caller that runs it ahead polls it once.
        poll_fn(|_| if self.ahead.load(SeqCst) { Poll::Pending } else { Poll::Ready(()) }).await;
    }

    /// Lets a new flight take over and bars this one from storing.
    pub(crate) fn give_up(&self) {
        self.given_up.store(true, SeqCst);
        drop(self.holdings().permit.take());
    }

    /// What a flight in place of this one takes over: the lease, if this one cannot store any more.
    fn bequeath(&self, now: u64) -> Option<LeaseToken> {
        if self.ending.get().is_none() && now >= self.deadline() {
            self.give_up();
        }
        let mut holdings = self.holdings();
        holdings.inherited.take().or_else(|| holdings.lease.take_if(|_| self.is_void()))
    }

    /// Renews with this permit until the flight ends or is given up.
    pub(crate) fn renew_with(&self, permit: OwnedSemaphorePermit) {
        self.holdings().permit = Some(permit);
    }

    /// Whether the flight renews with a permit.
    pub(crate) fn renews(&self) -> bool {
        self.holdings().permit.is_some()
    }

    /// Notes why neither tier answered.
    pub(crate) fn miss(&self, reason: MissReason) {
        self.missed.store(reason.code(), SeqCst);
    }

    /// Why it computes for a caller, if it does.
    pub(crate) fn miss_reason(&self) -> Option<MissReason> {
        MissReason::of_code(self.missed.load(SeqCst))
    }

    /// Notes its span, if anything hears of it.
    pub(crate) fn runs_in(&self, span: &Span) {
        if span.is_some() {
            let _ = self.span.set(Box::new(span.clone()));
        }
    }

    /// Its span, if it has one.
    pub(crate) fn span(&self) -> Span {
        self.span.get().map_or_else(Span::none, |span| Span::clone(span))
    }

    /// Links the span of a call that waits for this flight to that of the flight.
    pub(crate) fn link_from(&self, call: &Span) {
        if let Some(span) = self.span.get().filter(|_| call.is_some()) {
            call.link(span);
        }
    }

    /// What `future` gives; `None` if the runtime of this flight, another than the caller's, stands still before.
    pub(crate) async fn while_driven<F: Future>(&self, future: F) -> Option<F::Output> {
        self.home.while_driven(future).await
    }

    /// Whether this is a flight of another runtime that no task watches yet. If so, the caller starts one.
    pub(crate) fn needs_watch(&self) -> bool {
        self.home.is_elsewhere() && !self.watched.swap(true, SeqCst)
    }

    /// Gives the flight up if its runtime stands still before it ends.
    pub(crate) async fn watch(&self) {
        if self.while_driven(self.ending.wait()).await.is_none() {
            self.give_up();
        }
    }

    fn holdings(&self) -> MutexGuard<'_, Holdings> {
        // Its fields are replaced whole.
        self.holdings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers an older value to answer with if the computation fails or is late.
    pub(crate) fn fall_back_on(&self, fallback: Fallback<T>) {
        let _ = self.fallback.set(Box::new(fallback));
    }

    /// The older value, unless everything was cleared since, or only L1 has it and L1 is not believed any more.
    pub(crate) fn fallback(&self) -> Option<&Fallback<T>> {
        let holds = |fallback: &&Fallback<T>| !(fallback.in_l1 && self.fence.is_doubted());
        self.fallback.get().map(Box::as_ref).filter(holds).filter(|_| !self.fence.was_cleared())
    }

    /// Answers those who ask before the tick `until` with the fallback, while the computation goes on.
    pub(crate) fn answer_early(&self, until: u64) {
        if self.fallback().is_some() {
            self.early.fetch_max(until, SeqCst);
            self.notice.notify_waiters();
        }
    }

    /// Ends the flight: answers all who wait. Only the first ending counts.
    pub(crate) fn complete(&self, ending: Ending<T, E>) {
        self.complete_before_write(ending);
        let _ = self.written.set(());
    }

    /// Like [`complete`](Flight::complete), but callers wait until [`complete`](Flight::complete) is called or the flight is dropped.
    pub(crate) fn complete_before_write(&self, ending: Ending<T, E>) {
        let _ = self.ending.set(ending);
    }

    /// Waits until what was computed is written, where callers wait for that.
    pub(crate) async fn written(&self) {
        self.written.wait().await;
    }

    /// Waits until who asks at the tick `now` is answered early.
    async fn early_after(&self, now: u64) {
        loop {
            // Made before the look, so that no notice falls between.
            let notice = self.notice.notified();
            if now < self.early.load(SeqCst) {
                return;
            }
            notice.await;
        }
    }

    /// Waits for the ending, or for an early answer that is good enough for a caller who asks at the tick `now`.
    pub(crate) async fn wait(&self, now: u64) -> Answer<'_, T, E> {
        let mut ending = pin!(self.ending.wait());
        let mut early = pin!(self.early_after(now));
        let mut early_is_over = false;
        poll_fn(|context| {
            if let Poll::Ready(ending) = ending.as_mut().poll(context) {
                return Poll::Ready(Answer::Final(ending));
            }
            if !early_is_over && early.as_mut().poll(context).is_ready() {
                early_is_over = true;
                if let Some(fallback) = self.fallback() {
                    return Poll::Ready(Answer::Early(fallback));
                }
            }
            Poll::Pending
        })
        .await
    }
}

impl<T: Send + Sync, E: Send + Sync> LeaseHolder for Flight<T, E> {
    fn fence(&self) -> &Fence {
        &self.fence
    }

    fn is_void(&self) -> bool {
        Self::is_void(self)
    }

    fn lease(&self) -> Option<LeaseToken> {
        self.holdings().lease
    }

    fn hold(&self, token: LeaseToken) {
        self.holdings().lease = Some(token);
    }

    fn inherited(&self) -> Option<LeaseToken> {
        self.holdings().inherited.take()
    }

    fn take_lease(&self) -> Option<LeaseToken> {
        self.holdings().lease.take()
    }
}

/// What [`Flight::wait`] waited for.
pub(crate) enum Answer<'a, T, E> {
    Final(&'a Ending<T, E>),
    Early(&'a Fallback<T>),
}
