//! Over how many shards entries are spread, and that none is lost or found twice when that changes.

use super::*;

fn of_up_to_16(max_bytes: usize) -> L1 {
    L1::with_shards(max_bytes, 1..=16, Orders::new(None, 0))
}

/// Fills it with entries that weigh so much each, keys included. Returns how many shards are used.
fn fill(l1: &L1, first: u64, weight: usize) -> usize {
    let count = 2 * (l1.max_bytes / weight) as u64;
    (first..first + count).for_each(|n| assert!(put(l1, &key(n), n, weight - OVERHEAD - 12)));
    l1.validate(l1.max_bytes);
    l1.used()
}

#[test]
fn large_entries_share_few_shards_and_small_ones_use_all() {
    for (weight, shards) in
        [(MIB / 16, 1), (MIB / 127, 1), (MIB / 150, 2), (MIB / 600, 8), (MIB / 1_100, 16), (250, 16)]
    {
        assert_eq!(fill(&of_up_to_16(MIB), 1_000_000, weight), shards, "of {weight} bytes");
    }
    assert_eq!(L1::new(MIB, Orders::new(None, 0)).used(), 1);
}

#[test]
fn the_number_of_shards_follows_the_weights() {
    let l1 = of_up_to_16(MIB);
    let refill = |first, weight| {
        l1.clear();
        fill(&l1, first, weight)
    };
    assert_eq!(refill(1_000_000, 250), 16);
    assert_eq!(refill(2_000_000, MIB / 20), 1);
    assert_eq!(refill(3_000_000, 400), 16);
    // Of these each shard still has 50, which is enough not to swing.
    assert_eq!(refill(4_000_000, MIB / 800), 16);
}

#[test]
fn entries_that_are_spread_anew_are_all_found_and_keep_their_order_and_reads() {
    let l1 = of_up_to_16(MIB);
    let count = LOOKED as u64 - 1;
    (0..count).for_each(|n| assert!(put(&l1, &key(n), n, 250)));
    read(&l1, &key(3));
    assert_eq!(l1.used(), 1);
    assert!(put(&l1, &key(count), count, 250));
    assert_eq!((l1.used(), l1.len()), (16, LOOKED));
    l1.validate(MIB);
    let mut sights = Vec::new();
    let mut progress = Progress::default();
    while !l1.walk(&mut progress, 0, &mut |sight| sights.push((sight.text.to_owned(), sight.heat))) {}
    sights.sort();
    let all = (0..LOOKED).map(|n| (format!("t:{n}"), if n == 3 { 3 } else { 1 }));
    let mut all: Vec<_> = all.collect();
    all.sort();
    assert_eq!(sights, all);
    // Thinly spread again, what came first goes first.
    l1.spread_over(1);
    l1.validate(MIB);
    (100..112).for_each(|n| assert!(put(&l1, &key(n), n, MIB / 12)));
    assert_eq!((read(&l1, &key(0)), read(&l1, &key(3))), (None, Some(3)), "the first one goes, but one that was read");
}

/// How many newcomers there are before the first look.
const LOOKED: usize = 16;

#[test]
fn a_few_large_values_are_hit_as_often_as_in_one_shard() {
    let hits = |l1: L1, entries: usize| {
        let (mut rng, weight) = (Rng::with_seed(5), MIB / entries - OVERHEAD - 6);
        let mut hits = 0;
        for _ in 0..30_000 {
            let key = key(3_000.0_f64.powf(rng.f64()) as u64);
            if read(&l1, &key).is_some() {
                hits += 1;
            } else {
                put(&l1, &key, 0, weight);
            }
        }
        l1.validate(MIB);
        hits
    };
    for entries in [16, 64, 256, 512] {
        let one = hits(L1::with_shards(MIB, 1..=1, Orders::new(None, 0)), entries);
        let many = hits(L1::new(MIB, Orders::new(None, 0)), entries);
        assert!(many + 300 >= one, "{many} hits with {entries} entries, {one} in one shard");
    }
}

#[test]
fn threads_find_what_they_put_while_entries_are_spread_anew() {
    let l1 = of_up_to_16(MIB);
    thread::scope(|scope| {
        for thread in 0..4_u64 {
            let l1 = &l1;
            scope.spawn(move || {
                for n in 0..6_000 {
                    // Keys of its own, of weights that change.
                    let key = key(thread * 1_000_000 + n % 7);
                    let weight = if n / 500 % 2 == 0 { 100 } else { MIB / 20 };
                    assert!(put(l1, &key, n, weight));
                    assert!(read(l1, &key).is_none_or(|found| found == n));
                    l1.remove(&key);
                    assert_eq!(read(l1, &key), None);
                    (0..4).for_each(|other| {
                        _ = put(l1, &super::key(thread * 1_000_000 + 100 + n * 4 + other), n, weight)
                    });
                }
            });
        }
    });
    l1.validate(MIB);
}
