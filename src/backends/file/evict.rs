//! Scanning the directory, and making room in it.
//!
//! The oldest entries go first, by time of modification, many at once: from 90 % of a cap down to 70 %, so that one
//! scan pays for a fifth of the cap.

use std::fs::{self, Metadata};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::dir::{Dir, remove};
use super::lease::Note;
use super::ledger::{Caps, Totals};
use super::name::{Name, Role};
use super::paths::present;

/// Above this share of a cap entries are removed.
pub(super) const HIGH: u64 = 90;
const LOW: u64 = 70;
const STALE_TEMP: Duration = Duration::from_secs(60);

/// Everything the directory holds, counted.
#[derive(Debug, Default)]
pub(super) struct Census {
    entries: Vec<Entry>,
    pub(super) totals: Totals,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    modified: SystemTime,
    name: Name,
    length: u64,
}

/// Counts the entries of `directory`, and changes nothing there.
pub(super) fn count(directory: &Path) -> io::Result<Totals> {
    let mut totals = Totals::default();
    for item in fs::read_dir(directory)? {
        let item = item?;
        if let Some(Role::Entry(_)) = Role::of(&item.file_name())
            && let Some(metadata) = present(item.metadata())?.filter(Metadata::is_file)
        {
            totals.add(metadata.len());
        }
    }
    Ok(totals)
}

impl Census {
    /// Counts the files of `directory`, and removes ended leases and temporary files older than a minute.
    ///
    /// The caller holds the lock. `now` is milliseconds since the epoch.
    pub(super) fn take(directory: &Path, now: u64) -> io::Result<Self> {
        let mut census = Self::default();
        for item in fs::read_dir(directory)? {
            let item = item?;
            match Role::of(&item.file_name()) {
                Some(Role::Entry(name)) => census.count(name, item.metadata())?,
                Some(Role::Temp) => remove_stale(&item.path()),
                Some(Role::Lease) => census.totals.leases += u64::from(is_kept(&item.path(), now)),
                None => {}
            }
        }
        Ok(census)
    }

    fn count(&mut self, name: Name, metadata: io::Result<Metadata>) -> io::Result<()> {
        let Some(metadata) = present(metadata)? else { return Ok(()) };
        if metadata.is_file() {
            self.totals.add(metadata.len());
            let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            self.entries.push(Entry { modified, name, length: metadata.len() });
        }
        Ok(())
    }

    /// Removes the oldest entries but `kept`, until `length` bytes more in its place fit into the low share of both
    /// caps.
    ///
    /// Returns what is left, `kept` included. Files that cannot be removed are passed over and stay counted.
    pub(super) fn make_room(mut self, dir: &Dir, kept: Name, length: u64, caps: &Caps) -> Totals {
        self.entries.sort_unstable();
        let replaced = self.entries.iter().find(|entry| entry.name == kept).map(|entry| entry.length);
        for entry in self.entries.iter().filter(|entry| entry.name != kept) {
            if self.totals.with(replaced, length).within(LOW, caps) {
                break;
            }
            if remove(&dir.entry(entry.name)).is_ok() {
                self.totals.subtract(entry.length);
            }
        }
        self.totals
    }
}

/// Removes temporary files older than a minute and, when the caller holds the lock, leases that ended before
/// `leases`.
pub(super) fn sweep(directory: &Path, leases: Option<u64>) -> io::Result<()> {
    for item in fs::read_dir(directory)? {
        let item = item?;
        match (Role::of(&item.file_name()), leases) {
            (Some(Role::Temp), _) => remove_stale(&item.path()),
            (Some(Role::Lease), Some(now)) => {
                is_kept(&item.path(), now);
            }
            _ => {}
        }
    }
    Ok(())
}

/// By the system's clock, which dates files. What cannot be removed is tried again by the next scan.
fn remove_stale(path: &Path) {
    let modified = fs::symlink_metadata(path).and_then(|metadata| metadata.modified());
    if modified.is_ok_and(|modified| modified.elapsed().is_ok_and(|age| age > STALE_TEMP)) {
        let _ = remove(path);
    }
}

/// Removes an ended lease. Whether the file stays: the lease has not ended, or cannot be read or removed.
fn is_kept(path: &Path, now: u64) -> bool {
    match Note::live(path, now) {
        Ok(None) => remove(path).is_err(),
        _ => true,
    }
}
