//! Lifetimes, as memcached counts them.
//!
//! A server's clock moves once a second, so an entry stored for n seconds may be gone after n-1. One more second makes
//! every entry live at least as long as asked. Beyond 30 days a server takes the number for a date.

use std::time::Duration;

use crate::error::{Error, ErrorKind};

/// The longest time that is no date, in seconds.
const RELATIVE: u64 = 30 * 24 * 60 * 60;
/// The latest date a server understands: 2038-01-19.
const LATEST: u64 = i32::MAX as u64;

/// What to send for `ttl`, at `wall` milliseconds since the Unix epoch.
///
/// # Errors
/// [`ErrorKind::Argument`] for zero, and for what ends beyond 2038-01-19.
pub(super) fn wire(ttl: Duration, wall: u64) -> Result<u32, Error> {
    if ttl.is_zero() {
        return Err(Error::new(ErrorKind::Argument, "the ttl is zero: give the entry a life, or remove it"));
    }
    let seconds = ttl.as_secs().saturating_add(u64::from(ttl.subsec_nanos() > 0)).saturating_add(1);
    let number = if seconds <= RELATIVE { seconds } else { wall.div_ceil(1_000).saturating_add(seconds) };
    u32::try_from(number).ok().filter(|_| number <= LATEST).ok_or_else(|| {
        let message = "memcached keeps nothing beyond 2038-01-19: give the entry a shorter ttl";
        Error::new(ErrorKind::Argument, message)
    })
}

/// What to send for a lease of `hold`, which is to end soon after its holder has died: the second that [`wire`] adds
/// is left out, where the lease is long enough to be renewed within the others.
pub(super) fn lease(hold: Duration, wall: u64) -> Result<u32, Error> {
    let second = Duration::from_secs(1);
    wire(if hold > second { hold - second } else { hold }, wall)
}

/// How much longer an entry is kept that the server keeps for so many seconds, `-1` for ever.
pub(super) fn left(seconds: i64, forever: Duration) -> Duration {
    // The second that `wire` adds is not counted.
    u64::try_from(seconds).map_or(forever, |seconds| Duration::from_secs(seconds.saturating_sub(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: u64 = 1_800_000_000_500;

    #[test]
    fn ttl_rounds_up_plus_a_second_for_the_coarse_server_clock() {
        for (millis, seconds) in [(1, 2), (999, 2), (1_000, 2), (1_001, 3), (60_000, 61)] {
            assert_eq!(wire(Duration::from_millis(millis), WALL).unwrap(), seconds, "{millis} ms");
        }
        assert_eq!(wire(Duration::from_nanos(1), WALL).unwrap(), 2);
    }

    #[test]
    fn lease_hold_rounds_up_to_whole_seconds_and_at_least_two() {
        for (millis, seconds) in [(1, 2), (1_000, 2), (1_500, 2), (2_000, 2), (2_001, 3), (30_000, 30)] {
            assert_eq!(lease(Duration::from_millis(millis), WALL).unwrap(), seconds, "{millis} ms");
        }
        assert_eq!(lease(Duration::ZERO, WALL).unwrap_err().kind(), ErrorKind::Argument);
    }

    #[test]
    fn beyond_thirty_days_it_is_a_date() {
        let days = |days: u64| Duration::from_secs(days * 86_400);
        assert_eq!(wire(days(30) - Duration::from_secs(1), WALL).unwrap(), 2_592_000);
        assert_eq!(wire(days(30), WALL).unwrap(), 1_800_000_001 + 2_592_001);
        assert_eq!(wire(days(365), WALL).unwrap(), 1_800_000_001 + 31_536_001);
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        for ttl in [Duration::ZERO, Duration::from_secs(3_650 * 86_400 * 2), Duration::MAX] {
            assert_eq!(wire(ttl, WALL).unwrap_err().kind(), ErrorKind::Argument, "{ttl:?}");
        }
    }

    #[test]
    fn what_is_left_is_never_told_too_long() {
        let forever = Duration::from_secs(9);
        for (seconds, expected) in [(-1, 9), (0, 0), (1, 0), (61, 60)] {
            assert_eq!(left(seconds, forever), Duration::from_secs(expected), "{seconds}");
        }
    }
}
