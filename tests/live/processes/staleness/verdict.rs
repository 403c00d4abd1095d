//! What the processes wrote down, judged.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use super::{BOUND, OPERATIONS};

/// The clocks that count are exact to a few milliseconds.
const PRECISION: Duration = Duration::from_millis(20);

/// What the actors write down of their changes.
const KINDS: &str = "wiemtTncx";

#[derive(Default)]
pub(super) struct Verdict {
    reads: u64,
    /// Acknowledged changes of keys, by their kind.
    changes: HashMap<char, u64>,
    l1_hits: u64,
    /// The longest that a value was served after it was changed.
    oldest: Duration,
    stale: u64,
    /// Reads of what had been changed at all.
    overtaken: u64,
}

impl Verdict {
    pub(super) fn of(logs: &[String]) -> Self {
        let mut verdict = Self::default();
        let (mut reads, mut changes) = (Vec::new(), HashMap::<u64, Vec<(u64, u64)>>::new());
        // The last line of a process that was killed may be cut short.
        for line in logs.iter().flat_map(|log| log.split_inclusive('\n')).filter_map(|line| line.strip_suffix('\n')) {
            let (kind, fields) = line.split_once(' ').unwrap();
            let fields: Vec<u64> = fields.split(' ').map(|field| field.parse().unwrap()).collect();
            match (kind, &*fields) {
                ("s", [hits]) => verdict.l1_hits += hits,
                ("r", &[key, version, begun]) => reads.push((key, version, begun)),
                (kind, &[key, version, acknowledged]) => {
                    *verdict.changes.entry(kind.chars().next().unwrap()).or_default() += 1;
                    changes.entry(key).or_default().push((version, acknowledged));
                }
                strange => panic!("{strange:?}"),
            }
        }
        changes.values_mut().for_each(|all| earliest(all));
        for (key, version, begun) in reads {
            verdict.judge(changes.get(&key).map_or(&[], |all| all), version, begun);
        }
        verdict
    }

    fn judge(&mut self, changes: &[(u64, u64)], version: u64, begun: u64) {
        self.reads += 1;
        let newer = changes.partition_point(|(changed, _)| *changed <= version);
        let Some((_, acknowledged)) = changes.get(newer) else { return };
        let Some(age) = begun.checked_sub(*acknowledged) else { return };
        let age = Duration::from_micros(age);
        self.overtaken += 1;
        self.oldest = self.oldest.max(age);
        self.stale += u64::from(age > BOUND + PRECISION);
    }

    pub(super) fn check(&self) {
        assert_eq!(self.stale, 0, "reads of what was changed longer than {BOUND:?} ago");
        let changes: u64 = self.changes.values().sum();
        assert!(self.reads >= OPERATIONS * 7 / 10 && changes > OPERATIONS / 20, "too little was done");
        assert!(KINDS.chars().all(|kind| self.changes.contains_key(&kind)), "{:?}", self.changes);
        assert!(self.l1_hits > 0, "L1 served nothing");
    }
}

/// Sorts changes by their versions, each with the time at which it or a newer one was acknowledged first.
fn earliest(changes: &mut [(u64, u64)]) {
    changes.sort_unstable();
    let mut first = u64::MAX;
    for (_, acknowledged) in changes.iter_mut().rev() {
        first = first.min(*acknowledged);
        *acknowledged = first;
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reads, changes, l1_hits, oldest, stale, overtaken } = self;
        write!(
            f,
            "{reads} reads ({l1_hits} from the L1 of those who lived), {changes:?} changes of keys, {overtaken} reads of \
             what had been changed, at most {oldest:?} before, {stale} too long ago"
        )
    }
}
