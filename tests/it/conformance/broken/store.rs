//! The backend that has the defects.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use cachekit::backends::{Capabilities, Lease, LeaseToken, Memory};
use cachekit::testing::ManualClock;
use cachekit::{AnyBus, Backend, Cursor, Error, ErrorKind, Forgotten, Key, Order, Page};
use tokio::task::yield_now;

use super::orders::{Backwards, Orders};
use super::{D, Defect};

#[derive(Debug)]
pub(super) struct Broken {
    defect: Defect,
    inner: Memory,
    ttls: Mutex<HashMap<Key, Duration>>,
    slot: Mutex<Bytes>,
    /// The last lease of each key.
    granted: Mutex<HashMap<Key, LeaseToken>>,
    ever_granted: Mutex<HashSet<LeaseToken>>,
    /// Keys whose lease was held when a caller that saw no value asked.
    told_held: Mutex<HashSet<Key>>,
    /// Tokens whose lease the defect failed to end.
    spared: Mutex<HashSet<LeaseToken>>,
    orders: Orders,
}

const YEARS: Duration = Duration::from_secs(100_000_000);

impl Broken {
    pub(super) fn new(defect: Defect, clock: &ManualClock) -> Self {
        let inner = Memory::with_clock(2 << 20, Arc::new(clock.clone()));
        Self {
            defect,
            inner,
            ttls: Mutex::default(),
            slot: Mutex::default(),
            granted: Mutex::default(),
            ever_granted: Mutex::default(),
            told_held: Mutex::default(),
            spared: Mutex::default(),
            orders: Orders::default(),
        }
    }

    fn key(&self, key: &Key) -> Key {
        let text = key.as_str();
        match self.defect {
            D::AddsUpKeys => Key::new("sum", text.bytes().map(u64::from).sum::<u64>()),
            D::FoldsCase => Key::new("folded", text.to_lowercase()),
            D::ReadsKeysToTheFirst100 => Key::new("cut", &text[..text.len().min(100)]),
            _ => return key.clone(),
        }
        .unwrap()
    }

    fn ttl(&self, key: &Key, ttl: Duration) -> Duration {
        match self.defect {
            D::ForgetsTtl => YEARS,
            D::RoundsDown => Duration::from_millis(ttl.as_millis() as u64),
            D::TtlAsAsked => {
                self.ttls.lock().unwrap().insert(key.clone(), ttl);
                ttl
            }
            D::KeepsTheLongestTtl => {
                let mut ttls = self.ttls.lock().unwrap();
                let longest = ttls.entry(key.clone()).or_default();
                *longest = ttl.max(*longest);
                *longest
            }
            _ => ttl,
        }
    }

    /// Notes that the lease of `key` was not ended, if that is the defect.
    fn spare(&self, key: &Key, defect: Defect) {
        if self.defect == defect
            && let Some(token) = self.granted.lock().unwrap().get(key)
        {
            self.spared.lock().unwrap().insert(*token);
        }
    }

    fn too_large(&self, key: &Key, error: Error) -> Error {
        match self.defect {
            D::CallsTooLargeABug => Error::new(ErrorKind::Backend, "bug"),
            D::TellsTheKey => Error::new(error.kind(), format!("{} is too large", key.as_str())),
            _ => error,
        }
    }

    /// The value that the backend takes for the one that was seen.
    async fn taken_for_seen(&self, key: &Key, seen: Option<&Bytes>) -> Result<Option<Bytes>, Error> {
        let there = self.inner.get(key).await?;
        Ok(match (self.defect, &there, seen) {
            (D::LeasesOverAnyValue, ..) => there,
            (D::ComparesLengths, Some(value), Some(seen)) if value.len() == seen.len() => there,
            (D::HidesWhatWasFilled, ..) if self.told_held.lock().unwrap().contains(key) => there,
            (D::LooksBeforeItTakes, None, _) => {
                yield_now().await;
                self.inner.get(key).await?
            }
            _ => seen.cloned(),
        })
    }

    /// A batch as far as it is looked at.
    fn cut<T: Clone>(&self, batch: &[T]) -> Result<Vec<T>, Error> {
        match self.defect {
            D::RefusesEmptyBatches if batch.is_empty() => Err(Error::new(ErrorKind::Argument, "no keys")),
            D::CutsBatchesAt512 if batch.len() > 512 => Ok([&batch[..512], &batch[..batch.len() - 512]].concat()),
            _ => Ok(batch.to_vec()),
        }
    }

    /// What happens between the start of a write and its end.
    async fn meanwhile(&self, key: &Key, mut value: Bytes, ttl: Duration) -> Result<Bytes, Error> {
        match self.defect {
            D::Tears if value.len() < 1 << 20 => {
                let half = value.slice(..value.len() / 2);
                self.inner.set(key, half, ttl).await?;
                yield_now().await;
            }
            D::VanishesMeanwhile if value.len() < 1 << 20 => {
                self.inner.remove(key).await?;
                yield_now().await;
            }
            D::SharesASlot => {
                *self.slot.lock().unwrap() = value;
                yield_now().await;
                value = self.slot.lock().unwrap().clone();
            }
            D::StoresHalfBeforeTheRest if value == "new" => {
                self.inner.set(key, "n".into(), ttl).await?;
                yield_now().await;
            }
            _ => {}
        }
        Ok(value)
    }
}

fn refusal() -> Error {
    Error::new(ErrorKind::Unsupported, "no leases")
}

impl Backend for Broken {
    fn capabilities(&self) -> Capabilities {
        let name = if self.defect == D::ShoutsItsName { "BROKEN" } else { "broken" };
        let leases = !matches!(self.defect, D::NoLeases | D::WorksWithoutSayingSo);
        let announces = !matches!(self.defect, D::NoLeases | D::TellsWithoutSayingSo);
        let max_value = self.inner.capabilities().max_value;
        Capabilities::new(name).leases(leases).announces(announces).max_value(max_value)
    }

    async fn get(&self, key: &Key) -> Result<Option<Bytes>, Error> {
        let key = &self.key(key);
        let found = self.inner.get(key).await;
        match self.defect {
            D::FailsOnAbsent if matches!(found, Ok(None)) => Err(Error::new(ErrorKind::Backend, "not found")),
            D::CutsAtLimit => Ok(found?.map(|bytes| bytes.slice(..bytes.len().min(1 << 20)))),
            D::ProlongsOnRead => {
                let Some(bytes) = found? else { return Ok(None) };
                self.inner.set(key, bytes.clone(), YEARS).await?;
                Ok(Some(bytes))
            }
            _ => found,
        }
    }

    async fn set(&self, key: &Key, value: Bytes, ttl: Duration) -> Result<(), Error> {
        let (key, ttl) = (&self.key(key), self.ttl(key, ttl));
        let value = self.meanwhile(key, value, ttl).await?;
        let small = value.len() < 100;
        self.spare(key, D::SetSparesLease);
        match self.defect {
            D::RefusesLongTtl if ttl > YEARS => return Err(Error::new(ErrorKind::Argument, "too long")),
            D::LosesEmpty if value.is_empty() => return self.inner.remove(key).await,
            D::TrimsNewlines => return self.inner.set(key, trimmed(value), ttl).await,
            D::KeepsTheFirst if small && self.inner.get(key).await?.is_some() => return Ok(()),
            _ => {}
        }
        let stored = self.inner.set(key, value, ttl).await;
        if stored.is_err() && self.defect == D::ForgetsOnTooLarge {
            self.inner.remove(key).await?;
        }
        stored.map_err(|error| self.too_large(key, error))
    }

    async fn remove(&self, key: &Key) -> Result<(), Error> {
        let key = &self.key(key);
        self.spare(key, D::RemoveSparesLease);
        self.ttls.lock().unwrap().remove(key);
        match self.defect {
            D::RemovesNothing => Ok(()),
            D::FailsRemovingAbsent if self.inner.get(key).await?.is_none() => {
                Err(Error::new(ErrorKind::Backend, "not found"))
            }
            _ => self.inner.remove(key).await,
        }
    }

    async fn ttl(&self, key: &Key) -> Result<Option<Duration>, Error> {
        let key = &self.key(key);
        let left = self.inner.ttl(key).await?;
        Ok(match self.defect {
            D::NoTtlLeft => Some(left.unwrap_or_default()),
            D::TtlAsAsked => left.and_then(|_| self.ttls.lock().unwrap().get(key).copied()),
            D::TtlInSeconds => left.map(|left| Duration::from_secs(left.as_secs())),
            _ => left,
        })
    }

    async fn scan(&self, prefix: &str, after: Option<Cursor>, count: usize) -> Result<Page, Error> {
        let prefix = if self.defect == D::ListsEverything { "" } else { prefix };
        let page = self.inner.scan(prefix, after, count).await?;
        Ok(if self.defect == D::ListsTheFirstPage { Page::new(page.keys, None) } else { page })
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, Error> {
        let mut keys = self.cut(keys)?;
        if self.defect == D::AnswersInItsOwnOrder {
            keys.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        }
        let (mut values, mut answered) = (Vec::new(), HashSet::new());
        for key in keys {
            let value = self.get(&key).await?;
            let again = !answered.insert(key);
            match self.defect {
                D::LeavesAbsentOut if value.is_none() => {}
                D::AnswersTwinsOnce if again => values.push(None),
                _ => values.push(value),
            }
        }
        Ok(values)
    }

    async fn set_many(&self, items: Vec<(Key, Bytes)>, ttl: Duration) -> Result<(), Error> {
        let ttl = if self.defect == D::ForgetsTtlOfBatches { YEARS } else { ttl };
        let mut stored = HashSet::new();
        for (key, value) in self.cut(&items)? {
            self.spare(&key, D::SetManySparesLease);
            let again = !stored.insert(key.clone());
            match self.defect {
                D::CutsTooLargeInBatches => {
                    let length = value.len().min(self.capabilities().max_value);
                    self.set(&key, value.slice(..length), ttl).await?;
                }
                D::KeepsTheFirstOfMany if !again && value.len() < 100 && self.get(&key).await?.is_some() => {}
                D::SetsTheFirstOfTwins if again => {}
                _ => self.set(&key, value, ttl).await?,
            }
        }
        Ok(())
    }

    async fn remove_many(&self, keys: &[Key]) -> Result<(), Error> {
        for key in self.cut(keys)? {
            self.spare(&key, D::RemoveManySparesLease);
            if self.defect == D::StopsAtAbsent && self.get(&key).await?.is_none() {
                break;
            }
            self.remove(&key).await?;
            if self.defect == D::RemovesTheFirstOnly {
                break;
            }
        }
        Ok(())
    }

    fn part(&self, _: &Key) -> u16 {
        if self.defect == D::NamesNoPart { 7 } else { 0 }
    }

    async fn forget(&self, order: &Order) -> Result<Forgotten, Error> {
        self.orders.carry_out(self.defect, &self.inner, order).await
    }

    async fn lease(&self, key: &Key, hold: Duration, token: LeaseToken, seen: Option<&Bytes>) -> Result<Lease, Error> {
        let is_own = self.granted.lock().unwrap().get(key) == Some(&token);
        let held_before = self.granted.lock().unwrap().contains_key(key);
        let hold = if self.defect == D::HoldsForEver { YEARS } else { hold };
        match self.defect {
            D::NoLeases => return Err(refusal()),
            D::GrantsInARace | D::GrantsInARaceForAValue => yield_now().await,
            D::HoldsWhatIsGone if seen.is_some() && self.inner.get(key).await?.is_none() => return Ok(Lease::Held),
            _ => {}
        }
        let taken = self.taken_for_seen(key, seen).await?;
        let lease = match (self.defect, self.inner.lease(key, hold, token, taken.as_ref()).await?) {
            (D::GrantsToAll, Lease::Held) => Lease::Granted,
            (D::HoldsFromItsHolder, Lease::Granted) if is_own => Lease::Held,
            (D::GrantsInARace, Lease::Held) if !held_before => Lease::Granted,
            (D::GrantsInARaceForAValue, Lease::Held) if !held_before && seen.is_some() => Lease::Granted,
            (D::KeepsALeaseBesideTheValue, Lease::Found(value)) => {
                let _ = self.inner.lease(key, hold, token, Some(&value)).await?;
                Lease::Found(value)
            }
            (D::HidesWhatWasFilled, Lease::Held) if seen.is_none() => {
                self.told_held.lock().unwrap().insert(key.clone());
                Lease::Held
            }
            (_, lease) => lease,
        };
        if lease == Lease::Granted {
            self.granted.lock().unwrap().insert(key.clone(), token);
            self.ever_granted.lock().unwrap().insert(token);
        }
        Ok(lease)
    }

    async fn renew(&self, key: &Key, hold: Duration, token: LeaseToken) -> Result<bool, Error> {
        let has_value = self.get(key).await?.is_some();
        match self.defect {
            D::NoLeases => Err(refusal()),
            D::RenewsNothing => self.inner.renew(key, YEARS / 100, token).await.map(|_| false),
            D::RenewsOnlyInWord => Ok(self.granted.lock().unwrap().get(key) == Some(&token)),
            D::RenewsForEver => self.inner.renew(key, YEARS, token).await,
            D::RenewsNoLockOfAValue if has_value => Ok(true),
            D::RenewTakesAnew => {
                let renewed = self.inner.renew(key, hold, token).await?;
                let there = self.inner.get(key).await?;
                Ok(renewed || self.inner.lease(key, hold, token, there.as_ref()).await? == Lease::Granted)
            }
            _ => self.inner.renew(key, hold, token).await,
        }
    }

    async fn fill(&self, key: &Key, value: Bytes, ttl: Duration, token: LeaseToken) -> Result<bool, Error> {
        let ttl = if self.defect == D::FillsForEver { YEARS } else { ttl };
        let stores = match self.defect {
            D::NoLeases => return Err(refusal()),
            D::IgnoresTokens => true,
            D::TrustsUnknownTokens => !self.ever_granted.lock().unwrap().contains(&token),
            _ => self.spared.lock().unwrap().contains(&token),
        };
        if stores {
            self.inner.set(key, value, ttl).await?;
            return Ok(true);
        }
        self.inner.fill(key, value, ttl, token).await
    }

    async fn release(&self, key: &Key, token: LeaseToken) -> Result<(), Error> {
        let last = self.granted.lock().unwrap().get(key).copied();
        self.spare(key, D::ReleaseSparesLease);
        match self.defect {
            D::NoLeases => Err(refusal()),
            D::ReleasesForAnyone => self.inner.release(key, last.unwrap_or(token)).await,
            D::EndsLeasesOnATask => {
                let (inner, key) = (self.inner.clone(), key.clone());
                tokio::spawn(async move { inner.release(&key, token).await }).await.unwrap()
            }
            _ => self.inner.release(key, token).await,
        }
    }

    async fn ping(&self) -> Result<(), Error> {
        if self.defect == D::HangsOnPing {
            std::future::pending::<()>().await;
        }
        self.inner.ping().await
    }

    fn bus(&self, name: &Key) -> Option<AnyBus> {
        let bus = self.inner.bus(name)?;
        Some(if self.defect == D::TellsManyBackwards { AnyBus::new(Backwards(bus)) } else { bus })
    }
}

fn trimmed(value: Bytes) -> Bytes {
    let length = value.len() - usize::from(value.ends_with(b"\n"));
    value.slice(..length)
}
