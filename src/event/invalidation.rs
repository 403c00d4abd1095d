//! Invalidations: what, how, and by whom.

use std::fmt;

use crate::key::Key;

/// What an invalidation is about.
///
/// `Debug` shows no key and no name of a tag.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scope<'a> {
    /// The entry of a key.
    Key(&'a Key),
    /// Every entry with a tag.
    #[non_exhaustive]
    Tag {
        /// The tag, where this cache was given it: processes tell one another fingerprints. It may carry personal data.
        name: Option<&'a str>,
        /// 64 bits of a hash of the tag, the same in every process.
        fingerprint: u64,
    },
    /// Every entry of the namespace, those of all tenants included.
    Namespace,
    /// Every entry of a domain, in all tenants. Of another process it is told as [`Scope::Tag`].
    #[non_exhaustive]
    Domain {
        /// What the domain is called.
        name: &'a str,
    },
}

impl fmt::Debug for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => key.fmt(f),
            Self::Tag { fingerprint, .. } => write!(f, "Tag({fingerprint:016x})"),
            Self::Namespace => f.write_str("Namespace"),
            Self::Domain { name } => write!(f, "Domain({name})"),
        }
    }
}

/// What became of the entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Effect {
    /// They are gone.
    Invalidated,
    /// They are fallbacks for failing and slow computations, as long as their grace lasts.
    Expired,
    /// They are gone, and their memory with them. Of another process it is told as [`Effect::Invalidated`].
    Cleared,
}

/// Who asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// This cache, one of its clones, its tenants or its domains.
    Here,
    /// Another cache of the namespace, by the bus.
    Elsewhere,
}
