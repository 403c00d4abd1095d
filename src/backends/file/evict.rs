//! Scanning the directory, and which entries go first.
//!
//! The oldest go first, by time of modification: from 90 % of a cap down to 70 %, so that one scan pays for a fifth of
//! the cap. A scan looks at each file, so one of a large directory takes no lock, and no write waits for it.

use std::fs::{self, Metadata};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::dir::{Dir, remove};
use super::lease::Note;
use super::ledger::{Caps, Totals};
use super::name::{Name, Role};
use super::paths::{look, present};

/// Above this share of a cap entries are removed.
pub(super) const HIGH: u64 = 90;
/// Down to this one.
pub(super) const LOW: u64 = 70;
const STALE_TEMP: Duration = Duration::from_secs(60);

/// Everything the directory holds, counted.
#[derive(Debug, Default)]
pub(super) struct Census {
    entries: Vec<Entry>,
    /// Leases that have ended.
    ended: Vec<Name>,
    pub(super) totals: Totals,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    modified: SystemTime,
    pub(super) name: Name,
    pub(super) length: u64,
}

/// An entry that needs room.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Coming {
    /// It is never evicted for itself.
    pub(super) name: Option<Name>,
    /// The length of what it replaces.
    pub(super) replaced: Option<u64>,
    pub(super) length: u64,
}

impl Coming {
    /// Whether the directory is within `percent` of the caps once the entry is there.
    pub(super) fn fits(&self, percent: u64, totals: Totals, caps: &Caps) -> bool {
        totals.with(self.replaced, self.length).within(percent, caps)
    }
}

impl Entry {
    /// Removes the file, unless another one has taken its place since. Whether it did.
    pub(super) fn remove(&self, dir: &Dir) -> bool {
        let path = dir.entry(self.name);
        let is_same = |file: Metadata| {
            file.is_file() && file.len() == self.length && file.modified().is_ok_and(|time| time == self.modified)
        };
        look(&path).is_ok_and(|found| found.is_some_and(is_same)) && remove(&path).is_ok_and(|removed| removed)
    }
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
    pub(super) fn take(dir: &Dir, now: u64) -> io::Result<Self> {
        let mut census = Self::look(dir.path(), now, || true)?;
        for name in std::mem::take(&mut census.ended) {
            if !is_kept(&dir.lease(name), now) {
                census.totals.leases -= 1;
            }
        }
        Ok(census)
    }

    /// The same without the lock: ended leases are counted and stay. Ends early, with what was found by then, once
    /// `goes_on` says no.
    pub(super) fn look(directory: &Path, now: u64, goes_on: impl Fn() -> bool) -> io::Result<Self> {
        let mut census = Self::default();
        for item in fs::read_dir(directory)?.take_while(|_| goes_on()) {
            let item = item?;
            match Role::of(&item.file_name()) {
                Some(Role::Entry(name)) => census.count(name, item.metadata())?,
                Some(Role::Temp) => remove_stale(&item.path()),
                Some(Role::Lease(name)) => {
                    census.totals.leases += 1;
                    census.ended.extend(matches!(Note::live(&item.path(), now), Ok(None)).then_some(name));
                }
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

    /// Takes out the leases that have ended.
    pub(super) fn ended(&mut self) -> Vec<Name> {
        std::mem::take(&mut self.ended)
    }

    /// The oldest entries, as many as have to go until what comes fits into the low share of both caps. The very oldest
    /// is the last.
    pub(super) fn oldest(mut self, coming: &Coming, caps: &Caps) -> Vec<Entry> {
        self.entries.retain(|entry| Some(entry.name) != coming.name);
        self.entries.sort_unstable();
        let mut left = self.totals;
        let is_to_go = |entry: &&Entry| {
            let is_to_go = !coming.fits(LOW, left, caps);
            left.subtract(entry.length);
            is_to_go
        };
        let count = self.entries.iter().take_while(is_to_go).count();
        self.entries.truncate(count);
        self.entries.shrink_to_fit();
        self.entries.reverse();
        self.entries
    }
}

/// Removes temporary files older than a minute and, when the caller holds the lock, leases that ended before
/// `leases`.
pub(super) fn sweep(directory: &Path, leases: Option<u64>) -> io::Result<()> {
    for item in fs::read_dir(directory)? {
        let item = item?;
        match (Role::of(&item.file_name()), leases) {
            (Some(Role::Temp), _) => remove_stale(&item.path()),
            (Some(Role::Lease(_)), Some(now)) => {
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

/// Removes an ended lease, under the lock. Whether the file stays: the lease has not ended, or cannot be read or removed.
pub(super) fn is_kept(path: &Path, now: u64) -> bool {
    match Note::live(path, now) {
        Ok(None) => remove(path).is_err(),
        _ => true,
    }
}
