//! The simulator, run over many seeds.
//!
//! Each seed is one course of events on one kind of cache; the first that breaks a promise is told with what led to it.
//! An optimized build makes 200 of 100,000 steps each, others far fewer.
//!
//! `cargo test --release -p cachekit-tests --test simulator -- --seeds 5000 --from 1000` runs
//! others by hand; `--steps` says how long each is, and `--threads` how many run at once. Some are made again by
//! another process, whose addresses and hashes are others, unless it is told `--alone`.

mod arguments;
mod climates;

use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use cachekit::testing::{Report, Violation};

use self::arguments::Arguments;

/// The violations that are told one by one.
const TOLD: usize = 5;
/// Of so many seeds one is run twice.
const REPEATED: u64 = 20;
/// How many seeds another process makes again, and how many steps of each.
const ELSEWHERE: (u64, u64) = (10, 2_000);

fn main() -> ExitCode {
    harness::run("simulator", Arguments::default(), Arguments::take, simulate)
}

/// Whether all promises were kept, and each course of events is always the same.
fn simulate(arguments: Arguments) -> bool {
    let begun = Instant::now();
    let all = run(arguments);
    let Arguments { from, seeds, steps, .. } = arguments;
    println!("simulator: {seeds} seeds from {from}, {steps} steps each, {} ms: {all:?}", begun.elapsed().as_millis());
    all.violations.iter().take(TOLD).for_each(|violation| println!("{violation}\n"));
    let alike = arguments.alone || is_repeated_elsewhere(from);
    if !alike {
        println!("the same seeds are another course of events in another process");
    }
    all.violations.is_empty() && all.unlike.is_empty() && alike
}

/// What all simulations did and saw.
#[derive(Default)]
struct All {
    operations: u64,
    reads: u64,
    computations: u64,
    changes: u64,
    faults: u64,
    fallbacks: u64,
    staleness: Duration,
    /// Of all courses of events, in whatever order they came.
    fingerprint: u64,
    violations: Vec<Violation>,
    /// Seeds whose second run was another course of events.
    unlike: Vec<u64>,
}

impl All {
    fn add(&mut self, result: Result<Report, Violation>) {
        match result {
            Ok(report) => {
                self.operations += report.operations;
                self.reads += report.reads;
                self.computations += report.computations;
                self.changes += report.changes;
                self.faults += report.faults;
                self.fallbacks += report.fallbacks;
                self.fingerprint = self.fingerprint.wrapping_add(report.fingerprint);
                self.staleness = self.staleness.max(report.staleness);
            }
            Err(violation) => self.violations.push(violation),
        }
    }
}

impl std::fmt::Debug for All {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { operations, reads, fallbacks, computations, changes, faults, .. } = self;
        write!(f, "operations {operations}, reads {reads}, fallbacks {fallbacks}, computations {computations}, ")?;
        write!(f, "changes {changes}, faults {faults}, longest staleness {:?}, ", self.staleness)?;
        write!(f, "violations {}, not repeated exactly {:?}, ", self.violations.len(), self.unlike)?;
        write!(f, "fingerprint {:016x}", self.fingerprint)
    }
}

/// What two runs of one seed have in common.
fn shape(result: &Result<Report, Violation>) -> Result<u64, (u64, &str)> {
    result.as_ref().map(|report| report.fingerprint).map_err(|violation| (violation.step, &*violation.what))
}

/// Whether another process sees what this one does.
fn is_repeated_elsewhere(from: u64) -> bool {
    let (seeds, steps) = ELSEWHERE;
    let here =
        format!("fingerprint {:016x}", run(Arguments { from, seeds, steps, threads: 2, alone: true }).fingerprint);
    let numbers = [("--from", from), ("--seeds", seeds), ("--steps", steps)];
    let numbers = numbers.iter().flat_map(|(name, number)| [(*name).to_owned(), number.to_string()]);
    let program = std::env::current_exe();
    let there = program.and_then(|program| Command::new(program).args(numbers).arg("--alone").output());
    there.is_ok_and(|there| String::from_utf8_lossy(&there.stdout).contains(&here))
}

fn run(arguments: Arguments) -> All {
    let (next, all) = (AtomicU64::new(arguments.from), Mutex::new(All::default()));
    let end = arguments.from.saturating_add(arguments.seeds);
    std::thread::scope(|scope| {
        for _ in 0..arguments.threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, SeqCst);
                    if seed >= end {
                        return;
                    }
                    let result = climates::run(seed, arguments.steps);
                    let twice = seed.is_multiple_of(REPEATED);
                    let unlike = twice && shape(&climates::run(seed, arguments.steps)) != shape(&result);
                    if let Ok(mut all) = all.lock() {
                        all.add(result);
                        all.unlike.extend(unlike.then_some(seed));
                    }
                }
            });
        }
    });
    let mut all = all.into_inner().unwrap_or_else(|broken| broken.into_inner());
    all.violations.sort_by_key(|violation| violation.seed);
    all
}
