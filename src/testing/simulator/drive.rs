//! The driver of a simulation: steps, trouble, the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use super::calls::Promised;
use super::deeds::Deed;
use super::faults::{Trouble, Weather};
use super::homes::{NAMESPACE, text_of};
use super::loaders::Homes;
use super::oracle::{Oracle, Promises};
use super::plans::{self, End, Plan, Stay};
use super::process::Process;
use super::runtimes::Runtimes;
use super::violation::{Happening, Report, Violation};
use super::world::{OwnClock, World};
use super::{SimulatedBackend, Simulation};
use crate::backends::Backend;
use crate::builder::CacheBuilder;
use crate::cache::Cache;
use crate::clock::{Clock, millis};
use crate::codec::{Codec, Postcard};
use crate::config::Policy;
use crate::event::Tier;
use crate::intent::{Preset, Production};
use crate::testing::ManualClock;

/// Calls under way at once, at most.
const MOST_CALLS: u64 = 48;
/// How long what is known of the ledger is believed, in ticks.
const LAG: u64 = 1_000;
const ROUND: Duration = Duration::from_millis(50);
/// By how much the clock moves on in one step, at most.
const SLACK: Duration = Duration::from_secs(5);
/// Turns in which everything that takes no time has happened.
const ENOUGH: u8 = 40;

/// Runs a simulation on this thread.
pub(super) fn run<B, C, P, W, F>(simulation: Simulation, wrap: &W, settings: &F) -> Result<Report, Violation>
where
    B: Backend,
    C: Codec,
    P: Preset,
    W: Fn(SimulatedBackend) -> B + Send + Sync,
    F: Fn(CacheBuilder<B, Postcard, Production>) -> CacheBuilder<B, C, P> + Send + Sync,
{
    fastrand::seed(simulation.seed);
    let clock = ManualClock::new();
    let build = |world: &Arc<World>, slot: usize, cache: usize| {
        let backend = SimulatedBackend { world: Arc::clone(world), slot, cache, source: Arc::default() };
        let clock = OwnClock { world: Arc::clone(world), slot };
        let builder = CacheBuilder::new().backend(wrap(backend)).clock(Arc::new(clock)).namespace(NAMESPACE);
        settings(builder).build().unwrap_or_else(|error| panic!("the caches of a simulation cannot be built: {error}"))
    };
    let keys = (0..simulation.keys).map(|key| text_of(key).expect("neither empty nor long")).collect();
    let (weather, oracle) = (Weather::new(simulation.faults), Oracle::new(simulation.keys));
    let world = World::new(clock, simulation.seed, weather, oracle, simulation.caches, keys);
    let runtimes = Runtimes::new(if simulation.faults.contains(Trouble::Stall) { simulation.caches } else { 0 });
    let (live, retired) = (Vec::new(), Vec::new());
    let paused = Vec::new();
    let mut driver = Driver { simulation, world, build: &build, live, retired, sweeps: true, runtimes, paused };
    let result = driver.drive();
    driver.world.lock().oracle.end();
    result
}

/// Builds the cache of a slot, by the number that is given.
type Build<'a, B, C> = dyn Fn(&Arc<World>, usize, usize) -> Cache<B, C> + Send + Sync + 'a;

struct Driver<'a, B: Backend, C: Codec> {
    simulation: Simulation,
    world: Arc<World>,
    build: &'a Build<'a, B, C>,
    live: Vec<Arc<Process<B, C>>>,
    retired: Vec<Arc<Process<B, C>>>,
    /// Whether the caches can forget more than one key at once.
    sweeps: bool,
    runtimes: Runtimes,
    /// The slots whose caches are paused, and until when.
    paused: Vec<(usize, u64)>,
}

impl<B: Backend, C: Codec> Driver<'_, B, C> {
    fn drive(&mut self) -> Result<Report, Violation> {
        for slot in 0..self.simulation.caches {
            let process = self.build(slot);
            self.live.push(process);
        }
        self.promise();
        for step in 0..self.simulation.steps {
            self.world.lock().oracle.step = step;
            self.step();
            self.check()?;
        }
        self.world.lock().oracle.step = self.simulation.steps;
        self.world.lock().weather.clear();
        self.resume(u64::MAX);
        self.end()?;
        Ok(self.report())
    }

    fn promise(&mut self) {
        let Some(first) = self.live.first() else { return };
        let policy = first.cache.policy();
        self.sweeps = policy.namespace_index;
        self.world.lock().oracle.promises = promises(policy, &self.simulation);
    }

    fn build(&self, slot: usize) -> Arc<Process<B, C>> {
        let id = self.world.lock().oracle.join();
        let _entered = self.runtimes.main.enter();
        let cache = (self.build)(&self.world, slot, id);
        let world = Arc::clone(&self.world);
        let homes = Homes::new(&cache, &world).unwrap_or_else(|error| panic!("there are no domains: {error}"));
        let none = || AtomicU64::new(0);
        Arc::new(Process {
            cache,
            homes,
            id,
            world,
            answered: none(),
            perhaps: none(),
            under_way: none(),
            left: Default::default(),
        })
    }

    fn step(&mut self) {
        let now = self.world.now();
        self.resume(now);
        let (trouble, call, (count, time), slot, may_stall) = {
            let state = &mut *self.world.lock();
            let trouble = state.weather.change(&mut state.rng, self.live.len(), now);
            let slot = state.rng.usize(..self.live.len());
            let call = (state.rng.u8(..8) > 0).then(|| plans::draw(&mut state.rng, self.simulation.keys));
            let stalls = state.weather.faults.contains(Trouble::Stall) && !state.weather.stalls(slot, now);
            (trouble, call, plans::pass(&mut state.rng), slot, stalls && state.rng.u8(..4) == 0)
        };
        if let Some(trouble) = trouble {
            self.strike(trouble, slot);
        }
        let under_way: u64 = self.live.iter().map(|process| process.under_way.load(SeqCst)).sum();
        if let Some(plan) = call.filter(|plan| under_way < MOST_CALLS && (self.sweeps || !plan.deed.sweeps())) {
            // Nothing bounds how long a change that stands still holds up others of its key.
            let plan = Plan { is_aside: may_stall && !plan.deed.changes(), ..plan };
            let (runtime, process) = (self.runtimes.of(slot, plan.is_aside), Arc::clone(&self.live[slot]));
            if plan.deed.is_batch() || plan.deed.loads() {
                runtime.spawn(process.batch(plan))
            } else {
                runtime.spawn(process.call(plan))
            };
        }
        self.pass(count, time);
        self.live.iter().chain(&self.retired).for_each(|process| process.settle());
    }

    fn pass(&self, count: u8, time: Duration) {
        let now = self.world.now();
        self.runtimes.turn(count, |slot| self.world.lock().weather.stalls(slot, now));
        if !time.is_zero() {
            self.world.clock.advance(time);
        }
    }

    fn strike(&mut self, trouble: Trouble, slot: usize) {
        let now = self.world.now();
        match trouble {
            Trouble::Restart => {
                self.world.restart();
                let oracle = &mut self.world.lock().oracle;
                (0..self.simulation.keys).for_each(|key| oracle.note(key, now, slot, 0, Happening::Restart, 0));
            }
            Trouble::Pause => {
                let pause = self.world.lock().rng.u64(100..3_000);
                self.world.clock.advance(Duration::from_millis(pause));
            }
            Trouble::Skew => self.world.skew(slot),
            Trouble::Switch => self.pause(slot, now),
            _ => self.replace(slot),
        }
    }

    /// Pauses the cache of a slot, or a tier of it, for a while.
    fn pause(&mut self, slot: usize, now: u64) {
        let state = &mut *self.world.lock();
        let (tiers, until) = (state.rng.usize(..3), now + state.rng.u64(1..4_000));
        let process = &self.live[slot];
        let tiers = [&[Tier::L1][..], &[Tier::L2], &[Tier::L1, Tier::L2]][tiers];
        for tier in tiers.iter().copied() {
            process.cache.pause_tier(tier);
            state.oracle.void_all(process.id, now, Happening::Pauses(tier));
        }
        self.paused.push((slot, until));
    }

    /// Resumes the caches whose pause is over by the tick `now`.
    fn resume(&mut self, now: u64) {
        let Self { paused, live, world, .. } = self;
        paused.retain(|(slot, until)| {
            let goes_on = now < *until;
            if !goes_on {
                let process = &live[*slot];
                let anew = process.cache.is_paused(Tier::L1);
                process.cache.resume();
                let tick = world.now();
                world.lock().oracle.resume(process.id, anew, tick);
            }
            goes_on
        });
    }

    /// Ends a process, in its own time or at once, and starts another.
    fn replace(&mut self, slot: usize) {
        let next = self.build(slot);
        self.paused.retain(|(paused, _)| *paused != slot);
        let old = std::mem::replace(&mut self.live[slot], next);
        let now = self.world.now();
        let patience = {
            let state = &mut *self.world.lock();
            state.oracle.close(old.id, now);
            if state.rng.bool() { Duration::ZERO } else { Duration::from_secs(120) }
        };
        let cache = old.cache.clone();
        // A failure to end in time is what trouble does; what must be so in the end is looked at then.
        self.runtimes.main.spawn(async move { drop(cache.close(patience).await) });
        self.retired.push(old);
    }

    fn check(&self) -> Result<(), Violation> {
        let state = &mut *self.world.lock();
        let Some((what, key)) = state.oracle.found.take() else { return Ok(()) };
        let history = state.oracle.history(key);
        let (seed, step) = (self.simulation.seed, state.oracle.step);
        state.oracle.end();
        Err(Violation {
            seed,
            step,
            what,
            history,
            again: self.simulation.again((step + 1).min(self.simulation.steps)),
        })
    }

    fn violate(&self, what: String) {
        self.world.lock().oracle.violated(None, what);
    }

    /// All trouble is over: everybody comes to an end, and sees what is true.
    fn end(&mut self) -> Result<(), Violation> {
        self.settle("after all trouble had ended")?;
        let live: Vec<usize> = self.live.iter().map(|process| process.id).collect();
        self.world.lock().oracle.expect(&live, false);
        self.read_all(&[Deed::GetFromL1, Deed::GetFromL2, Deed::Get])?;
        // A breaker that is open lets nothing through before.
        let breaker = self.live.first().and_then(|process| process.cache.policy().breaker);
        self.pass(ENOUGH, breaker.map_or(Duration::ZERO, |breaker| breaker.recovery_timeout));
        // That of a bus, which no read closes, lets a few through then, and all once these have worked.
        for process in &self.live {
            for _ in 0..breaker.map_or(0, |breaker| breaker.success_threshold) {
                self.make(process, 0, Deed::Invalidate)?;
            }
        }
        self.world.lock().weather.calm();
        self.change_all()?;
        self.settle("after the last changes")?;
        self.world.lock().oracle.expect(&live, true);
        self.read_all(&[Deed::GetFromL1, Deed::GetFromL2, Deed::Compute])?;
        for process in std::mem::take(&mut self.live) {
            let now = self.world.now();
            self.world.lock().oracle.close(process.id, now);
            let cache = process.cache.clone();
            let closing = self.runtimes.main.spawn(async move { cache.close(Duration::from_secs(120)).await });
            if !self.wait_for(|| closing.is_finished()) {
                self.violate(format!("cache {} does not close", process.id));
            } else if let Ok(Err(error)) = self.runtimes.main.block_on(closing) {
                self.violate(format!("cache {} does not close well: {error}", process.id));
            }
            self.inspect(&process, false);
            self.retired.push(process);
        }
        self.retired.iter().for_each(|process| self.inspect(process, true));
        self.check()
    }

    /// Waits until all calls have ended and nothing is left to do, everybody has heard everything, and versions are no
    /// longer believed.
    fn settle(&self, when: &str) -> Result<(), Violation> {
        let quiet = || {
            let all = self.live.iter().chain(&self.retired);
            all.clone().all(|process| process.under_way.load(SeqCst) == 0 && process.cache.pending() == 0)
        };
        if !self.wait_for(quiet) {
            let all = self.live.iter().chain(&self.retired);
            let left: Vec<_> = all.map(|one| (one.under_way.load(SeqCst), one.cache.pending())).collect();
            self.violate(format!("calls or work do not end {when}: {left:?}"));
        }
        self.live.iter().chain(&self.retired).for_each(|process| process.settle());
        for _ in 0..40 {
            self.pass(ENOUGH, ROUND);
        }
        self.check()
    }

    /// Lets time pass until it is so. Says whether that came in time.
    fn wait_for(&self, so: impl Fn() -> bool) -> bool {
        let longest = self.live.first().map_or(Duration::from_secs(600), |process| longest(process.cache.policy()));
        let end = self.world.now() + millis(longest);
        while !so() {
            if self.world.now() >= end {
                return false;
            }
            self.pass(ENOUGH, ROUND);
        }
        true
    }

    fn read_all(&self, deeds: &[Deed]) -> Result<(), Violation> {
        for deed in deeds {
            for (process, key) in
                self.live.iter().flat_map(|process| (0..self.simulation.keys).map(move |key| (process, key)))
            {
                self.make(process, key, *deed)?;
            }
        }
        Ok(())
    }

    fn change_all(&self) -> Result<(), Violation> {
        for key in 0..self.simulation.keys {
            let (slot, deed) = {
                let rng = &mut self.world.lock().rng;
                (rng.usize(..self.live.len()), plans::last(rng, key, self.sweeps))
            };
            self.make(&self.live[slot], key, deed)?;
        }
        Ok(())
    }

    /// Makes one call, to its end, without trouble.
    fn make(&self, process: &Arc<Process<B, C>>, key: usize, deed: Deed) -> Result<(), Violation> {
        let plan = Plan {
            key,
            deed,
            stay: Stay::Always,
            end: End::Value,
            turns: 0,
            pause: None,
            tags_late: false,
            revalidates: false,
            is_aside: false,
        };
        let call = self.runtimes.main.spawn(Arc::clone(process).call(plan));
        let ended = self.wait_for(|| call.is_finished());
        if !ended {
            self.violate(format!("cache {}: {deed:?} of key {key} does not end, though all is well", process.id));
        }
        self.check()
    }

    /// What is left of a cache that was closed.
    fn inspect(&self, process: &Process<B, C>, in_trouble: bool) {
        let shown = format!("{:#?}", process.cache);
        // Who was closed in trouble may have changes left that never reached the backend, and each has a fence.
        let nothing = ["flights: 0", "tasks: 0", "renewals: 0", "fences: 0"];
        let nothing = if in_trouble { &nothing[..3] } else { &nothing };
        if !nothing.iter().all(|nothing| shown.contains(nothing)) {
            self.violate(format!("something is left of cache {}: {shown}", process.id));
        }
        let (counted, answered) = (process.cache.stats().calls(), process.answered.load(SeqCst));
        let most = answered + process.perhaps.load(SeqCst);
        if process.cache.policy().stats && !(answered..=most).contains(&counted) {
            self.violate(format!("cache {} counts {counted} calls, and answered {answered}", process.id));
        }
        self.check_misses(process);
    }

    /// Each miss is that of a flight that computes for a caller, or of a read that finds nothing. A flight that is stopped
    /// with its cache or its runtime has missed and does not compute; there are few.
    fn check_misses(&self, process: &Process<B, C>) {
        let stats = process.cache.stats();
        let computed = stats.computations + stats.computations_failed;
        let most = computed + stats.absent + stats.failed + process.perhaps.load(SeqCst) + MOST_STOPPED;
        if stats.misses() > most {
            self.violate(format!("cache {} counts {} misses: {stats:?}", process.id, stats.misses()));
        }
    }

    fn report(&self) -> Report {
        let state = &*self.world.lock();
        let tally = state.oracle.tally;
        Report {
            operations: state.oracle.calls(),
            reads: tally.reads,
            fallbacks: tally.fallbacks,
            computations: tally.computations,
            changes: tally.changes,
            failed_changes: tally.failed_changes,
            faults: state.weather.met,
            replaced: (self.retired.len() - self.simulation.caches) as u64,
            staleness: Duration::from_millis(tally.staleness),
            time: Duration::from_millis(self.world.clock.ticks()),
            fingerprint: state.oracle.fingerprint(),
        }
    }
}

/// Flights of one cache that are stopped between their miss and the end of their computation.
const MOST_STOPPED: u64 = 8;

/// What caches of this policy promise, or as the simulation says.
fn promises(policy: &Policy, simulation: &Simulation) -> Promises {
    let (grace, late) = (policy.stale_if_error.of(policy.ttl), policy.leases.is_none());
    let reading = policy.operation_timeout * 14 + policy.leases.map_or(Duration::ZERO, |leases| leases.wait);
    // As long as a late value may take to be written, and to live.
    let life = if late { policy.ttl + grace + policy.deadline + policy.operation_timeout * 3 } else { Duration::ZERO };
    let bound = simulation.staleness.or(policy.max_staleness);
    // The way to the answer, the wait for its write, and what time does in one step.
    let patience = reading + policy.deadline * 2 + SLACK;
    let computing = Promised {
        deadline: millis(policy.deadline),
        trusted: bound.map_or(u64::MAX, millis),
        shared: policy.max_flights as u64 > MOST_CALLS * 2,
        soft: policy.soft_timeout.map(millis),
        throttle: millis(policy.throttle),
        stalls: simulation.faults.contains(Trouble::Stall),
        patience: millis(simulation.patience.unwrap_or(patience)),
    };
    Promises {
        bound: bound.map(|bound| millis(bound + life)),
        lag: LAG,
        late,
        recovers: policy.background,
        ttl: millis(policy.ttl),
        grace: millis(grace),
        flight: millis(policy.deadline + reading),
        computing,
    }
}

/// In which everything ends by itself.
fn longest(policy: &Policy) -> Duration {
    let breaker = policy.breaker.map_or(Duration::ZERO, |breaker| breaker.recovery_timeout * 4);
    let leases = policy.leases.map_or(Duration::ZERO, |leases| leases.hold + leases.wait);
    let bound = policy.max_staleness.unwrap_or_default();
    policy.deadline * 2 + policy.operation_timeout * 30 + breaker + leases + bound + Duration::from_secs(120)
}
