//! How durations are spread.

use std::time::Duration;

use serde_json::{Value, json};

use super::duration::short;

/// Durations, the shortest first.
#[derive(Debug)]
pub(super) struct Spread(Vec<Duration>);

impl Spread {
    pub(super) fn of(mut durations: Vec<Duration>) -> Self {
        durations.sort_unstable();
        Self(durations)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The duration that so many percent do not exceed; zero if there is none.
    pub(super) fn percentile(&self, percent: f64) -> Duration {
        let place = (self.0.len() as f64 * percent / 100.0).ceil() as usize;
        self.0.get(place.clamp(1, self.0.len().max(1)) - 1).copied().unwrap_or_default()
    }

    pub(super) fn text(&self) -> String {
        let [middle, most, nearly, last] = [50.0, 95.0, 99.0, 100.0].map(|percent| short(self.percentile(percent)));
        format!("p50 {middle}, p95 {most}, p99 {nearly}, longest {last}")
    }

    pub(super) fn json(&self) -> Value {
        let millis = |percent| self.percentile(percent).as_secs_f64() * 1e3;
        json!({
            "count": self.len(), "p50_ms": millis(50.0), "p95_ms": millis(95.0), "p99_ms": millis(99.0),
            "max_ms": millis(100.0),
        })
    }

    /// A bar for each of some steps between the shortest and the 99th percentile, and one for what is longer.
    pub(super) fn chart(&self, width: usize) -> Vec<String> {
        const STEPS: usize = 8;
        let (low, high) = (self.percentile(0.0), self.percentile(99.0));
        let step = ((high - low) / STEPS as u32).max(Duration::from_nanos(1));
        let mut counts = [0usize; STEPS + 1];
        for duration in &self.0 {
            counts[((*duration - low).as_nanos() / step.as_nanos()).min(STEPS as u128) as usize] += 1;
        }
        let most = counts.into_iter().max().unwrap_or(0).max(1);
        let bar = |(index, count): (usize, usize)| {
            let bar = "█".repeat((count * width).div_ceil(most));
            format!("{:>9}  {bar} {count}", short(low + step * index as u32))
        };
        counts.into_iter().enumerate().filter(|(_, count)| *count > 0).map(bar).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_durations_themselves() {
        let spread = Spread::of((1..=100).rev().map(Duration::from_millis).collect());
        let millis = [0.0, 50.0, 95.0, 99.0, 100.0].map(|percent| spread.percentile(percent).as_millis());
        assert_eq!(millis, [1, 50, 95, 99, 100]);
        assert_eq!(Spread::of(Vec::new()).percentile(50.0), Duration::ZERO);
        assert_eq!(spread.chart(10).len(), 9);
        assert!(Spread::of(vec![Duration::from_millis(3); 5]).chart(10)[0].ends_with("██████████ 5"));
    }
}
