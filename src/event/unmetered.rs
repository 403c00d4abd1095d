//! Meters without feature `metrics`: nothing is measured.

use std::time::Duration;

use super::{Event, Operation};

/// No meters.
#[derive(Debug, Default)]
pub(crate) struct Meters;

impl Meters {
    #[inline]
    pub(crate) fn is_sampled(_: u64, _: u64) -> bool {
        false
    }

    pub(crate) fn event(&self, _: &Event<'_>) {}

    pub(crate) fn looked(&self, _: Duration) {}

    pub(crate) fn waited(&self, _: Duration) {}

    pub(crate) fn operated(&self, _: Operation, _: bool, _: Duration) {}
}
