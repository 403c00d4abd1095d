//! What a cache is fitted out with beside its policy: listeners, keys.

use std::sync::Arc;

use crate::backends::Capabilities;
use crate::codec::Codec;
use crate::config::{Alarm, Decided, Environment, Policy, Secrets, Settings, Setup, Source, Tracing};

#[cfg(feature = "tracing")]
use crate::event::TracingObserver;
use crate::event::{Counters, Event, Observer, Observers};
use crate::order::Belief;

/// What codecs are handed beside the policy.
pub(super) fn setup(secrets: Option<Secrets>, environment: Option<&Environment>, observers: Observers) -> Setup {
    let secrets = secrets.or_else(|| environment.map(|environment| environment.secrets.clone())).unwrap_or_default();
    let alarm: Alarm = Arc::new(move |message| observers.tell(Event::Warning { message }));
    Setup { secrets, alarm: Some(alarm), ..Setup::default() }
}

pub(super) fn listeners(
    policy: &Policy,
    listeners: Vec<Arc<dyn Observer>>,
    environment: Option<&Environment>,
) -> Observers {
    let counters = policy.stats.then(Arc::<Counters>::default);
    let hits = !listeners.is_empty() || policy.tracing == Tracing::Verbose;
    #[cfg(feature = "tracing")]
    let listeners = {
        let mut listeners = listeners;
        if policy.tracing != Tracing::Off {
            listeners.push(Arc::new(TracingObserver { verbose: policy.tracing == Tracing::Verbose }));
        }
        listeners
    };
    let told = environment.map(|environment| environment.told.clone()).unwrap_or_default();
    Observers::new(counters, listeners, hits)
        .tracing(policy.tracing != Tracing::Off)
        .metered(policy.metrics && cfg!(feature = "metrics"))
        .after(told)
}

/// Sets what depends on the backend, unless a setting says it.
pub(super) fn suit(policy: &mut Policy, settings: &Settings, can: Capabilities) {
    policy.operation_timeout = settings.operation_timeout.unwrap_or(can.timeout);
    if let Some(bounds) = &mut policy.backpressure {
        bounds.max_concurrent = settings.max_concurrent.unwrap_or(can.concurrency).max(1);
        // Flights have a bound of their own.
        bounds.queue = settings.max_queued.unwrap_or(bounds.queue.max(policy.max_flights));
    }
}

/// Notes what the backend decided, for reports.
pub(super) fn note(decided: &mut Decided, policy: &Policy) {
    let Decided { settings, sources } = decided;
    if settings.operation_timeout.is_none() {
        (settings.operation_timeout, sources.operation_timeout) = (Some(policy.operation_timeout), Source::Backend);
    }
    let Some(bounds) = &policy.backpressure else { return };
    if settings.max_concurrent.is_none() {
        (settings.max_concurrent, sources.max_concurrent) = (Some(bounds.max_concurrent), Source::Backend);
    }
    settings.max_queued = settings.max_queued.or(Some(bounds.queue));
}

/// Notes what was decided by more than one setting, for reports.
pub(super) fn settle(decided: &mut Decided, policy: &Policy, has_bus: bool) {
    let settings = &mut decided.settings;
    settings.wait_for_write = Some(policy.wait_for_write);
    settings.max_staleness = Belief::of(policy.max_staleness, has_bus).map(Belief::time);
    if let Some(timeout) = policy.adaptive_timeout {
        settings.adaptive_initial = Some(timeout.initial);
    }
}

/// By what other processes are told of changes.
pub(super) fn bus(policy: &Policy, is_named: bool, has_own: bool) -> &'static str {
    match policy.invalidation {
        true if is_named => "code",
        true if has_own => "backend",
        _ => "none",
    }
}

const KEY_WITHOUT_SECURE: &str = "CACHEKIT_MASTER_KEY is set or .keyring(..) named, but this cache does not encrypt: a key is \
                                  no switch, use Intent::Secure";

const PAUSED: &str = "the cache starts paused, so calls go by a tier or by both: unset CACHEKIT_PAUSED, CACHEKIT_L1_PAUSED and \
                      CACHEKIT_L2_PAUSED once the incident is over, or call resume()";

/// What is odd about a cache over a backend that can do this, if there is one. `has_idle_key` says that it has a key and
/// does not encrypt.
pub(super) fn warnings(
    environment: Option<&Environment>,
    policy: &Policy,
    can: Option<Capabilities>,
    has_idle_key: bool,
) -> Vec<String> {
    let mut warnings = environment.map(|environment| environment.warnings.clone()).unwrap_or_default();
    if has_idle_key {
        warnings.push(KEY_WITHOUT_SECURE.to_owned());
    }
    if policy.l1_paused || policy.l2_paused {
        warnings.push(PAUSED.to_owned());
    }
    if can.is_none() && policy.l1_max_size.is_none() {
        warnings.push("L1 is off and there is no backend: nothing is cached".to_owned());
    }
    warnings.extend(can.and_then(|can| can.warning).map(str::to_owned));
    warnings
}

/// What the bytes of a cache look like: caches that differ in it cannot read one another's.
pub(super) fn stack(codec: &impl Codec, policy: &Policy) -> String {
    match policy.schema_version {
        0 => codec.name(),
        version => format!("{}, schema version {version}", codec.name()),
    }
}
