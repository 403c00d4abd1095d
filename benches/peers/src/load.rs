//! Loads: keys, values, and the order in which keys are asked for.

use serde::{Deserialize, Serialize};

/// How many keys an order names before it starts over. A power of two.
const ORDER: usize = 1 << 20;

/// Keys of text of 24 bytes.
pub(crate) fn texts(count: usize) -> Vec<String> {
    (0..count).map(text).collect()
}

/// The key of text with this number.
pub(crate) fn text(id: usize) -> String {
    format!("user-profile-{id:011}")
}

/// Numbers below `count`, in an order that comes again and again.
pub(crate) struct Order(Vec<u32>);

impl Order {
    /// Always the same.
    pub(crate) fn hot() -> Self {
        Self(vec![0])
    }

    /// Zipf's law: the number of rank k comes as often as 1 / k to the power of `skew`.
    pub(crate) fn zipf(count: usize, skew: f64) -> Self {
        let (zipf, mut random) = (Zipf::new(count, skew), fastrand::Rng::with_seed(7));
        Self((0..ORDER).map(|_| zipf.draw(&mut random) as u32).collect())
    }

    /// Each as often as any other.
    pub(crate) fn uniform(count: usize) -> Self {
        let mut random = fastrand::Rng::with_seed(7);
        Self((0..ORDER).map(|_| random.u32(..count as u32)).collect())
    }

    pub(crate) fn at(&self, turn: usize) -> usize {
        self.0[turn & (self.0.len() - 1)] as usize
    }
}

/// Draws numbers by Zipf's law. Which number has which rank is shuffled, so that neighbours are not alike.
pub(crate) struct Zipf {
    sums: Vec<f64>,
    ranks: Vec<u32>,
}

impl Zipf {
    pub(crate) fn new(count: usize, skew: f64) -> Self {
        let mut sum = 0.0;
        let sums = (1..=count).map(|rank| {
            sum += 1.0 / (rank as f64).powf(skew);
            sum
        });
        let sums = sums.collect();
        let mut ranks: Vec<u32> = (0..count as u32).collect();
        fastrand::Rng::with_seed(42).shuffle(&mut ranks);
        Self { sums, ranks }
    }

    pub(crate) fn draw(&self, random: &mut fastrand::Rng) -> usize {
        let point = random.f64() * self.sums[self.sums.len() - 1];
        self.ranks[self.sums.partition_point(|sum| *sum <= point).min(self.ranks.len() - 1)] as usize
    }
}

/// A value with two texts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct User {
    id: u64,
    name: String,
    email: String,
    age: u32,
}

impl User {
    pub(crate) fn new(id: u64) -> Self {
        Self { id, name: format!("user number {id}"), email: format!("user{id}@example.org"), age: 30 }
    }
}

/// A value that is as long as asked: mostly text, of words that repeat as those of a language do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Page {
    id: u64,
    public: bool,
    score: f64,
    body: String,
}

impl Page {
    /// A page of about `size` bytes in postcard.
    pub(crate) fn new(id: u64, size: usize) -> Self {
        let mut random = fastrand::Rng::with_seed(id);
        let mut body = String::with_capacity(size);
        let length = size.saturating_sub(14);
        while body.len() < length {
            // Few words are frequent and many are rare, as in a text.
            let word = (random.f64() * random.f64() * 4_000.0) as u32;
            body.push_str(&format!("{:x} ", word.wrapping_mul(2_654_435_761) >> 8));
        }
        body.truncate(length);
        Self { id, public: true, score: 0.5, body }
    }

    /// Whether this is the page with this number.
    pub(crate) fn is(&self, id: usize) -> bool {
        self.id == id as u64 && !self.body.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_as_long_as_asked() {
        for size in [200, 16 << 10] {
            let stored = postcard::to_stdvec(&Page::new(7, size)).unwrap();
            assert!(stored.len().abs_diff(size) <= 4, "{}", stored.len());
        }
    }

    #[test]
    fn the_first_ranks_come_as_often_as_the_law_says() {
        let (zipf, mut random) = (Zipf::new(100, 1.0), fastrand::Rng::with_seed(1));
        let mut counts = [0; 100];
        (0..100_000).for_each(|_| counts[zipf.draw(&mut random)] += 1);
        let [first, second] = [0, 1].map(|rank: usize| f64::from(counts[zipf.ranks[rank] as usize]));
        assert!((first / second - 2.0).abs() < 0.15 && (first / 19_278.0 - 1.0).abs() < 0.05, "{first} {second}");
    }

    #[test]
    fn texts_have_24_bytes() {
        assert_eq!(text(99_999).len(), 24);
    }
}
