//! Limits: how long an operation may take.
//!
//! As long as the last operations of its kind and length took, with some slack; a long value takes as long as the
//! network does, so an operation on one has the whole time.

use std::time::Duration;

use bytes::Bytes;

use super::adaptive::Adaptive;
use super::pulse::Beat;
use super::sizes::{Size, Sizes};
use crate::backends::Lease;
use crate::config::{AdaptiveTimeout, Policy};
use crate::error::{Error, ErrorKind};
use crate::event::Operation;
use crate::key::Key;
use crate::ledger::Forgotten;

/// The limits of one backend.
#[derive(Debug)]
pub(super) struct Limits {
    whole: Duration,
    learned: Option<Learned>,
}

/// What was learned.
#[derive(Debug)]
struct Learned {
    /// Of small and of medium values.
    reads: [Adaptive; 2],
    writes: [Adaptive; 2],
    others: Adaptive,
    sizes: Sizes,
}

/// The limit of one operation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    pub(super) time: Duration,
    /// The class of its value, as far as that is known before.
    pub(super) size: Size,
    /// The time of an operation on a long value.
    pub(super) whole: Duration,
}

impl Limit {
    /// Whether it is shorter than the whole time.
    pub(super) fn is_cut(self) -> bool {
        self.time < self.whole
    }
}

/// What an operation is like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt {
    /// Whether it may be carried out twice.
    pub(super) idempotent: bool,
    /// Whether it goes before others, because it keeps a lease, or ends it.
    pub(super) first: bool,
    /// Whether it is about one value.
    single: bool,
    /// Whether its items may be in other parts of the backend than its key.
    pub(super) is_scattered: bool,
    /// Whether it carries that value, and so shows how long it is.
    carries: bool,
    /// The length of the value it writes.
    bytes: usize,
    /// The length of the longest item that it may read.
    pub(super) longest: usize,
}

impl Attempt {
    pub(super) const AGAIN: Self = Self {
        idempotent: true,
        first: false,
        single: true,
        is_scattered: false,
        carries: true,
        bytes: 0,
        longest: usize::MAX,
    };
    pub(super) const ONCE: Self = Self { idempotent: false, ..Self::AGAIN };
    /// Several items.
    pub(super) const PARTS: Self = Self { single: false, ..Self::AGAIN };
    /// The chunks of a value.
    pub(super) const CHUNKS: Self = Self { is_scattered: true, ..Self::PARTS };
    /// A question about a value, which stays where it is.
    pub(super) const ABOUT: Self = Self { carries: false, ..Self::AGAIN };

    /// What keeps a lease, or ends it.
    pub(super) const FIRST: Self = Self { first: true, ..Self::ABOUT };

    /// The same, before others if `first`.
    pub(super) fn first(self, first: bool) -> Self {
        Self { first, ..self }
    }

    /// Reading items of at most so many bytes.
    pub(super) fn of_items(self, longest: usize) -> Self {
        Self { longest, ..self }
    }

    /// Writing a value of so many bytes.
    pub(super) fn write(self, bytes: usize) -> Self {
        Self { bytes, ..self }
    }
}

impl Limits {
    pub(super) fn new(policy: &Policy) -> Self {
        Self { whole: policy.operation_timeout, learned: policy.adaptive_timeout.map(Learned::new) }
    }

    /// The limit of an operation that begins when so much has been heard of the backend.
    pub(super) fn of(&self, key: &Key, operation: Operation, attempt: Attempt, beat: Beat) -> Limit {
        let size = match (&self.learned, operation) {
            _ if !attempt.single => Size::Long,
            (Some(learned), Operation::Get | Operation::Lease) if attempt.carries => learned.sizes.expected(key),
            _ => Size::of(attempt.bytes),
        };
        let adaptive = self.learned.as_ref().and_then(|learned| learned.adaptive(operation, size));
        let time = adaptive.map_or(self.whole, |adaptive| beat.patience(adaptive.timeout()).min(self.whole));
        Limit { time, size, whole: self.whole }
    }

    /// The timeouts in force that follow latencies: of which operations, of values of which size.
    #[cfg(feature = "metrics")]
    pub(super) fn timeouts(&self) -> Vec<(&'static str, &'static str, Duration)> {
        let Some(learned) = &self.learned else { return Vec::new() };
        let classes = [("read", &learned.reads), ("write", &learned.writes)].into_iter();
        let sized = classes
            .flat_map(|(operation, [small, medium])| [(operation, "small", small), (operation, "medium", medium)]);
        let all = sized.chain([("other", "any", &learned.others)]);
        all.map(|(operation, size, adaptive)| (operation, size, adaptive.timeout().min(self.whole))).collect()
    }

    /// Takes note of what an operation came to after so many milliseconds.
    pub(super) fn note<T: Answer>(
        &self,
        key: &Key,
        operation: Operation,
        attempt: Attempt,
        limit: Limit,
        latency: u64,
        result: &Result<T, Error>,
    ) {
        let Some(learned) = self.learned.as_ref().filter(|_| attempt.single) else { return };
        let size = match result {
            Ok(answer) => Size::of(attempt.bytes.max(answer.bytes())),
            Err(error) if error.kind() == ErrorKind::Timeout => limit.size,
            Err(_) => return,
        };
        if let Some(adaptive) = learned.adaptive(operation, size) {
            adaptive.note(latency);
        }
        match (operation, result) {
            _ if !attempt.carries => {}
            (Operation::Get | Operation::Set, Ok(_)) => learned.sizes.note(key, size),
            (Operation::Lease, Ok(answer)) if answer.bytes() > 0 => learned.sizes.note(key, size),
            // The answer may have been late for its length: the next read of the key gets more time.
            (Operation::Get | Operation::Lease, Err(_)) => learned.sizes.note(key, size.longer()),
            _ => {}
        }
    }
}

impl Learned {
    fn new(rules: AdaptiveTimeout) -> Self {
        let two = || [Adaptive::new(rules), Adaptive::new(rules)];
        Self { reads: two(), writes: two(), others: Adaptive::new(rules), sizes: Sizes::new() }
    }

    /// What is known of such operations, if they do not have the whole time.
    fn adaptive(&self, operation: Operation, size: Size) -> Option<&Adaptive> {
        let classes = match operation {
            Operation::Get | Operation::Lease => &self.reads,
            Operation::Set => &self.writes,
            _ => return (size != Size::Long).then_some(&self.others),
        };
        match size {
            Size::Small => Some(&classes[0]),
            Size::Medium => Some(&classes[1]),
            Size::Long => None,
        }
    }
}

/// The answer to a write by a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Filled {
    pub(crate) stored: bool,
    /// Whether other processes wait for it, as far as the backend notes that.
    pub(crate) is_awaited: bool,
}

/// What an operation gives.
pub(super) trait Answer {
    /// The length of the value in it; of several the longest.
    fn bytes(&self) -> usize {
        0
    }

    /// Whether it shows that the backend takes writes, if its operation is one.
    fn wrote(&self) -> bool {
        true
    }
}

impl Answer for () {}
impl Answer for bool {}

impl Answer for Lease {
    fn bytes(&self) -> usize {
        if let Self::Found(value) = self { value.len() } else { 0 }
    }

    fn wrote(&self) -> bool {
        *self == Self::Granted
    }
}

impl Answer for Filled {}
impl Answer for Forgotten {}
impl Answer for Option<Duration> {}

impl Answer for Option<Bytes> {
    fn bytes(&self) -> usize {
        self.as_ref().map_or(0, Bytes::len)
    }
}

impl Answer for Vec<Option<Bytes>> {
    fn bytes(&self) -> usize {
        self.iter().map(Answer::bytes).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::pulse::Pulse;
    use super::*;
    use crate::config::Settings;

    const MILLI: Duration = Duration::from_millis(1);

    struct Setup {
        limits: Limits,
        key: Key,
    }

    impl Setup {
        fn new() -> Self {
            let limits = Limits::new(&Settings::default().decide(&mut Vec::new()));
            Self { limits, key: Key::new("pages", 1).expect("neither empty nor long") }
        }

        fn limit(&self, operation: Operation, attempt: Attempt) -> Limit {
            self.limits.of(&self.key, operation, attempt, Pulse::default().beat())
        }

        fn read(&self, latency: u64, result: Result<usize, ErrorKind>) {
            let result = result.map(|bytes| Some(Bytes::from(vec![0; bytes]))).map_err(|kind| Error::new(kind, "-"));
            let limit = self.limit(Operation::Get, Attempt::AGAIN);
            self.limits.note(&self.key, Operation::Get, Attempt::AGAIN, limit, latency, &result);
        }

        fn write(&self, latency: u64, bytes: usize) {
            let attempt = Attempt::AGAIN.write(bytes);
            let limit = self.limit(Operation::Set, attempt);
            self.limits.note(&self.key, Operation::Set, attempt, limit, latency, &Ok(()));
        }
    }

    #[test]
    fn long_values_get_full_time_and_do_not_affect_short_ones() {
        let setup = Setup::new();
        let get = || setup.limit(Operation::Get, Attempt::AGAIN);
        (0..100).for_each(|_| setup.read(0, Ok(100)));
        assert_eq!((get().time, get().is_cut()), (100 * MILLI, true));
        (0..100).for_each(|_| setup.read(2_000, Ok(1_000_000)));
        assert_eq!((get().time, get().is_cut()), (5_000 * MILLI, false));
        setup.read(0, Ok(100));
        assert_eq!(get().time, 100 * MILLI, "of short ones nothing has changed");

        (0..100).for_each(|_| setup.write(0, 100));
        assert_eq!(setup.limit(Operation::Set, Attempt::ONCE.write(100)).time, 100 * MILLI);
        assert_eq!(setup.limit(Operation::Set, Attempt::ONCE.write(1_000)).time, 100 * MILLI);
        assert_eq!(setup.limit(Operation::Set, Attempt::ONCE.write(20_000)).time, 1_000 * MILLI, "nothing is known");
        setup.write(0, 1_000_000);
        assert!(!setup.limit(Operation::Set, Attempt::ONCE.write(1_000_000)).is_cut());
        assert!(!get().is_cut(), "what was written long is read long");
        assert!(!setup.limit(Operation::Get, Attempt::PARTS).is_cut());
    }

    #[test]
    fn a_question_about_a_value_says_nothing_of_its_length() {
        let setup = Setup::new();
        let ask = |latency, result: Result<Option<Duration>, ErrorKind>| {
            let limit = setup.limit(Operation::Get, Attempt::ABOUT);
            let result = result.map_err(|kind| Error::new(kind, "-"));
            setup.limits.note(&setup.key, Operation::Get, Attempt::ABOUT, limit, latency, &result);
            setup.limit(Operation::Get, Attempt::AGAIN).size
        };
        (0..100).for_each(|_| setup.read(0, Ok(100)));
        assert_eq!(ask(100, Err(ErrorKind::Timeout)), Size::Small);
        setup.read(1_000, Ok(1_000_000));
        assert_eq!(ask(0, Ok(Some(MILLI))), Size::Long, "still");
        assert_eq!(setup.limit(Operation::Get, Attempt::ABOUT).time, 100 * MILLI, "as long as short answers take");
    }

    #[test]
    fn read_that_timed_out_gets_more_time_on_the_next_attempt() {
        let setup = Setup::new();
        let get = || setup.limit(Operation::Get, Attempt::AGAIN);
        (0..100).for_each(|_| setup.read(0, Ok(100)));
        setup.read(100, Err(ErrorKind::Unavailable));
        assert_eq!(get().size, Size::Small, "it was not late");
        setup.read(100, Err(ErrorKind::Timeout));
        assert_eq!((get().size, get().time), (Size::Medium, 1_000 * MILLI));
        setup.read(1_000, Err(ErrorKind::Timeout));
        assert_eq!((get().size, get().time), (Size::Long, 5_000 * MILLI));
        setup.read(1_500, Ok(300_000));
        assert_eq!(get().size, Size::Long);
        setup.read(0, Ok(0));
        assert_eq!((get().size, get().time), (Size::Small, 100 * MILLI));
    }
}
