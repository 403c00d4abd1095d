//! The verdict: what was seen, and whether it may be.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use crate::crowd::{Crowd, Process};
use crate::trouble::Trouble;

/// What went wrong, and what went on.
#[derive(Default)]
pub(crate) struct Verdict {
    errors: AtomicU64,
    wrong: AtomicU64,
    stale: AtomicU64,
    /// The first of what went wrong.
    faults: Mutex<Vec<String>>,
    calls: u64,
    facts: Vec<String>,
}

/// The faults that are told one by one.
const TOLD: usize = 20;
/// What memory may grow by, beside half of what it was.
const GROWTH: u64 = 32 << 20;

impl Verdict {
    pub(crate) fn error(&self, key: usize, error: &dyn fmt::Display) {
        self.errors.fetch_add(1, SeqCst);
        self.note(format!("key {key}: {error}"));
    }

    pub(crate) fn wrong(&self, key: usize, found: usize) {
        self.wrong.fetch_add(1, SeqCst);
        self.note(format!("key {key}: a value of key {found}, or of several"));
    }

    pub(crate) fn stale(&self, key: usize, floor: u64, count: u64, what: &str) {
        self.stale.fetch_add(1, SeqCst);
        self.note(format!("key {key}: {what} saw {count} where {floor} is acknowledged"));
    }

    /// Anything else that may not be.
    pub(crate) fn fail(&self, what: String) {
        self.note(what);
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.faults.lock().unwrap().is_empty()
    }

    pub(crate) fn take(&mut self, trouble: &Trouble) {
        self.facts.extend(trouble.made.iter().map(|(what, times)| format!("{what} {times}")));
    }

    /// Adds what the crowd saw. The counters of the caches must tell the same.
    pub(crate) fn count(&mut self, crowd: &Crowd) {
        let seen = &crowd.seen;
        for (own, theirs) in [(&self.errors, &seen.errors), (&self.wrong, &seen.wrong), (&self.stale, &seen.stale)] {
            own.fetch_add(theirs.load(SeqCst), SeqCst);
        }
        self.faults.lock().unwrap().append(&mut seen.faults.lock().unwrap());
        let (mut failures, mut refused, mut opened, mut gaps, mut computations) = (0, 0, 0, 0, 0);
        for (process, index) in crowd.processes.iter().zip(1..) {
            let (stats, answered) = (process.cache.stats(), process.answered.load(SeqCst));
            self.calls += answered;
            failures += stats.backend_failures;
            refused += stats.refused;
            opened += stats.breaker_opened;
            gaps += stats.gaps;
            computations += stats.computations;
            if stats.calls() != answered {
                self.fail(format!("cache {index} counts {} calls of {answered}", stats.calls()));
            }
            if stats.given_up > 0 || stats.computations_failed > 0 {
                self.fail(format!("cache {index}: {stats:?}"));
            }
        }
        let (changes, lost) = (crowd.changes.load(SeqCst), crowd.refused.load(SeqCst));
        self.facts.push(format!(
            "changes {changes} of which {lost} failed, computations {computations}, backend failures {failures}, \
             refused {refused}, breakers opened {opened}, gaps {gaps}"
        ));
    }

    /// Compares what memory was resident a third into the run, and at its end.
    pub(crate) fn check_memory(&mut self, early: u64, late: u64) {
        self.facts.push(format!("resident {} MB then {} MB", early >> 20, late >> 20));
        if late > early + early / 2 + GROWTH {
            self.fail(format!("memory grew from {early} to {late} bytes"));
        }
    }

    pub(crate) fn check_left(&self, process: &Process) {
        let shown = format!("{:#?}", process.cache);
        if !["flights: 0", "fences: 0", "tasks: 0", "renewals: 0"].iter().all(|nothing| shown.contains(nothing)) {
            self.fail(format!("something is left: {shown}"));
        }
    }

    fn note(&self, fault: String) {
        let mut faults = self.faults.lock().unwrap();
        if faults.len() < TOLD {
            faults.push(fault);
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [errors, wrong, stale] = [&self.errors, &self.wrong, &self.stale].map(|count| count.load(SeqCst));
        write!(f, "calls {}, errors {errors}, wrong {wrong}, stale {stale}", self.calls)?;
        self.facts.iter().try_for_each(|fact| write!(f, ", {fact}"))?;
        self.faults.lock().unwrap().iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

/// Bytes of this process in memory; zero where the system does not tell.
pub(crate) fn resident() -> u64 {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return 0 };
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default() << 10
}
