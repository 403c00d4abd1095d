//! What `build` hands to codecs, beside the policy.
//!
//! It goes along in the [`Policy`](super::Policy) that [`Codec::configure`](crate::Codec::configure) sees, so that it
//! reaches a codec however deep in a stack, and is taken out before anyone else can see that policy.

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::secret::Secrets;
use crate::key::NameKey;

/// Takes a message that deserves attention.
pub(crate) type Alarm = Arc<dyn Fn(&str) + Send + Sync>;

/// Keys to encrypt with, whom to warn, and a place for the key of hashed names.
#[derive(Clone, Default)]
#[cfg_attr(not(feature = "encryption"), allow(dead_code, reason = "what reads it encrypts"))]
pub(crate) struct Setup {
    pub(crate) secrets: Secrets,
    pub(crate) alarm: Option<Alarm>,
    /// Filled by a codec that has a key to hash names with.
    pub(crate) names: Arc<OnceLock<NameKey>>,
}

/// It says nothing about how a cache behaves.
impl PartialEq for Setup {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").finish_non_exhaustive()
    }
}
