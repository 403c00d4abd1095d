//! Batches: many keys by one call.
//!
//! L1 is asked for each key, the backend for all that it lacks at once. What neither has is computed by the flight of its
//! key, as anywhere; flights of one batch have their computations done together, by `gather`.

use std::collections::HashMap;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;

use foldhash::fast::RandomState;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::election::Question;
use super::path::{Look, Miss};
use super::{Cache, Inner};
use crate::backends::{Backend, join};
use crate::codec::Codec;
use crate::error::{ComputeError, Error};
use crate::event::{Event, MissReason, Outcome, Span};
use crate::flight::Context;
use crate::key::{IntoKey, Key};
use crate::memory::Age;
use crate::order::Fence;
use crate::seal::Value;
use crate::sensitive::Storable;
use crate::tiers::{Found, Lookup, Options};

mod compute;
mod gather;
mod loaded;
mod set;
mod single;

pub(crate) use self::gather::Rules;
pub use self::loaded::Loaded;
pub(crate) use self::single::Gathered;

/// How many keys are worked on at once. Larger batches are worked on piece by piece.
pub(super) const MOST: usize = 1_024;
/// How many keys are read by one operation, and written at once.
const AT_ONCE: usize = 256;

impl<B: Backend, C: Codec> Cache<B, C> {
    /// The values of `keys`, in their order, each as by [`get`](Cache::get). A key may be named twice.
    ///
    /// # Errors
    /// If a key is unusable or the backend fails: a failure is not an absence.
    ///
    /// # Cost
    /// A hit in L1 costs as much as by `get`. What L1 lacks is read by one operation of the backend for each 256 keys;
    /// those of up to 1,024 keys are under way at once.
    ///
    /// # Examples
    /// ```
    /// use cachekit::{CacheBuilder, Intent};
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let users = CacheBuilder::new().intent(Intent::Production).namespace("users").build()?;
    /// users.set_many([(1u64, "Ada".to_owned()), (2, "Grace".to_owned())]).await?;
    /// let found: Vec<Option<String>> = users.get_many([2u64, 3, 1]).await?;
    /// assert_eq!(found, [Some("Grace".into()), None, Some("Ada".into())]);
    /// # Ok::<(), cachekit::Error>(()) }).unwrap();
    /// ```
    pub fn get_many<T, K>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> impl Future<Output = Result<Vec<Option<T>>, Error>> + Send
    where
        T: Storable<C, Form: Clone>,
        K: IntoKey,
    {
        let keys: Vec<K> = keys.into_iter().collect();
        async move {
            let mut values = Vec::with_capacity(keys.len());
            for few in keys.chunks(MOST) {
                let found = self.inner.get_few::<T::Form, K>(few).await?;
                values.extend(found.into_iter().map(|form| form.map(|form| T::from_form(Arc::unwrap_or_clone(form)))));
            }
            Ok(values)
        }
    }
}

/// What is known of the keys of a batch.
struct Batch<T> {
    /// The value of each, or what it misses.
    slots: Vec<Slot<T>>,
    /// The keys that are not in L1, each once.
    missing: Vec<Miss<T>>,
}

impl<T> Batch<T> {
    /// What L1 says of each key.
    fn of(looks: impl Iterator<Item = Look<T>>) -> Self {
        let (mut slots, mut missing) = (Vec::with_capacity(looks.size_hint().0), Vec::new());
        let mut numbers: HashMap<Key, usize, RandomState> = HashMap::default();
        for look in looks {
            slots.push(match look {
                Look::Hit(value) => Slot::Value(value),
                Look::Miss(miss) => {
                    let next = missing.len();
                    let number = *numbers.entry(miss.key.clone()).or_insert(next);
                    if number == next {
                        missing.push(*miss);
                    }
                    Slot::Missing(number)
                }
            });
        }
        Self { slots, missing }
    }
}

enum Slot<T> {
    Value(Arc<T>),
    /// The number of the key among those that are missing.
    Missing(usize),
}

impl<B: Backend, C: Codec> Inner<B, C> {
    async fn get_few<T: Value, K: IntoKey>(&self, keys: &[K]) -> Result<Vec<Option<Arc<T>>>, Error> {
        let options = Options::default();
        let looks = keys.iter().map(|key| self.look(key, &options)).collect::<Result<Vec<_>, Error>>()?;
        let Batch { slots, missing } = Batch::of(looks.into_iter());
        let asked: Vec<&Miss<T>> = missing.iter().filter(|miss| miss.stale.is_none()).collect();
        let mut read = self.read_many(&asked).await?.into_iter();
        let mut found = Vec::with_capacity(missing.len());
        for miss in missing {
            let Miss { key, stale, why, .. } = miss;
            let (outcome, value) = match stale {
                Some(value) => (Outcome::Stale, Some(value)),
                None => match read.next().flatten() {
                    None => {
                        self.tell_missed(&key, options, &why, &Span::none());
                        (Outcome::Absent, None)
                    }
                    Some(found) => (found.outcome(), Some(found.value)),
                },
            };
            self.observers.tell(Event::Answered { key: &key, outcome });
            found.push(value);
        }
        let value = |slot| match slot {
            Slot::Value(value) => Some(value),
            Slot::Missing(number) => found[number].clone(),
        };
        Ok(slots.into_iter().map(value).collect())
    }

    /// What the backend, or meanwhile L1, has under each key that is not expired.
    async fn read_many<T: Value>(&self, asked: &[&Miss<T>]) -> Result<Vec<Option<Found<T>>>, Error> {
        let mut options = Options::default();
        for miss in asked {
            options = self.bypass(&miss.key, Options::default());
        }
        if asked.is_empty() || options.skip_l2_read || self.tiers.l2.guard.is_none() {
            return Ok(asked.iter().map(|_| None).collect());
        }
        self.listen().await;
        // What was answered first is opened while the rest is on its way.
        let reading = join::all(asked.chunks(AT_ONCE).map(|few| self.read_part(few, options)));
        let parts = Span::of_batch(self.traced(), asked.len()).around(reading).await;
        let mut found = Vec::with_capacity(asked.len());
        for part in parts {
            found.append(&mut part?);
        }
        Ok(found)
    }

    /// What the backend has under a few of the keys.
    async fn read_part<T: Value>(&self, asked: &[&Miss<T>], options: Options) -> Result<Vec<Option<Found<T>>>, Error> {
        let keys: Vec<Key> = asked.iter().map(|miss| miss.key.clone()).collect();
        let fences: Vec<Fence> = keys.iter().map(|key| self.tiers.local.fence(key)).collect();
        // Before the question: a change that waits now may be made again before the answer is judged.
        let hidden: Vec<bool> = keys.iter().map(|key| self.tiers.l2.hides(key, &[])).collect();
        let bytes = self.tiers.fetch_many(&keys).await?;
        let mut found = Vec::with_capacity(keys.len());
        for (((miss, fence), is_hidden), bytes) in asked.iter().zip(&fences).zip(hidden).zip(bytes) {
            let Miss { key, why, .. } = miss;
            if is_hidden {
                why.note(MissReason::Fenced);
            }
            let lookup = Lookup { key, options, known: None, fence, why };
            let mut value = match bytes.filter(|_| !is_hidden) {
                Some(bytes) => self.tiers.accept::<T>(lookup, bytes, || fence.is_current()).await?,
                None => None,
            };
            if !fence.is_current() || fence.forgot(value.as_ref().map_or(&[], Found::tags)) {
                // Overtaken by a change, so it is read anew.
                why.note(MissReason::Fenced);
                let again = Box::pin(self.consult::<T>(key, options, Question::plain(why)));
                let (again, failure) = again.await;
                value = failure.map_or(Ok(again), Err)?;
            }
            found.push(value.filter(|found| found.age != Age::Expired));
        }
        Ok(found)
    }
}

/// A call that has not begun, on the heap: it is large, and would be moved several times.
type Call<R> = Pin<Box<dyn Future<Output = R> + Send>>;

/// Runs these, `most` at once; what each gives, in their order. `None` of one that was lost with its runtime.
async fn each<R: Send + 'static>(calls: Vec<Call<R>>, most: usize) -> Vec<Option<R>> {
    let mut outputs: Vec<Option<R>> = calls.iter().map(|_| None).collect();
    let mut calls = calls.into_iter().enumerate();
    if Handle::try_current().is_err() {
        for (number, call) in calls {
            outputs[number] = Some(call.await);
        }
        return outputs;
    }
    let (context, span, mut running) = (Context::current(), Span::current(), JoinSet::new());
    loop {
        for (number, call) in calls.by_ref().take(most.saturating_sub(running.len())) {
            running.spawn(context.clone().scope(span.clone().around(async move { (number, call.await) })));
        }
        match running.join_next().await {
            None => return outputs,
            Some(Ok((number, output))) => outputs[number] = Some(output),
            Some(Err(error)) if error.is_panic() => resume_unwind(error.into_panic()),
            Some(Err(_)) => {}
        }
    }
}

/// What a batch answers for one key.
type Answer<T, E> = Result<Option<T>, ComputeError<E>>;
