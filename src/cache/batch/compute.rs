//! Computing what a batch lacks.

use std::collections::HashMap;
use std::iter;
use std::sync::Arc;
use std::time::Duration;

use super::gather::{Answers, Gather, Load, Loading, Rules};
use super::loaded::Loaded;
use super::{Answer, Batch, Call, MOST, Slot, each};
use crate::backends::Backend;
use crate::cache::path::{Look, Miss};
use crate::cache::{Cache, Computed, Inner};
use crate::codec::Codec;
use crate::error::{Error, ErrorKind};
use crate::event::{Event, Outcome};
use crate::key::{IntoKey, Key};
use crate::memory::Age;
use crate::seal::Value;
use crate::sensitive::Storable;
use crate::tiers::{Found, Options};

/// How long a key that has to be computed after all, because another process did not deliver it, waits for others.
const WINDOW: Duration = Duration::from_millis(5);

impl<B: Backend, C: Codec> Cache<B, C> {
    /// The values of `keys`, in their order: from L1, else from the backend, else from `compute`, which is called once with
    /// all keys that have to be computed.
    ///
    /// The promises are those of [`get_or_compute`](Cache::get_or_compute), for each key: what another call, or another
    /// process, computes is awaited, not computed again; stale values are answered at once and renewed together in the
    /// background; no caller owns the computation. A key that is named twice is computed once.
    ///
    /// For each key there is a value, `None` if the computation says that there is none, or an error. If the computation
    /// fails as a whole, each of its keys has its error; what the tiers have is answered all the same. Of keys that have
    /// no value nothing is kept: give them one by [`Loaded::otherwise`].
    ///
    /// `compute` may be called again with some keys: where more than 1,024 are asked for, where another process that was
    /// to compute a key did not deliver it, or to renew what is stale. So it is a `Fn` that clones what its future needs.
    ///
    /// # Errors
    /// For each key as of [`get_or_compute`](Cache::get_or_compute).
    ///
    /// # Cost
    /// As of [`get_many`](Cache::get_many), and for each key that is computed one lease and one write, all at once.
    ///
    /// # Examples
    /// ```
    /// use cachekit::{CacheBuilder, Intent, Loaded};
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let users = CacheBuilder::new().intent(Intent::Production).namespace("users").build()?;
    /// users.set(2u64, "Grace".to_owned()).await?;
    /// let found = users.get_or_compute_many([1u64, 2, 3], |missing| async move {
    ///     assert_eq!(missing, [1, 3]);
    ///     // One query for all of them, which knows no user 3.
    ///     Ok::<Loaded<u64, String, std::io::Error>, _>([(1, "Ada".to_owned())].into_iter().collect())
    /// });
    /// let found = found.await.into_iter().collect::<Result<Vec<Option<String>>, _>>()?;
    /// assert_eq!(found, [Some("Ada".into()), Some("Grace".into()), None]);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub fn get_or_compute_many<K, T, E, F, Fut>(
        &self,
        keys: impl IntoIterator<Item = K>,
        compute: F,
    ) -> impl Future<Output = Vec<Answer<T, E>>> + Send
    where
        K: IntoKey + Clone + 'static,
        T: Storable<C, Form: Clone>,
        E: Send + Sync + 'static,
        F: Fn(Vec<K>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Loaded<K, T, E>, E>> + Send + 'static,
    {
        let keys: Vec<K> = keys.into_iter().collect();
        let load = self.load_by(compute);
        async move {
            let mut answers = Vec::with_capacity(keys.len());
            let load = Arc::new(load);
            for few in keys.chunks(MOST) {
                let hits = answers.len();
                let miss = few.iter().find_map(|key| match self.inner.seek(key, &Options::default()) {
                    Look::Hit(form) => {
                        answers.push(Ok(Some(T::from_form(T::Form::clone(&form)))));
                        None
                    }
                    Look::Miss(miss) => Some(*miss),
                });
                if let Some(miss) = miss {
                    let rest = &few[answers.len() - hits..];
                    let found = Box::pin(self.inner.compute_few(miss, rest, &load)).await;
                    answers.extend(found.into_iter().map(value_of::<T, C, E>));
                }
            }
            answers
        }
    }

    /// What gathers have loaded by this computation.
    pub(super) fn load_by<K, T, E, F, Fut>(&self, compute: F) -> Load<K, T::Form, E>
    where
        K: IntoKey + Clone + 'static,
        T: Storable<C>,
        E: Send + Sync + 'static,
        F: Fn(Vec<K>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Loaded<K, T, E>, E>> + Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        Box::new(move |keys: Vec<K>| -> Loading<T::Form, E> {
            let asked: Vec<Key> = keys.iter().filter_map(|key| inner.key(key).ok()).collect();
            let (running, inner) = (Box::pin(compute(keys)), Arc::clone(&inner));
            Box::pin(async move { Ok(answers_of(running.await?, &asked, |key| inner.key(key).ok())) })
        })
    }
}

/// What was loaded, by the keys that were asked for.
fn answers_of<K, T: Storable<C>, C, E>(
    loaded: Loaded<K, T, E>,
    asked: &[Key],
    name: impl Fn(&K) -> Option<Key>,
) -> Answers<T::Form, E> {
    let Loaded { found, otherwise } = loaded;
    let form = |computed: Computed<T>| computed.map(T::into_form).shared();
    let mut answers = HashMap::with_capacity(asked.len());
    for (key, value) in found {
        if let Some(key) = name(&key) {
            answers.insert(key, value.map(form).map_err(Arc::new));
        }
    }
    if let Some(otherwise) = otherwise.map(form) {
        for key in asked {
            answers.entry(key.clone()).or_insert_with(|| Ok(otherwise.clone()));
        }
    }
    answers
}

fn value_of<T: Storable<C, Form: Clone>, C, E>(answer: Answer<Arc<T::Form>, E>) -> Answer<T, E> {
    answer.map(|value| value.map(|form| T::from_form(Arc::unwrap_or_clone(form))))
}

/// What is to be done with the keys that L1 lacks.
struct Sorted<K, T, E> {
    /// By their numbers, as far as they are known.
    answers: Vec<Option<Answer<Arc<T>, E>>>,
    stale: Vec<(Miss<T>, K)>,
    absent: Vec<(usize, Miss<T>, K)>,
}

impl<B: Backend, C: Codec> Inner<B, C> {
    /// Answers some keys, of which L1 has no fresh value of the `first`.
    async fn compute_few<K, T, E>(
        self: &Arc<Self>,
        first: Miss<T>,
        keys: &[K],
        load: &Arc<Load<K, T, E>>,
    ) -> Vec<Answer<Arc<T>, E>>
    where
        K: IntoKey + Clone + 'static,
        T: Value,
        E: Send + Sync + 'static,
    {
        let options = Options::default();
        let others = keys.iter().skip(1).map(|key| self.seek(key, &options));
        let Batch { slots, missing } = Batch::of(iter::once(Look::Miss(Box::new(first))).chain(others));
        // Numbers are given in the order in which their keys come first.
        let mut own: Vec<K> = Vec::with_capacity(missing.len());
        for (slot, key) in slots.iter().zip(keys) {
            if matches!(slot, Slot::Missing(number) if *number == own.len()) {
                own.push(key.clone());
            }
        }
        let names: Vec<Key> = missing.iter().map(|miss| miss.key.clone()).collect();
        let found = self.read_for(&missing).await;
        let gather = || {
            let load = Arc::clone(load);
            let rules = Rules { window: WINDOW, most: MOST };
            Gather::new(Box::new(move |keys| load(keys)), rules, Arc::clone(&self.clock), self.id())
        };
        let Sorted { mut answers, stale, absent } = self.sort(missing.into_iter().zip(own).zip(found));
        self.renew_all(stale, &gather());
        self.compute_all(absent, &gather(), &mut answers).await;
        self.fill_slots(slots, answers, &names)
    }

    /// Answers what is known of the keys that L1 lacks, and sorts the others out.
    fn sort<K, T: Value, E>(
        &self,
        missing: impl ExactSizeIterator<Item = ((Miss<T>, K), Option<Found<T>>)>,
    ) -> Sorted<K, T, E> {
        let (mut stale, mut absent) = (Vec::new(), Vec::new());
        let mut answers: Vec<Option<Answer<Arc<T>, E>>> = (0..missing.len()).map(|_| None).collect();
        let background = self.policy().background;
        for (number, ((mut miss, key), found)) in missing.enumerate() {
            miss.early |= found.as_ref().is_some_and(|found| found.age == Age::Early);
            let read = found.map(|found| (found.outcome(), found.value));
            let known = read.or_else(|| Some((miss.outcome(), Arc::clone(miss.stale.as_ref()?))));
            let renews = |outcome| miss.early || outcome == Outcome::Stale;
            let Some((outcome, value)) = known.filter(|(outcome, _)| background || !renews(*outcome)) else {
                absent.push((number, miss, key));
                continue;
            };
            self.observers.tell(Event::Answered { key: &miss.key, outcome });
            answers[number] = Some(Ok(Some(value)));
            if renews(outcome) {
                stale.push((miss, key));
            }
        }
        Sorted { answers, stale, absent }
    }

    /// What the backend has of what is missing in L1. If it fails, the flights find out for themselves.
    async fn read_for<T: Value>(&self, missing: &[Miss<T>]) -> Vec<Option<Found<T>>> {
        let is_asked = |miss: &Miss<T>| !miss.is_stand_in && miss.stale.is_none();
        let asked: Vec<&Miss<T>> = missing.iter().filter(|miss| is_asked(miss)).collect();
        let mut found = self.read_many(&asked).await.unwrap_or_default().into_iter();
        missing.iter().map(|miss| if is_asked(miss) { found.next().flatten() } else { None }).collect()
    }

    /// Renews what is stale, or near its end, in the background.
    fn renew_all<K, T, E>(self: &Arc<Self>, stale: Vec<(Miss<T>, K)>, gather: &Arc<Gather<K, T, E>>)
    where
        K: Clone + Send + 'static,
        T: Value,
        E: Send + Sync + 'static,
    {
        let keys = stale.iter().map(|(miss, key)| (miss.key.clone(), key.clone())).collect();
        let computations = gather.computations(keys);
        for ((miss, _), compute) in stale.into_iter().zip(computations) {
            let Miss { key, early, tags, .. } = miss;
            self.renew(key, self.without_paused(Options { early, ..Options::default() }), tags, compute);
        }
    }

    /// Has all of these computed, and waits for them.
    async fn compute_all<K, T, E>(
        self: &Arc<Self>,
        absent: Vec<(usize, Miss<T>, K)>,
        gather: &Arc<Gather<K, T, E>>,
        answers: &mut [Option<Answer<Arc<T>, E>>],
    ) where
        K: Clone + Send + 'static,
        T: Value,
        E: Send + Sync + 'static,
    {
        if absent.is_empty() {
            return;
        }
        let keys = absent.iter().map(|(_, miss, key)| (miss.key.clone(), key.clone())).collect();
        let computations = gather.computations(keys);
        let numbers: Vec<usize> = absent.iter().map(|(number, ..)| *number).collect();
        let calls = absent.into_iter().zip(computations).map(|((_, miss, _), compute)| -> Call<_> {
            let Miss { key, early, tags, why, is_stand_in, .. } = miss;
            let options = self.without_paused(Options { was_read: true, early, ..Options::default() });
            let options = if is_stand_in { options.unfindable() } else { options };
            let inner = Arc::clone(self);
            Box::pin(async move {
                let loaded = inner.load(key, options, tags, (why, compute)).await;
                loaded.map(|answered| answered.map(|answered| answered.value))
            })
        });
        for (number, answer) in numbers.into_iter().zip(each(calls.collect(), MOST).await) {
            answers[number] = answer;
        }
    }

    /// The answer of each key that was asked for. One that was asked for twice has the answer of the first.
    fn fill_slots<T: Value, E>(
        &self,
        slots: Vec<Slot<T>>,
        answers: Vec<Option<Answer<Arc<T>, E>>>,
        names: &[Key],
    ) -> Vec<Answer<Arc<T>, E>> {
        let mut told = vec![false; names.len()];
        let lost = || {
            Err(Error::new(ErrorKind::Closed, "the runtime that computed the batch shut down before it ended").into())
        };
        let mut answer = |slot| match slot {
            Slot::Value(value) => Ok(Some(value)),
            Slot::Missing(number) => {
                if std::mem::replace(&mut told[number], true) {
                    self.observers.tell(Event::Answered { key: &names[number], outcome: Outcome::Joined });
                }
                answers[number].clone().unwrap_or_else(lost)
            }
        };
        slots.into_iter().map(&mut answer).collect()
    }
}
