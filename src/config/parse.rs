//! Text to values, by rules of our own.
//!
//! Every parser answers with the value or the [`Fault`] to report; none panics and none repeats its text.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::problem::Fault;

/// The longest duration any setting takes: 3,650 days.
pub(crate) const LONGEST: Duration = Duration::from_secs(3_650 * 24 * 60 * 60);

/// Bytes of one MB in settings.
const MB: f64 = 1_048_576.0;

/// The levels of zlib.
pub(super) const LEVELS: RangeInclusive<u32> = 1..=9;

/// true/false, 1/0, yes/no, on/off, in any case.
pub(super) fn boolean(text: &str) -> Result<bool, Fault> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(Fault::new("must be one of true, false, 1, 0, yes, no, on, off", "set it to true or false")),
    }
}

/// A whole number of this range; the end `u64::MAX` means that there is none. `example` goes into the fix.
pub(super) fn whole<T: TryFrom<u64>>(
    range: RangeInclusive<u64>,
    example: u64,
) -> impl FnOnce(&str) -> Result<T, Fault> {
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| {
            let rule = match range.into_inner() {
                (low, u64::MAX) => format!("must be a whole number of at least {low}"),
                (low, high) => format!("must be a whole number from {low} to {high}"),
            };
            Fault::new(rule, format!("set it to, for example, {example}"))
        })
    }
}

/// A level of zlib.
pub(super) fn level(text: &str) -> Result<u32, Fault> {
    whole(u64::from(*LEVELS.start())..=u64::from(*LEVELS.end()), 6)(text)
}

/// Seconds above zero, with fractions.
pub(super) fn seconds(example: &'static str) -> impl FnOnce(&str) -> Result<Duration, Fault> {
    move |text| {
        let duration = number(text).and_then(|number| Duration::try_from_secs_f64(number).ok());
        duration.filter(|&duration| lasts(duration)).ok_or_else(|| {
            let rule = format!("must be a number of seconds above 0 and at most {}", LONGEST.as_secs());
            Fault::new(rule, format!("set it to, for example, {example}"))
        })
    }
}

/// Seconds of this range, with fractions.
pub(super) fn seconds_of(
    range: RangeInclusive<f64>,
    example: &'static str,
) -> impl FnOnce(&str) -> Result<Duration, Fault> {
    move |text| {
        let number = number(text).filter(|number| range.contains(number));
        number.and_then(|number| Duration::try_from_secs_f64(number).ok()).ok_or_else(|| {
            let rule = format!("must be a number of seconds from {} to {}", range.start(), range.end());
            Fault::new(rule, format!("set it to, for example, {example}"))
        })
    }
}

/// MB above zero, with fractions.
pub(super) fn megabytes(text: &str) -> Result<f64, Fault> {
    number(text).filter(|&number| bytes(number).is_some()).ok_or_else(|| above_zero("set it to, for example, 50"))
}

/// MB of at least one, with fractions.
pub(super) fn megabytes_from_one(text: &str) -> Result<f64, Fault> {
    let number = number(text).filter(|&number| number >= 1.0 && bytes(number).is_some());
    number.ok_or_else(|| from_one("set it to, for example, 100"))
}

pub(super) fn above_zero(fix: &'static str) -> Fault {
    Fault::new("must be a number of MB above 0 that this machine can address", fix)
}

pub(super) fn from_one(fix: &'static str) -> Fault {
    Fault::new("must be a number of MB of at least 1 that this machine can address", fix)
}

/// The bytes of so many MB: at least one, and no more than a machine can address.
pub(super) fn bytes(megabytes: f64) -> Option<usize> {
    let bytes = megabytes * MB;
    // `isize::MAX` is not a number of f64; the next one up is already too much.
    (bytes >= 1.0 && bytes < isize::MAX as f64).then_some(bytes as usize)
}

/// Whether a duration is above zero and not too long for a date.
pub(super) fn lasts(duration: Duration) -> bool {
    !duration.is_zero() && duration <= LONGEST
}

/// A number, perhaps infinite or none at all: every rule here has two bounds, which let neither through.
fn number(text: &str) -> Option<f64> {
    text.parse().ok()
}
