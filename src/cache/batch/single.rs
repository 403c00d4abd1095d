//! One key, which is loaded together with others that are asked for at about the same time.

use std::sync::Arc;

use super::gather::{Gather, Rules};
use super::{Answer, MOST};
use crate::backends::Backend;
use crate::cache::path::Look;
use crate::cache::{Cache, Fetched, Loaded};
use crate::codec::Codec;
use crate::error::ComputeError;
use crate::key::IntoKey;
use crate::sensitive::Storable;
use crate::tiers::Options;

/// Where keys of single calls come together.
pub(crate) type Gathered<K, T, E> = Arc<Gather<K, T, E>>;

impl<B: Backend, C: Codec> Cache<B, C> {
    /// Has keys of single calls loaded by `load`, by these rules.
    pub(crate) fn gather<K, T, E, F, Fut>(&self, load: F, rules: Rules) -> Gathered<K, T::Form, E>
    where
        K: IntoKey + Clone + 'static,
        T: Storable<C>,
        E: Send + Sync + 'static,
        F: Fn(Vec<K>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Loaded<K, T, E>, E>> + Send + 'static,
    {
        let rules = Rules { most: rules.most.clamp(1, MOST), ..rules };
        Gather::new(self.load_by::<K, T, E, F, Fut>(load), rules, Arc::clone(&self.inner.clock), self.inner.id())
    }

    /// The value of one key, which is loaded with others. `None` if there is none.
    pub(crate) async fn load_one<K, T, E>(&self, key: &K, gather: &Gathered<K, T::Form, E>) -> Answer<Arc<T::Form>, E>
    where
        K: IntoKey + Clone + 'static,
        T: Storable<C>,
        E: Send + Sync + 'static,
    {
        let options = Options::default();
        match self.inner.seek(key, &options) {
            Look::Hit(value) => Ok(Some(value)),
            Look::Miss(miss) => {
                let compute = gather.lone(miss.key.clone(), key.clone());
                self.inner.answer_if_any(miss, options, compute).await
            }
        }
    }

    /// The same, and whence it came.
    pub(crate) async fn fetch_one<K, T, E>(
        &self,
        key: &K,
        gather: &Gathered<K, T::Form, E>,
    ) -> Result<Option<Fetched<Arc<T::Form>>>, ComputeError<E>>
    where
        K: IntoKey + Clone + 'static,
        T: Storable<C>,
        E: Send + Sync + 'static,
    {
        let inner = &self.inner;
        let name = inner.key(key).unwrap_or_else(|error| inner.stand_in_key(&error));
        let compute = gather.lone(name, key.clone());
        let answered = inner.answer_whole(key, Options::default(), &[], compute).await?;
        Ok(answered.map(|answered| answered.seen(inner.clock.ticks(), |form| form)))
    }
}
