//! The simulator: it finds what breaks a promise, finds it again, and finds nothing else.

use std::time::Duration;

use cachekit::testing::{Faults, Report, SimulatedBackend, Simulation, Trouble, Violation};
use cachekit::{CacheBuilder, Intent};

use self::broken::{Broken, Sabotage};

mod broken;

const BOUND: Duration = Duration::from_millis(500);
/// What every kind of sabotage is found within.
const SEEDS: u64 = 60;
const STEPS: u64 = 5_000;

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
fn without_trouble_nothing_fails_and_changes_are_seen_at_once() {
    let report = Simulation::new(3).steps(2_000).faults(Faults::none()).run(usual).unwrap();
    assert_eq!((report.failed_changes, report.faults, report.replaced), (0, 0, 0));
    assert!(report.staleness < Duration::from_millis(100), "{report:?}");
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
fn a_backend_with_versions_that_never_change_is_found() {
    let found = sabotaged(Sabotage::FreezesVersions, Faults::none());
    assert!(found.what.contains("though"), "{found}");
}

#[test]
fn a_backend_that_takes_one_key_for_another_is_found() {
    let wrap = |backend: SimulatedBackend| Broken::new(backend, Sabotage::SwapsKeys);
    let bare = |builder: Builder<Broken>| builder.intent(Intent::Minimal);
    let found = first(|simulation| simulation.faults(Faults::none()).run_over(wrap, bare));
    assert!(found.what.contains("a value of key"), "{found}");
}

#[test]
fn a_backend_that_does_not_count_down_is_found_where_clocks_are_wrong() {
    let wrap = |backend: SimulatedBackend| Broken::new(backend, Sabotage::CountsNothingDown);
    let brief = |builder: Builder<Broken>| usual(builder).ttl(Duration::from_secs(1)).l1_enabled(false);
    let skew = Faults::none().with(Trouble::Skew);
    let found = first(|simulation| simulation.faults(skew).run_over(wrap, brief));
    assert!(found.what.contains("old, though it lives"), "{found}");
    let honest = |builder: Builder<SimulatedBackend>| usual(builder).ttl(Duration::from_secs(1)).l1_enabled(false);
    let again = Simulation::new(found.seed).steps(STEPS).faults(skew).run(honest).unwrap();
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
fn a_bus_that_never_answers_in_time_is_found_where_nothing_bounds_staleness() {
    let unbounded = |builder: Builder<SimulatedBackend>| builder.intent(Intent::Production);
    let cut = Faults::none().with(Trouble::Cut);
    let found = first(|simulation| simulation.faults(cut).staleness(BOUND).run(unbounded));
    assert!(found.what.contains("acknowledged"), "{found}");
}
