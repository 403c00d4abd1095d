//! What a cache is fitted out with beside its policy: listeners, keys.

use std::sync::Arc;

use crate::codec::Codec;
use crate::config::{Alarm, Environment, Policy, Secrets, Setup, Tracing};
#[cfg(feature = "tracing")]
use crate::event::TracingObserver;
use crate::event::{Counters, Event, Observer, Observers};

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
    Observers::new(counters, listeners, hits).after(told)
}

/// What the bytes of a cache look like: caches that differ in it cannot read one another's.
pub(super) fn stack(codec: &impl Codec, policy: &Policy) -> String {
    match policy.schema_version {
        0 => codec.name(),
        version => format!("{}, schema version {version}", codec.name()),
    }
}
