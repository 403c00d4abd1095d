//! Counting, alone and with many threads.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::{Counters, Event, Observer, Observers, Operation, Outcome, Stats, Unreadable};
use crate::error::{Error, ErrorKind};
use crate::key::Key;

const OUTCOMES: [Outcome; 7] = [
    Outcome::L1Hit,
    Outcome::L2Hit,
    Outcome::Stale,
    Outcome::Computed,
    Outcome::Joined,
    Outcome::Absent,
    Outcome::Failed,
];

fn outcomes(stats: Stats) -> [u64; 7] {
    let Stats { l1_hits, l2_hits, stale, computed, joined, absent, failed, .. } = stats;
    [l1_hits, l2_hits, stale, computed, joined, absent, failed]
}

#[test]
fn each_outcome_counts_under_its_own_name() {
    for (i, outcome) in OUTCOMES.into_iter().enumerate() {
        let counters = Counters::default();
        counters.outcome(outcome);
        counters.outcome(outcome);
        let expected = std::array::from_fn(|at| if at == i { 2 } else { 0 });
        assert_eq!(outcomes(counters.read()), expected, "{outcome:?}");
        assert_eq!(counters.read().calls(), 2);
    }
}

#[test]
fn each_event_counts_under_its_own_name() {
    let (key, error) = (Key::new("n", "k").unwrap(), Error::new(ErrorKind::Timeout, "late"));
    let (key, error, elapsed) = (&key, &error, Duration::ZERO);
    let none = Stats::default();
    let computed = |succeeded| Event::Computed { key, elapsed, succeeded, failure: None, hidden: false };
    let cases = [
        (Event::Answered { key, outcome: Outcome::Joined }, Stats { joined: 1, ..none }),
        (computed(true), Stats { computations: 1, ..none }),
        (computed(false), Stats { computations_failed: 1, ..none }),
        (Event::Fenced { key }, Stats { fenced: 1, ..none }),
        (Event::BackendFailed { key, operation: Operation::Get, error }, Stats { backend_failures: 1, ..none }),
        (Event::Unreadable { key, reason: Unreadable::Schema }, Stats { unreadable: 1, ..none }),
        (Event::NotStored { key, error }, Stats { not_stored: 1, ..none }),
        (Event::Warning { message: "careful" }, Stats { warnings: 1, ..none }),
    ];
    for (event, expected) in cases {
        let counters = Counters::default();
        counters.event(&event);
        assert_eq!(counters.read(), expected, "{event:?}");
    }
}

#[test]
fn no_count_is_lost_however_threads_come_and_go() {
    const THREADS: usize = 200;
    const WAVES: usize = 5;
    const COUNTS: usize = 1_000;
    let counters = Arc::new(Counters::default());
    for _ in 0..WAVES {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let counters = Arc::clone(&counters);
                thread::spawn(move || (0..COUNTS).for_each(|count| counters.outcome(OUTCOMES[(thread + count) % 7])))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
    let mut expected = [0; 7];
    for count in (0..THREADS).flat_map(|thread| (0..COUNTS).map(move |count| (thread + count) % 7)) {
        expected[count] += WAVES as u64;
    }
    assert_eq!(outcomes(counters.read()), expected);
    assert_eq!(counters.read().calls(), (THREADS * WAVES * COUNTS) as u64);
}

#[test]
fn many_threads_at_once_share_what_stripes_there_are() {
    const THREADS: usize = 200;
    let counters = Arc::new(Counters::default());
    let all_here = Arc::new(std::sync::Barrier::new(THREADS));
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let (counters, all_here) = (Arc::clone(&counters), Arc::clone(&all_here));
            thread::spawn(move || {
                counters.outcome(Outcome::L1Hit);
                // All threads are alive here, so most of them own no stripe.
                all_here.wait();
                (0..1_000).for_each(|_| counters.outcome(Outcome::L1Hit));
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(counters.read(), Stats { l1_hits: 200 * 1_001, ..Stats::default() });
}

#[test]
fn a_thread_that_counts_while_it_ends_loses_nothing() {
    struct Late(Arc<Counters>);
    impl Drop for Late {
        fn drop(&mut self) {
            self.0.outcome(Outcome::Stale);
        }
    }
    thread_local!(static LATE: std::cell::OnceCell<Late> = const { std::cell::OnceCell::new() });
    let counters = Arc::new(Counters::default());
    for _ in 0..100 {
        let counters = Arc::clone(&counters);
        let thread = thread::spawn(move || {
            LATE.with(|late| late.set(Late(Arc::clone(&counters))).map_err(drop).unwrap());
            counters.outcome(Outcome::Stale);
        });
        thread.join().unwrap();
    }
    assert_eq!(counters.read(), Stats { stale: 200, ..Stats::default() });
}

#[test]
fn two_caches_count_apart() {
    let (first, second) = (Counters::default(), Counters::default());
    first.outcome(Outcome::L1Hit);
    second.outcome(Outcome::Absent);
    assert_eq!(first.read(), Stats { l1_hits: 1, ..Stats::default() });
    assert_eq!(second.read(), Stats { absent: 1, ..Stats::default() });
}

#[derive(Debug, Default)]
struct Heard(std::sync::Mutex<Vec<String>>);

impl Observer for Heard {
    fn event(&self, event: &Event<'_>) {
        self.0.lock().unwrap().push(format!("{event:?}"));
    }
}

#[test]
fn observers_hear_what_counters_count() {
    let heard = [Arc::new(Heard::default()), Arc::new(Heard::default())];
    let listeners = heard.each_ref().map(|heard| Arc::<Heard>::clone(heard) as Arc<dyn Observer>);
    let observers = Observers::new(Some(Arc::default()), listeners.into(), true);
    assert!(observers.tells_hits());
    observers.tell(Event::Warning { message: "careful" });
    observers.count(Outcome::L1Hit);
    for heard in &heard {
        assert_eq!(*heard.0.lock().unwrap(), [r#"Warning { message: "careful" }"#], "`count` tells nobody");
    }
    assert_eq!(observers.stats(), Stats { warnings: 1, l1_hits: 1, ..Stats::default() });
}

#[test]
fn without_counters_nothing_is_counted() {
    let observers = Observers::new(None, Vec::new(), false);
    observers.count(Outcome::L1Hit);
    observers.tell(Event::Warning { message: "careful" });
    assert_eq!((observers.stats(), observers.tells_hits()), (Stats::default(), false));
}
