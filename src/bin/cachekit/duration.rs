//! Durations as people write them.

use std::time::Duration;

/// `500ms`, `10s`, `5m`, `1h`; a number alone is seconds.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.find(|char: char| !char.is_ascii_digit() && char != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit.trim() {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        _ => return Err("write it as 500ms, 10s, 5m or 1h".to_owned()),
    };
    let number: f64 = number.parse().map_err(|_| "begin with a number, as in 10s".to_owned())?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| "write a shorter time".to_owned())
}

/// In two figures of the unit that fits.
pub(super) fn short(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        _ if seconds < 0.001 => format!("{:.0} µs", seconds * 1e6),
        _ if seconds < 1.0 => format!("{:.1} ms", seconds * 1e3),
        _ if seconds < 120.0 => format!("{seconds:.1} s"),
        _ if seconds < 7_200.0 => format!("{:.0} min", seconds / 60.0),
        _ if seconds < 172_800.0 => format!("{:.0} h", seconds / 3_600.0),
        _ => format!("{:.0} d", seconds / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_shown() {
        for (text, millis) in [("500ms", 500), ("10s", 10_000), ("2", 2_000), ("1.5m", 90_000), ("1h", 3_600_000)] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "10 parsecs", "-1s", "1e99h", "nan"] {
            assert!(parse(text).is_err(), "{text}");
        }
        for (millis, text) in [(7, "7.0 ms"), (1_500, "1.5 s"), (300_000, "5 min"), (90_000_000, "25 h")] {
            assert_eq!(short(Duration::from_millis(millis)), text);
        }
        assert_eq!(short(Duration::from_micros(250)), "250 µs");
    }
}
