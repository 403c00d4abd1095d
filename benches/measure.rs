//! How two ways to do the same are timed.

use std::time::{Duration, Instant};

/// The medians of two ways, in nanoseconds, measured in turns.
pub fn pair(mut one: impl FnMut(), mut other: impl FnMut()) -> (f64, f64) {
    let (mut ones, mut others) = (Vec::new(), Vec::new());
    let count = rounds(&mut one);
    for _ in 0..201 {
        ones.push(time(count, &mut one));
        others.push(time(count, &mut other));
    }
    (median(ones), median(others))
}

/// How often the work is done in two milliseconds.
fn rounds(work: &mut impl FnMut()) -> u32 {
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < Duration::from_millis(2) {
        work();
        count += 1;
    }
    count
}

fn time(count: u32, work: &mut impl FnMut()) -> f64 {
    let start = Instant::now();
    (0..count).for_each(|_| work());
    start.elapsed().as_nanos() as f64 / f64::from(count)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
