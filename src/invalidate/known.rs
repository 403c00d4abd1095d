//! What this process knows of the versions.

use std::num::NonZeroUsize;

use lru::LruCache;

use super::record::{Expired, Record, expired_at};
use crate::seal::Marks;

/// How long a generation is believed, in ticks.
const BELIEVED: u64 = 1_000;

/// Of so many tags the version is remembered, at some 80 bytes each; what is asked for least is forgotten first.
const TAGS: NonZeroUsize = NonZeroUsize::new(65_536).unwrap();

/// What this process knows.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) generation: u64,
    /// The tick at which the generation was asked for, if it is believed.
    pub(super) asked: Option<u64>,
    /// The version of the namespace in this generation.
    namespace: Option<u64>,
    /// The versions of tags in this generation.
    tags: LruCache<u64, u64>,
    /// The versions that expired, beside that of the namespace.
    expired: Vec<Expired>,
    /// The tick from which on they were gathered.
    pub(super) since: u64,
    /// How often the generation was distrusted.
    pub(super) distrusts: u64,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            generation: 0,
            asked: None,
            namespace: None,
            tags: LruCache::sparse(TAGS),
            expired: Vec::new(),
            since: 0,
            distrusts: 0,
        }
    }
}

impl Known {
    pub(super) fn is_believed(&self, now: u64) -> bool {
        self.asked.is_some_and(|asked| now.saturating_sub(asked) < BELIEVED)
    }

    /// Begins to gather the versions of this `generation`, at this tick.
    pub(super) fn begin(&mut self, generation: u64, since: u64) {
        self.generation = generation;
        self.namespace = None;
        self.tags.clear();
        self.expired.clear();
        self.since = since;
    }

    /// Remembers versions of this generation.
    pub(super) fn remember(&mut self, current: &Current) {
        self.namespace = Some(current.marks.namespace);
        self.expired.clone_from(&current.expired);
        for (tag, version) in &current.marks.tags {
            self.tags.put(*tag, *version);
        }
    }

    /// The versions of the namespace and of these tags in this generation, if all of them are known.
    pub(super) fn recall(&mut self, tags: &[u64]) -> Option<Current> {
        let namespace = self.namespace?;
        let tags = tags.iter().map(|tag| Some((*tag, *self.tags.get(tag)?))).collect::<Option<_>>()?;
        Some(Current { marks: Marks { namespace, tags }, expired: self.expired.clone() })
    }

    /// What these marks say of an entry, if that is known.
    pub(super) fn admits(&mut self, found: &Marks, now: u64) -> Option<Admission> {
        if !self.is_believed(now) {
            return None;
        }
        let namespace = self.namespace?;
        let mut tagged = true;
        for (tag, version) in &found.tags {
            tagged &= self.tags.get(tag)? == version;
        }
        Some(Admission::of(found.namespace, namespace, &self.expired, tagged))
    }
}

/// The versions of the namespace and of some tags at one moment.
#[derive(Debug)]
pub(super) struct Current {
    /// What an entry is marked with that is made at this moment.
    pub(super) marks: Marks,
    pub(super) expired: Vec<Expired>,
}

impl Current {
    /// From the record of the namespace and those of these tags, in this order.
    pub(super) fn of(records: Vec<Record>, tags: &[u64]) -> Self {
        let mut records = records.into_iter();
        let Record { version: namespace, expired } = records.next().unwrap_or(Record::new(0));
        let tags = tags.iter().copied().zip(records.map(|record| record.version)).collect();
        Self { marks: Marks { namespace, tags }, expired }
    }

    /// What these versions say of an entry with the same tags.
    pub(super) fn admits(&self, found: &Marks) -> Admission {
        Admission::of(found.namespace, self.marks.namespace, &self.expired, found.tags == self.marks.tags)
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
    fn of(found: u64, now: u64, expired: &[Expired], tagged: bool) -> Self {
        match expired_at(expired, found) {
            _ if !tagged => Self::Void,
            _ if found == now => Self::Valid,
            Some(at) => Self::Expired(at),
            None => Self::Void,
        }
    }
}
