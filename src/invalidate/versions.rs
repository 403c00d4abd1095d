//! Versions: forgetting in the backend, at the price of one item.
//!
//! The namespace and each tag have a version, a random number under a reserved key. Entries carry the versions they were
//! computed under, and one that differs is not there. So that an entry need not be read together with all its versions,
//! there is one more number, the generation, which every invalidation changes: as long as it stands, what this process
//! knows of the versions is right, and it travels with a read at most once a second.
//!
//! An expiry of everything changes the version of the namespace, too, and the record of it remembers the one of before:
//! entries of that are expired, not gone.
//!
//! An invalidation changes the generation, then the version, then the generation again. Whoever finds the generation of
//! before a computation after it has read a version knows that the version is of before, too. A version that is lost is
//! made anew, at random: what was stored under the lost one is void, and nothing that was void is valid again.

use std::iter;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::known::{Admission, Current, Known};
use super::record::Record;
use crate::backends::{Backend, Lease, join};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind};
use crate::guard::Guard;
use crate::key::Key;
use crate::random;
use crate::seal::Marks;
use bytes::Bytes;

/// How long versions are remembered, in ticks. One that the backend lost is made anew, and no generation tells of that.
const REMEMBERED: u64 = 60_000;

/// How long another process may take to make a version: three round trips, however long the way is. All attempts to
/// look for it, and the pauses between them, take longer than that.
const HOLD: Duration = Duration::from_secs(3);
const ATTEMPTS: usize = 10;
const PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// How many versions are made at once.
const WIDTH: usize = 8;

/// How many versions one batch changes at most.
const BATCH: usize = 1_024;

/// The versions of one namespace.
#[derive(Debug)]
pub(crate) struct Versions {
    /// Their keys are reserved names of this one.
    root: Key,
    generation: Key,
    /// The key of the record.
    version: Key,
    clock: Arc<dyn Clock>,
    known: Mutex<Known>,
}

/// The moment at which a generation was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    tick: u64,
    distrusts: u64,
}

/// What holds when a computation starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Stamp {
    generation: u64,
    namespace: u64,
}

impl Versions {
    pub(crate) fn new(root: Key, clock: Arc<dyn Clock>) -> Self {
        let (generation, version) = (root.reserved("generation"), root.reserved("version"));
        Self { root, generation, version, clock, known: Mutex::default() }
    }

    /// The key of the generation, if the next read should bring it along.
    pub(crate) fn due(&self) -> Option<(&Key, Asked)> {
        let (now, known) = (self.clock.ticks(), self.lock());
        (!known.is_believed(now)).then_some((&self.generation, Asked { tick: now, distrusts: known.distrusts }))
    }

    /// Asks for the generation anew before anything is believed. What is known of a generation stays true.
    pub(crate) fn distrust(&self) {
        let mut known = self.lock();
        known.asked = None;
        known.distrusts += 1;
    }

    /// Takes note of the generation that a read brought along. Makes one if there was none.
    pub(crate) async fn learn<B: Backend>(
        &self,
        guard: &Guard<B>,
        found: Option<&Bytes>,
        asked: Asked,
    ) -> Result<u64, Error> {
        if let Some(generation) = found.and_then(number) {
            self.note(generation, asked);
            return Ok(generation);
        }
        // Asked anew: whoever makes one knows that it stands since.
        let asked = self.asked();
        // Boxed for the same reason as in `admit`.
        let generation = Box::pin(self.make(guard, &self.generation)).await?.version;
        self.note(generation, asked);
        Ok(generation)
    }

    /// What holds now, for a computation that starts now.
    pub(crate) async fn stamp<B: Backend>(&self, guard: &Guard<B>) -> Result<Stamp, Error> {
        let generation = self.generation(guard).await?;
        let (generation, current) = self.current(guard, &[], generation).await?;
        Ok(Stamp { generation, namespace: current.marks.namespace })
    }

    /// What an entry is marked with whose computation started when `stamp` was made. `None` if something was
    /// invalidated since, so that nobody can tell what its tags were then.
    pub(crate) async fn marks<B: Backend>(
        &self,
        guard: &Guard<B>,
        stamp: Stamp,
        tags: &[u64],
    ) -> Result<Option<Marks>, Error> {
        if tags.is_empty() {
            return Ok(Some(Marks { namespace: stamp.namespace, tags: Vec::new() }));
        }
        let (generation, current) = self.current(guard, tags, stamp.generation).await?;
        Ok((generation == stamp.generation).then_some(current.marks))
    }

    /// What an entry is marked with that is stored now, if that is known without asking.
    pub(crate) fn known(&self, tags: &[u64]) -> Option<Marks> {
        if self.due().is_some() {
            return None;
        }
        self.lock().recall(tags).map(|current| current.marks)
    }

    /// What an entry is marked with that is stored now.
    pub(crate) async fn now<B: Backend>(&self, guard: &Guard<B>, tags: &[u64]) -> Result<Marks, Error> {
        let generation = self.generation(guard).await?;
        Ok(self.current(guard, tags, generation).await?.1.marks)
    }

    /// Whether an entry with these marks has been invalidated, or has expired.
    pub(crate) async fn admit<B: Backend>(&self, guard: &Guard<B>, found: &Marks) -> Result<Admission, Error> {
        let now = self.clock.ticks();
        if let Some(admitted) = self.lock().admits(found, now) {
            return Ok(admitted);
        }
        // Boxed: asking is rare, and every read would have to carry room for it.
        Box::pin(self.ask(guard, found)).await
    }

    async fn ask<B: Backend>(&self, guard: &Guard<B>, found: &Marks) -> Result<Admission, Error> {
        let generation = self.generation(guard).await?;
        Ok(self.current(guard, &found.names(), generation).await?.1.admits(found))
    }

    /// Makes all entries of the namespace, or those of some tags, things of the past.
    pub(crate) async fn invalidate<B: Backend>(&self, guard: &Guard<B>, tags: Option<&[u64]>) -> Result<(), Error> {
        self.write(guard, &self.generation).await?;
        match tags {
            None => drop(self.write(guard, &self.version).await?),
            Some([tag]) => drop(self.write(guard, &self.key(*tag)).await?),
            Some(tags) => {
                for few in tags.chunks(BATCH) {
                    let items: Vec<_> = few.iter().map(|tag| (self.key(*tag), bytes(random::number()))).collect();
                    guard.put_many(&items, self.keep(guard)).await?;
                }
            }
        }
        self.write(guard, &self.generation).await.map(|_| ())
    }

    /// Lets all entries of the namespace expire; where the backend has no leases, makes them things of the past.
    pub(crate) async fn expire<B: Backend>(&self, guard: &Guard<B>) -> Result<(), Error> {
        self.write(guard, &self.generation).await?;
        let succeeded = match self.succeed(guard).await {
            Err(error) if error.kind() == ErrorKind::Unsupported => false,
            answer => answer?,
        };
        if !succeeded {
            self.write(guard, &self.version).await?;
        }
        self.write(guard, &self.generation).await.map(|_| ())
    }

    /// Replaces the version of the namespace by one that remembers it. By a lease: an invalidation in between must not
    /// be undone. Returns whether that was possible.
    async fn succeed<B: Backend>(&self, guard: &Guard<B>) -> Result<bool, Error> {
        let attempts = if guard.capabilities().leases { ATTEMPTS } else { 0 };
        let (mut pause, mut seen) = (PAUSE, None);
        for _ in 0..attempts {
            let token = match guard.short_lease(&self.version, HOLD, seen.as_ref()).await? {
                (Lease::Granted, token) => token,
                (Lease::Held, _) => {
                    self.wait(&mut pause).await;
                    continue;
                }
                (Lease::Found(bytes), _) => {
                    seen = Some(bytes);
                    continue;
                }
            };
            let (found, next) = (guard.get(&self.version).await?, random::number());
            let record = match found.as_deref().and_then(Record::read) {
                Some(record) => record.expire(next, self.clock.wall()),
                None => Record::new(next),
            };
            if guard.put(&self.version, record.to_bytes(), self.keep(guard), Some(token)).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn generation<B: Backend>(&self, guard: &Guard<B>) -> Result<u64, Error> {
        let Some((key, asked)) = self.due() else { return Ok(self.lock().generation) };
        let found = guard.get(key).await?;
        self.learn(guard, found.as_ref(), asked).await
    }

    /// The versions of the namespace and of these tags, and the generation that was found after them, or in which they
    /// are known.
    ///
    /// They are remembered if it is the `generation` of before: otherwise they may have changed after they were read.
    async fn current<B: Backend>(
        &self,
        guard: &Guard<B>,
        tags: &[u64],
        generation: u64,
    ) -> Result<(u64, Current), Error> {
        if let Some(current) = self.recall(tags, generation) {
            return Ok((generation, current));
        }
        let asked = self.asked();
        let keys: Vec<Key> = iter::once(self.version.clone()).chain(tags.iter().map(|tag| self.key(*tag))).collect();
        let found = guard.get_many(&keys).await?;
        let found = found.iter().zip(&keys).map(|(found, key)| self.record(key, found.as_ref()?)).collect();
        let (records, lasting) = self.complete(guard, &keys, found).await?;
        let found = guard.get(&self.generation).await?;
        let now = self.learn(guard, found.as_ref(), asked).await?;
        let current = Current::of(records, tags);
        let mut known = self.lock();
        if lasting && now == generation && known.generation == generation {
            known.remember(&current);
        }
        Ok((now, current))
    }

    fn recall(&self, tags: &[u64], generation: u64) -> Option<Current> {
        let mut known = self.lock();
        if known.generation == generation { known.recall(tags) } else { None }
    }

    /// Makes the records that were not found under these keys. Says as well whether all of them last: of several
    /// processes that make one where there are no leases the last wins.
    async fn complete<B: Backend>(
        &self,
        guard: &Guard<B>,
        keys: &[Key],
        mut found: Vec<Option<Record>>,
    ) -> Result<(Vec<Record>, bool), Error> {
        let absent: Vec<usize> = (0..keys.len()).filter(|position| found[*position].is_none()).collect();
        for few in absent.chunks(WIDTH) {
            let made = join::all(few.iter().map(|position| self.make(guard, &keys[*position]))).await;
            for (position, record) in few.iter().zip(made) {
                found[*position] = Some(record?);
            }
        }
        let lasting = absent.is_empty() || guard.capabilities().leases;
        Ok((found.into_iter().flatten().collect(), lasting))
    }

    /// What is stored under `key`, which is that of a version or of the generation.
    fn record(&self, key: &Key, bytes: &Bytes) -> Option<Record> {
        if *key == self.version { Record::read(bytes) } else { number(bytes).map(Record::new) }
    }

    /// Makes a number that is lost or was never there. Entries that carry another version are of the past.
    async fn make<B: Backend>(&self, guard: &Guard<B>, key: &Key) -> Result<Record, Error> {
        if guard.capabilities().leases {
            match self.make_by_lease(guard, key).await {
                // It was found to have no leases.
                Err(error) if error.kind() == ErrorKind::Unsupported => {}
                made => return made,
            }
        }
        self.write(guard, key).await?;
        // Of several who make one the last wins; the others learn of it by a new generation.
        if *key == self.version {
            self.write(guard, &self.generation).await?;
        }
        let found = guard.get(key).await?;
        // A backend that keeps nothing knows nothing of before.
        Ok(found.and_then(|found| self.record(key, &found)).unwrap_or_else(|| Record::new(random::number())))
    }

    /// By a lease, of several who make one the first wins, and an invalidation over all.
    async fn make_by_lease<B: Backend>(&self, guard: &Guard<B>, key: &Key) -> Result<Record, Error> {
        let read = |found: Option<Bytes>| found.and_then(|found| self.record(key, &found));
        let (mut pause, mut seen) = (PAUSE, None);
        for _ in 0..ATTEMPTS {
            let token = match guard.short_lease(key, HOLD, seen.as_ref()).await? {
                (Lease::Granted, token) => Some(token),
                (Lease::Held, _) => {
                    self.wait(&mut pause).await;
                    None
                }
                (Lease::Found(bytes), _) => {
                    seen = Some(bytes);
                    None
                }
            };
            let found = read(guard.get(key).await?);
            if let Some(token) = token {
                if found.is_none() {
                    let made = random::number();
                    if guard.put(key, bytes(made), self.keep(guard), Some(token)).await? {
                        return Ok(Record::new(made));
                    }
                }
                guard.release(key, token).await?;
            }
            if let Some(version) = found {
                return Ok(version);
            }
        }
        Err(Error::new(ErrorKind::Unavailable, "another process makes a version of the namespace and does not end"))
    }

    /// Waits for another process, each time for longer.
    async fn wait(&self, pause: &mut Duration) {
        self.clock.sleep(*pause).await;
        *pause = (*pause * 2).min(LONGEST_PAUSE);
    }

    async fn write<B: Backend>(&self, guard: &Guard<B>, key: &Key) -> Result<u64, Error> {
        let number = random::number();
        guard.put(key, bytes(number), self.keep(guard), None).await?;
        Ok(number)
    }

    fn keep<B: Backend>(&self, guard: &Guard<B>) -> Duration {
        guard.capabilities().max_ttl
    }

    fn asked(&self) -> Asked {
        Asked { tick: self.clock.ticks(), distrusts: self.lock().distrusts }
    }

    fn note(&self, generation: u64, asked: Asked) {
        let mut known = self.lock();
        if known.distrusts != asked.distrusts {
            return;
        }
        if known.generation != generation || asked.tick.saturating_sub(known.since) >= REMEMBERED {
            known.begin(generation, asked.tick);
        }
        known.asked = Some(asked.tick);
    }

    /// The key of a tag's version.
    fn key(&self, tag: u64) -> Key {
        self.root.reserved(&format!("tag:{tag:016x}"))
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Nothing between lock and unlock can panic half way through a change.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bytes(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

fn number(bytes: &Bytes) -> Option<u64> {
    bytes[..].try_into().ok().map(u64::from_be_bytes)
}
