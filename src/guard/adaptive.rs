//! The adaptive timeout: as long as operations take.
//!
//! The last latencies fall into bins that grow by the same factor, from the shortest timeout to the longest; what is
//! beyond either is clamped anyway. The percentile is found by counting from the longest bin down, which is short,
//! since only so many are above it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::clock::millis;
use crate::config::AdaptiveTimeout as Rules;

/// The timeout is this much longer than the percentile.
const SLACK: f64 = 1.5;
/// Latencies below which the timeout is the initial one.
const FEW: usize = 10;
/// Steps between the shortest and the longest timeout.
const BINS: u8 = 64;

/// The timeout of one kind of operation.
#[derive(Debug)]
pub(crate) struct Adaptive {
    rules: Rules,
    /// The logarithm of the factor between two bins.
    step: f64,
    /// In milliseconds.
    timeout: AtomicU64,
    window: Mutex<Window>,
}

#[derive(Debug)]
struct Window {
    /// How many latencies each bin has. The last holds all that are longer.
    counts: [u32; BINS as usize + 1],
    /// The bins of the latencies, in a ring.
    bins: Vec<u8>,
    next: usize,
}

impl Adaptive {
    pub(crate) fn new(rules: Rules) -> Self {
        let step = (rules.max.as_secs_f64() / rules.min.as_secs_f64()).ln() / f64::from(BINS);
        let window = Window { counts: [0; BINS as usize + 1], bins: Vec::new(), next: 0 };
        Self { rules, step, timeout: AtomicU64::new(millis(rules.initial)), window: Mutex::new(window) }
    }

    /// The timeout of the next operation.
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout.load(Relaxed))
    }

    /// Takes note of an operation that took so many milliseconds, or was given up after them.
    pub(crate) fn note(&self, latency: u64) {
        let bin = self.bin(latency);
        // One that comes while another is noted is not missed among a thousand.
        let Ok(mut window) = self.window.try_lock() else { return };
        window.put(bin, self.rules.window);
        if window.bins.len() >= FEW {
            self.timeout.store(millis(self.length(window.percentile(self.rules.percentile))), Relaxed);
        }
    }

    /// The bin whose timeout is the shortest that is long enough for such a latency, with the slack.
    fn bin(&self, latency: u64) -> u8 {
        let ratio = latency as f64 / 1_000.0 * SLACK / self.rules.min.as_secs_f64();
        if ratio <= 1.0 {
            return 0;
        }
        let bin = (ratio.ln() / self.step).ceil();
        // Where all timeouts are one, the step is zero, and what is beyond it infinitely many.
        if bin < f64::from(BINS) { bin as u8 } else { BINS }
    }

    fn length(&self, bin: usize) -> Duration {
        let length = self.rules.min.mul_f64((self.step * bin as f64).exp());
        length.clamp(self.rules.min, self.rules.max)
    }
}

impl Window {
    /// Adds a latency's bin in place of the oldest of `most`.
    fn put(&mut self, bin: u8, most: usize) {
        let place = self.next;
        if self.bins.len() < most {
            self.bins.push(bin);
        } else {
            let gone = std::mem::replace(&mut self.bins[place], bin);
            self.counts[usize::from(gone)] -= 1;
        }
        self.next = (place + 1) % most;
        self.counts[usize::from(bin)] += 1;
    }

    fn percentile(&self, percentile: f64) -> usize {
        let above = (self.bins.len() as f64 * (1.0 - percentile / 100.0)).floor() as u32;
        let mut longer = 0;
        for (bin, count) in self.counts.iter().enumerate().rev() {
            longer += count;
            if longer > above {
                return bin;
            }
        }
        0
    }
}

/// The milliseconds of a timeout that a latency of so many milliseconds stands for, at least.
#[cfg(test)]
fn slack(latency: u64) -> u64 {
    millis(Duration::from_millis(latency).mul_f64(SLACK))
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;

    fn rules(window: usize, percentile: f64) -> Rules {
        let [initial, min, max] = [1_000, 100, 5_000].map(Duration::from_millis);
        Rules { initial, min, max, window, percentile }
    }

    #[test]
    fn the_timeout_is_the_initial_one_until_ten_are_measured() {
        let adaptive = Adaptive::new(rules(1_000, 95.0));
        for _ in 0..9 {
            adaptive.note(1);
            assert_eq!(adaptive.timeout(), Duration::from_secs(1));
        }
        adaptive.note(1);
        assert_eq!(adaptive.timeout(), Duration::from_millis(100));
    }

    #[test]
    fn it_follows_up_and_down_within_its_bounds_and_forgets() {
        let adaptive = Adaptive::new(rules(100, 95.0));
        (0..100).for_each(|_| adaptive.note(0));
        (0..5).for_each(|_| adaptive.note(1_000));
        assert_eq!(millis(adaptive.timeout()), 100, "five of a hundred are above the percentile");
        adaptive.note(1_000);
        assert!((1_500..1_600).contains(&millis(adaptive.timeout())), "{:?}", adaptive.timeout());
        (0..100).for_each(|_| adaptive.note(60_000));
        assert_eq!(millis(adaptive.timeout()), 5_000);
        (0..95).for_each(|_| adaptive.note(200));
        assert!((300..320).contains(&millis(adaptive.timeout())), "{:?}", adaptive.timeout());
    }

    #[test]
    fn bounds_that_are_one_are_the_timeout() {
        let second = Duration::from_secs(1);
        let rules = Rules { initial: second, min: second, max: second, window: 10, percentile: 50.0 };
        let adaptive = Adaptive::new(rules);
        for latency in [0, 1, 600, 700, 1_000, 5_000].into_iter().cycle().take(60) {
            adaptive.note(latency);
            assert_eq!(adaptive.timeout(), second);
        }
    }

    #[test]
    fn it_is_the_percentile_of_the_window_with_slack_to_a_bin() {
        for seed in 0..500 {
            let mut rng = Rng::with_seed(seed);
            let latencies: Vec<u64> = (0..rng.usize(10..300)).map(|_| rng.u64(..8_000)).collect();
            let (window, percentile) = (rng.usize(10..150), rng.u32(1..=100));
            let adaptive = Adaptive::new(rules(window, f64::from(percentile)));
            latencies.iter().for_each(|latency| adaptive.note(*latency));
            let mut kept = latencies[latencies.len().saturating_sub(window)..].to_vec();
            kept.sort_unstable();
            let above = (kept.len() as f64 * (1.0 - f64::from(percentile) / 100.0)).floor() as usize;
            let expected = slack(kept[kept.len() - 1 - above.min(kept.len() - 1)]).clamp(100, 5_000);
            let found = millis(adaptive.timeout());
            // One bin is a factor of 50^(1/64), or 6.3 %.
            let is_near = found + 1 >= expected && found as f64 <= expected as f64 * 1.064 + 1.0;
            assert!(is_near, "seed {seed}: {found} of {expected}");
        }
    }
}
