//! How often loads are hit that a policy may fail at. The figures of other policies are beside them.

use super::*;

/// Hits in a hundred requests, in one shard that holds so many entries of one size.
fn percent(entries: usize, requests: impl Iterator<Item = u64>) -> usize {
    let l1 = L1::with_shards(4 * MIB, 1..=1, Orders::new(None, 0));
    percent_in(&l1, requests, |_| 4 * MIB / entries - OVERHEAD - "t:123456".len())
}

fn percent_in(l1: &L1, requests: impl Iterator<Item = u64>, weight: impl Fn(u64) -> usize) -> usize {
    let (mut hits, mut all) = (0, 0);
    for n in requests {
        // The same in every run: the hash decides which keys meet in tables.
        let mixed = (n + 1).wrapping_mul(0xD6E8_FEB8_6659_FD93).rotate_left(32).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let key = Key::with_hash(&format!("t:{}", 100_000 + n), mixed);
        all += 1;
        if read(l1, &key).is_some() {
            hits += 1;
        } else {
            put(l1, &key, n, weight(n));
        }
    }
    l1.validate(l1.max_bytes);
    hits * 100 / all
}

/// About a Zipf law with an exponent of one.
fn skewed(keys: u64, seed: u64) -> impl Iterator<Item = u64> {
    let mut rng = Rng::with_seed(seed);
    std::iter::repeat_with(move || (keys as f64).powf(rng.f64()) as u64)
}

#[test]
fn part_of_a_loop_stays_that_does_not_fit() {
    for (keys, least) in [(1_000, 44), (600, 72), (5_000, 8)] {
        // The optimum is 500 of them; LRU has none.
        let hits = percent(500, (0..keys).cycle().take(30 * keys as usize));
        assert!(hits >= least, "{hits} % of a loop over {keys} keys");
    }
}

#[test]
fn back_and_forth_over_twice_what_fits_is_hit() {
    let pass = || (0..1_000).chain((0..1_000).rev());
    let hits = percent(500, pass().cycle().take(60_000));
    // LRU has 49, S3-FIFO that admits all that comes back 13.
    assert!(hits >= 38, "{hits} %");
}

#[test]
fn a_load_that_shifts_is_followed_though_the_old_one_was_read_more_often() {
    let l1 = L1::with_shards(4 * MIB, 1..=1, Orders::new(None, 0));
    let weight = |_| 4 * MIB / 500 - OVERHEAD - "t:123456".len();
    percent_in(&l1, skewed(2_000, 1).take(60_000), weight);
    let shift = |seed: u64| percent_in(&l1, skewed(2_000, seed).map(|n| n + seed * 10_000).take(2_000), weight);
    let hits: Vec<usize> = (2..12).map(shift).collect();
    // By counts alone 602: they keep what was read often.
    assert!(hits.iter().sum::<usize>() >= 615, "{hits:?} % of the first requests after each shift");
}

#[test]
fn a_large_value_does_not_push_out_many_small_ones_that_are_read_as_often() {
    let l1 = L1::new(4 * MIB, Orders::new(None, 0));
    let weight = |n: u64| if n.wrapping_mul(2_654_435_761) >> 8 & 15 == 0 { 64 * 1_024 } else { 200 };
    let hits = percent_in(&l1, skewed(20_000, 4).take(100_000), weight);
    // By counts that do not look at the weight 70.
    assert!(hits >= 75, "{hits} %");
}
