//! What this process knows of the versions.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::record::{Expired, expired_at};
use crate::seal::Marks;

/// How long a generation is believed, in ticks.
const BELIEVED: u64 = 1_000;

/// Tags share this many versions.
const SLOTS: u64 = 1_024;

/// What has a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Slot {
    Namespace,
    Tag(u16),
}

impl Slot {
    pub(super) fn of(tag: u64) -> Self {
        Self::Tag(number_of(tag))
    }
}

/// The number of a tag's slot.
pub(super) fn number_of(tag: u64) -> u16 {
    (tag % SLOTS) as u16
}

/// What this process knows. At most one version for each slot.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) generation: u64,
    /// The tick at which the generation was asked for, if it is believed.
    pub(super) asked: Option<u64>,
    /// Of this generation.
    pub(super) versions: HashMap<Slot, u64, RandomState>,
    /// The versions that expired, beside that of the namespace.
    pub(super) expired: Vec<Expired>,
    /// The tick from which on they were gathered.
    pub(super) since: u64,
    /// How often the generation was distrusted.
    pub(super) distrusts: u64,
}

impl Known {
    pub(super) fn is_believed(&self, now: u64) -> bool {
        self.asked.is_some_and(|asked| now.saturating_sub(asked) < BELIEVED)
    }

    /// What these marks say of an entry, if that is known.
    pub(super) fn admits(&self, found: &Marks, now: u64) -> Option<Admission> {
        if !self.is_believed(now) {
            return None;
        }
        let namespace = *self.versions.get(&Slot::Namespace)?;
        let mut tagged = true;
        for (tag, version) in &found.tags {
            tagged &= self.versions.get(&Slot::of(*tag))? == version;
        }
        Some(Admission::of(found.namespace, namespace, &self.expired, tagged))
    }
}

/// What the versions say of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Nothing.
    Valid,
    /// It expired with everything else, at this moment since the Unix epoch.
    Expired(u64),
    /// It was invalidated.
    Void,
}

impl Admission {
    /// Of an entry of the version `found`, while that of the namespace is `now`. Its tags are all `tagged` right or not.
    pub(super) fn of(found: u64, now: u64, expired: &[Expired], tagged: bool) -> Self {
        match expired_at(expired, found) {
            _ if !tagged => Self::Void,
            _ if found == now => Self::Valid,
            Some(at) => Self::Expired(at),
            None => Self::Void,
        }
    }
}
