//! Numbers: medians, quantiles, spreads, and how they are written.

/// The median, or NaN of nothing.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().filter(|value| !value.is_nan()).collect();
    values.sort_unstable_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => values[length / 2],
        length => f64::midpoint(values[length / 2 - 1], values[length / 2]),
    }
}

/// How far the values lie apart, as a part of their median.
pub(crate) fn spread(values: impl IntoIterator<Item = f64> + Clone) -> f64 {
    let ends = values.clone().into_iter().filter(|value| !value.is_nan());
    let (low, high) =
        ends.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    let middle = median(values);
    if high > low { (high - low) / middle } else { 0.0 }
}

/// The value at `quantile` of nanoseconds, in microseconds.
pub(crate) fn quantile_micros(nanos: &mut [u32], quantile: f64) -> f64 {
    if nanos.is_empty() {
        return f64::NAN;
    }
    let index = ((nanos.len() - 1) as f64 * quantile) as usize;
    f64::from(*nanos.select_nth_unstable(index).1) / 1e3
}

/// With about three digits; nothing is a dash.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => String::from("-"),
        0.0 => String::from("0"),
        size if size >= 99.95 => grouped(value.round()),
        size if size >= 9.995 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// A whole number with commas.
fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::from(if value < 0.0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_two() {
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median([3.0, f64::NAN, 1.0, 2.0]), 2.0);
        assert!(median([]).is_nan());
    }

    #[test]
    fn the_spread_is_of_the_ends_to_the_middle() {
        assert!((spread([9.0, 10.0, 12.0]) - 0.3).abs() < 1e-9);
        assert_eq!(spread([5.0]), 0.0);
    }

    #[test]
    fn quantiles_are_of_the_sorted_values() {
        let mut all: Vec<u32> = (0..=100).rev().map(|n| n * 1_000).collect();
        assert_eq!((quantile_micros(&mut all, 0.5), quantile_micros(&mut all, 0.99)), (50.0, 99.0));
        assert!(quantile_micros(&mut [], 0.5).is_nan());
    }

    #[test]
    fn three_digits_are_shown() {
        for (value, text) in [(1_234_567.8, "1,234,568"), (123.4, "123"), (12.34, "12.3"), (1.234, "1.23"), (0.0, "0")]
        {
            assert_eq!(short(value), text);
        }
        assert_eq!(short(f64::NAN), "-");
    }
}
