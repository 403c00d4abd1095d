//! Events as `tracing` events, with feature `tracing`.
//!
//! Target `cachekit`. Backend failures, values not stored and warnings are warnings; unreadable entries and void
//! results are infos; outcomes and computations are debug. Keys appear as short hashes.

use super::{Event, Observer};

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
            Event::Computed { key, elapsed, succeeded } if self.verbose => {
                tracing::debug!(target: "cachekit", %key, ?elapsed, succeeded, "computed");
            }
            Event::Answered { .. } | Event::Computed { .. } => {}
            Event::Fenced { key } => {
                tracing::info!(target: "cachekit", %key, "result not stored: invalidated meanwhile")
            }
            Event::BackendFailed { key, operation, error } => {
                tracing::warn!(target: "cachekit", %key, ?operation, %error, "backend failed");
            }
            Event::Unreadable { key, reason } => tracing::info!(target: "cachekit", %key, ?reason, "entry not usable"),
            Event::NotStored { key, error } => tracing::warn!(target: "cachekit", %key, %error, "value not stored"),
            Event::Gap { name } => tracing::warn!(target: "cachekit", %name, "messages may be lost: L1 is read anew"),
            Event::Warning { message } => tracing::warn!(target: "cachekit", message),
        }
    }
}
