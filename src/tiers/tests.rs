//! The tiers, without the cache around them.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::*;
use crate::backends::Memory;
use crate::codec::{Checked, Postcard};
use crate::config::Settings;
use crate::invalidate::{Pending, Target, Work};
use crate::ledger::Change;
use crate::memory::Weighers;
use crate::seal::Marks;
use crate::testing::ManualClock;

const SECOND: Duration = Duration::from_secs(1);

struct Setup {
    clock: ManualClock,
    tiers: Tiers<Memory, Checked<Postcard>>,
    key: Key,
}

/// Nothing here waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("`Memory` answers at once"),
    }
}

impl Setup {
    fn new() -> Self {
        let manual = ManualClock::new();
        let clock: Arc<dyn Clock> = Arc::new(manual.clone());
        let policy = Policy {
            l1_max_size: Some(1 << 20),
            adaptive_timeout: None,
            jitter: false,
            ..Settings::default().decide(&mut Vec::new())
        };
        let (key, root) = (Key::new("users", 1).unwrap(), Key::new("users", "root").unwrap());
        let memory = Memory::with_clock(1 << 20, Arc::clone(&clock));
        let guard = Guard::new(memory, None, &policy, Arc::clone(&clock), Observers::default());
        let ledgers = Arc::new(Ledgers::new(&root, 1, None, None, Arc::clone(&clock)));
        let policy = Arc::new(policy);
        let tiers = Tiers {
            sealer: Arc::new(Sealer::new(Checked::default(), &policy)),
            local: Local::new(&policy, None, &Arc::default(), &clock, Weighers::default()),
            policy: Arc::clone(&policy),
            share: None,
            domain: Tags::default(),
            l2: Arc::new(L2::new(policy, Some(guard), Some(ledgers), &*clock)),
            observers: Observers::default(),
            clock,
        };
        Self { clock: manual, tiers, key }
    }

    fn guard(&self) -> &Guard<Memory> {
        self.tiers.l2.guard.as_ref().unwrap()
    }

    /// Stores a value in the backend for ten seconds, with these tags.
    fn store(&self, value: u32, tags: &[u64]) {
        let options =
            Options { ttl: Some(10 * SECOND), stale_if_error: Some(Duration::ZERO.into()), ..Options::default() };
        let dates = self.tiers.plan(options, &value).unwrap();
        let marks = Marks {
            stamp: now(self.tiers.stamp(&self.key)).unwrap(),
            labels: Labels { tags: tags.into(), validator: None },
        };
        let sealing = self.tiers.sealing(&self.key, &Arc::new(value), dates, Duration::ZERO);
        let frame = now(sealing.seal(marks)).unwrap();
        assert!(now(self.guard().put(&self.key, frame, dates.keep(), None)).unwrap());
    }

    /// What a read gives that knows of `known`.
    fn read(&self, known: Option<&Found<u32>>) -> Option<(u32, Age)> {
        let (why, fence) = (Why::default(), self.tiers.local.fence(&self.key));
        let bytes = now(self.tiers.fetch(&self.key, &why)).unwrap()?;
        let options = Options { stale_if_error: Some(SECOND.into()), ..Options::default() };
        let lookup = Lookup { key: &self.key, options, known, fence: &fence, why: &why };
        let found = now(self.tiers.accept(lookup, bytes, || fence.is_current())).unwrap();
        found.map(|found| (*found.value, found.age))
    }

    fn l1(&self) -> Option<u32> {
        self.found_in_l1().map(|found| *found.value)
    }

    fn found_in_l1(&self) -> Option<Found<u32>> {
        self.tiers.look(self.key.name(), self.tiers.clock.ticks(), &Why::default(), |_, _| false)
    }
}

#[test]
fn what_the_backend_has_is_kept_in_l1_for_the_rest_of_its_life() {
    let setup = Setup::new();
    assert_eq!(setup.read(None), None);
    setup.store(7, &[]);
    setup.clock.advance(2 * SECOND);
    assert_eq!(setup.l1(), None);
    assert_eq!(setup.read(None), Some((7, Age::Fresh)));
    setup.clock.advance(8 * SECOND - Duration::from_millis(1));
    assert_eq!(setup.l1(), Some(7));
    assert!(now(setup.tiers.left(&setup.key, Options::default())).unwrap().is_some());
    setup.clock.advance(Duration::from_millis(1));
    assert_eq!(setup.found_in_l1().map(|found| found.age), Some(Age::Expired));
    assert!(now(setup.tiers.left(&setup.key, Options::default())).unwrap().is_none());
}

#[test]
fn an_entry_whose_tag_was_forgotten_is_none_and_stays_out_of_l1() {
    let setup = Setup::new();
    setup.store(7, &[1, 2]);
    let forget = |tag| {
        let ledgers = setup.tiers.l2.ledgers.as_ref().unwrap();
        assert!(now(ledgers.forget(setup.guard(), &Change::Tags(vec![tag]), 0, None)).left.is_empty());
    };
    forget(3);
    assert_eq!(setup.read(None), Some((7, Age::Fresh)));
    setup.tiers.local.evict(&setup.key);
    forget(2);
    assert_eq!((setup.read(None), setup.l1()), (None, None));
    setup.store(8, &[1, 2]);
    assert_eq!((setup.read(None), setup.l1()), (Some((8, Age::Fresh)), Some(8)));
}

#[test]
fn value_older_than_the_known_one_or_a_change_is_not_taken() {
    let setup = Setup::new();
    setup.store(7, &[]);
    setup.read(None);
    let known = setup.found_in_l1();
    setup.clock.advance(SECOND);
    setup.store(8, &[]);
    assert_eq!(setup.read(known.as_ref()), Some((8, Age::Fresh)));
    let known = setup
        .found_in_l1()
        .map(|found| Found { times: Times { expires: found.times.expires + 1, ..found.times }, ..found });
    assert_eq!(setup.read(known.as_ref()), None);

    let (fence, why) = (setup.tiers.local.fence(&setup.key), Why::default());
    let bytes = now(setup.tiers.fetch(&setup.key, &why)).unwrap().unwrap();
    setup.tiers.local.forget(&setup.key);
    let options = Options::default();
    let lookup = Lookup::<u32> { key: &setup.key, options, known: None, fence: &fence, why: &why };
    assert!(now(setup.tiers.accept(lookup, bytes, || fence.is_current())).unwrap().is_some());
    assert_eq!(setup.l1(), None, "the key was changed while it was read");
}

#[test]
fn what_a_waiting_change_is_about_is_hidden() {
    let setup = Setup::new();
    setup.store(7, &[5]);
    let pending = |part| {
        let (work, fence) = (Work::Forget([part].into()), Arc::new(setup.tiers.local.fence(&setup.key)));
        Pending { work, begun: fence.raise(), fence, until: u64::MAX }
    };
    setup.tiers.l2.retries.add(Target::Tag(5), pending(1));
    assert!(now(setup.tiers.left(&setup.key, Options::default())).unwrap().is_some(), "another part has yet to forget");
    setup.tiers.l2.retries.add(Target::Tag(5), pending(0));
    assert_eq!((setup.read(None), setup.l1()), (None, None));
    assert!(now(setup.tiers.left(&setup.key, Options::default())).unwrap().is_none());
}

#[test]
fn oversized_value_fails_in_l1_and_a_shut_l1_keeps_nothing() {
    let setup = Setup::new();
    let keep = |weight| {
        let dates = setup.tiers.plan(Options::default(), &7).unwrap();
        let validity = Validity {
            dates,
            lead: Lead::default(),
            cost: Cost::default(),
            since: setup.tiers.local.orders.latest(),
            labels: Labels::default(),
        };
        setup.tiers.keep(&setup.key, &Arc::new(7), weight, None, validity, || true)
    };
    assert!(keep(100).unwrap());
    assert_eq!(keep(1 << 20).unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(setup.l1(), None, "the older value went");
    setup.tiers.local.shut();
    assert!(!keep(100).unwrap());
}
