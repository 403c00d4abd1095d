//! The domains and the loaders of a cache.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::calls::{Call, Value};
use super::deeds::tags_of;
use super::homes::{DOMAINS, LOADED, name_of, number};
use super::plans::{Failure, Plan};
use super::world::World;
use crate::backends::{Backend, join};
use crate::cache::{Cache, Computed, Loaded};
use crate::codec::Codec;
use crate::error::Error;
use crate::key::{IntoKey, KeyWriter};
use crate::typed::{Loader, LoadingCache};

/// How long a key that is to be loaded waits for others, and how many are loaded together.
const WINDOW: (Duration, usize) = (Duration::from_millis(5), 3);

/// A key, and whose call asks for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) call: Call,
    pub(super) plan: Plan,
}

impl IntoKey for Asked {
    fn write_key(&self, key: &mut KeyWriter<'_>) {
        name_of(self.call.key).write_key(key);
    }
}

/// What is loaded.
pub(super) type Rows = Loaded<Asked, Value, Failure>;

/// The domains of one cache, and its loaders.
pub(super) struct Homes<B: Backend, C: Codec> {
    domains: [Cache<B, C>; 2],
    /// Loads each key at once.
    pub(super) loading: LoadingCache<Origin, B, C>,
    /// Loads keys together that are asked for at about the same time.
    pub(super) gathering: LoadingCache<Origin, B, C>,
}

impl<B: Backend, C: Codec> Homes<B, C> {
    pub(super) fn new(cache: &Cache<B, C>, world: &Arc<World>) -> Result<Self, Error> {
        let [tagged, loaded] = DOMAINS.map(|name| cache.domain(name));
        let loading = cache.typed(LOADED)?.with_loader(Origin(Arc::clone(world)));
        let (window, most) = WINDOW;
        let gathering = loading.clone().batch_window(window).max_batch(most);
        Ok(Self { domains: [tagged?, loaded?], loading, gathering })
    }

    /// The domain that a key lives in, if it does in one.
    pub(super) fn of(&self, key: usize) -> Option<&Cache<B, C>> {
        number(key).map(|number| &self.domains[number])
    }
}

/// The source of truth, as a loader.
pub(super) struct Origin(Arc<World>);

impl Loader for Origin {
    type Key = Asked;
    type Value = Value;
    type Error = Failure;

    async fn load(&self, asked: &Asked) -> Result<Value, Failure> {
        let Asked { call, plan } = *asked;
        let plan = if call.key == plan.key { plan } else { plan.of(call.key) };
        self.0.work(plan, call, &AtomicU64::new(0)).await
    }

    async fn load_many(&self, asked: &[Asked]) -> Result<Rows, Failure> {
        Ok(load_all(&self.0, asked).await)
    }
}

impl<B: Backend, C: Codec> fmt::Debug for Homes<B, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Homes").field("domains", &self.domains).finish_non_exhaustive()
    }
}

/// The computation of several keys: that of each by itself, all in the time of the first. None of it panics, and the key
/// of a plan may fail alone.
pub(super) async fn load_all(world: &World, asked: &[Asked]) -> Rows {
    let Some(&Asked { plan: Plan { turns, pause, .. }, .. }) = asked.first() else { return Rows::new() };
    let works = asked.iter().map(async |one| {
        let plan = Plan { turns, pause, ..one.plan.of(one.call.key) };
        (*one, world.work(plan, one.call, &AtomicU64::new(0)).await)
    });
    let mut rows = Rows::new();
    for (one, work) in join::all(works).await {
        match work {
            Ok(value) => rows.insert(one, Computed::new(value).tags(tags_of(one.call.key).iter().copied())),
            Err(failure) => rows.insert_error(one, failure),
        }
    }
    rows
}
