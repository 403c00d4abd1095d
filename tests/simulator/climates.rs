//! What the caches of a simulation are like: one of several climates for each seed.

use std::time::Duration;

use cachekit::codec::Postcard;
use cachekit::intent::Production;
use cachekit::testing::{Faults, Report, SimulatedBackend, Simulation, Trouble, Violation};
use cachekit::{CacheBuilder, Intent, Settings};

type Builder = CacheBuilder<SimulatedBackend, Postcard, Production>;

/// How many climates there are.
pub(crate) const CLIMATES: u64 = 13;

/// For how long L1 is believed while the bus is not heard, where no bound is set.
const BELIEF: Duration = Duration::from_secs(3);

/// Runs the simulation of a seed.
pub(crate) fn run(seed: u64, steps: u64) -> Result<Report, Violation> {
    let simulation = Simulation::new(seed).steps(steps).caches(2 + seed as usize % 3).keys(4 + seed as usize % 7);
    let simulation = simulation.faults(faults(seed));
    if matches!(seed % CLIMATES, 11 | 12) {
        return simulation.staleness(BELIEF).run(|builder| unheard(seed, builder));
    }
    if seed % CLIMATES == 9 {
        return simulation.run(|builder| {
            let builder = builder.intent(Intent::Test).invalidation_enabled(true).namespace_index(true).leases(true);
            builder.max_staleness(Duration::from_millis(500)).stats(true)
        });
    }
    simulation.run(|builder| settings(seed, builder))
}

/// Clocks are wrong where operations are not slow: by a wrong clock an entry is as old as the backend has kept it, and
/// so lives longer by as much as its write took.
fn faults(seed: u64) -> Faults {
    match seed % CLIMATES {
        0 => Faults::none(),
        10 => Faults::none().with(Trouble::Skew).with(Trouble::Trim).with(Trouble::Repeat).with(Trouble::LoseLease),
        11 => Faults::none().with(Trouble::Cut).with(Trouble::Refuse).with(Trouble::Replace).with(Trouble::Slow),
        12 => Faults::none().with(Trouble::Stall).with(Trouble::Cut).with(Trouble::Replace).with(Trouble::LoseLease),
        _ => Faults::all().without(Trouble::Skew).without(Trouble::Stall),
    }
}

/// The bus is refused, or its reader stands still, and no setting bounds staleness. A flight that stands still is given
/// up long before its runtime goes on.
fn unheard(seed: u64, builder: Builder) -> Builder {
    let millis = Duration::from_millis;
    let builder = builder.ttl(millis(60_000)).recovery_timeout(millis(300)).stale_if_error(Duration::ZERO);
    if seed % CLIMATES == 11 {
        return builder;
    }
    let mut settings = Settings::default();
    settings.lease_wait = Some(millis(1_000));
    builder.settings(settings).deadline(millis(3_000)).operation_timeout(millis(100))
}

/// The breaker of all climates but one lets things through again soon, or most of a simulation would be one long
/// outage.
fn settings(seed: u64, builder: Builder) -> Builder {
    let millis = Duration::from_millis;
    let bounded =
        builder.ttl(millis(20_000)).max_staleness(millis(100 << (seed / CLIMATES % 5))).recovery_timeout(millis(300));
    match seed % CLIMATES {
        1 => bounded.breaker_enabled(false).xfetch_beta(2.0),
        2 => bounded.ttl(millis(2_000)).soft_timeout(millis(50)).deadline(millis(3_000)),
        3 => bounded.invalidation_enabled(false),
        4 => bounded.leases(false).l1_ttl(millis(300)),
        5 => bounded.background(false),
        6 => bounded.l1_enabled(false).retries(2),
        7 => bounded.recovery_timeout(millis(30_000)).wait_for_write(true).swr_enabled(false).xfetch_beta(1.0),
        8 => bounded.ttl(millis(600)).stale_if_error(millis(5_000)).throttle(millis(200)).error_ttl(millis(300)),
        _ => bounded,
    }
}
