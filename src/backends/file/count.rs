//! What the directory holds, and what is done where it is too much or not known.
//!
//! A large directory is scanned by a task of its own, without the lock. So a write scans by itself only where the
//! directory is small, where its sums are lost, or where nothing else keeps it within its caps.

use std::sync::{Arc, Weak};

use super::error;
use super::evict::{Census, Coming, HIGH, is_kept};
use super::ledger::Ledger;
use super::lock::Locked;
use super::name::Name;
use super::room::STEP;
use super::store::Store;
use crate::error::{Error, ErrorKind};

/// A scan that is due. While it is there, no second one is begun.
#[derive(Debug)]
pub(super) struct Survey(Weak<Store>);

impl Survey {
    /// The scan that a write has found to be due.
    pub(super) fn due(store: &Arc<Store>) -> Option<Self> {
        store.room.begin().then(|| Self(Arc::downgrade(store)))
    }

    /// Scans the directory, which holds up no write: mends the ledger, and finds the oldest entries if they are to go.
    /// Ends early if all is over with the store. What fails is tried again by the next write that finds it due.
    pub(super) fn run(&self) -> Result<(), Error> {
        let Some(store) = self.0.upgrade() else { return Ok(()) };
        let (before, directory) = (store.begin_survey()?, store.dir.path().to_owned());
        drop(store);
        let census =
            Census::look(&directory, before.counted, || self.0.strong_count() > 0).map_err(error::directory)?;
        self.0.upgrade().map_or(Ok(()), |store| store.end_survey(&before, census))
    }
}

impl Drop for Survey {
    fn drop(&mut self) {
        if let Some(store) = self.0.upgrade() {
            store.room.end();
        }
    }
}

impl Store {
    /// Makes room for what comes. The ledger is exact afterwards, as far as it was before.
    pub(super) fn make_room(&self, coming: &Coming, mut ledger: Ledger) -> Result<Ledger, Error> {
        self.room.make(&self.dir, coming, &mut ledger);
        let fits = |percent: u64, ledger: &Ledger| coming.fits(percent, ledger.totals, &ledger.caps);
        if fits(HIGH, &ledger) || (fits(100, &ledger) && self.room.is_to_be_made()) {
            return Ok(ledger);
        }
        if fits(100, &ledger) && !ledger.is_small() {
            self.room.want();
            return Ok(ledger);
        }
        let counted = self.clock.wall();
        let census = Census::take(&self.dir, counted).map_err(error::directory)?;
        (ledger.totals, ledger.counted) = (census.totals, counted);
        if !fits(HIGH, &ledger) {
            self.room.note(census.oldest(coming, &ledger.caps));
            self.room.make(&self.dir, coming, &mut ledger);
        }
        if fits(100, &ledger) {
            return Ok(ledger);
        }
        let message = "the cache directory is full and its entries cannot be removed: give them to this user";
        Err(Error::new(ErrorKind::Backend, message))
    }

    /// What the directory holds, counted anew when the ledger is missing, damaged or old. That of a large directory is
    /// believed until it was counted.
    pub(super) fn ledger(&self, locked: &mut Locked<'_>) -> Result<Ledger, Error> {
        let now = self.clock.wall();
        match locked.ledger() {
            Some(ledger) if ledger.is_fresh(now) || !ledger.is_small() => {
                if !ledger.is_fresh(now) {
                    self.room.want();
                }
                Ok(Ledger { caps: self.caps(Some(ledger), now), ..ledger })
            }
            _ => self.count(locked),
        }
    }

    pub(super) fn count(&self, locked: &mut Locked<'_>) -> Result<Ledger, Error> {
        let (known, counted) = (locked.ledger(), self.clock.wall());
        let totals = Census::take(&self.dir, counted).map_err(error::directory)?.totals;
        let caps = self.caps(known, counted);
        let ledger =
            known.map_or(Ledger::new(totals, counted, caps), |known| Ledger { totals, counted, caps, ..known });
        locked.record(&ledger)?;
        Ok(ledger)
    }

    /// Says in the ledger that it is counted, so that no other process does the same.
    fn begin_survey(&self) -> Result<Ledger, Error> {
        let mut locked = self.acquire(self.limits.lock_timeout)?;
        let ledger = Ledger { counted: self.clock.wall(), ..self.ledger(&mut locked)? };
        locked.record(&ledger).map(|()| ledger)
    }

    fn end_survey(&self, before: &Ledger, mut census: Census) -> Result<(), Error> {
        let mut locked = self.acquire(self.limits.lock_timeout)?;
        let Some(mut ledger) = locked.ledger() else { return Ok(()) };
        // Otherwise it was counted by another process meanwhile, in its own way.
        if ledger.counted == before.counted {
            ledger.mend(before, census.totals);
            locked.record(&ledger)?;
        }
        drop(locked);
        let (ended, caps) = (census.ended(), self.caps(Some(ledger), self.clock.wall()));
        if !Coming::default().fits(HIGH, ledger.totals, &caps) {
            self.room.note(census.oldest(&Coming::default(), &caps));
        }
        ended.chunks(STEP).try_for_each(|names| self.end_leases(names))
    }

    fn end_leases(&self, names: &[Name]) -> Result<(), Error> {
        let mut locked = self.acquire(self.limits.lock_timeout)?;
        let Some(mut ledger) = locked.ledger() else { return Ok(()) };
        let now = self.clock.wall();
        for path in names.iter().map(|name| self.dir.lease(*name)) {
            if path.exists() && !is_kept(&path, now) {
                ledger.totals.leases = ledger.totals.leases.saturating_sub(1);
            }
        }
        locked.record(&ledger)
    }
}
