//! The simulator: it finds what breaks a promise, finds it again, and finds nothing else.
#![allow(clippy::unwrap_used, reason = "clippy's allow-unwrap-in-tests knows `#[test]` functions, not their helpers")]

use std::time::Duration;

use cachekit::testing::{Faults, Report, SimulatedBackend, Simulation, Trouble, Violation};
use cachekit::{CacheBuilder, Intent, Settings};

use self::broken::{Broken, Sabotage};

mod broken;

const BOUND: Duration = Duration::from_millis(500);
/// What every kind of sabotage is found within.
const SEEDS: u64 = 60;
const STEPS: u64 = 5_000;
/// Long enough for spells of many seconds.
const LONG: u64 = 12_000;

type Builder<B> = CacheBuilder<B, cachekit::codec::Postcard, cachekit::intent::Production>;

fn usual<B: cachekit::Backend>(builder: Builder<B>) -> Builder<B> {
    builder.intent(Intent::Production).max_staleness(BOUND).recovery_timeout(Duration::from_millis(300))
}

/// The violation of the first seed that has one.
fn first(run: impl Fn(Simulation) -> Result<Report, Violation>) -> Violation {
    let found = (0..SEEDS).find_map(|seed| run(Simulation::new(seed).steps(STEPS)).err());
    let found = found.unwrap_or_else(|| panic!("{SEEDS} seeds of {STEPS} steps find nothing"));
    println!("seed {}, step {}: {}", found.seed, found.step, found.what);
    assert!(!found.history.is_empty(), "{found}");
    found
}

fn sabotaged(sabotage: Sabotage, faults: Faults) -> Violation {
    let wrap = |backend: SimulatedBackend| Broken::new(backend, sabotage);
    first(|simulation| simulation.faults(faults).run_over(wrap, usual))
}

#[test]
fn one_seed_is_one_course_of_events() {
    let run = |seed| Simulation::new(seed).steps(2_000).run(usual).unwrap();
    let (one, again, other) = (run(7), run(7), run(8));
    assert_eq!(one, again);
    assert_ne!(one.fingerprint, other.fingerprint);
    assert!(one.reads > 100 && one.computations > 100 && one.changes > 10 && one.faults > 0, "{one:?}");
}

#[test]
fn simulation_without_faults_fails_nothing_and_stays_in_bound() {
    for seed in 0..5 {
        let report = Simulation::new(seed).steps(2_000).faults(Faults::none()).run(usual).unwrap();
        assert_eq!((report.failed_changes, report.faults, report.replaced), (0, 0, 0));
        // Messages arrive between two steps, and the clock may move on by some hundred milliseconds in one.
        assert!(report.staleness < BOUND, "{report:?}");
    }
}

#[test]
fn a_simulation_may_run_inside_a_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let report = runtime.block_on(async { Simulation::new(1).caches(1).keys(1).steps(200).run(usual) });
    assert!(report.unwrap().reads > 0);
}

#[test]
fn a_violation_is_seen_again_with_as_many_steps() {
    let wrap = |backend: SimulatedBackend| Broken::new(backend, Sabotage::IgnoresLeases);
    let found = sabotaged(Sabotage::IgnoresLeases, Faults::all());
    let again = Simulation::new(found.seed).steps(found.step + 1).run_over(wrap, usual).unwrap_err();
    assert_eq!((again.step, &again.what, &again.history), (found.step, &found.what, &found.history));
    assert!(found.again.contains(&format!("Simulation::new({})", found.seed)) && found.again.contains(".steps("));
    assert!(found.to_string().contains(&found.what) && found.to_string().contains("again: "));
}

#[test]
fn a_backend_that_ignores_leases_is_found() {
    let found = sabotaged(Sabotage::IgnoresLeases, Faults::none());
    assert!(found.what.contains("though"), "{found}");
}

#[test]
fn a_backend_that_does_not_remove_is_found() {
    let found = sabotaged(Sabotage::KeepsWhatIsRemoved, Faults::none());
    assert!(found.what.contains("though"), "{found}");
}

#[test]
fn a_backend_that_loses_what_orders_have_noted_is_found() {
    let wrap = |backend: SimulatedBackend| Broken::new(backend, Sabotage::LosesNotes);
    let deaf = |builder: Builder<Broken>| usual(builder).invalidation_enabled(false).l1_enabled(false);
    let found = first(|simulation| simulation.faults(Faults::none()).run_over(wrap, deaf));
    assert!(found.what.contains("though"), "{found}");
}

#[test]
fn backend_that_mixes_up_keys_is_harmless_without_checksums() {
    let wrap = |backend: SimulatedBackend| Broken::new(backend, Sabotage::SwapsKeys);
    let bare = |builder: Builder<Broken>| {
        let builder = builder.intent(Intent::Minimal).invalidation_enabled(true).namespace_index(true).leases(true);
        builder.max_staleness(BOUND)
    };
    for seed in 0..5 {
        let report = Simulation::new(seed).steps(STEPS).faults(Faults::none()).run_over(wrap, bare);
        assert!(report.as_ref().is_ok_and(|report| report.reads > 100), "{report:?}");
    }
}

#[test]
fn simulator_finds_a_backend_with_frozen_ttl_under_clock_skew() {
    let wrap = |backend: SimulatedBackend| Broken::new(backend, Sabotage::CountsNothingDown);
    let brief = |builder: Builder<Broken>| usual(builder).ttl(Duration::from_secs(1)).l1_enabled(false);
    let skew = Faults::none().with(Trouble::Skew);
    let found = first(|simulation| simulation.faults(skew).run_over(wrap, brief));
    assert!(found.what.contains("old, though it lives"), "{found}");
    let honest = |builder: Builder<SimulatedBackend>| usual(builder).ttl(Duration::from_secs(1)).l1_enabled(false);
    let again = Simulation::new(found.seed).steps(4 * STEPS).faults(skew).run(honest).unwrap();
    assert!(again.faults > 0, "{again:?}");
}

#[test]
fn a_bus_that_hides_its_gaps_is_found() {
    let found = sabotaged(Sabotage::HidesGaps, Faults::none().with(Trouble::Trim));
    assert!(found.what.contains("though"), "{found}");
}

#[test]
fn a_bus_that_loses_messages_silently_is_found() {
    let found = sabotaged(Sabotage::LosesMessages, Faults::none());
    assert!(found.what.contains("acknowledged"), "{found}");
}

#[test]
fn simulator_finds_a_silent_bus_if_nothing_bounds_staleness() {
    let unbounded = |builder: Builder<SimulatedBackend>| builder.intent(Intent::Production);
    let cut = Faults::none().with(Trouble::Cut);
    let found = first(|simulation| simulation.faults(cut).staleness(BOUND).run(unbounded));
    assert!(found.what.contains("acknowledged"), "{found}");
}

/// For how long L1 is believed while the bus is not heard, where no bound is set.
const BELIEF: Duration = Duration::from_secs(3);

fn unbounded<B: cachekit::Backend>(builder: Builder<B>) -> Builder<B> {
    builder.intent(Intent::Production).recovery_timeout(Duration::from_millis(300)).stale_if_error(Duration::ZERO)
}

/// Deadlines, and limits of the backend, that are over long before a runtime goes on that stands still.
fn brief<B: cachekit::Backend>(builder: Builder<B>) -> Builder<B> {
    let mut settings = Settings::default();
    settings.lease_wait = Some(Duration::from_secs(1));
    let builder = unbounded(builder).settings(settings).operation_timeout(Duration::from_millis(100));
    builder.deadline(Duration::from_secs(3))
}

#[test]
fn simulator_finds_a_bus_that_hides_failures_if_l1_is_trusted() {
    let cut = Faults::none().with(Trouble::Cut);
    let wrap = |backend: SimulatedBackend| Broken::new(backend, Sabotage::HidesFailures);
    let found = first(|simulation| simulation.steps(LONG).faults(cut).staleness(BELIEF).run_over(wrap, unbounded));
    assert!(found.what.contains("acknowledged"), "{found}");
    let honest = Simulation::new(found.seed).steps(LONG).faults(cut).staleness(BELIEF).run(unbounded).unwrap();
    assert!(honest.faults > 0, "{honest:?}");
}

#[test]
fn simulator_finds_a_stalled_bus_reader_if_l1_is_trusted_long() {
    let stall = Faults::none().with(Trouble::Stall);
    let found = first(|simulation| simulation.steps(LONG).faults(stall).staleness(BOUND).run(brief));
    assert!(found.what.contains("acknowledged"), "{found}");
    let bounded = |builder: Builder<SimulatedBackend>| brief(builder).max_staleness(BOUND);
    for bound in [BELIEF, BOUND] {
        let simulation = Simulation::new(found.seed).steps(LONG).faults(stall).staleness(bound);
        let honest = if bound == BOUND { simulation.run(bounded) } else { simulation.run(brief) };
        assert!(honest.is_ok(), "{honest:?}");
    }
}

#[test]
fn simulator_finds_an_endless_flight_on_a_stalled_runtime() {
    let stall = Faults::none().with(Trouble::Stall);
    let forever = |builder: Builder<SimulatedBackend>| brief(builder).deadline(Duration::from_secs(3_600));
    let most = Duration::from_secs(14);
    let found = first(|simulation| simulation.steps(LONG).faults(stall).patience(most).run(forever));
    assert!(found.what.contains("an answer took"), "{found}");
    let honest = Simulation::new(found.seed).steps(LONG).faults(stall).patience(most).run(brief).unwrap();
    assert!(honest.faults > 0, "{honest:?}");
}
