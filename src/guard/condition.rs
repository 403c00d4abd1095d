//! Condition: what is known of a backend, and its permits.
//!
//! It belongs to the store, not to each cache over it: what one cache finds out holds for the others, and all together
//! have no more operations under way than one may. Caches share it that reach the same store, are set to judge it alike,
//! and measure time with the same clock.
//!
//! Parts of a backend fail alone, such as the masters of a Redis cluster, so each part has a condition of its own: the
//! breaker of one that is dead keeps no operation from the others, and an answer of the others does not excuse it.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::breaker::Breaker;
use super::bulkhead::Bulkhead;
use super::limits::Limits;
use super::pace::Pace;
use super::pulse::Pulse;
use super::retry::Retries;
use super::writes::Writes;
use crate::backends::Capabilities;
use crate::clock::Clock;
use crate::config::{self, AdaptiveTimeout, Backpressure, Policy};

/// What is known of the parts of one backend.
#[derive(Debug)]
pub(super) struct Conditions {
    parts: Box<[Condition]>,
    store: Option<u64>,
    rules: Rules,
    clock: Arc<dyn Clock>,
}

/// What is known of one part of a backend.
#[derive(Debug)]
pub(super) struct Condition {
    pub(super) limits: Limits,
    pub(super) breaker: Option<Breaker>,
    pub(super) bulkhead: Option<Bulkhead>,
    pub(super) pulse: Pulse,
    pub(super) pace: Pace,
    pub(super) writes: Writes,
    pub(super) retries: Retries,
    pub(super) clock: Arc<dyn Clock>,
}

/// What decides how a backend is judged.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Rules {
    operation_timeout: Duration,
    adaptive_timeout: Option<AdaptiveTimeout>,
    breaker: Option<config::Breaker>,
    backpressure: Option<Backpressure>,
    retries: u32,
    parts: u16,
}

impl Conditions {
    /// Those of a backend of so many parts which no other cache is known to use.
    pub(super) fn new(policy: &Policy, parts: u16, clock: Arc<dyn Clock>) -> Self {
        let Policy { operation_timeout, adaptive_timeout, breaker, backpressure, retries, .. } = *policy;
        let parts = parts.max(1);
        let rules = Rules { operation_timeout, adaptive_timeout, breaker, backpressure, retries, parts };
        let bulkheads =
            backpressure.map(|rules| Bulkhead::of_parts(rules, parts, operation_timeout, Arc::clone(&clock)));
        let mut bulkheads = bulkheads.into_iter().flatten();
        let part = |_| Condition {
            limits: Limits::new(policy),
            breaker: breaker.map(Breaker::new),
            bulkhead: bulkheads.next(),
            pulse: Pulse::default(),
            pace: Pace::default(),
            writes: Writes::default(),
            retries: Retries::new(retries),
            clock: Arc::clone(&clock),
        };
        let parts = (0..parts).map(part).collect();
        Self { parts, store: None, rules, clock }
    }

    /// Those of the backend that can do this. They are shared with the caches that use it already.
    pub(super) fn of(can: Capabilities, policy: &Policy, clock: Arc<dyn Clock>) -> Arc<Self> {
        static ALL: Mutex<Vec<Weak<Conditions>>> = Mutex::new(Vec::new());
        let breaker = policy.breaker.filter(|_| !can.isolates);
        let new = Self { store: can.store, ..Self::new(&Policy { breaker, ..policy.clone() }, can.parts, clock) };
        if new.store.is_none() {
            return Arc::new(new);
        }
        // A list is whole between its own calls.
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|known| known.strong_count() > 0);
        if let Some(known) = all.iter().filter_map(Weak::upgrade).find(|known| known.is_that_of(&new)) {
            return known;
        }
        let new = Arc::new(new);
        all.push(Arc::downgrade(&new));
        new
    }

    /// That of each part.
    pub(super) fn parts(&self) -> &[Condition] {
        &self.parts
    }

    fn is_that_of(&self, other: &Self) -> bool {
        self.store == other.store && self.rules == other.rules && Arc::ptr_eq(&self.clock, &other.clock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{SystemClock, system};
    use crate::config::Settings;

    #[test]
    fn condition_is_shared_by_caches_of_one_store_policy_and_clock() {
        let policy = Settings::default().decide(&mut Vec::new());
        let can = Capabilities::new("shelf").store("it is shared");
        let one = Conditions::of(can, &policy, system());
        let is_one = |can, policy: &Policy, clock| Arc::ptr_eq(&one, &Conditions::of(can, policy, clock));
        assert!(is_one(can, &policy, system()));
        assert!(!is_one(Capabilities::new("shelf").store("another"), &policy, system()));
        assert!(!is_one(Capabilities::new("shelf"), &policy, system()), "what is not known to be the same is not");
        assert!(!is_one(can, &Policy { retries: 9, ..policy.clone() }, system()));
        assert!(!is_one(can, &policy, Arc::new(SystemClock)));
        assert!(
            is_one(can, &Policy { max_value_size: 9, ..policy.clone() }, system()),
            "that is no matter of the store"
        );
        let weak = Arc::downgrade(&one);
        drop(one);
        assert!(weak.upgrade().is_none(), "it ends with the last cache");
    }
}
