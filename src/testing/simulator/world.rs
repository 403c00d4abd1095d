//! The world of a simulation: what all caches in it share.
//!
//! One lock over everything, because one thread runs it all; it is never held across an await.

use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use tokio::task::yield_now;

use super::calls::Value;
use super::faults::{Fate, Kind, Weather};
use super::oracle::Oracle;
use crate::backends::Memory;
use crate::cache::{Computed, Previous, Revalidated};
use crate::clock::Clock;
use crate::key::Key;
use crate::testing::ManualClock;

/// Shared by the driver, the calls, the backends and the buses.
#[derive(Debug)]
pub(super) struct World {
    pub(super) clock: ManualClock,
    /// The texts of the keys, as messages spell them.
    pub(super) keys: Vec<Key>,
    /// By how many milliseconds the wall clock of each process is ahead.
    skews: Vec<AtomicI64>,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) rng: Rng,
    pub(super) weather: Weather,
    pub(super) oracle: Oracle,
    pub(super) server: Server,
}

/// What the backends of all caches lead to.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) memory: Memory,
    /// How often it has lost everything.
    pub(super) restarts: u64,
}

/// How one operation goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Visit {
    pub(super) before: u8,
    pub(super) after: u8,
    pub(super) fate: Fate,
}

const ROOM: usize = 64 << 20;

impl World {
    pub(super) fn new(
        clock: ManualClock,
        seed: u64,
        weather: Weather,
        oracle: Oracle,
        caches: usize,
        keys: Vec<Key>,
    ) -> Arc<Self> {
        let server = Server { memory: memory(&clock), restarts: 0 };
        let state = State { rng: Rng::with_seed(seed), weather, oracle, server };
        let skews = (0..caches).map(|_| AtomicI64::new(0)).collect();
        Arc::new(Self { clock, keys, skews, state: Mutex::new(state) })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // What is found under a broken lock is found again by its seed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> u64 {
        self.clock.ticks()
    }

    /// Sets the wall clock of the process in `slot`. Clocks differ by nothing, or by far more than caches tolerate.
    pub(super) fn skew(&self, slot: usize) {
        let rng = &mut self.lock().rng;
        let steps = if rng.u8(..4) == 0 { 0 } else { rng.i64(-720..=720) };
        self.skews[slot].store(steps * 10_000, SeqCst);
    }

    /// An operation arrives, of the process in `slot`.
    pub(super) fn visit(&self, slot: usize, kind: Kind) -> Visit {
        let now = self.now();
        let State { rng, weather, .. } = &mut *self.lock();
        let fate = weather.fate(rng, slot, kind, now);
        let turns = rng.u8(..);
        let of = |bits: u8| if bits & 4 == 0 { 0 } else { bits & 3 };
        Visit { before: of(turns), after: of(turns >> 3), fate }
    }

    pub(super) fn memory(&self) -> Memory {
        self.lock().server.memory.clone()
    }

    /// What a computation answers that has made a value: that the previous one is as it was, if it is.
    pub(super) fn revalidated(&self, previous: Option<Previous<Value>>, made: Computed<Value>) -> Revalidated<Value> {
        let value = *made.value();
        match previous.filter(|previous| previous.value().version == value.version) {
            Some(previous) => {
                self.lock().oracle.confirm(value.key, value.version, self.now());
                previous.not_modified()
            }
            None => made.into(),
        }
    }

    /// The server loses everything.
    pub(super) fn restart(&self) {
        let memory = memory(&self.clock);
        let mut state = self.lock();
        state.server.memory = memory;
        state.server.restarts += 1;
    }

    pub(super) async fn sleep(&self, duration: Duration) {
        self.clock.sleep(duration).await;
    }
}

/// The clock of one process, whose wall time may be wrong.
#[derive(Debug)]
pub(super) struct OwnClock {
    pub(super) world: Arc<World>,
    pub(super) slot: usize,
}

impl Clock for OwnClock {
    fn wall(&self) -> u64 {
        self.world.clock.wall().saturating_add_signed(self.world.skews[self.slot].load(SeqCst))
    }

    fn ticks(&self) -> u64 {
        self.world.clock.ticks()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.world.clock.sleep(duration)
    }
}

fn memory(clock: &ManualClock) -> Memory {
    Memory::with_clock(ROOM, Arc::new(clock.clone()))
}

/// Lets everybody else run so many times.
pub(super) async fn turns(count: u8) {
    for _ in 0..count {
        yield_now().await;
    }
}
