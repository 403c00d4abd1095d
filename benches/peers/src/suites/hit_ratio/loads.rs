//! Requests: whose keys are numbers without gaps.

use std::collections::HashMap;

use crate::load::Zipf;

/// Requests one after another.
pub(super) struct Load {
    pub(super) name: String,
    pub(super) requests: Vec<u32>,
    /// How many keys there are.
    pub(super) distinct: usize,
    pub(super) sizes: Sizes,
}

/// How large values are, and caches.
pub(super) enum Sizes {
    /// All the same. Caches of so many entries, or of 1 %, 10 % and 50 % of the keys.
    Equal(Option<Vec<usize>>),
    /// Bytes by key. Caches of 1 %, 10 % and 50 % of the bytes.
    Differing(fn(u32) -> u32),
}

impl Load {
    /// Gives keys numbers without gaps, in the order in which they come.
    pub(super) fn new(name: impl Into<String>, keys: impl IntoIterator<Item = u64>) -> Self {
        let mut numbers: HashMap<u64, u32> = HashMap::new();
        let number = |key| {
            let next = numbers.len() as u32;
            *numbers.entry(key).or_insert(next)
        };
        let requests = keys.into_iter().map(number).collect();
        Self { name: name.into(), requests, distinct: numbers.len(), sizes: Sizes::Equal(None) }
    }

    fn with(self, sizes: Sizes) -> Self {
        Self { sizes, ..self }
    }
}

/// 5 % of the values have 64 KB, the others 200 bytes. Which ones has nothing to do with how often they are asked for.
fn seldom_large(id: u32) -> u32 {
    if id.wrapping_mul(2_654_435_761) >> 16 < 65_536 / 20 { 64 << 10 } else { 200 }
}

pub(super) fn synthetic(quick: bool) -> Vec<Load> {
    let keys: u64 = if quick { 1_000 } else { 20_000 };
    let count = keys as usize * 10;
    let zipf = |skew: f64| {
        let (zipf, mut random) = (Zipf::new(keys as usize, skew), fastrand::Rng::with_seed(11));
        std::iter::repeat_with(move || zipf.draw(&mut random) as u64)
    };
    let small = || Sizes::Equal(Some(vec![16, 64, 256, 500]));
    let back_and_forth = (0..keys).chain((0..keys).rev()).cycle();
    vec![
        Load::new("Zipf 0.7", zipf(0.7).take(count)),
        Load::new("Zipf 0.9", zipf(0.9).take(count)),
        Load::new("Zipf 1.1", zipf(1.1).take(count)),
        Load::new("loop", (0..keys).cycle().take(count)),
        Load::new("zigzag", back_and_forth.clone().take(count)),
        Load::new("scans over Zipf 0.9", scans(zipf(0.9), keys).take(count)),
        Load::new("shifting Zipf 0.9", shifting(zipf(0.9), keys).take(count)),
        Load::new("small, Zipf 0.9", zipf(0.9).take(count)).with(small()),
        Load::new("small, scans over Zipf 0.9", scans(zipf(0.9), keys).take(count)).with(small()),
        Load::new("small, loop over 600", (0..600).cycle().take(count)).with(small()),
        Load::new("5 % of 64 KB among 200 B, Zipf 0.9", zipf(0.9).take(count)).with(Sizes::Differing(seldom_large)),
    ]
}

/// After each `keys` requests, half as many keys that come once.
fn scans(base: impl Iterator<Item = u64>, keys: u64) -> impl Iterator<Item = u64> {
    let (period, mut fresh) = (keys + keys / 2, 1 << 40);
    base.zip(0..).map(move |(key, turn)| {
        if turn % period < keys {
            return key;
        }
        fresh += 1;
        fresh
    })
}

/// After each `keys` requests, a tenth of the ranks are other keys'.
fn shifting(base: impl Iterator<Item = u64>, keys: u64) -> impl Iterator<Item = u64> {
    base.zip(0..).map(move |(key, turn)| (key + turn / keys * (keys / 10)) % keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_get_numbers_without_gaps() {
        let load = Load::new("load", [7, 1 << 50, 7, 3]);
        assert_eq!((load.requests, load.distinct), (vec![0, 1, 0, 2], 3));
    }

    #[test]
    fn five_in_a_hundred_are_large() {
        let large = (0..100_000).filter(|id| seldom_large(*id) > 200).count();
        assert!((4_800..5_200).contains(&large), "{large}");
    }
}
