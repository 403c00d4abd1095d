//! Backends with one defect each, and the sentence that finds it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use cachekit::backends::{Capabilities, Lease, LeaseToken, Memory};
use cachekit::testing::ManualClock;
use cachekit::testing::conformance::{BackendOptions, backend};
use cachekit::{Backend, Error, ErrorKind, Key};
use tokio::task::yield_now;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Defect {
    None,
    NoLeases,
    ShoutsItsName,
    HangsOnPing,
    CutsAtLimit,
    CallsTooLargeABug,
    ForgetsOnTooLarge,
    TellsTheKey,
    RefusesLongTtl,
    FailsOnAbsent,
    LosesEmpty,
    TrimsNewlines,
    KeepsTheFirst,
    RemovesNothing,
    FailsRemovingAbsent,
    AddsUpKeys,
    FoldsCase,
    ReadsKeysToTheFirst100,
    ForgetsTtl,
    RoundsDown,
    KeepsTheLongestTtl,
    ProlongsOnRead,
    Tears,
    VanishesMeanwhile,
    SharesASlot,
    StoresHalfBeforeTheRest,
    WorksWithoutSayingSo,
    GrantsToAll,
    GrantsInARace,
    IgnoresTokens,
    FillsForEver,
    ReleaseSparesLease,
    HoldsForEver,
    SetSparesLease,
    RemoveSparesLease,
    TrustsUnknownTokens,
    ReleasesForAnyone,
}

use Defect as D;

const DEFECTS: &[(Defect, &str)] = &[
    (D::ShoutsItsName, "Capabilities are constant, and their name is short and lower-case."),
    (D::HangsOnPing, "A backend answers a ping."),
    (D::CutsAtLimit, "A value of the item limit is stored."),
    (D::CallsTooLargeABug, "A value above the item limit is `TooLarge`, and the old one stays."),
    (D::ForgetsOnTooLarge, "A value above the item limit is `TooLarge`, and the old one stays."),
    (D::TellsTheKey, "A value above the item limit is `TooLarge`, and the old one stays."),
    (D::RefusesLongTtl, "The longest TTL is accepted."),
    (D::FailsOnAbsent, "`get` of an absent key is `Ok(None)`."),
    (D::LosesEmpty, "An empty value is a value."),
    (D::TrimsNewlines, "What `set` stored, `get` returns unchanged."),
    (D::KeepsTheFirst, "A second `set` replaces the value."),
    (D::RemovesNothing, "`remove` forgets a key."),
    (D::FailsRemovingAbsent, "`remove` of an absent key succeeds."),
    (D::AddsUpKeys, "Many keys are not mixed up."),
    (D::FoldsCase, "Keys that hardly differ, or look like something else, are different keys."),
    (D::ReadsKeysToTheFirst100, "Keys that hardly differ, or look like something else, are different keys."),
    (D::ForgetsTtl, "An entry is gone when its TTL is over."),
    (D::RoundsDown, "A TTL is rounded up to the backend's precision, never down."),
    (D::KeepsTheLongestTtl, "The last `set` decides how long an entry lives."),
    (D::ProlongsOnRead, "Reading an entry does not prolong its life."),
    (D::Tears, "A reader sees the old bytes or the new ones, never a mixture."),
    (D::VanishesMeanwhile, "A reader sees the old bytes or the new ones, never a mixture."),
    (D::SharesASlot, "Writers of different keys do not disturb each other."),
    (D::StoresHalfBeforeTheRest, "A dropped future leaves the backend usable."),
    (D::WorksWithoutSayingSo, "A backend without leases answers `Unsupported`."),
    (D::GrantsToAll, "At most one lease is out per key."),
    (D::GrantsInARace, "Of many who ask at once, one gets the lease."),
    (D::IgnoresTokens, "`fill` stores the value and ends the lease."),
    (D::FillsForEver, "A filled entry lives as long as its TTL."),
    (D::ReleaseSparesLease, "A lease ends by `release`."),
    (D::HoldsForEver, "A lease ends after `hold`."),
    (D::SetSparesLease, "A lease ends by `set`."),
    (D::RemoveSparesLease, "A lease ends by `remove`."),
    (D::TrustsUnknownTokens, "`fill` with a token that was never granted stores nothing."),
    (D::ReleasesForAnyone, "`release` of a lease that has ended does nothing."),
];

#[test]
fn every_defect_is_found() {
    for (defect, sentence) in DEFECTS {
        let complaint = run(*defect).expect_err(&format!("{defect:?} was not found"));
        let expected = format!("breaks its contract: \"{sentence}\"");
        assert!(complaint.contains(&expected), "{defect:?} gave: {complaint}");
    }
}

#[test]
fn every_sentence_finds_a_defect() {
    let kept = [run(D::None).unwrap(), run(D::NoLeases).unwrap()].concat();
    assert_eq!(kept.len(), 30 + 21);
    for sentence in kept {
        assert!(DEFECTS.iter().any(|(_, found_by)| *found_by == sentence), "no defect proves: {sentence}");
    }
}

#[test]
fn a_message_says_what_happened() {
    let complaint = run(D::TrimsNewlines).unwrap_err();
    assert_eq!(
        complaint,
        "backend `broken` breaks its contract: \"What `set` stored, `get` returns unchanged.\": \
         get after storing `newline` answered [0d], not [0d, 0a]"
    );
    let complaint = run(D::HangsOnPing).unwrap_err();
    assert!(complaint.ends_with("\"A backend answers a ping.\": no end after 50ms"), "{complaint}");
}

/// The sentences kept, or the message of the panic.
fn run(defect: Defect) -> Result<Vec<&'static str>, String> {
    let suite = std::thread::spawn(move || {
        let clock = ManualClock::new();
        let mut options = BackendOptions::manual(clock.clone());
        if defect == D::HangsOnPing {
            // The check before it ends within one poll, however slow the machine is.
            options = options.patience(Duration::from_millis(50));
        }
        let make = || async { Broken::new(defect, &clock) };
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(backend(make, options))
    });
    suite.join().map_err(|panic| *panic.downcast::<String>().unwrap())
}

#[derive(Debug)]
struct Broken {
    defect: Defect,
    inner: Memory,
    ttls: Mutex<HashMap<Key, Duration>>,
    slot: Mutex<Bytes>,
    /// The last lease of each key.
    granted: Mutex<HashMap<Key, LeaseToken>>,
    ever_granted: Mutex<HashSet<LeaseToken>>,
    /// Tokens whose lease the defect failed to end.
    spared: Mutex<HashSet<LeaseToken>>,
}

const YEARS: Duration = Duration::from_secs(100_000_000);

impl Broken {
    fn new(defect: Defect, clock: &ManualClock) -> Self {
        let inner = Memory::with_clock(2 << 20, Arc::new(clock.clone()));
        Self {
            defect,
            inner,
            ttls: Mutex::default(),
            slot: Mutex::default(),
            granted: Mutex::default(),
            ever_granted: Mutex::default(),
            spared: Mutex::default(),
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
        Capabilities::new(name).leases(leases).max_value(self.inner.capabilities().max_value)
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
        match self.defect {
            D::RemovesNothing => Ok(()),
            D::FailsRemovingAbsent if self.inner.get(key).await?.is_none() => {
                Err(Error::new(ErrorKind::Backend, "not found"))
            }
            _ => self.inner.remove(key).await,
        }
    }

    async fn lease(&self, key: &Key, hold: Duration) -> Result<Lease, Error> {
        let held_before = self.granted.lock().unwrap().contains_key(key);
        let hold = if self.defect == D::HoldsForEver { YEARS } else { hold };
        match self.defect {
            D::NoLeases => return Err(refusal()),
            D::GrantsInARace => yield_now().await,
            _ => {}
        }
        let lease = match (self.defect, self.inner.lease(key, hold).await?) {
            (D::GrantsToAll, Lease::Held) => Lease::Granted(LeaseToken::random()),
            (D::GrantsInARace, Lease::Held) if !held_before => Lease::Granted(LeaseToken::random()),
            (_, lease) => lease,
        };
        if let Lease::Granted(token) = lease {
            self.granted.lock().unwrap().insert(key.clone(), token);
            self.ever_granted.lock().unwrap().insert(token);
        }
        Ok(lease)
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
            _ => self.inner.release(key, token).await,
        }
    }

    async fn ping(&self) -> Result<(), Error> {
        if self.defect == D::HangsOnPing {
            std::future::pending::<()>().await;
        }
        self.inner.ping().await
    }
}

fn trimmed(value: Bytes) -> Bytes {
    let length = value.len() - usize::from(value.ends_with(b"\n"));
    value.slice(..length)
}
