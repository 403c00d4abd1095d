//! Events as `tracing` events, with feature `tracing`.
//!
//! Target `cachekit`. Backend failures, failed computations that no caller hears of, values not stored and warnings are
//! warnings; unreadable entries and void results are infos; outcomes, other computations, invalidations and operations
//! that are not tried are debug. Keys appear as short hashes.

use super::{BreakerState, Event, Observer};

/// Writes events to `tracing`.
#[derive(Debug)]
pub(crate) struct TracingObserver {
    /// Whether outcomes and computations are told, too.
    pub(crate) verbose: bool,
}

impl Observer for TracingObserver {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Answered { key, outcome } if self.verbose => {
                tracing::debug!(target: "cachekit", %key, ?outcome, "answered");
            }
            Event::Computed { key, elapsed, failure: Some(failure), hidden: true, .. } => {
                tracing::warn!(target: "cachekit", %key, ?elapsed, error = format_args!("{failure:#}"), "computation failed");
            }
            Event::Computed { key, elapsed, failure: Some(failure), .. } if self.verbose => {
                tracing::debug!(target: "cachekit", %key, ?elapsed, error = format_args!("{failure:#}"), "computation failed");
            }
            Event::Computed { key, elapsed, .. } if self.verbose => {
                tracing::debug!(target: "cachekit", %key, ?elapsed, "computed");
            }
            Event::Invalidated { scope, effect, origin, .. } if self.verbose => {
                tracing::debug!(target: "cachekit", ?scope, ?effect, ?origin, "invalidated");
            }
            Event::Missed { key, reason } if self.verbose => {
                tracing::debug!(target: "cachekit", %key, %reason, "missed");
            }
            Event::Missed { .. } | Event::Answered { .. } | Event::Computed { .. } | Event::Invalidated { .. } => {}
            Event::Fenced { key } => {
                tracing::info!(target: "cachekit", %key, "result not stored: invalidated meanwhile")
            }
            Event::BackendFailed { key, operation, error } => {
                tracing::warn!(target: "cachekit", %key, ?operation, %error, "backend failed");
            }
            Event::Refused { key, operation, reason } => {
                tracing::debug!(target: "cachekit", %key, ?operation, ?reason, "backend not asked");
            }
            Event::Breaker { part, state: BreakerState::Open } => {
                tracing::warn!(target: "cachekit", part, "the breaker is open: this part of the backend is left alone");
            }
            Event::Breaker { part, state } => {
                tracing::info!(target: "cachekit", part, ?state, "the breaker has changed");
            }
            Event::Unreadable { key, reason } => tracing::info!(target: "cachekit", %key, ?reason, "entry not usable"),
            Event::NotStored { key, error } => tracing::warn!(target: "cachekit", %key, %error, "value not stored"),
            Event::GivenUp { key } => {
                tracing::warn!(target: "cachekit", %key, "a failed change is given up: the backend may hold an older value");
            }
            Event::Gap { name } => tracing::warn!(target: "cachekit", %name, "messages may be lost: L1 is read anew"),
            Event::Switched { tier, paused: true } => {
                tracing::warn!(target: "cachekit", ?tier, "paused: calls go by this tier");
            }
            Event::Switched { tier, .. } => tracing::info!(target: "cachekit", ?tier, "resumed"),
            Event::Bypassed { key, tier } if self.verbose => {
                tracing::debug!(target: "cachekit", %key, ?tier, "bypassed: the tier is paused");
            }
            Event::Bypassed { .. } => {}
            Event::Warning { message } => tracing::warn!(target: "cachekit", message),
        }
    }
}
