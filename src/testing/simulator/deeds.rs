//! Deeds: the calls of a simulation.
//!
//! Which keys each concerns, and what is left of them, so that all that judges asks one place.

use super::homes::{domain_of, is_loaded};

/// A call of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Deed {
    Get,
    GetFromL1,
    GetFromL2,
    /// Of all keys of one home, by one call.
    GetMany,
    /// Of all keys of one home, by one call.
    ComputeMany,
    /// By a loader.
    Load,
    /// Of all keys that are loaded, by a call each and a loader that gathers them.
    LoadTogether,
    /// Of all keys that are loaded, by one call.
    LoadMany,
    Compute,
    ComputeAnew,
    Set,
    Invalidate,
    /// Of all keys of one home.
    InvalidateMany,
    InvalidateTag(&'static str),
    /// Of all tags.
    InvalidateTags,
    InvalidateNamespace,
    Clear,
    Expire,
    ExpireAll,
    /// Of the domain of a key, as the next two.
    InvalidateDomain,
    ClearDomain,
    ExpireDomain,
}

/// All tags.
pub(super) const TAGS: [&str; 2] = ["red", "blue"];

/// The tags of a key. They reach across domains, and a loader names none.
pub(super) fn tags_of(key: usize) -> &'static [&'static str] {
    if is_loaded(key) {
        return &[];
    }
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
            Self::GetMany | Self::ComputeMany | Self::LoadTogether | Self::LoadMany | Self::InvalidateMany => {
                domain_of(own) == domain_of(key)
            }
            _ if self.is_of_a_domain() => domain_of(own) == domain_of(key),
            Self::InvalidateNamespace | Self::Clear | Self::ExpireAll => true,
            _ => own == key,
        }
    }

    pub(super) fn computes(self) -> bool {
        matches!(self, Self::Compute | Self::ComputeAnew | Self::ComputeMany) || self.loads()
    }

    /// Whether a loader computes.
    pub(super) fn loads(self) -> bool {
        self.loads_alone() || self == Self::LoadMany
    }

    /// Whether a loader is asked for each key by a call of its own.
    pub(super) fn loads_alone(self) -> bool {
        matches!(self, Self::Load | Self::LoadTogether)
    }

    /// Whether a load of several keys, which calls wait for, may compute.
    pub(super) fn gathers(self) -> bool {
        self == Self::ComputeMany || self.loads()
    }

    /// Whether it can be done to a key.
    pub(super) fn fits(self, key: usize) -> bool {
        (!self.is_of_a_domain() || domain_of(key).is_some()) && (!self.loads() || is_loaded(key))
    }

    /// Whether it is about a whole domain.
    fn is_of_a_domain(self) -> bool {
        matches!(self, Self::InvalidateDomain | Self::ClearDomain | Self::ExpireDomain)
    }

    /// Whether it is a call about several keys, each of which is judged by itself.
    pub(super) fn is_batch(self) -> bool {
        matches!(self, Self::GetMany | Self::ComputeMany | Self::LoadTogether | Self::LoadMany)
    }

    pub(super) fn changes(self) -> bool {
        matches!(self, Self::Set | Self::Invalidate | Self::InvalidateMany | Self::Expire) || self.sweeps()
    }

    /// Whether it needs the ledger.
    pub(super) fn sweeps(self) -> bool {
        let tags = matches!(self, Self::InvalidateTag(_) | Self::InvalidateTags);
        let all = matches!(self, Self::InvalidateNamespace | Self::Clear | Self::ExpireAll);
        tags || all || self.is_of_a_domain()
    }

    /// Whether what was there may still stand in for a computation that fails.
    pub(super) fn expires(self) -> bool {
        matches!(self, Self::Expire | Self::ExpireAll | Self::ExpireDomain)
    }

    /// Whether keys that failed lately are tried again after it.
    pub(super) fn tries_again(self) -> bool {
        let tags = matches!(self, Self::InvalidateTag(_) | Self::InvalidateTags);
        self.changes() && !tags && !matches!(self, Self::InvalidateNamespace | Self::InvalidateDomain)
    }
}
