//! What one call asks for beyond the cache's policy.

use std::time::Duration;

use crate::config::Grace;
use crate::error::{Error, ErrorKind};
use crate::flight::Reads;
use crate::frame::MAX_TAGS;

/// The options of one call; what is `None` or false is as the policy says.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Options {
    pub(crate) ttl: Option<Duration>,
    pub(crate) stale_if_error: Option<Grace>,
    pub(crate) soft_timeout: Option<Duration>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) wait_for_write: Option<bool>,
    pub(crate) skip_l1_read: bool,
    pub(crate) skip_l2_read: bool,
    pub(crate) skip_l1_write: bool,
    pub(crate) skip_l2_write: bool,
    /// Whether the backend was just asked for the key, and had nothing of use.
    pub(crate) was_read: bool,
    /// Whether other processes are told to drop what they have once the value is stored.
    pub(crate) tells_others: bool,
    /// Renews an entry ahead of its end, and so takes one that is near it for old.
    pub(crate) early: bool,
}

impl Options {
    /// Which tiers are read. Calls that read differently do not share a flight.
    pub(crate) fn reads(self) -> Reads {
        Reads { l1: !self.skip_l1_read, l2: !self.skip_l2_read }
    }

    /// These options for a call that no other can find: nothing is read or kept.
    pub(crate) fn unfindable(self) -> Self {
        let (skip_l1_read, skip_l2_read, skip_l1_write, skip_l2_write) = (true, true, true, true);
        Self { skip_l1_read, skip_l2_read, skip_l1_write, skip_l2_write, ..self }
    }

    /// Refuses what no call can mean.
    #[inline]
    pub(crate) fn check(&self) -> Result<(), Error> {
        for (name, duration) in [("ttl", self.ttl), ("deadline", self.deadline), ("soft_timeout", self.soft_timeout)] {
            if duration == Some(Duration::ZERO) {
                let message = format!("the {name} of this call is zero: give it a length, or leave it out");
                return Err(Error::new(ErrorKind::Argument, message));
            }
        }
        Ok(())
    }
}

/// Refuses more tags than an entry can carry: an entry without some of them would outlive their invalidation.
pub(crate) fn check_tags(tags: &[u64]) -> Result<(), Error> {
    if tags.len() <= MAX_TAGS {
        return Ok(());
    }
    let message = format!(
        "an entry cannot have {} tags: it may have up to {MAX_TAGS}, those of the call and of the computation together; \
         give several entries one tag that they share",
        tags.len()
    );
    Err(Error::new(ErrorKind::Argument, message))
}
