//! The calls of a storm, and what its oracle says of their answers.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::task::Poll;
use std::time::Duration;

use cachekit::codec::Postcard;
use cachekit::{Backend, Cache, Computed, Error};
use fastrand::Rng;

use super::tardy::turns_pass;
use super::{KEYS, Stamp, Storm};
use harness::support::{Broken, poll_once};

/// The tags of each key.
const TAGS: [&[&str]; KEYS] = [&["a"], &["a", "b"], &[]];

/// A cache, and what its reads may no longer see.
pub(super) struct Process<B: Backend> {
    pub(super) cache: Cache<B, Postcard>,
    pub(super) floors: [AtomicU64; KEYS],
    pub(super) answered: AtomicU64,
}

impl<B: Backend> Process<B> {
    pub(super) fn new(cache: Cache<B, Postcard>) -> Self {
        Self { cache, floors: Default::default(), answered: AtomicU64::new(0) }
    }

    /// Reads a key, or what L1 has of it.
    pub(super) async fn read(&self, key: usize, l1_alone: bool) -> Result<Option<Stamp>, Error> {
        let entry = self.cache.entry(key);
        let entry = if l1_alone { entry.skip_l2_read() } else { entry };
        let answer = entry.get().await;
        self.answered.fetch_add(1, SeqCst);
        answer
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Change {
    Set(usize),
    Key(usize),
    Tag(&'static str),
    Namespace,
}

impl Change {
    fn concerns(self, key: usize) -> bool {
        match self {
            Self::Set(one) | Self::Key(one) => one == key,
            Self::Tag(tag) => TAGS[key].contains(&tag),
            Self::Namespace => true,
        }
    }
}

impl Storm {
    pub(super) async fn call<B: Backend>(self: &Arc<Self>, process: &Process<B>, rng: &mut Rng) {
        let key = rng.usize(0..KEYS);
        match rng.u8(0..100) {
            0..45 => self.compute(process, key, false, rng).await,
            45..50 => self.compute(process, key, true, rng).await,
            50..70 => self.get(process, key, rng).await,
            70..80 if self.weather.sets => self.change(process, Change::Set(key), rng).await,
            80..88 if self.weather.many => {
                let what = *rng.choice(&[Change::Tag("a"), Change::Tag("b"), Change::Namespace]).unwrap();
                self.change(process, what, rng).await;
            }
            70..94 => self.change(process, Change::Key(key), rng).await,
            _ => {
                if let Some(clock) = &self.clock {
                    // At times so long that versions are no longer believed.
                    let most = if rng.u8(0..6) == 0 { 1_500 } else { 150 };
                    clock.advance(Duration::from_millis(rng.u64(0..most)));
                }
                turns_pass(rng.u8(0..10)).await;
            }
        }
    }

    async fn compute<B: Backend>(self: &Arc<Self>, process: &Process<B>, key: usize, forced: bool, rng: &mut Rng) {
        let floor = process.floors[key].load(SeqCst);
        let (storm, turns, asked_with_tags) = (Arc::clone(self), rng.u8(0..8) * rng.u8(1..10), rng.bool());
        let compute = move || async move {
            let count = storm.counts[key].load(SeqCst);
            turns_pass(turns).await;
            let computed = Computed::new(storm.stamp(key, count));
            Ok::<_, Broken>(if asked_with_tags { computed } else { computed.tags(TAGS[key].iter().copied()) })
        };
        let cache = process.cache.clone();
        let call = async move {
            let entry = cache.entry(key);
            let entry = if forced { entry.skip_l1_read().skip_l2_read() } else { entry };
            let entry = if asked_with_tags { entry.tags(TAGS[key].iter().copied()) } else { entry };
            entry.get_or_decide(compute).await
        };
        let Some(answer) = self.attend(call, rng).await else { return };
        process.answered.fetch_add(1, SeqCst);
        let stamp = answer.unwrap_or_else(|error| panic!("seed {}: a call failed: {error}", self.seed));
        self.check(key, floor, &stamp, if forced { "forced" } else { "computed" });
    }

    async fn get<B: Backend>(&self, process: &Process<B>, key: usize, rng: &mut Rng) {
        let floor = process.floors[key].load(SeqCst);
        let cache = process.cache.clone();
        let Some(answer) = self.attend(async move { cache.get::<Stamp>(key).await }, rng).await else { return };
        process.answered.fetch_add(1, SeqCst);
        match answer {
            Ok(Some(stamp)) => self.check(key, floor, &stamp, "read"),
            Ok(None) => {}
            Err(error) => assert!(self.weather.faults, "seed {}: {error}", self.seed),
        }
    }

    async fn change<B: Backend>(&self, process: &Process<B>, what: Change, rng: &mut Rng) {
        // A set is unconditional, so nothing but this orders it among the changes of several processes.
        let alone = self.weather.processes > 1 && self.weather.sets;
        let _alone = if alone { Some(self.changing.lock().await) } else { None };
        let (counts, change, begun) = {
            let concerned = (0..KEYS).filter(|key| what.concerns(*key));
            let order: Vec<_> = concerned.map(|key| (key, self.sources[key].lock().unwrap())).collect();
            let counts: Vec<_> =
                order.iter().map(|(key, _)| (*key, self.counts[*key].fetch_add(1, SeqCst) + 1)).collect();
            let mut change = self.begin(process.cache.clone(), what, counts.first().map_or(0, |(_, count)| *count));
            let begun = poll_once(&mut change);
            (counts, change, begun)
        };
        let result = match begun {
            Poll::Ready(result) => Some(result),
            Poll::Pending if alone => Some(change.await),
            Poll::Pending => self.attend(change, rng).await,
        };
        match result {
            Some(Ok(())) => {
                for (key, count) in counts {
                    process.floors[key].fetch_max(count, SeqCst);
                }
            }
            Some(Err(error)) => assert!(self.weather.faults, "seed {}: {error}", self.seed),
            None => {}
        }
    }

    fn begin<B: Backend>(
        &self,
        cache: Cache<B, Postcard>,
        what: Change,
        count: u64,
    ) -> Pin<Box<dyn Future<Output = Result<(), Error>> + Send>> {
        match what {
            Change::Set(key) => {
                let stamp = self.stamp(key, count);
                Box::pin(async move { cache.entry(key).tags(TAGS[key].iter().copied()).set(stamp).await })
            }
            Change::Key(key) => Box::pin(async move { cache.invalidate(key).await }),
            Change::Tag(tag) => Box::pin(async move { cache.invalidate_tag(tag).await }),
            Change::Namespace => Box::pin(async move { cache.invalidate_namespace().await }),
        }
    }

    /// Changes every key once more, each by some process, and sees that it succeeds.
    pub(super) async fn change_all<B: Backend>(&self, processes: &[Arc<Process<B>>], rng: &mut Rng) {
        let all: &[Change] = match rng.u8(0..3) {
            0 => &[Change::Namespace],
            1 => &[Change::Tag("a"), Change::Key(2)],
            _ => &[Change::Key(0), Change::Set(1), Change::Set(2)],
        };
        for what in all {
            let process = rng.choice(processes).unwrap();
            for key in (0..KEYS).filter(|key| what.concerns(*key)) {
                let count = self.counts[key].fetch_add(1, SeqCst) + 1;
                process.floors[key].fetch_max(count, SeqCst);
            }
            let count = (0..KEYS).find(|key| what.concerns(*key)).map_or(0, |key| self.counts[key].load(SeqCst));
            self.begin(process.cache.clone(), *what, count).await.unwrap();
        }
    }

    /// Waits for a call, or leaves it after a few polls, or parks it until the storm is over.
    async fn attend<F>(&self, call: F, rng: &mut Rng) -> Option<F::Output>
    where
        F: Future + Send + 'static,
    {
        let mut call = Box::pin(call);
        let fate = rng.u8(0..20);
        if fate > 2 {
            return Some(call.await);
        }
        for _ in 0..rng.u8(0..6) {
            if let Poll::Ready(answer) = poll_once(&mut call) {
                return Some(answer);
            }
            tokio::task::yield_now().await;
        }
        if fate == 0 {
            self.parked.lock().unwrap().push(Box::new(call));
        }
        None
    }

    fn stamp(&self, key: usize, count: u64) -> Stamp {
        Stamp { key, count, bulk: vec![count as u8; self.weather.bulk] }
    }

    pub(super) fn check(&self, key: usize, floor: u64, stamp: &Stamp, how: &str) {
        let seed = self.seed;
        assert_eq!(stamp.key, key, "seed {seed}: another key's value was {how}");
        assert!(*stamp == self.stamp(key, stamp.count), "seed {seed}: a mixture was {how}");
        assert!(stamp.count >= floor, "seed {seed}: {} of key {key} was {how}, {floor} is known", stamp.count);
    }
}
