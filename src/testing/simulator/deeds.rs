//! Deeds: the calls of a simulation.
//!
//! Which keys each concerns, and what is left of them, so that all that judges asks one place.

/// A call of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Deed {
    Get,
    GetFromL1,
    GetFromL2,
    /// Of every second key, by one call.
    GetMany,
    /// Of every second key, by one call.
    ComputeMany,
    Compute,
    ComputeAnew,
    Set,
    Invalidate,
    /// Of every second key.
    InvalidateMany,
    InvalidateTag(&'static str),
    /// Of all tags.
    InvalidateTags,
    InvalidateNamespace,
    Clear,
    Expire,
    ExpireAll,
}

/// All tags.
pub(super) const TAGS: [&str; 2] = ["red", "blue"];

/// The tags of a key.
pub(super) fn tags_of(key: usize) -> &'static [&'static str] {
    match key % 4 {
        0 => &TAGS[..1],
        1 => &TAGS,
        2 => &TAGS[1..],
        _ => &[],
    }
}

impl Deed {
    /// Whether it concerns `key`, done to the key `own`.
    pub(super) fn concerns(self, own: usize, key: usize) -> bool {
        match self {
            Self::InvalidateTag(tag) => tags_of(key).contains(&tag),
            Self::InvalidateTags => !tags_of(key).is_empty(),
            Self::InvalidateMany => own % 2 == key % 2,
            Self::InvalidateNamespace | Self::Clear | Self::ExpireAll => true,
            _ => own == key,
        }
    }

    pub(super) fn computes(self) -> bool {
        matches!(self, Self::Compute | Self::ComputeAnew | Self::ComputeMany)
    }

    /// Whether it is a call about several keys, each of which is judged by itself.
    pub(super) fn is_batch(self) -> bool {
        matches!(self, Self::GetMany | Self::ComputeMany)
    }

    pub(super) fn changes(self) -> bool {
        matches!(self, Self::Set | Self::Invalidate | Self::InvalidateMany | Self::Expire) || self.sweeps()
    }

    /// Whether it needs the ledger.
    pub(super) fn sweeps(self) -> bool {
        let tags = matches!(self, Self::InvalidateTag(_) | Self::InvalidateTags);
        tags || matches!(self, Self::InvalidateNamespace | Self::Clear | Self::ExpireAll)
    }

    /// Whether what was there may still stand in for a computation that fails.
    pub(super) fn expires(self) -> bool {
        matches!(self, Self::Expire | Self::ExpireAll)
    }

    /// Whether keys that failed lately are tried again after it.
    pub(super) fn tries_again(self) -> bool {
        self.changes() && !matches!(self, Self::InvalidateTag(_) | Self::InvalidateTags | Self::InvalidateNamespace)
    }
}
