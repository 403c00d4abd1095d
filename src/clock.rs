//! Time, handed in.
//!
//! Two clocks in one trait: the wall clock dates what other processes read, the ticks measure how long
//! something lives in this one. Waiting is part of the trait, so that a manual clock drives deadlines too.

use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::catch_unwind;
use std::pin::{Pin, pin};
use std::sync::{Arc, LazyLock};
use std::task::Poll;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::runtime::{Handle, Id};

use crate::error::{Error, ErrorKind};

/// A source of time.
///
/// # Contract
/// - [`wall`](Clock::wall) is milliseconds since the Unix epoch and may jump.
/// - [`ticks`](Clock::ticks) is milliseconds since a moment of the clock's choice. It never goes back, may lag by a few
///   milliseconds, and must be cheap: it is read on every L1 hit.
/// - [`sleep`](Clock::sleep) ends when at least `duration` has passed on this clock. Dropping it ends it.
///
/// # Examples
/// ```
/// use cachekit::{Clock, SystemClock};
/// let before = SystemClock.ticks();
/// assert!(SystemClock.ticks() >= before);
/// assert!(SystemClock.wall() > 1_700_000_000_000);
/// ```
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Milliseconds since the Unix epoch.
    fn wall(&self) -> u64;
    /// Milliseconds since an arbitrary moment; monotonic, coarse, cheap.
    fn ticks(&self) -> u64;
    /// The time since the moment that [`ticks`](Clock::ticks) counts from, as finely as the clock can tell. Never goes
    /// back. Measures how long computations take; may cost a system call. By default, the ticks.
    fn precise(&self) -> Duration {
        Duration::from_millis(self.ticks())
    }
    /// False inside a runtime in which [`sleep`](Clock::sleep) cannot work. Asked before a call that may have to wait,
    /// which is an error then. Default: true.
    fn can_sleep(&self) -> bool {
        true
    }
    /// Waits for `duration`.
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The clock of the operating system.
///
/// Ticks are `CLOCK_MONOTONIC_COARSE` on Linux (a resolution of 1 to 10 ms, no system call) and [`std::time::Instant`]
/// elsewhere. Sleeping needs a tokio runtime with time: [`can_sleep`](Clock::can_sleep) is
/// false in one without.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn wall(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)
    }

    #[cfg(target_os = "linux")]
    fn ticks(&self) -> u64 {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
        now.tv_sec as u64 * 1_000 + now.tv_nsec as u64 / 1_000_000
    }

    #[cfg(target_os = "linux")]
    fn precise(&self) -> Duration {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
    }

    #[cfg(not(target_os = "linux"))]
    fn ticks(&self) -> u64 {
        millis(self.precise())
    }

    #[cfg(not(target_os = "linux"))]
    fn precise(&self) -> Duration {
        static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        START.get_or_init(std::time::Instant::now).elapsed()
    }

    fn can_sleep(&self) -> bool {
        Handle::try_current().map_or(true, |runtime| has_time(runtime.id()))
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// The clock of caches that name none. It is one, so that they can share what they measure.
pub(crate) fn system() -> Arc<dyn Clock> {
    static SYSTEM: LazyLock<Arc<dyn Clock>> = LazyLock::new(|| Arc::new(SystemClock));
    Arc::clone(&SYSTEM)
}

thread_local! {
    /// The runtimes that this thread knows to have time, or to have none; the last few.
    static KNOWN: Cell<[Option<(Id, bool)>; 8]> = const { Cell::new([None; 8]) };
}

/// Whether the current runtime, which has this id, was built with time.
///
/// Tokio tells by a panic alone, so a thread asks each runtime once.
fn has_time(runtime: Id) -> bool {
    if let Some((_, answer)) = KNOWN.get().iter().flatten().find(|(known, _)| *known == runtime) {
        return *answer;
    }
    let answer = catch_unwind(|| drop(tokio::time::sleep(Duration::ZERO))).is_ok();
    remember(runtime, answer);
    answer
}

/// Remembers on this thread whether a runtime has time. A panic that tells it is printed.
pub(crate) fn remember(runtime: Id, has_time: bool) {
    let mut known = KNOWN.get();
    known.rotate_right(1);
    known[0] = Some((runtime, has_time));
    KNOWN.set(known);
}

/// Refuses what may have to wait where that is impossible.
pub(crate) fn check_time(clock: &dyn Clock) -> Result<(), Error> {
    if clock.can_sleep() {
        return Ok(());
    }
    let message = "a call that L1 does not answer needs timers, and this tokio runtime has none: build it with \
                   `enable_time` or `enable_all`";
    Err(Error::new(ErrorKind::Closed, message))
}

/// Whole milliseconds of a duration, saturating.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What `future` gives, if it ends within `limit` on this clock, counted from when it first waits.
pub(crate) async fn within<F: Future>(clock: &dyn Clock, limit: Duration, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    // Most backends in this process answer at once; those need no timer.
    let mut sleep = None;
    poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        sleep.get_or_insert_with(|| clock.sleep(limit)).as_mut().poll(context).map(|()| None)
    })
    .await
}
