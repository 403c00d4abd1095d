//! The operations, blocking.
//!
//! A write prepares its file aside, then takes the lock for what must be one step: end the lease, make room, count,
//! rename. Whatever fails on the way leaves the old entry.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::dir::{Dir, remove};
use super::entry::{self, Alive, Found, HEADER};
use super::error;
use super::evict::{self, Coming, HIGH};
use super::instant::Instant;
use super::lease::Note;
use super::ledger::{Caps, Ledger, Totals};
use super::lock::{Lock, Locked};
use super::name::Name;
use super::os;
use super::paths::look;
use super::room::Room;
use super::temp::Temp;
use crate::backends::late::LONG;
use crate::backends::{Lease, LeaseToken, longest_lease};
use crate::clock::{Clock, millis};
use crate::config::{FileLimits, LONGEST};
use crate::error::{Error, ErrorKind};

#[derive(Debug)]
pub(super) struct Store {
    pub(super) dir: Dir,
    pub(super) limits: FileLimits,
    /// Whether another process gave the directory other limits.
    pub(super) is_disputed: bool,
    pub(super) room: Room,
    instant: Instant,
    lock: Lock,
    pub(super) clock: Arc<dyn Clock>,
}

impl Store {
    /// Takes up the work in a checked directory: removes what dead writers left behind.
    pub(super) fn start(dir: Dir, limits: FileLimits, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let lock = Lock::new(dir.path(), limits.lock_timeout);
        let mut store =
            Self { lock, dir, limits, is_disputed: false, room: Room::default(), instant: Instant::default(), clock };
        let mut locked = match store.lock.acquire(Duration::ZERO) {
            Err(error) if !error.is_temporary() => {
                return Err(Error::with_source(ErrorKind::Config, error.to_string(), error));
            }
            locked => locked.ok(),
        };
        let ended = locked.as_ref().map(|_| store.clock.wall());
        evict::sweep(store.dir.path(), ended).map_err(|source| {
            let message = "the cache directory cannot be listed: make it readable to this user, or choose another";
            Error::with_source(ErrorKind::Config, message, source)
        })?;
        let is_disputed = locked.as_mut().is_some_and(|locked| store.claim(locked));
        drop(locked);
        store.is_disputed = is_disputed;
        Ok(store)
    }

    /// Writes down the limits of this process, and what the directory holds if that is not known: the first write would
    /// have to wait for it. Returns whether another process has other limits.
    fn claim(&self, locked: &mut Locked<'_>) -> bool {
        let (known, now) = (locked.ledger(), self.clock.wall());
        // A disk that takes no writes now is told of by the first operation that needs it.
        let _ = match known {
            Some(ledger) => locked.record(&Ledger { caps: self.caps(known, now), ..ledger }),
            None => self.count(locked).map(drop),
        };
        known.is_some_and(|ledger| ledger.caps.differ(Caps::of(&self.limits, now)))
    }

    /// Takes the lock. The directory may have been replaced while others had it.
    pub(super) fn acquire(&self, patience: Duration) -> Result<Locked<'_>, Error> {
        let locked = self.lock.acquire(patience)?;
        self.dir.check()?;
        Ok(locked)
    }

    pub(super) fn get(&self, name: Name) -> Result<Option<Bytes>, Error> {
        let Some(entry) = self.find(name)? else { return Ok(None) };
        entry.read().map_err(error::entry)
    }

    /// The same without waiting for a disk; `None` if that cannot be.
    pub(super) fn get_at_once(&self, name: Name) -> Option<Option<Bytes>> {
        let found = self.instant.read(&self.dir.entry(name), self.clock.wall())?;
        // Afterwards, when the way there is in the memory of the system for certain.
        self.dir.check().is_ok().then_some(found)
    }

    /// Whether an entry is long.
    pub(super) fn is_long(&self, name: Name) -> bool {
        std::fs::metadata(self.dir.entry(name)).is_ok_and(|file| file.len() >= LONG as u64)
    }

    /// How much longer an entry is kept. One that never expires, as another writer may store it, is kept longest.
    pub(super) fn ttl(&self, name: Name) -> Result<Option<Duration>, Error> {
        let entry = self.find(name)?;
        Ok(entry.map(|entry| entry.left(self.clock.wall()).unwrap_or(LONGEST)))
    }

    /// The entry of a name; what is none is removed on the way, if it is to be removed.
    fn find(&self, name: Name) -> Result<Option<Alive>, Error> {
        let path = self.dir.entry(name);
        match entry::find(&path, self.limits.max_value, self.clock.wall()).map_err(error::entry)? {
            Found::Alive(entry) => Ok(Some(entry)),
            Found::Nothing => Ok(None),
            Found::Spoiled(file) => {
                self.discard(name, &file);
                Ok(None)
            }
        }
    }

    pub(super) fn set(&self, name: Name, value: &Bytes, ttl: Duration, patience: Duration) -> Result<(), Error> {
        let temp = self.prepare(name, value, ttl)?;
        let mut locked = self.acquire(patience)?;
        self.place(&mut locked, name, temp, value)
    }

    pub(super) fn remove(&self, names: &[Name], patience: Duration) -> Result<(), Error> {
        let mut locked = self.acquire(patience)?;
        names.iter().try_for_each(|name| self.forget(&mut locked, *name))
    }

    fn forget(&self, locked: &mut Locked<'_>, name: Name) -> Result<(), Error> {
        self.end_lease(locked, name)?;
        let path = self.dir.entry(name);
        let Some(metadata) = look(&path).map_err(error::directory)?.filter(|metadata| !metadata.is_dir()) else {
            return Ok(());
        };
        remove(&path).map_err(error::directory)?;
        if metadata.is_file() {
            amend(locked, |totals| totals.subtract(metadata.len()));
        }
        Ok(())
    }

    pub(super) fn lease(
        &self,
        name: Name,
        (hold, token): (Duration, LeaseToken),
        seen: Option<&Bytes>,
        patience: Duration,
    ) -> Result<Lease, Error> {
        if let Some(answer) = self.refused_lease(name, (hold, token), seen)? {
            return Ok(answer);
        }
        let mut locked = self.acquire(patience)?;
        if let Some(answer) = self.refused_lease(name, (hold, token), seen)? {
            return Ok(answer);
        }
        self.end_lease(&mut locked, name)?;
        let mut ledger = self.ledger(&mut locked)?;
        if ledger.totals.leases >= ledger.caps.entries {
            ledger = self.count(&mut locked)?;
        }
        if ledger.totals.leases >= ledger.caps.entries {
            let message =
                "as many leases are out as the cache directory may hold entries: try again, or raise max_entries";
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        ledger.lend();
        locked.record(&ledger)?;
        self.write_note(name, hold, token)?;
        Ok(Lease::Granted)
    }

    /// The answer to a request for a lease, if it is not granted as things are.
    fn refused_lease(
        &self,
        name: Name,
        (hold, token): (Duration, LeaseToken),
        seen: Option<&Bytes>,
    ) -> Result<Option<Lease>, Error> {
        let entry = self.find(name)?;
        let news = entry.map_or(Ok(None), |entry| entry.read_unless(seen)).map_err(error::entry)?;
        Ok(match news {
            Some(value) => Some(Lease::Found(value)),
            None => self.is_leased(name, hold, token)?.then_some(Lease::Held),
        })
    }

    pub(super) fn renew(
        &self,
        name: Name,
        hold: Duration,
        token: LeaseToken,
        patience: Duration,
    ) -> Result<bool, Error> {
        if !self.holds(name, token)? {
            return Ok(false);
        }
        let _locked = self.acquire(patience)?;
        if !self.holds(name, token)? {
            return Ok(false);
        }
        // One file in place of another: the ledger counts it already.
        remove(&self.dir.lease(name)).map_err(error::directory)?;
        self.write_note(name, hold, token).map(|()| true)
    }

    fn write_note(&self, name: Name, hold: Duration, token: LeaseToken) -> Result<(), Error> {
        let note = Note { token: token.as_u128(), ends: self.clock.wall().saturating_add(millis(hold)) };
        note.write(&self.dir.lease(name)).map_err(error::directory)
    }

    pub(super) fn fill(
        &self,
        name: Name,
        value: &Bytes,
        ttl: Duration,
        token: LeaseToken,
        patience: Duration,
    ) -> Result<bool, Error> {
        if !self.holds(name, token)? {
            return Ok(false);
        }
        let filled = self.prepare(name, value, ttl).and_then(|temp| {
            let mut locked = self.acquire(patience)?;
            if !self.holds(name, token)? {
                return Ok(false);
            }
            self.place(&mut locked, name, temp, value).map(|()| true)
        });
        if filled.is_err() {
            // No process has to wait for a value that will not come. If this fails too, the lease ends by itself.
            let _ = self.release(name, token, Duration::ZERO);
        }
        filled
    }

    pub(super) fn release(&self, name: Name, token: LeaseToken, patience: Duration) -> Result<(), Error> {
        if !self.holds(name, token)? {
            return Ok(());
        }
        let mut locked = self.acquire(patience)?;
        if self.holds(name, token)? {
            self.end_lease(&mut locked, name)?;
        }
        Ok(())
    }

    pub(super) fn ping(&self) -> Result<(), Error> {
        Temp::probe(self.dir.path()).map_err(error::directory)
    }

    fn prepare(&self, name: Name, value: &Bytes, ttl: Duration) -> Result<Temp, Error> {
        let (size, most) = (value.len() as u64, self.limits.max_value);
        if size > most {
            let message = format!("a value of {size} bytes is larger than the file backend's max_value of {most}");
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        let header = entry::header(self.clock.wall(), ttl);
        Temp::write(self.dir.path(), name, &[&header, value]).map_err(error::directory)
    }

    fn place(&self, locked: &mut Locked<'_>, name: Name, temp: Temp, value: &Bytes) -> Result<(), Error> {
        let path = self.dir.entry(name);
        // Before the new entry is there: a lease that outlived it could fill over it.
        self.end_lease(locked, name)?;
        let mut ledger = self.ledger(locked)?;
        let length = (value.len() + HEADER) as u64;
        let old = look(&path).map_err(error::directory)?;
        let replaced = old.filter(|metadata| metadata.is_file()).map(|metadata| metadata.len());
        let coming = Coming { name: Some(name), replaced, length };
        if self.room.is_to_be_made() || !coming.fits(HIGH, ledger.totals, &ledger.caps) {
            ledger = self.make_room(&coming, ledger)?;
        }
        // Both count until the rename is done, so that dying here leaves the ledger above the truth, not below.
        ledger.admit(length);
        locked.record(&ledger)?;
        temp.place(&path).map_err(error::directory)?;
        if let Some(replaced) = replaced {
            amend(locked, |totals| totals.subtract(replaced));
        }
        Ok(())
    }

    /// How much the directory may hold.
    pub(super) fn caps(&self, known: Option<Ledger>, now: u64) -> Caps {
        let own = Caps::of(&self.limits, now);
        known.map_or(own, |ledger| own.or_larger(ledger.caps))
    }

    fn note(&self, name: Name) -> Result<Option<Note>, Error> {
        Note::live(&self.dir.lease(name), self.clock.wall()).map_err(error::entry)
    }

    /// Whether a lease of another living holder is out. Another program may have written one that lasts longer, or the
    /// clock has gone back since.
    fn is_leased(&self, name: Name, hold: Duration, token: LeaseToken) -> Result<bool, Error> {
        let note = self.note(name)?;
        let latest = self.clock.wall().saturating_add(millis(longest_lease(hold)));
        Ok(note.is_some_and(|note| note.token != token.as_u128() && note.ends <= latest))
    }

    fn holds(&self, name: Name, token: LeaseToken) -> Result<bool, Error> {
        Ok(self.note(name)?.is_some_and(|note| note.token == token.as_u128()))
    }

    fn end_lease(&self, locked: &mut Locked<'_>, name: Name) -> Result<(), Error> {
        if remove(&self.dir.lease(name)).map_err(error::directory)? {
            amend(locked, |totals| totals.leases = totals.leases.saturating_sub(1));
        }
        Ok(())
    }

    /// Removes a spoiled entry, if its name still leads to `file` and no process is writing; a later read tries again.
    fn discard(&self, name: Name, file: &fs::File) {
        let path = self.dir.entry(name);
        let Ok(mut locked) = self.acquire(Duration::ZERO) else { return };
        let (Ok(opened), Ok(Some(named))) = (file.metadata(), look(&path)) else { return };
        if os::same_file(&opened, &named) && remove(&path).is_ok_and(|removed| removed) {
            amend(&mut locked, |totals| totals.subtract(named.len()));
        }
    }
}

/// Takes off the ledger what was removed. A ledger that cannot be written stays above the truth, which is harmless.
fn amend(locked: &mut Locked<'_>, change: impl FnOnce(&mut Totals)) {
    if let Some(mut ledger) = locked.ledger() {
        change(&mut ledger.totals);
        let _ = locked.record(&ledger);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::key::Key;

    #[test]
    fn a_spoiled_file_that_was_replaced_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        let dir = Dir::new(directory.path().to_owned()).unwrap();
        let store = Store::start(dir, FileLimits::default(), Arc::new(SystemClock)).unwrap();
        let name = Name::of(&Key::new("users", 1).unwrap());
        let path = store.dir.entry(name);
        fs::write(&path, "garbage that is no entry").unwrap();
        let spoiled = fs::File::open(&path).unwrap();
        store.set(name, &Bytes::from("new"), Duration::from_secs(60), Duration::from_secs(5)).unwrap();

        store.discard(name, &spoiled);
        assert_eq!(store.get(name).unwrap().as_deref(), Some(&b"new"[..]));
        store.discard(name, &fs::File::open(&path).unwrap());
        assert_eq!(store.get(name).unwrap(), None, "the very file is");
    }
}
