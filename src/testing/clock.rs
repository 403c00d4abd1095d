//! A clock that moves only when told.
//!
//! Built on a mutex and wakers, without a timer, so that a test decides what happens before what.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::{Clock, millis};

/// A [`Clock`] that stands still until [`advance`](ManualClock::advance) moves it.
///
/// Starts with a wall time of [`ManualClock::START`] and ticks of zero. Clones share the time. Sub-millisecond steps
/// add up.
///
/// # Examples
/// ```
/// use cachekit::{Clock, testing::ManualClock};
/// use std::time::Duration;
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let clock = ManualClock::new();
/// let sleeper = tokio::spawn({
///     let clock = clock.clone();
///     async move { clock.sleep(Duration::from_secs(60)).await }
/// });
/// clock.wait_for_sleepers(1).await;
/// clock.advance(Duration::from_secs(60));
/// sleeper.await.unwrap();
/// assert_eq!(clock.wall(), ManualClock::START + 60_000);
/// # });
/// ```
#[derive(Clone)]
pub struct ManualClock(Arc<Shared>);

struct Shared {
    time: Mutex<Time>,
    /// How many sleep, told after every change. Its lock is taken before that of `time`, never while that is held.
    sleepers: watch::Sender<usize>,
}

struct Time {
    wall: Duration,
    ticks: Duration,
    next_id: u64,
    /// By the moment of waking, then by the order of falling asleep.
    asleep: BTreeMap<(Duration, u64), Waker>,
}

impl ManualClock {
    /// The wall time of a new clock: 2025-01-01T00:00:00Z, in milliseconds since the Unix epoch.
    pub const START: u64 = 1_735_689_600_000;

    /// A clock that shows [`ManualClock::START`].
    pub fn new() -> Self {
        let time = Time {
            wall: Duration::from_millis(Self::START),
            ticks: Duration::ZERO,
            next_id: 0,
            asleep: BTreeMap::new(),
        };
        Self(Arc::new(Shared { time: Mutex::new(time), sleepers: watch::Sender::new(0) }))
    }

    /// Moves the wall clock and the ticks on together, and wakes, in the order of their deadlines, the sleepers whose
    /// time has come.
    ///
    /// Time jumps at once: who wakes and sleeps again does so from the new moment on.
    pub fn advance(&self, duration: Duration) {
        let due = {
            let mut time = self.time();
            time.wall = time.wall.saturating_add(duration);
            time.ticks = time.ticks.saturating_add(duration);
            let later = time.ticks.checked_add(Duration::from_nanos(1)).map(|next| time.asleep.split_off(&(next, 0)));
            std::mem::replace(&mut time.asleep, later.unwrap_or_default())
        };
        self.tell();
        for waker in due.into_values() {
            waker.wake();
        }
    }

    /// Sets the wall clock alone, in milliseconds since the Unix epoch. Ticks and sleepers do not notice.
    pub fn set_wall(&self, wall: u64) {
        self.time().wall = Duration::from_millis(wall);
    }

    /// How many tasks sleep and are not yet due. A sleep counts from its first poll until it is due or dropped.
    pub fn sleepers(&self) -> usize {
        self.time().asleep.len()
    }

    /// Waits until at least `count` tasks sleep.
    pub async fn wait_for_sleepers(&self, count: usize) {
        let mut sleepers = self.0.sleepers.subscribe();
        let told = sleepers.wait_for(|asleep| *asleep >= count).await;
        debug_assert!(told.is_ok(), "the sender lives as long as this clock");
    }

    fn time(&self) -> MutexGuard<'_, Time> {
        // Nothing between lock and unlock can panic half way through a change.
        self.0.time.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        self.0.sleepers.send_modify(|sleepers| *sleepers = self.sleepers());
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn wall(&self) -> u64 {
        millis(self.time().wall)
    }

    fn ticks(&self) -> u64 {
        millis(self.time().ticks)
    }

    fn precise(&self) -> Duration {
        self.time().ticks
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let until = self.time().ticks.saturating_add(duration);
        Box::pin(Sleep { clock: self, until, id: None })
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.time();
        f.debug_struct("ManualClock")
            .field("wall", &millis(time.wall))
            .field("ticks", &time.ticks)
            .field("sleepers", &time.asleep.len())
            .finish()
    }
}

struct Sleep<'a> {
    clock: &'a ManualClock,
    until: Duration,
    /// Set by the first poll.
    id: Option<u64>,
}

impl Future for Sleep<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let clock = self.clock;
        let mut time = clock.time();
        if self.until <= time.ticks {
            return Poll::Ready(());
        }
        let id = self.id.unwrap_or(time.next_id);
        let known = time.asleep.insert((self.until, id), context.waker().clone());
        if self.id.is_none() {
            time.next_id += 1;
            self.id = Some(id);
        }
        // Unlocked first: dropping a waker may drop a task, and with it a sleeper of this clock.
        drop(time);
        if known.is_none() {
            clock.tell();
        }
        Poll::Pending
    }
}

impl Drop for Sleep<'_> {
    fn drop(&mut self) {
        let Some(id) = self.id else { return };
        let waker = self.clock.time().asleep.remove(&(self.until, id));
        if waker.is_some() {
            self.clock.tell();
        }
    }
}
