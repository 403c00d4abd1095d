//! The dates that a new entry gets.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::Tiers;
use super::options::Options;
use crate::backends::Backend;
use crate::clock::millis;
use crate::codec::Codec;
use crate::config::LONGEST;
use crate::error::{Error, ErrorKind};
use crate::memory::{Cost, Lead};
use crate::negative;
use crate::seal::{Dates, Value};

impl<B: Backend, C: Codec> Tiers<B, C> {
    /// Decides the dates of a new entry.
    pub(crate) fn plan<T: Value>(&self, options: Options, value: &T) -> Result<Dates, Error> {
        let negative = self.policy.negative_ttl.filter(|_| negative::is_none(value));
        let ttl = options.ttl.or(negative).unwrap_or(self.policy.ttl);
        let grace = self.grace(options, ttl);
        if ttl.is_zero() {
            return Err(Error::new(ErrorKind::Argument, "the ttl is zero: give the entry a life, or do not store it"));
        }
        let longest = self.l2.guard.as_ref().map_or(LONGEST, |guard| guard.capabilities().max_ttl.min(LONGEST));
        if ttl.saturating_add(Duration::from_millis(grace)) > longest {
            let message = format!(
                "a ttl of {} s and {} s of grace are longer than the {} s an entry can be kept here",
                ttl.as_secs(),
                grace / 1_000,
                longest.as_secs()
            );
            return Err(Error::new(ErrorKind::Argument, message));
        }
        let whole = millis(ttl);
        let drawn = self.policy.jitter.then(fastrand::f64);
        let (fresh_for, ttl) = ends(whole, self.policy.swr_threshold_ratio, drawn);
        let clock = if self.l2.guard.is_some() {
            self.l2.longest.fetch_max(whole.saturating_add(grace), Relaxed);
            self.l2.clocks.own(&*self.clock)
        } else {
            0
        };
        let created = self.clock.wall();
        Ok(Dates { created, fresh_for, ttl, grace, own_grace: false, clock })
    }

    /// How far ahead of its end an entry is renewed whose computation took `cost`.
    pub(crate) fn lead(&self, cost: Duration) -> Lead {
        Lead::new(cost, self.policy.xfetch_beta)
    }

    /// What L1 takes into account of what an entry `cost` to compute. What a backend has is read again, which costs as much
    /// for each.
    pub(crate) fn cost(&self, cost: Duration) -> Cost {
        if self.policy.l1_cost_aware && self.l2.guard.is_none() { Cost::of(cost) } else { Cost::default() }
    }

    /// The tick from which L1 does not answer any more with what it takes in at the tick `now`.
    pub(super) fn last_in_l1(&self, now: u64) -> u64 {
        let Some(longest) = self.policy.l1_ttl else { return u64::MAX };
        let drawn = self.policy.jitter.then(fastrand::f64);
        let (_, ends) = ends(millis(longest), None, drawn);
        now.saturating_add(ends)
    }

    /// How long after its expiry an entry with these dates may stand in for this call, in milliseconds.
    pub(super) fn grace_of(&self, options: Options, dates: &Dates) -> u64 {
        let is_own = dates.own_grace && options.stale_if_error.is_none();
        if is_own { dates.grace } else { self.grace(options, Duration::from_millis(dates.ttl)) }
    }

    /// How long after its expiry an entry of this TTL may stand in for a failing computation, in milliseconds.
    pub(super) fn grace(&self, options: Options, ttl: Duration) -> u64 {
        millis(options.stale_if_error.unwrap_or(self.policy.stale_if_error).of(ttl))
    }
}

/// The share of the TTL over which jitter spreads each end of entries that were made at once.
const SPREAD: f64 = 0.1;

/// When an entry is stale and when it is expired: after so many milliseconds, of which `ttl` are the most.
///
/// With jitter, `drawn` from 0 to 1 says where in its spread each end is. Both have one draw, so that they keep their
/// order; the expiry is early by up to the whole spread, because no entry may outlive its TTL.
fn ends(ttl: u64, ratio: Option<f64>, drawn: Option<f64>) -> (u64, u64) {
    let share = |latest: f64| match drawn {
        Some(drawn) => latest - SPREAD * (1.0 - drawn),
        None => latest,
    };
    let at = |share: f64| ((ttl as f64 * share) as u64).clamp(1, ttl.max(1));
    let expires = at(share(1.0));
    let fresh_for = match ratio {
        Some(ratio) if drawn.is_some() => at(share((ratio + SPREAD / 2.0).min(1.0))),
        Some(ratio) => at(ratio),
        None => expires,
    };
    (fresh_for, expires)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_jitter_both_ends_are_exact() {
        assert_eq!(ends(100_000, None, None), (100_000, 100_000));
        assert_eq!(ends(100_000, Some(0.5), None), (50_000, 100_000));
        assert_eq!(ends(100_000, Some(1.0), None), (100_000, 100_000));
        assert_eq!((ends(1, Some(0.1), None), ends(0, None, None)), ((1, 1), (1, 1)));
    }

    #[test]
    fn jitter_spreads_expiry_over_a_tenth_of_the_ttl_never_later() {
        for (ratio, first, last) in [
            (None, 90_000, 100_000),
            (Some(0.1), 5_000, 15_000),
            (Some(0.5), 45_000, 55_000),
            (Some(1.0), 90_000, 100_000),
        ] {
            assert_eq!(ends(100_000, ratio, Some(0.0)), (first, 90_000), "{ratio:?}");
            assert_eq!(ends(100_000, ratio, Some(1.0)), (last, 100_000), "{ratio:?}");
            let mut before = (0, 0);
            for step in 0..=100 {
                let (fresh, expires) = ends(100_000, ratio, Some(f64::from(step) / 100.0));
                assert!(before.0 < fresh && before.1 < expires && fresh <= expires && expires <= 100_000, "{ratio:?}");
                before = (fresh, expires);
            }
        }
    }
}
