//! The rules of single settings.
//!
//! Each judges what was asked under a name: gives it if it is allowed, else its default and a problem. They hold
//! wherever a value comes from; the environment's own parsers only say them in its words.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::parse;
use super::policy::Grace;
use super::problem::{Fault, Problem};

pub(super) fn refuse(problems: &mut Vec<Problem>, name: &'static str, rule: impl Into<String>, fix: impl Into<String>) {
    problems.push(Problem::new(name, Fault::new(rule.into(), fix.into())));
}

/// Anything.
pub(super) fn or<T>(_: &mut Vec<Problem>, _: &'static str, asked: Option<T>, default: T) -> T {
    asked.unwrap_or(default)
}

/// Anything; its default depends on others.
pub(super) fn asked<T>(_: &mut Vec<Problem>, _: &'static str, asked: Option<T>) -> Option<T> {
    asked
}

/// A share of something.
pub(crate) fn share(problems: &mut Vec<Problem>, name: &'static str, asked: Option<f64>) -> Option<f64> {
    let value = asked?;
    let is_share = value > 0.0 && value <= 1.0;
    if !is_share {
        refuse(problems, name, "must be above 0 and at most 1", "set it to, for example, 0.1");
    }
    is_share.then_some(value)
}

pub(super) fn within<T>(
    problems: &mut Vec<Problem>,
    name: &'static str,
    asked: Option<T>,
    default: T,
    range: RangeInclusive<T>,
) -> T
where
    T: PartialOrd + Copy + fmt::Display,
{
    let value = asked.unwrap_or(default);
    if range.contains(&value) {
        return value;
    }
    let rule = format!("must be from {} to {}", range.start(), range.end());
    refuse(problems, name, rule, format!("set it to, for example, {default}"));
    default
}

/// Above zero.
pub(super) fn time(
    problems: &mut Vec<Problem>,
    name: &'static str,
    asked: Option<Duration>,
    default: Duration,
) -> Duration {
    lasting(problems, name, asked).unwrap_or(default)
}

/// Above zero, if asked for.
pub(super) fn lasting(problems: &mut Vec<Problem>, name: &'static str, asked: Option<Duration>) -> Option<Duration> {
    let value = asked?;
    if parse::lasts(value) {
        return Some(value);
    }
    refuse(problems, name, "must be above zero and at most 3,650 days", "set a time within these bounds");
    None
}

/// Zero or more.
pub(super) fn pause(
    problems: &mut Vec<Problem>,
    name: &'static str,
    asked: Option<Duration>,
    default: Duration,
) -> Duration {
    let value = asked.unwrap_or(default);
    if value <= parse::LONGEST {
        return value;
    }
    refuse(problems, name, "must be at most 3,650 days", "set a shorter time");
    default
}

/// At least a tenth of a second, if asked for: the bus is asked four times as often, and clocks are coarse.
pub(super) fn staleness(problems: &mut Vec<Problem>, name: &'static str, asked: Option<Duration>) -> Option<Duration> {
    let value = lasting(problems, name, asked)?;
    if value >= Duration::from_millis(100) {
        return Some(value);
    }
    refuse(problems, name, "must be at least 0.1 s", "raise it, or turn L1 off");
    None
}

pub(super) fn grace(problems: &mut Vec<Problem>, name: &'static str, asked: Option<Grace>) -> Grace {
    match asked.unwrap_or(Grace::For(Duration::ZERO)) {
        Grace::Ttl => Grace::Ttl,
        Grace::For(duration) => Grace::For(pause(problems, name, Some(duration), Duration::ZERO)),
    }
}

/// Bytes, at least one.
pub(super) fn value_size(problems: &mut Vec<Problem>, name: &'static str, asked: Option<u64>, default: usize) -> usize {
    match asked {
        None => default,
        Some(0) => {
            refuse(problems, name, "must be at least 1 byte", format!("set it to, for example, {default}"));
            default
        }
        Some(size) => usize::try_from(size).unwrap_or(usize::MAX),
    }
}

/// MB above zero, in bytes. So is the default.
pub(super) fn chunk_size(problems: &mut Vec<Problem>, name: &'static str, asked: Option<f64>, default: usize) -> usize {
    let Some(megabytes) = asked else { return default };
    parse::bytes(megabytes).unwrap_or_else(|| {
        problems.push(Problem::new(name, parse::above_zero("set it to, for example, 50")));
        default
    })
}

/// MB of at least one, in bytes. So is the default.
pub(super) fn l1_size(problems: &mut Vec<Problem>, name: &'static str, asked: Option<f64>, default: usize) -> usize {
    let Some(megabytes) = asked else { return default };
    parse::bytes(megabytes).filter(|&size| size >= 1 << 20).unwrap_or_else(|| {
        let fix = "set it to, for example, 100, or turn L1 off";
        problems.push(Problem::new(name, parse::from_one(fix)));
        default
    })
}

/// Above 0 and at most 100.
pub(super) fn percentile(problems: &mut Vec<Problem>, name: &'static str, asked: Option<f64>, default: f64) -> f64 {
    let value = asked.unwrap_or(default);
    // Asked this way round, NaN is refused, too.
    if value > 0.0 && value <= 100.0 {
        return value;
    }
    refuse(problems, name, "must be above 0 and at most 100", "set it to, for example, 95");
    default
}
