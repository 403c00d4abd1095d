//! File: entries in one directory.
//!
//! For development, tests, and a few processes of one machine: no server, survives restarts, shared by all processes
//! of one user. The layout is that of the Python library `cachekit`, version 1.

use std::fmt;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use self::count::Survey;
use self::dir::Dir;
use self::name::Name;
use self::store::Store;
use super::{Backend, Capabilities, Cursor, Lease, LeaseToken, Page, cannot_list, forget_by_leases, late};
use crate::bus::AnyBus;
use crate::clock::{Clock, SystemClock};
use crate::config::FileLimits;
use crate::error::{Error, ErrorKind};
use crate::finding::Finding;
use crate::key::Key;
use crate::ledger::{Forgotten, Order};

mod count;
mod diagnose;
mod dir;
mod entry;
mod error;
mod evict;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod instant;
mod lease;
mod ledger;
mod lock;
mod name;
mod open;
mod os;
mod paths;
mod room;
mod store;
mod temp;

/// Entries as files of one directory, bounded in bytes and in number, shared by the processes of one user.
///
/// Clones share the directory and its lock. It has leases. A file is named by a hash of its key and holds a 14-byte
/// header and the value; expiry is rounded up to whole seconds.
///
/// # Files
/// - A write goes to a temporary file, is synced, and is renamed under an advisory lock (`.cachekit.lock`), so a
///   reader sees the old value or the new one, whenever a writer dies. Reads take no lock.
/// - A file that is no entry is a miss. Bad magic, another version, fewer than 14 bytes, or an expiry that has
///   passed: it is removed. Flags of a later version, more than `max_value` bytes, a link, anything but a regular
///   file, a file that this user may not read: it is left alone, until a `set` replaces it. A directory in the place of
///   an entry or a lease, and whatever can be no lock in the place of the lock, is moved aside then, to a name that ends
///   in `.aside.` and a number.
/// - Directories are created with mode 0700, files with 0600. Links are never followed.
/// - A directory that takes the place of the one that was opened is used if it passes the same checks, and else refused
///   by each operation, until it is mended.
///
/// # Limits
/// An insert above 90 % of either cap of [`FileLimits`] removes the oldest entries down to 70 %: of more than 1,000
/// entries 64 at a time, with the inserts that follow, so that it ends a few entries above. The sums are kept in the lock file and counted anew every 30 s,
/// which mends what killed processes and writers that take no lock (such as the Python library) left. Up to
/// `max_entries` leases may be out; they count to neither cap.
/// Of processes that give one directory different caps the larger ones win, until an hour after that process wrote last;
/// a cache of the second process is warned (`Cache::warnings`).
///
/// # Cost
/// On Linux `get` reads an entry of up to 64 KiB that the system has in its memory where the call is, if no part of that
/// waits for a disk. All other work runs on the runtime's blocking threads, at most 48 reads and 16 writes at a time. A
/// read is open, stat, read; a write adds one sync. `get_many` and `remove_many` are one piece of work, `set_many` is one
/// a value.
///
/// A count costs one `stat` per entry: tens of milliseconds for 10,000, seconds for a million. Above 1,000 entries it
/// takes no lock and holds up no write. A write waits for one only if the lock file was removed, or if it finds the
/// directory full to the last: inserts of more than a tenth of a cap within the time of a count do that, or one value.
///
/// # Errors
/// [`ErrorKind::Timeout`] when other writers held the lock for `lock_timeout`; [`ErrorKind::ReadOnly`] for a full
/// disk or one that is mounted read-only; [`ErrorKind::Unavailable`] for a file that may not be read and a directory that
/// is gone; [`ErrorKind::Backend`] for a directory that may not be written to; [`ErrorKind::TooLarge`] for a value above
/// `max_value`; [`ErrorKind::Closed`] without a tokio runtime.
///
/// # Examples
/// ```
/// use cachekit::{Backend, FileLimits, Key, backends::File};
/// # let parent = tempfile::tempdir().unwrap();
/// # let dir = parent.path().join("cache");
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let files = File::open(dir, FileLimits::default())?;
/// let key = Key::new("users", 42)?;
/// files.set(&key, "ada".into(), std::time::Duration::from_secs(60)).await?;
/// assert_eq!(files.get(&key).await?.as_deref(), Some(&b"ada"[..]));
/// # Ok::<(), cachekit::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct File {
    store: Arc<Store>,
    // Apart, so that writers who wait for the lock hold up no reader.
    reads: Arc<Semaphore>,
    writes: Arc<Semaphore>,
}

const DISPUTED: &str = "another process gave the cache directory (CACHEKIT_FILE_CACHE_DIR) other limits: the larger \
                        ones hold for both; set CACHEKIT_FILE_MAX_SIZE_MB and CACHEKIT_FILE_MAX_ENTRY_COUNT alike";

const READS: usize = 48;
const WRITES: usize = 16;

impl File {
    /// Opens `dir`, creating it and its parents if they are missing, and removes temporary files older than a minute.
    ///
    /// Blocks for a few file operations, and for one listing of the directory; where its lock file holds no sums, for a
    /// count.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if a limit is out of its range, or if `dir` is not a directory, is a symbolic link,
    /// belongs to another user, is writable by group or others, or cannot be created, listed or written to.
    pub fn open(dir: impl Into<PathBuf>, limits: FileLimits) -> Result<Self, Error> {
        Self::open_with_clock(dir, limits, Arc::new(SystemClock))
    }

    /// Like [`open`](File::open), on a clock of the caller's. It dates expiries and leases; the system dates files.
    ///
    /// # Errors
    /// As [`open`](File::open).
    pub fn open_with_clock(dir: impl Into<PathBuf>, limits: FileLimits, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        open::limits(&limits)?;
        let dir = Dir::new(open::directory(&dir.into())?).map_err(error::directory)?;
        Ok(Self {
            store: Arc::new(Store::start(dir, limits, clock)?),
            reads: Arc::new(Semaphore::new(READS)),
            writes: Arc::new(Semaphore::new(WRITES)),
        })
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.run(Arc::clone(&self.reads), work).await
    }

    /// Runs `work`, telling it how long it may still wait for the lock.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store, Duration) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let asked = Instant::now();
        let work = move |store: &Store| {
            let patience = store.limits.lock_timeout.saturating_sub(asked.elapsed());
            work(store, patience)
        };
        let answer = self.run(Arc::clone(&self.writes), work).await;
        self.survey();
        answer
    }

    /// Scans the directory if a write found that to be due. No caller waits for it.
    fn survey(&self) {
        if let Ok(runtime) = Handle::try_current()
            && let Some(survey) = Survey::due(&self.store)
        {
            // What fails is due again.
            runtime.spawn_blocking(move || survey.run().ok());
        }
    }

    async fn run<T: Send + 'static>(
        &self,
        permits: Arc<Semaphore>,
        work: impl FnOnce(&Store) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let runtime = Handle::try_current().map_err(closed)?;
        let permit = permits.acquire_owned().await.map_err(closed)?;
        let store = Arc::clone(&self.store);
        let task = runtime.spawn_blocking(move || {
            let _permit = permit;
            store.dir.check()?;
            work(&store)
        });
        match task.await {
            Ok(answer) => answer,
            Err(source) if source.is_panic() => {
                let message = "a file operation panicked: the store stays usable, but report this";
                Err(Error::with_source(ErrorKind::Backend, message, source))
            }
            Err(source) => Err(closed(source)),
        }
    }
}

fn closed(source: impl std::error::Error + Send + Sync + 'static) -> Error {
    let message = "the file backend needs a running tokio runtime: call it from inside one";
    Error::with_source(ErrorKind::Closed, message, source)
}

#[deny(clippy::missing_trait_methods)]
impl Backend for File {
    fn capabilities(&self) -> Capabilities {
        let max_value = usize::try_from(self.store.limits.max_value).unwrap_or(usize::MAX);
        // The lock, and as much again as any backend has for the work itself.
        let timeout = self.store.limits.lock_timeout + Duration::from_secs(5);
        let can = Capabilities::new("file").leases(true).max_value(max_value).timeout(timeout);
        let can = can.store(self.store.dir.path());
        if self.store.is_disputed { can.warning(DISPUTED) } else { can }
    }

    async fn get(&self, key: &Key) -> Result<Option<Bytes>, Error> {
        let name = Name::of(key);
        Handle::try_current().map_err(closed)?;
        if let Some(found) = self.store.get_at_once(name) {
            // Or else a task that reads on and on would let no other have its turn.
            tokio::task::coop::consume_budget().await;
            return Ok(found);
        }
        let is_long = || async move { self.read(move |store| Ok(store.is_long(name))).await.unwrap_or(false) };
        late::or_ask(pin!(self.read(move |store| store.get(name))), is_long).await
    }

    async fn set(&self, key: &Key, value: Bytes, ttl: Duration) -> Result<(), Error> {
        let name = Name::of(key);
        self.write(move |store, patience| store.set(name, &value, ttl, patience)).await
    }

    async fn remove(&self, key: &Key) -> Result<(), Error> {
        self.remove_many(std::slice::from_ref(key)).await
    }

    async fn ttl(&self, key: &Key) -> Result<Option<Duration>, Error> {
        let name = Name::of(key);
        self.read(move |store| store.ttl(name)).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, Error> {
        let names: Vec<Name> = keys.iter().map(Name::of).collect();
        self.read(move |store| names.into_iter().map(|name| store.get(name)).collect()).await
    }

    async fn set_many(&self, items: Vec<(Key, Bytes)>, ttl: Duration) -> Result<(), Error> {
        for (key, value) in items {
            self.set(&key, value, ttl).await?;
        }
        Ok(())
    }

    async fn remove_many(&self, keys: &[Key]) -> Result<(), Error> {
        let names: Vec<Name> = keys.iter().map(Name::of).collect();
        self.write(move |store, patience| store.remove(&names, patience)).await
    }

    fn part(&self, _: &Key) -> u16 {
        0
    }

    async fn forget(&self, order: &Order) -> Result<Forgotten, Error> {
        forget_by_leases(self, order).await
    }

    async fn lease(&self, key: &Key, hold: Duration, token: LeaseToken, seen: Option<&Bytes>) -> Result<Lease, Error> {
        let (name, seen) = (Name::of(key), seen.cloned());
        self.write(move |store, patience| store.lease(name, (hold, token), seen.as_ref(), patience)).await
    }

    async fn renew(&self, key: &Key, hold: Duration, token: LeaseToken) -> Result<bool, Error> {
        let name = Name::of(key);
        self.write(move |store, patience| store.renew(name, hold, token, patience)).await
    }

    async fn fill(&self, key: &Key, value: Bytes, ttl: Duration, token: LeaseToken) -> Result<bool, Error> {
        let name = Name::of(key);
        self.write(move |store, patience| store.fill(name, &value, ttl, token, patience)).await
    }

    async fn release(&self, key: &Key, token: LeaseToken) -> Result<(), Error> {
        let name = Name::of(key);
        self.write(move |store, patience| store.release(name, token, patience)).await
    }

    async fn ping(&self) -> Result<(), Error> {
        self.read(Store::ping).await
    }

    fn bus(&self, _: &Key) -> Option<AnyBus> {
        None
    }

    fn address(&self) -> Option<String> {
        Some(self.store.dir.path().display().to_string())
    }

    async fn diagnose(&self, _: &Key) -> Vec<Finding> {
        let found = self.read(|store| Ok(diagnose::findings(store))).await;
        found.unwrap_or_else(|error| {
            vec![Finding::of_error(&error).follows("no entry is read from files or stored there")]
        })
    }

    async fn scan(&self, _: &str, _: Option<Cursor>, _: usize) -> Result<Page, Error> {
        // Files are named by hashes of keys.
        Err(cannot_list("file"))
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let store = &self.store;
        f.debug_struct("File").field("dir", &store.dir.path()).field("limits", &store.limits).finish_non_exhaustive()
    }
}
