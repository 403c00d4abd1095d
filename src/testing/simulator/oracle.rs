//! The oracle: what is true, and what may be read.
//!
//! Every key has a source whose version counts up when a change begins. A change that has returned lets no later read
//! of its own cache see less, and one that was acknowledged lets no cache see less once the bound on staleness is
//! over. What it knows of computations is in `computing`.

use std::fmt;
use std::hash::Hash;

use xxhash_rust::xxh3::Xxh3Default;

use super::calls::{Call, Computing, Moment, Promised, Running, Value};
use super::deeds::Deed;
use super::source::{Floor, Source};
use super::violation::{Happening, Record};

/// What the caches promise, in ticks.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Promises {
    /// How long after its acknowledgement a change of another process is seen.
    pub(super) bound: Option<u64>,
    /// By how much what is known of the ledger may lag behind, too.
    pub(super) lag: u64,
    /// Whether a late value may come back into the backend: there are no leases.
    pub(super) late: bool,
    /// Whether a failed change is remembered.
    pub(super) recovers: bool,
    pub(super) ttl: u64,
    /// How long what has expired may stand in.
    pub(super) grace: u64,
    /// What a flight may take.
    pub(super) flight: u64,
    pub(super) computing: Promised,
}

/// One cache.
#[derive(Debug)]
pub(super) struct Known {
    /// What its reads may no longer fall below, of each key.
    pub(super) floors: Vec<Floor>,
    /// When everything was cleared last, in the order of events, and of each key the version which that made.
    pub(super) cleared: Vec<(u64, u64)>,
    pub(super) computing: Vec<Computing>,
    /// Whether a sweep that failed may be made again, and make void what is under way, at any moment.
    pub(super) retrying: bool,
    pub(super) closing: bool,
}

/// Everything that is known.
pub(super) struct Oracle {
    pub(super) sources: Vec<Source>,
    pub(super) caches: Vec<Known>,
    pub(super) running: Vec<Running>,
    pub(super) promises: Promises,
    pub(super) step: u64,
    pub(super) order: u64,
    calls: u64,
    pub(super) tally: Tally,
    digest: Xxh3Default,
    /// What was found first, and the key it is about.
    pub(super) found: Option<(String, Option<usize>)>,
    over: bool,
}

/// What was counted.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) reads: u64,
    pub(super) fallbacks: u64,
    pub(super) computations: u64,
    pub(super) changes: u64,
    pub(super) failed_changes: u64,
    pub(super) staleness: u64,
}

impl Oracle {
    pub(super) fn new(keys: usize) -> Self {
        Self {
            sources: (0..keys).map(|_| Source::default()).collect(),
            caches: Vec::new(),
            running: Vec::new(),
            promises: Promises::default(),
            step: 0,
            order: 0,
            calls: 0,
            tally: Tally::default(),
            digest: Xxh3Default::new(),
            found: None,
            over: false,
        }
    }

    /// A cache is built. Returns its number.
    pub(super) fn join(&mut self) -> usize {
        let keys = self.sources.len();
        let computing = vec![Computing::default(); keys];
        let (floors, cleared) = (vec![Floor::default(); keys], vec![(0, 0); keys]);
        let known = Known { floors, cleared, computing, retrying: false, closing: false };
        self.caches.push(known);
        self.caches.len() - 1
    }

    pub(super) fn calls(&self) -> u64 {
        self.calls
    }

    pub(super) fn fingerprint(&self) -> u64 {
        self.digest.digest()
    }

    /// Nothing is judged any more.
    pub(super) fn end(&mut self) {
        self.over = true;
    }

    pub(super) fn is_closing(&self, cache: usize) -> bool {
        self.caches[cache].closing
    }

    /// A cache begins to close: it may forget what its failed changes left to do, and begins nothing that others share.
    pub(super) fn close(&mut self, cache: usize, tick: u64) {
        self.caches[cache].closing = true;
        self.void_all(cache, tick, Happening::Closes);
    }

    /// A cache is no longer paused. If L1 was, it is believed `anew`, so what others changed by now is seen from now on.
    pub(super) fn resume(&mut self, cache: usize, anew: bool, tick: u64) {
        self.void_all(cache, tick, Happening::Resumes);
        if self.promises.late || !anew {
            return;
        }
        for key in 0..self.sources.len() {
            let floor = self.sources[key].floor(tick, 0, self.promises.lag);
            let own = &mut self.caches[cache].floors[key];
            *own = own.max(floor);
        }
    }

    /// Whether a change may begin. Between processes nothing orders a `set` and what begins while it is under way.
    pub(super) fn may_change(&self, cache: usize, key: usize, deed: Deed) -> bool {
        let mut setting = self.concerned(key, deed).flat_map(|key| &self.sources[key].setting);
        setting.all(|setting| *setting == cache)
    }

    fn concerned(&self, own: usize, deed: Deed) -> impl Iterator<Item = usize> + use<> {
        (0..self.sources.len()).filter(move |key| deed.concerns(own, *key))
    }

    /// A call is first polled: what it may read is decided here, and a change makes its version.
    pub(super) fn begin(&mut self, cache: usize, key: usize, deed: Deed, tick: u64) -> Call {
        self.calls += 1;
        self.order += 1;
        let (number, begun) = (self.calls, Moment { order: self.order, tick });
        let (own, others) = (self.caches[cache].floors[key], self.floor(key, tick));
        let mut call = Call { number, cache, key, deed, begun, own, others, version: 0 };
        if !deed.changes() {
            self.note(key, tick, cache, number, Happening::Begins(deed), 0);
            return call;
        }
        for one in self.concerned(key, deed) {
            let version = self.sources[one].change(deed);
            self.caches[cache].computing[one].change(self.order);
            if deed == Deed::Set {
                self.sources[one].setting.push(cache);
            }
            self.note(one, tick, cache, number, Happening::Begins(deed), version);
        }
        call.version = self.sources[key].version;
        call
    }

    /// The versions that a change makes, by key.
    pub(super) fn versions(&self, call: &Call) -> Vec<(usize, u64)> {
        self.concerned(call.key, call.deed).map(|key| (key, self.sources[key].version)).collect()
    }

    /// What no cache may read of a key any more from `tick` on.
    fn floor(&self, key: usize, tick: u64) -> Floor {
        let Promises { bound: Some(bound), lag, .. } = self.promises else { return Floor::default() };
        self.sources[key].floor(tick, bound, lag)
    }

    /// A change returned.
    pub(super) fn changed(&mut self, call: &Call, versions: &[(usize, u64)], failure: Option<Happening>, tick: u64) {
        self.settle(call);
        match failure {
            None => self.tally.changes += 1,
            Some(_) => self.tally.failed_changes += 1,
        }
        let known = &mut self.caches[call.cache];
        known.retrying |= failure.is_some() && call.deed.sweeps();
        let holds = failure.is_none() || self.promises.recovers && !known.closing;
        for (key, version) in versions {
            if holds {
                known.floors[*key].raise(call.deed, *version);
            }
            if call.deed.tries_again() {
                known.computing[*key].tries_again(call.begun, self.order);
            }
            if call.deed == Deed::Clear {
                known.cleared[*key] = (self.order, known.cleared[*key].1.max(*version));
            }
            if failure.is_none() {
                self.sources[*key].acknowledge(call.deed, *version, tick);
            }
        }
        for (key, version) in versions {
            self.note(*key, tick, call.cache, call.number, failure.unwrap_or(Happening::Done), *version);
        }
    }

    /// A change is no longer under way.
    pub(super) fn settle(&mut self, call: &Call) {
        self.order += 1;
        for key in self.concerned(call.key, call.deed) {
            self.caches[call.cache].computing[key].changed(self.order);
        }
        let setting = &mut self.sources[call.key].setting;
        if call.deed == Deed::Set
            && let Some(index) = setting.iter().position(|cache| *cache == call.cache)
        {
            setting.swap_remove(index);
        }
    }

    /// A computation finds that the previous value, of this version, is not modified.
    pub(super) fn confirm(&mut self, key: usize, version: u64, tick: u64) {
        self.sources[key].confirm(version, tick);
    }

    /// A read was answered with a value.
    pub(super) fn judge(&mut self, call: &Call, value: Value, tick: u64) {
        let value = Value { made: self.sources[call.key].made(value.version, value.made), ..value };
        self.order += 1;
        self.tally.reads += 1;
        self.note(call.key, tick, call.cache, call.number, Happening::Value, value.version);
        if let Err(what) = self.fault(call, value).and_then(|()| self.lapse(call, value, tick)) {
            let Call { key, cache, number, deed, .. } = *call;
            self.violated(Some(key), format!("cache {cache}, call {number}, {deed:?} of key {key}: {what}"));
        }
    }

    /// What is wrong with an answer in any case.
    fn fault(&self, call: &Call, value: Value) -> Result<(), String> {
        let Call { key, own, others, .. } = *call;
        let Value { version, .. } = value;
        if value.key != key {
            return Err(format!("a value of key {}", value.key));
        }
        if version > self.sources[key].version {
            return Err(format!("version {version} was never there"));
        }
        let Promises { ttl, grace, flight, bound, .. } = self.promises;
        if version < own.gone && self.is_bound_by_own(call, value) {
            return Err(format!("version {version}, though this cache had made {} before", own.gone));
        }
        if version < others.gone {
            let (newer, bound) = (others.gone, bound.unwrap_or_default());
            return Err(format!("version {version}, though {newer} was acknowledged more than {bound} ms before"));
        }
        let age = call.begun.tick.saturating_sub(value.made);
        if age >= ttl.saturating_add(grace).saturating_add(flight) {
            let what = format!("version {version}, {age} ms old, though it lives {ttl} ms");
            return Err(format!("{what} and stands in for {grace} more"));
        }
        Ok(())
    }

    /// Without leases, what others compute late may come back into the backend.
    fn is_bound_by_own(&self, call: &Call, value: Value) -> bool {
        !(self.promises.late && value.maker != call.cache)
    }

    /// What is wrong with an answer if it has expired.
    fn lapse(&mut self, call: &Call, value: Value, tick: u64) -> Result<(), String> {
        let Call { key, own, others, begun, .. } = *call;
        let (Value { version, made, .. }, Promises { ttl, grace, bound, .. }) = (value, self.promises);
        let expired = if self.is_bound_by_own(call, value) { own.max(others) } else { others }.expired;
        let age = begun.tick.saturating_sub(made);
        if version >= expired && age < ttl {
            self.tally.staleness = self.tally.staleness.max(self.sources[key].age(version, begun.tick));
            return Ok(());
        }
        self.tally.fallbacks += 1;
        if grace > 0 && call.deed.computes() && self.may_stand_in(call, tick) {
            return Ok(());
        }
        let why = if age >= ttl {
            format!("{age} ms old, though it lives {ttl} ms")
        } else if version < others.expired {
            let bound = bound.unwrap_or_default();
            format!("though the expiry {} was acknowledged more than {bound} ms before", others.expired)
        } else {
            format!("though this cache had made the expiry {expired} before")
        };
        Err(format!("version {version}, {why}, and no computation fails or is late"))
    }

    /// What any of these caches has promised, of each key; or what is true.
    ///
    /// Where a late value may have come back, only the truth binds others, once it was told in quiet.
    pub(super) fn expect(&mut self, caches: &[usize], truth: bool) {
        if self.promises.late && !truth {
            return;
        }
        for key in 0..self.sources.len() {
            let Source { version, gone, .. } = self.sources[key];
            let told = caches.iter().map(|cache| self.caches[*cache].floors[key]);
            let told = told.fold(self.sources[key].floor(u64::MAX, 0, 0), Floor::max);
            let floor = if truth { Floor { gone, expired: version } } else { told };
            for cache in caches {
                self.caches[*cache].floors[key] = floor;
            }
        }
    }

    /// Takes note of what happens to a key.
    pub(super) fn note(&mut self, key: usize, tick: u64, cache: usize, call: u64, happening: Happening, version: u64) {
        let record = Record { step: self.step, tick, cache, call, happening, version };
        (key, record).hash(&mut self.digest);
        self.sources[key].note(record);
    }

    pub(super) fn violated(&mut self, key: Option<usize>, what: String) {
        if !self.over && self.found.is_none() {
            self.found = Some((what, key));
        }
    }

    pub(super) fn history(&self, key: Option<usize>) -> Vec<String> {
        let source = key.map(|key| &self.sources[key]);
        source.into_iter().flat_map(|source| &source.history).map(Record::to_string).collect()
    }
}

impl fmt::Debug for Oracle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Oracle").field("step", &self.step).field("calls", &self.calls).finish_non_exhaustive()
    }
}
