//! Those who hear of events: the counters, and the observers of one cache.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use super::{Counters, Event, Meters, Observer, Outcome, Stats};
use crate::error::panic_message;
use crate::warnings::{News, Told, Warnings};

/// The listeners of one cache.
#[derive(Debug, Clone, Default)]
pub(crate) struct Observers {
    counters: Option<Arc<Counters>>,
    listeners: Arc<[Listener]>,
    hits: bool,
    /// Whether spans are made.
    traces: bool,
    meters: Option<Arc<Meters>>,
    warnings: Arc<Warnings>,
}

impl Observers {
    /// `hits` says whether a listener wants to hear of L1 hits, for which a key must be made.
    pub(crate) fn new(counters: Option<Arc<Counters>>, listeners: Vec<Arc<dyn Observer>>, hits: bool) -> Self {
        let listeners = listeners.into_iter().map(Listener::new).collect();
        Self { counters, listeners, hits, traces: false, meters: None, warnings: Arc::default() }
    }

    /// The same, and whether spans are made.
    pub(crate) fn tracing(self, traces: bool) -> Self {
        Self { traces, ..self }
    }

    /// The same, and with meters if metrics are kept.
    pub(crate) fn metered(self, is_on: bool) -> Self {
        Self { meters: is_on.then(Arc::default), ..self }
    }

    /// The meters, if there are any.
    #[inline]
    pub(crate) fn meters(&self) -> Option<&Meters> {
        self.meters.as_deref()
    }

    /// Whether spans are made.
    pub(crate) fn traces(&self) -> bool {
        self.traces
    }

    /// Those of a part of the cache: with counters of its own, and some more `listeners`.
    pub(crate) fn of_part(&self, listeners: &[Arc<dyn Observer>]) -> Self {
        let more = listeners.iter().map(|observer| Listener::new(Arc::clone(observer)));
        Self {
            counters: self.counters.as_ref().map(|_| Arc::default()),
            listeners: self.listeners.iter().cloned().chain(more).collect(),
            hits: self.hits || !listeners.is_empty(),
            traces: self.traces,
            meters: self.meters.as_ref().map(|_| Arc::default()),
            warnings: Arc::clone(&self.warnings),
        }
    }

    /// The same, but for warnings that caches with the same `told` have told.
    pub(crate) fn after(self, told: Told) -> Self {
        Self { warnings: Arc::new(Warnings::new(told)), ..self }
    }

    /// Whether L1 hits are told of, and not only counted.
    #[inline]
    pub(crate) fn tells_hits(&self) -> bool {
        self.hits
    }

    /// Whether anybody but the counters hears of events.
    pub(crate) fn listen(&self) -> bool {
        !self.listeners.is_empty()
    }

    /// Counts an outcome without telling anyone. Costs an addition.
    #[inline]
    pub(crate) fn count(&self, outcome: Outcome) {
        if let Some(counters) = &self.counters {
            counters.outcome(outcome);
        }
    }

    /// Counts an answer of L1 that may be so many milliseconds out of date.
    pub(crate) fn served(&self, staleness: u64) {
        if let Some(counters) = &self.counters {
            counters.staleness(staleness);
        }
    }

    /// Counts and tells; a warning only if it is news.
    pub(crate) fn tell(&self, event: Event<'_>) {
        let news = if let Event::Warning { message } = event { self.warnings.add(message) } else { News::Everywhere };
        if news == News::None {
            return;
        }
        if let Some(counters) = &self.counters {
            counters.event(&event);
        }
        if let Some(meters) = &self.meters {
            meters.event(&event);
        }
        if news == News::Here {
            return;
        }
        for listener in self.listeners.iter() {
            if let Some(message) = listener.tell(&event) {
                self.tell(Event::Warning { message: &message });
            }
        }
    }

    /// Takes back a warning that holds no more.
    pub(crate) fn withdraw(&self, warning: &str) {
        self.warnings.withdraw(warning);
    }

    /// What lives as long as any part of the cache.
    pub(crate) fn life(&self) -> Weak<Warnings> {
        Arc::downgrade(&self.warnings)
    }

    /// The warnings so far.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.warnings.all()
    }

    pub(crate) fn stats(&self) -> Stats {
        self.counters.as_ref().map(|counters| counters.read()).unwrap_or_default()
    }
}

/// One observer.
#[derive(Debug, Clone)]
struct Listener {
    observer: Arc<dyn Observer>,
    /// Whether it has panicked before.
    panicked: Arc<AtomicBool>,
}

impl Listener {
    fn new(observer: Arc<dyn Observer>) -> Self {
        Self { observer, panicked: Arc::default() }
    }

    /// Tells the observer, and returns what to warn of: its first panic.
    fn tell(&self, event: &Event<'_>) -> Option<String> {
        let told = catch_unwind(AssertUnwindSafe(|| self.observer.event(event)));
        self.complaint(told.err()?)
    }

    #[cold]
    fn complaint(&self, payload: Box<dyn Any + Send>) -> Option<String> {
        let message = panic_message(payload);
        let is_first = !self.panicked.swap(true, Relaxed);
        is_first.then(|| format!("an observer panicked, and is told of further events all the same: {message}"))
    }
}
