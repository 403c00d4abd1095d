//! How each part of a backend is at the moment, for metrics.

use std::time::Duration;

use super::Guard;
use super::executor::Executor;
use crate::event::BreakerState;

/// How one part of a backend is.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) breaker: Option<BreakerState>,
    /// Operations under way, and those of callers that wait; zero where nothing bounds them.
    pub(crate) running: usize,
    pub(crate) waiting: usize,
    /// The adaptive timeouts: of which operations, of values of which size.
    pub(crate) timeouts: Vec<(&'static str, &'static str, Duration)>,
}

impl<B> Guard<B> {
    /// How each part is.
    pub(crate) fn readings(&self) -> impl Iterator<Item = Reading> {
        self.parts.iter().map(Executor::reading)
    }
}

impl Executor {
    fn reading(&self) -> Reading {
        let condition = self.condition();
        let (running, waiting) = condition.bulkhead.as_ref().map_or((0, 0), super::bulkhead::Bulkhead::load);
        Reading { breaker: self.breaker(), running, waiting, timeouts: condition.limits.timeouts() }
    }
}
