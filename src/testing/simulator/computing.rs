//! What the oracle knows of computations.
//!
//! Which of them may run beside one another, when calls may be late, and what an older value may stand in for.

use super::calls::{Call, Computing, Ending, Moment, Promised, Running, Value};
use super::deeds::Deed;
use super::oracle::Oracle;
use super::violation::Happening;

impl Oracle {
    /// A computation begins, and reads its source. Returns its number.
    pub(super) fn compute(&mut self, call: &Call, tick: u64) -> (u64, Value) {
        self.order += 1;
        self.tally.computations += 1;
        let (cache, key, begun, anew) = (call.cache, call.key, call.begun, call.deed == Deed::ComputeAnew);
        let version = self.sources[key].version;
        self.note(key, tick, cache, call.number, Happening::Computes, version);
        let (closing, Computing { void, changing, .. }) = (self.is_closing(cache), self.caches[cache].computing[key]);
        let Promised { deadline, trusted, shared, .. } = self.promises.computing;
        let alike = |running: &&Running| (running.cache, running.key, running.anew) == (cache, key, anew);
        let twin = self.running.iter().filter(alike).find(|running| {
            let first = if running.begun.order < begun.order { running.begun } else { begun };
            void < first.order && tick.saturating_sub(first.tick) < deadline.min(trusted)
        });
        if twin.is_some() && shared && !closing && !self.caches[cache].retrying && changing == 0 {
            let number = call.number;
            let what =
                format!("cache {cache}, call {number}: key {key} is computed twice at once, with no change between");
            self.violated(Some(key), what);
        }
        let id = self.order;
        self.running.push(Running { id, cache, key, anew, begun, started: tick });
        (id, Value { key, version, maker: cache, made: tick })
    }

    /// A computation ended. Returns the version below which none may stand in for it if it failed: everything was
    /// cleared while its call was under way.
    pub(super) fn computed(&mut self, id: u64, call: &Call, ending: Ending, tick: u64) -> u64 {
        let Some(index) = self.running.iter().position(|running| running.id == id) else { return 0 };
        let Running { cache, key, started, .. } = self.running.swap_remove(index);
        self.order += 1;
        let happening = match ending {
            Ending::Well => Happening::Computed,
            Ending::Failed => Happening::ComputationFailed,
            Ending::Dropped => Happening::ComputationDropped,
        };
        self.note(key, tick, cache, call.number, happening, 0);
        let Promised { deadline, shared, throttle, soft, stalls, .. } = self.promises.computing;
        let since = |began: u64| tick.saturating_sub(began) >= deadline;
        // One that waited for others on a runtime that stood still may begin when its call has just given it up.
        let late = since(started) || stalls && call.deed.gathers() && since(call.begun.tick);
        // What several wait for goes on when one of them has given it up.
        let given_up = late && (ending == Ending::Dropped || call.deed.gathers());
        let computing = &mut self.caches[cache].computing[key];
        if soft.is_some_and(|soft| tick.saturating_sub(started) >= soft) {
            computing.slow = self.order;
        }
        if ending == Ending::Well && !given_up {
            computing.freed = self.order;
            return 0;
        }
        computing.failed = Moment { order: self.order, tick };
        computing.throttled = tick.saturating_add(throttle);
        if given_up {
            computing.given_up = Some(tick);
        } else if ending == Ending::Dropped && shared && !self.is_closing(cache) {
            let what = format!("cache {cache}, call {}: the computation of key {key} was cut short", call.number);
            self.violated(Some(key), what);
        }
        let (cleared, version) = self.caches[cache].cleared[key];
        if cleared > call.begun.order { version } else { 0 }
    }

    /// Whether a call may have timed out.
    pub(super) fn is_late(&self, call: &Call, tick: u64) -> bool {
        let Call { cache, key, begun, .. } = *call;
        let given_up = self.caches[cache].computing[key].given_up.is_some_and(|tick| tick >= begun.tick);
        let deadline = self.promises.computing.deadline;
        let stalls = self.promises.computing.stalls;
        stalls || given_up || tick.saturating_sub(begun.tick) >= deadline || self.runs_for(deadline, call, tick)
    }

    /// A call that computes, on a runtime that is driven, was answered.
    pub(super) fn judge_wait(&mut self, call: &Call, tick: u64) {
        let (took, most) = (tick.saturating_sub(call.begun.tick), self.promises.computing.patience);
        if took > most {
            let Call { cache, number, key, .. } = *call;
            self.violated(Some(key), format!("cache {cache}, call {number}: an answer took {took} ms, not {most}"));
        }
    }

    fn runs_for(&self, ticks: u64, call: &Call, tick: u64) -> bool {
        let mut running = self.running.iter().filter(|running| (running.cache, running.key) == (call.cache, call.key));
        running.any(|running| tick.saturating_sub(running.started) >= ticks)
    }

    /// Whether a call may have been answered with what has expired.
    pub(super) fn may_stand_in(&self, call: &Call, tick: u64) -> bool {
        let computing = self.caches[call.cache].computing[call.key];
        let is_slow = self.promises.computing.soft.is_some_and(|soft| self.runs_for(soft, call, tick));
        let failed = computing.failed.order > call.begun.order || computing.was_throttled(call.begun);
        // A key of a batch may have been answered while its computation was slow, and the others were slower.
        let was_slow = call.deed.is_batch() && computing.slow > call.begun.order;
        failed || is_slow || was_slow || self.is_late(call, tick)
    }

    /// A message of another process arrives: about a key, a tag or all of them.
    pub(super) fn hear(&mut self, cache: usize, concerns: impl Fn(usize) -> bool, tick: u64) {
        self.order += 1;
        for key in (0..self.sources.len()).filter(|key| concerns(*key)) {
            self.caches[cache].computing[key].void = self.order;
            self.note(key, tick, cache, 0, Happening::Hears, 0);
        }
    }

    /// A cache has nothing left to do: nothing that failed is made again.
    pub(super) fn rest(&mut self, cache: usize) {
        self.order += 1;
        let known = &mut self.caches[cache];
        if std::mem::take(&mut known.retrying) {
            known.computing.iter_mut().for_each(|computing| computing.void = self.order);
        }
    }

    /// Something happens that concerns every key of a cache.
    pub(super) fn void_all(&mut self, cache: usize, tick: u64, happening: Happening) {
        self.order += 1;
        for key in 0..self.sources.len() {
            self.caches[cache].computing[key].void = self.order;
            self.note(key, tick, cache, 0, happening, 0);
        }
    }
}
