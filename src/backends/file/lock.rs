//! The lock: one writer per directory at a time.
//!
//! Threads of this process queue on a condition variable, and only their first in line asks the system for the
//! advisory lock, so that processes compete one to one. Reads take no lock.

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::error;
use super::ledger::{LENGTH, Ledger};
use super::os;
use super::paths::{look, set_aside};
use crate::error::{Error, ErrorKind};

const FILE_NAME: &str = ".cachekit.lock";
const SHORTEST_PAUSE: Duration = Duration::from_micros(200);
const LONGEST_PAUSE: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    /// How long writers wait altogether, for the message of those who did in vain.
    timeout: Duration,
    busy: Mutex<bool>,
    freed: Condvar,
}

/// The lock, held until dropped.
#[derive(Debug)]
pub(super) struct Locked<'a> {
    file: File,
    _turn: Turn<'a>,
}

impl Lock {
    pub(super) fn new(directory: &Path, timeout: Duration) -> Self {
        Self { path: directory.join(FILE_NAME), timeout, busy: Mutex::new(false), freed: Condvar::new() }
    }

    /// Takes the lock, trying at least once and for at most `patience`.
    pub(super) fn acquire(&self, patience: Duration) -> Result<Locked<'_>, Error> {
        let deadline = Instant::now() + patience;
        let turn = self.queue(patience).ok_or_else(|| self.timed_out())?;
        let mut pause = SHORTEST_PAUSE;
        loop {
            if let Some(file) = self.try_file()? {
                return Ok(Locked { file, _turn: turn });
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.timed_out());
            }
            // Half of it at random, so that processes that were refused together do not return together.
            thread::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0).min(left));
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn queue(&self, patience: Duration) -> Option<Turn<'_>> {
        let wait = self.freed.wait_timeout_while(self.busy(), patience, |busy| *busy);
        let (mut busy, _) = wait.unwrap_or_else(PoisonError::into_inner);
        if *busy {
            return None;
        }
        *busy = true;
        Some(Turn(self))
    }

    fn busy(&self) -> MutexGuard<'_, bool> {
        // One assignment is all that happens under it.
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opened anew each time: the file may have been removed, and a lock on a removed file excludes no process.
    fn try_file(&self) -> Result<Option<File>, Error> {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let options = os::private(os::no_follow(options));
        let mut found = open(options, &self.path)?;
        if found.is_none() {
            self.make_way().map_err(error::directory)?;
            found = open(options, &self.path)?;
        }
        let Some((file, opened)) = found else { return Ok(None) };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(source)) => {
                let message =
                    "the file system of the cache directory keeps no locks: choose a directory on a local disk";
                return Err(Error::with_source(ErrorKind::Backend, message, source));
            }
        }
        let named = fs::symlink_metadata(&self.path);
        Ok(named.is_ok_and(|named| os::same_file(&named, &opened)).then_some(file))
    }

    fn timed_out(&self) -> Error {
        let waited = self.timeout.as_millis();
        let message = format!(
            "another writer held the lock of the cache directory for {waited} ms: try again, or raise its lock_timeout"
        );
        Error::new(ErrorKind::Timeout, message)
    }

    /// Moves aside what is in the place of the lock. One process at a time, or the second would move the new lock.
    fn make_way(&self) -> io::Result<()> {
        let directory = File::open(self.path.parent().unwrap_or(&self.path))?;
        if directory.try_lock().is_err() {
            return Ok(());
        }
        let mut options = OpenOptions::new();
        let options = os::no_follow(options.read(true).write(true));
        match open(options, &self.path) {
            Ok(None) => set_aside(&self.path),
            _ => Ok(()),
        }
    }
}

impl Locked<'_> {
    /// The ledger, if the file holds one.
    pub(super) fn ledger(&mut self) -> Option<Ledger> {
        let mut bytes = [0; LENGTH];
        self.file.rewind().and_then(|()| self.file.read_exact(&mut bytes)).ok()?;
        Ledger::decode(&bytes)
    }

    pub(super) fn record(&mut self, ledger: &Ledger) -> Result<(), Error> {
        self.file.rewind().and_then(|()| self.file.write_all(&ledger.encode())).map_err(error::directory)
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // Explicitly: a child that is just being forked may keep the file open a little longer.
        let _ = self.file.unlock();
    }
}

/// The right of one thread to ask for the file lock.
#[derive(Debug)]
struct Turn<'a>(&'a Lock);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.busy() = false;
        self.0.freed.notify_one();
    }
}

/// Opens the lock file. `None` if what is under its name can be no lock.
fn open(options: &OpenOptions, path: &Path) -> Result<Option<(File, Metadata)>, Error> {
    match options.open(path).and_then(|file| file.metadata().map(|metadata| (file, metadata))) {
        Ok((file, metadata)) => Ok(metadata.is_file().then_some((file, metadata))),
        Err(error) => match look(path).map_err(error::directory)? {
            Some(found) if !found.is_file() || error.kind() == io::ErrorKind::PermissionDenied => Ok(None),
            _ => Err(error::directory(error)),
        },
    }
}
