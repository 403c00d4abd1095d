//! L1 from its callers' side.

use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use allocation_counter::measure;
use bytes::Bytes;
use fastrand::Rng;

use super::*;

mod forgotten;
mod policy;
mod spread;

const FOREVER: u64 = u64::MAX;
const MIB: usize = 1 << 20;

fn key(n: u64) -> Key {
    Key::new("t", n).unwrap()
}

fn held(value: impl Any + Send + Sync) -> AnyValue {
    Arc::new(value)
}

fn entry(n: u64, weight: usize) -> Entry {
    Entry {
        share: None,
        held: held(n),
        weight,
        fresh_until: FOREVER,
        lead: Lead::default(),
        cost: Cost::default(),
        expires: FOREVER,
        gone: FOREVER,
        since: Moment::default(),
        age: 0,
        labels: Labels::default(),
    }
}

fn until(gone: u64) -> Entry {
    Entry { fresh_until: gone, expires: gone, gone, ..entry(0, 100) }
}

fn number(held: &AnyValue) -> u64 {
    *held.downcast_ref().unwrap()
}

/// The value of a key, read at tick 0.
fn read(l1: &L1, key: &Key) -> Option<u64> {
    l1.get(key.name(), 0).map(|hit| number(&hit.held))
}

fn put(l1: &L1, key: &Key, n: u64, weight: usize) -> bool {
    l1.put(key, entry(n, weight), 0, || true)
}

#[test]
fn what_was_put_is_read_replaced_in_place_and_removed() {
    let l1 = L1::new(MIB, Orders::new(None, 0));
    assert!(read(&l1, &key(1)).is_none());
    assert!(put(&l1, &key(1), 10, 100));
    assert!(put(&l1, &key(2), 20, 100));
    assert_eq!(read(&l1, &key(1)), Some(10));
    assert!(put(&l1, &key(1), 11, 300));
    assert_eq!((read(&l1, &key(1)), read(&l1, &key(2)), l1.len()), (Some(11), Some(20), 2));
    assert_eq!(l1.weight(), 100 + 300 + 2 * ("t:1".len() + OVERHEAD));
    l1.remove(&key(1));
    l1.remove(&key(1));
    assert_eq!((read(&l1, &key(1)), l1.len()), (None, 1));
    l1.validate(MIB);
}

#[test]
fn sealed_bytes_are_shared_not_copied() {
    let l1 = L1::new(MIB, Orders::new(None, 0));
    let bytes = Bytes::from(vec![7; 1_000]);
    l1.put(&key(1), Entry { held: held(bytes.clone()), ..entry(0, 1_000) }, 0, || true);
    let found = l1.get(key(1).name(), 0).unwrap();
    assert_eq!(found.age, Age::Fresh);
    assert_eq!(found.held.downcast_ref::<Bytes>().unwrap().as_ptr(), bytes.as_ptr());
}

#[test]
fn texts_of_one_hash_never_mix() {
    let l1 = L1::new(MIB, Orders::new(None, 0));
    let [a, b] = ["t:a", "t:b"].map(|text| Key::with_hash(text, 42));
    put(&l1, &a, 1, 100);
    assert_eq!(read(&l1, &b), None);
    l1.remove(&b);
    l1.put(&b, entry(2, MIB), 0, || true);
    assert_eq!(read(&l1, &a), Some(1));
    put(&l1, &b, 2, 100);
    assert_eq!((read(&l1, &a), read(&l1, &b)), (None, Some(2)));
    l1.validate(MIB);
}

#[test]
fn an_entry_ages_at_each_of_its_ticks() {
    let l1 = L1::new(MIB, Orders::new(None, 0));
    let key = key(1);
    let age = |now| l1.get(key.name(), now).map(|hit| hit.age);
    l1.put(&key, Entry { fresh_until: 10, expires: 20, gone: 30, ..entry(1, 100) }, 5, || true);
    assert_eq!([age(9), age(10), age(19)], [Some(Age::Fresh), Some(Age::Stale), Some(Age::Stale)]);
    assert_eq!([age(20), age(29)], [Some(Age::Expired); 2]);
    assert_eq!(l1.len(), 1);
    assert_eq!(age(30), None);
    assert_eq!((l1.len(), l1.weight()), (0, 0));
}

#[test]
fn a_read_near_the_end_asks_whether_to_renew_and_one_far_from_it_does_not() {
    let l1 = L1::new(MIB, Orders::new(None, 0));
    let lead = Lead::new(std::time::Duration::from_millis(10), 1.0);
    assert_eq!(lead.window(), 120);
    // The second is so near its beginning that the window is longer than the clock has run.
    for (n, fresh_until, first) in [(1, 1_000, 880), (2, 100, 0)] {
        let new = Entry { fresh_until, lead, expires: fresh_until + 500, gone: fresh_until + 900, ..entry(n, 100) };
        l1.put(&key(n), new, 0, || true);
        let ask = |now, due: bool| {
            let mut asked = None;
            let hit = l1.get_by(
                key(n).name(),
                now,
                |asking, left| {
                    asked = Some((asking, left));
                    due
                },
                |_| {},
            );
            (hit.unwrap().age, asked)
        };
        assert!(first == 0 || ask(first - 1, true) == (Age::Fresh, None));
        assert_eq!(ask(first, true), (Age::Early, Some((lead, fresh_until - first))));
        assert_eq!(ask(fresh_until - 1, false), (Age::Fresh, Some((lead, 1))));
        assert_eq!(ask(fresh_until, true), (Age::Stale, None));
        assert_eq!(ask(fresh_until + 500, true), (Age::Expired, None));
        l1.expire(&key(n), fresh_until - 1);
        assert_eq!(ask(fresh_until - 1, true), (Age::Expired, None));
    }
}

#[test]
fn the_last_tick_of_all_does_not_wrap() {
    let l1 = L1::new(MIB, Orders::new(None, 0));
    put(&l1, &key(1), 1, 100);
    let age = l1.get(key(1).name(), FOREVER - 1).unwrap().age;
    assert_eq!(age, Age::Fresh);
    assert!(!l1.put(&key(2), entry(1, 100), FOREVER, || true));
    // Weights saturate too: no entry is so heavy that it seems light.
    assert!(!put(&l1, &key(3), 1, usize::MAX));
    l1.validate(MIB);
}

#[test]
fn expired_entry_removes_the_older_one_and_is_not_kept() {
    let l1 = L1::new(MIB, Orders::new(None, 0));
    put(&l1, &key(1), 1, 100);
    assert!(!l1.put(&key(1), until(7), 7, || true));
    assert_eq!(l1.len(), 0);
}

#[test]
fn puts_of_other_keys_reclaim_what_is_gone() {
    let l1 = L1::with_shards(MIB, 1..=1, Orders::new(None, 0));
    for n in 0..100 {
        l1.put(&key(n), until(10), 0, || true);
    }
    for n in 100..150 {
        l1.put(&key(n), until(1_000), 10, || true);
    }
    assert_eq!(l1.len(), 50);
    l1.validate(MIB);
}

#[test]
fn what_is_gone_never_outlives_its_turn() {
    let l1 = L1::with_shards(MIB, 1..=1, Orders::new(None, 0));
    for n in 0..100 {
        l1.put(&key(n), until(10), 0, || true);
        read(&l1, &key(n));
    }
    // Reads of the past buy no second round.
    for n in 1_000..1_100 {
        l1.put(&key(n), entry(n, MIB / 10), 10, || true);
    }
    assert!((0..100).all(|n| read(&l1, &key(n)).is_none()));
}

#[test]
fn the_ledger_is_exact_and_the_bound_holds_after_every_put() {
    for (seed, max_bytes, shards) in [(1, 64 * 1024, 1), (2, MIB, 16), (3, 300_007, 8), (4, 16 * MIB, 256)] {
        let l1 = L1::with_shards(max_bytes, shards..=shards, Orders::new(None, 0));
        let mut rng = Rng::with_seed(seed);
        for now in 0..20_000 {
            let key = key(rng.u64(..4_000));
            let heavy = if rng.u8(..) < 8 { max_bytes / 7 } else { max_bytes / 800 };
            let gone = if rng.bool() { FOREVER } else { now + rng.u64(..4_000) };
            let entry = Entry { gone, expires: gone, ..entry(now, rng.usize(..heavy)) };
            let fits = entry.weight + key.as_str().len() + OVERHEAD <= max_bytes / 8 && gone > now;
            match rng.u8(..10) {
                0 => l1.remove(&key),
                1..=3 => drop(l1.get(key.name(), now)),
                _ => {
                    assert_eq!(l1.put(&key, entry, now, || true), fits);
                    assert_eq!(l1.get(key.name(), now).map(|hit| number(&hit.held)), fits.then_some(now));
                    assert!(l1.weight() <= max_bytes);
                }
            }
            if now % 100 == 0 {
                l1.validate(max_bytes);
            }
        }
        l1.validate(max_bytes);
        assert!(l1.len() > 100, "{} entries left", l1.len());
    }
}

#[test]
fn entries_of_a_share_take_its_bytes_at_most_and_make_room_among_themselves() {
    for (most, weight) in [(100_000, 300), (40_000, 5_000)] {
        let l1 = L1::with_shards(MIB, 16..=16, Orders::new(None, 0));
        let share = Share::new(most);
        let bounded = |n: u64| Entry { share: Some(Arc::clone(&share)), ..entry(n, weight) };
        (0..1_000).for_each(|n| assert!(put(&l1, &key(n), n, 300)));
        let free = l1.weight();
        let mut rng = Rng::with_seed(1);
        for n in 10_000..14_000 {
            let key = key(n - rng.u64(..20));
            assert!(l1.put(&key, bounded(n), 0, || true));
            assert_eq!(read(&l1, &key), Some(n));
            assert!(l1.weight() - free <= most, "{} of {most}", l1.weight() - free);
        }
        assert!(l1.weight() - free > most * 3 / 4, "only {} of {most}", l1.weight() - free);
        assert_eq!((0..1_000).filter(|n| read(&l1, &key(*n)).is_none()).count(), 0, "the others stay");
        assert!(!l1.put(&key(10_000), Entry { weight: most, ..bounded(1) }, 0, || true), "more than the share");
        l1.clear();
        assert_eq!(share.used(), 0, "what left takes nothing");
        l1.validate(MIB);
    }
}

#[test]
fn of_a_share_what_was_read_stays_longer() {
    let l1 = L1::with_shards(MIB, 1..=1, Orders::new(None, 0));
    let share = Share::new(100_000);
    let put = |n: u64| l1.put(&key(n), Entry { share: Some(Arc::clone(&share)), ..entry(n, 300) }, 0, || true);
    (0..50).for_each(|n| assert!(put(n) && read(&l1, &key(n)).is_some()));
    (100..300).for_each(|n| assert!(put(n)));
    assert!((0..50).all(|n| read(&l1, &key(n)).is_some()));
}

#[test]
fn an_eighth_of_the_budget_fits_and_what_it_borrowed_comes_back() {
    let l1 = L1::with_shards(MIB, 16..=16, Orders::new(None, 0));
    let fill = |from| (from..from + 4_000).for_each(|n| assert!(put(&l1, &key(n), n, 300)));
    fill(0);
    let full = l1.weight();
    assert!(full > MIB * 9 / 10);
    let big = MIB / 8 - OVERHEAD - "t:9999".len();
    assert!(put(&l1, &key(9_999), 1, big));
    assert!(put(&l1, &key(9_999), 2, big - 5));
    assert_eq!(read(&l1, &key(9_999)), Some(2));
    l1.validate(MIB);
    let others = l1.weight() - MIB / 8;
    assert!(others > full * 3 / 4, "only {others} of {full} bytes of other entries are left");
    l1.remove(&key(9_999));
    fill(10_000);
    l1.validate(MIB);
    assert!(l1.weight() > MIB * 9 / 10);
}

#[test]
fn a_hot_set_survives_a_scan() {
    let l1 = L1::new(MIB, Orders::new(None, 0));
    let hot: Vec<_> = (0..200).map(key).collect();
    hot.iter().for_each(|key| assert!(put(&l1, key, 1, 400)));
    for _ in 0..2 {
        hot.iter().for_each(|key| assert_eq!(read(&l1, key), Some(1)));
    }
    (10_000..30_000).for_each(|n| assert!(put(&l1, &key(n), n, 400)));
    assert!(l1.len() < 2_000);
    assert!(hot.iter().all(|key| read(&l1, key).is_some()));
}

#[test]
fn back_and_forth_access_does_not_freeze_the_store() {
    let l1 = L1::with_shards(MIB, 1..=1, Orders::new(None, 0));
    let weight = MIB / 500 - OVERHEAD - 6;
    let pass: Vec<_> = (0..2_000).chain((0..2_000).rev()).map(key).collect();
    let mut hits = 0;
    for key in pass.iter().cycle().take(12 * pass.len()) {
        if read(&l1, key).is_some() {
            hits += 1;
        } else {
            put(&l1, key, 0, weight);
        }
    }
    // The optimum is a quarter.
    assert!(hits * 100 / (12 * pass.len()) >= 15, "{hits} hits");
}

#[test]
fn a_refusal_removes_the_older_entry_unless_it_was_not_admitted() {
    let l1 = L1::new(MIB, Orders::new(None, 0));
    put(&l1, &key(1), 1, 100);
    put(&l1, &key(2), 2, 100);
    assert!(!l1.put(&key(1), entry(3, 100), 0, || false));
    assert!(!l1.put(&key(1), entry(3, MIB / 8), 0, || false));
    assert!(!l1.put(&key(1), entry(3, MIB / 10), 0, || false));
    assert_eq!(read(&l1, &key(1)), Some(1));
    assert!(!put(&l1, &key(1), 3, MIB / 8));
    assert_eq!((read(&l1, &key(1)), read(&l1, &key(2)), l1.len()), (None, Some(2), 1));
    l1.validate(MIB);
}

/// A value that uses the cache while it is dropped.
struct Nosy {
    l1: Weak<L1>,
    locked: Arc<AtomicBool>,
}

impl Drop for Nosy {
    fn drop(&mut self) {
        let Some(l1) = self.l1.upgrade() else { return };
        if l1.shards.iter().any(|line| line.0.try_lock().is_err()) {
            self.locked.store(true, Ordering::Relaxed);
            return;
        }
        l1.put(&key(77), entry(1, 10), 0, || true);
        read(&l1, &key(77));
    }
}

#[test]
fn values_are_dropped_outside_of_every_lock() {
    let l1 = Arc::new(L1::with_shards(MIB, 16..=16, Orders::new(None, 0)));
    let locked = Arc::new(AtomicBool::new(false));
    let nosy = |weight, gone| {
        let held = held(Nosy { l1: Arc::downgrade(&l1), locked: Arc::clone(&locked) });
        Entry { held, gone, ..entry(0, weight) }
    };
    for n in 0..6_000 {
        l1.put(&key(n), nosy(500, 10), 0, || true);
    }
    l1.put(&key(5_999), nosy(700, 10), 0, || true);
    l1.put(&key(5_999), nosy(500, 10), 0, || false);
    l1.put(&key(5_998), nosy(MIB / 9, 10), 0, || true);
    l1.put(&key(5_998), nosy(MIB, 10), 0, || true);
    l1.remove(&key(5_997));
    l1.get(key(5_996).name(), 10);
    (7_000..7_100).for_each(|n| assert!(l1.put(&key(n), nosy(500, 20), 10, || true)));
    assert!(!locked.load(Ordering::Relaxed));
    l1.validate(MIB);
}

#[test]
fn threads_share_it_and_never_see_a_value_of_another_key() {
    let l1 = L1::with_shards(MIB, 16..=16, Orders::new(None, 0));
    thread::scope(|scope| {
        for seed in 0..8 {
            let l1 = &l1;
            scope.spawn(move || {
                let mut rng = Rng::with_seed(seed);
                for _ in 0..10_000 {
                    let n = rng.u64(..3_000);
                    let key = key(n);
                    match rng.u8(..16) {
                        0 => l1.remove(&key),
                        weighing @ 1..=8 => {
                            let most = if weighing == 1 { MIB / 9 } else { 2_000 };
                            put(l1, &key, n, rng.usize(..most));
                        }
                        _ => assert!(read(l1, &key).is_none_or(|found| found == n)),
                    }
                }
            });
        }
    });
    l1.validate(MIB);
}

#[test]
fn hit_miss_and_update_of_known_size_allocate_nothing() {
    let l1 = L1::new(MIB, Orders::new(None, 0));
    let (known, unknown) = (key(1), key(2));
    put(&l1, &known, 1, 100);
    let renewed = entry(2, 100);
    let info = measure(|| {
        assert!(l1.get(known.name(), 0).is_some());
        assert!(l1.get(unknown.name(), 0).is_none());
        assert!(l1.put(&known, renewed, 0, || true));
    });
    assert_eq!(info.count_total, 0);
}

#[test]
fn real_memory_stays_near_the_budget() {
    const BUDGET: usize = 10 * MIB;
    // As the system's allocator does it: a header a block, all in steps of sixteen.
    let real = |info: allocation_counter::AllocationInfo| info.bytes_current + info.count_current * 16;
    for (size, shards, head) in [(0, 16, 1), (100, 64, 1), (100, 16, 60), (300, 16, 1), (300, 256, 1), (3_000, 32, 1)] {
        let head = "h".repeat(head);
        let l1 = std::cell::OnceCell::new();
        let info = measure(|| {
            let l1 = l1.get_or_init(|| L1::with_shards(BUDGET, shards..=shards, Orders::new(None, 0)));
            for n in 0..100_000 {
                let value = vec![0_u8; size];
                let weight = weigh(&value);
                let key = Key::new("t", (&head, n)).unwrap();
                l1.put(&key, Entry { held: held(value), ..entry(n, weight) }, 0, || true);
            }
        });
        let percent = real(info) * 100 / BUDGET as i64;
        assert!(
            (80..=112).contains(&percent),
            "{percent} % of the budget with values of {size} bytes and heads of {} in {shards} shards",
            head.len()
        );
    }
}

#[test]
fn an_eviction_does_not_walk_a_shard_full_of_reads() {
    let l1 = L1::with_shards(MIB, 1..=1, Orders::new(None, 0));
    let weight = MIB / 1_024 - OVERHEAD - "t:1234".len();
    (0..1_000).for_each(|n| assert!(put(&l1, &key(n), n, weight)));
    (0..3_000).for_each(|n| assert!(read(&l1, &key(n % 1_000)).is_some()));
    (1_000..1_100).find(|n| {
        assert!(put(&l1, &key(*n), *n, weight));
        l1.len() as u64 == *n
    });
    assert_eq!(read(&l1, &key(256)), None, "the first after those it spared");
    assert!((0..1_000).filter(|n| *n != 256).all(|n| read(&l1, &key(n)).is_some()));
    l1.validate(MIB);
}

#[test]
fn tables_shrink_with_the_population() {
    let l1 = std::cell::OnceCell::new();
    let info = measure(|| {
        let l1 = l1.get_or_init(|| L1::new(4 * MIB, Orders::new(None, 0)));
        (0..40_000).for_each(|n| assert!(put(l1, &key(n), n, 16)));
        (0..40_000).for_each(|n| l1.remove(&key(n)));
    });
    assert_eq!(l1.get().unwrap().len(), 0);
    assert!(info.bytes_max > 2 * MIB as u64);
    // Fingerprints and counts of keys that left stay, four to eight bytes for each entry that was there.
    assert!(info.bytes_current < 240_000, "{} bytes for no entries", info.bytes_current);
}

#[test]
fn shards_follow_the_cores_and_the_budget() {
    assert_eq!(shard_count(100 * MIB, 1), 16);
    assert_eq!(shard_count(100 * MIB, 5), 64);
    assert_eq!(shard_count(128 * MIB, 200), 256);
    assert_eq!(shard_count(100 * MIB, 200), 256);
    assert_eq!(shard_count(MIB, 64), 64, "each has 16 KiB at least");
    assert_eq!(shard_count(0, 2), 1);
    assert_eq!(align_of::<Line>(), 128);
}

#[test]
fn a_budget_of_nothing_holds_nothing() {
    let l1 = L1::new(0, Orders::new(None, 0));
    assert!(!put(&l1, &key(1), 1, 0));
    assert_eq!((l1.len(), l1.weight(), read(&l1, &key(1))), (0, 0, None));
}
