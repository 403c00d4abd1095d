//! The keys of encryption: one that seals, some that only open.
//!
//! Whose bytes an entry holds is never read from the entry: algorithm and keys come from here, and the key's id in
//! front of an entry only says which of them to try.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;

use crate::config::{Environment, Fault, MasterKey, Problem, Secrets, error};
use crate::error::{Error, ErrorKind};
use crate::key::{NameKey, Tenant};

mod data;
#[cfg(test)]
mod tests;

pub(super) use self::data::{DataKey, Domain, ID_LEN, NONCE_LEN, TAG_LEN, derive};

/// A master key to seal with, and up to three previous ones that only open.
///
/// Clones are one keyring. The keys that do the work are derived from a master key for each tenant, by HKDF-SHA256;
/// those of the 256 tenants used last are kept. `Debug` shows no key.
///
/// # Rotation
/// Give the processes the new key as a previous one first, so that all of them can open what any of them seals. Then
/// make it the current key, and the old one previous: entries of the old key are read, and sealed with the new one
/// when they are stored next. Drop the old key once its last entry has expired. An entry of a key that is not in the
/// ring is a miss.
///
/// # What is wiped
/// The bytes of master keys, and of derived keys on their way into the cipher, are wiped with their last clone. The
/// cipher's own copies are not: the library that does the arithmetic wipes nothing.
///
/// # Examples
/// ```
/// use cachekit::codec::Keyring;
/// # let (new, old) = ("ab".repeat(32), "cd".repeat(32));
/// let keyring = Keyring::from_hex(&new)?.previous_hex(&old)?;
/// assert_eq!(format!("{keyring:?}"), "Keyring { previous: 1, .. }");
///
/// let error = Keyring::from_hex("too short, and no hex").unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "the master key: must be hex digits (0-9, a-f) only; make one with `openssl rand -hex 32`"
/// );
/// # Ok::<(), cachekit::Error>(())
/// ```
#[derive(Clone)]
pub struct Keyring(Arc<Ring>);

struct Ring {
    master: MasterKey,
    previous: Vec<MasterKey>,
    tenants: Mutex<LruCache<Tenant, Arc<TenantKeys>>>,
}

/// The derived keys of one tenant.
pub(super) struct TenantKeys {
    /// Seals, and opens.
    pub(super) current: DataKey,
    /// Open only.
    pub(super) previous: Vec<DataKey>,
    /// Hides names.
    pub(super) names: NameKey,
}

impl TenantKeys {
    fn derive(ring: &Ring, tenant: &Tenant) -> Self {
        let key = |master: &MasterKey| DataKey::derive(master.expose(), tenant);
        Self {
            current: key(&ring.master),
            previous: ring.previous.iter().map(key).collect(),
            names: NameKey::new(*derive(ring.master.expose(), Domain::CacheKeys, tenant)),
        }
    }

    /// The keys that an entry may have been sealed with, by the id it carries.
    pub(super) fn with_id(&self, id: [u8; ID_LEN]) -> impl Iterator<Item = &DataKey> {
        std::iter::once(&self.current).chain(&self.previous).filter(move |key| key.id == id)
    }
}

/// The names of the variables.
const MASTER: &str = "CACHEKIT_MASTER_KEY";
const PREVIOUS: &str = "CACHEKIT_PREVIOUS_MASTER_KEYS";
/// What the keys are called where they come from code.
const MASTER_KEY: &str = "the master key";
const PREVIOUS_KEYS: &str = "the previous master keys";

impl Keyring {
    /// How many tenants' derived keys are kept.
    const TENANTS: NonZeroUsize = NonZeroUsize::new(256).unwrap();

    /// The keys of `CACHEKIT_MASTER_KEY` and `CACHEKIT_PREVIOUS_MASTER_KEYS`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if there is no master key, or one of the variables breaks its rule. The message never
    /// holds a key.
    pub fn from_env() -> Result<Self, Error> {
        let ours = |(name, _): &(std::ffi::OsString, _)| name == MASTER || name == PREVIOUS;
        Self::from_environment(&Environment::from_vars(std::env::vars_os().filter(ours)))
    }

    /// Like [`from_env`](Self::from_env), of an environment that was read before.
    ///
    /// # Errors
    /// As [`from_env`](Self::from_env).
    pub fn from_environment(environment: &Environment) -> Result<Self, Error> {
        let ours = |problem: &&Problem| problem.name == MASTER || problem.name == PREVIOUS;
        let problems: Vec<Problem> = environment.problems.iter().filter(ours).cloned().collect();
        if !problems.is_empty() {
            return Err(error(problems));
        }
        Self::from_secrets(&environment.secrets)?.ok_or_else(|| {
            let message = "CACHEKIT_MASTER_KEY is not set: make a key with `openssl rand -hex 32`, and set it";
            Error::new(ErrorKind::Config, message)
        })
    }

    /// A keyring of one master key: at least 64 hex digits, of either case.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if it is not that. The message has the number of digits, none of them.
    pub fn from_hex(current: &str) -> Result<Self, Error> {
        Self::new(accepted(MASTER_KEY, MasterKey::from_hex(current))?, Vec::new())
    }

    /// A keyring of one master key: at least 32 bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if there are fewer.
    pub fn from_bytes(current: &[u8]) -> Result<Self, Error> {
        Self::new(accepted(MASTER_KEY, MasterKey::from_bytes(current))?, Vec::new())
    }

    /// Adds a previous master key, which opens and never seals: at least 64 hex digits.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if it is not that, is in the ring already, or is the fourth.
    pub fn previous_hex(self, key: &str) -> Result<Self, Error> {
        self.and(accepted(PREVIOUS_KEYS, MasterKey::from_hex(key))?)
    }

    /// Adds a previous master key, which opens and never seals: at least 32 bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if there are fewer, it is in the ring already, or is the fourth.
    pub fn previous_bytes(self, key: &[u8]) -> Result<Self, Error> {
        self.and(accepted(PREVIOUS_KEYS, MasterKey::from_bytes(key))?)
    }

    /// A name for the current key: 32 hex digits that tell it from others, and nothing about it.
    ///
    /// Log it to see which processes have which key. The name is that of the key derived for a cache without tenant.
    pub fn fingerprint(&self) -> String {
        data::fingerprint_of(self.0.master.expose(), &Tenant::default())
    }

    /// The keyring of these secrets, `None` if there is no master key among them.
    pub(super) fn from_secrets(secrets: &Secrets) -> Result<Option<Self>, Error> {
        let Some(master) = &secrets.master else { return Ok(None) };
        Self::new(master.clone(), secrets.previous.clone()).map(Some)
    }

    /// What a builder hands on.
    pub(crate) fn secrets(&self) -> Secrets {
        Secrets { master: Some(self.0.master.clone()), previous: self.0.previous.clone() }
    }

    fn new(master: MasterKey, previous: Vec<MasterKey>) -> Result<Self, Error> {
        let secrets = Secrets { master: Some(master.clone()), previous: previous.clone() };
        let mut problems = Vec::new();
        secrets.check(PREVIOUS_KEYS, &mut problems);
        if !problems.is_empty() {
            return Err(error(problems));
        }
        Ok(Self(Arc::new(Ring { master, previous, tenants: Mutex::new(LruCache::sparse(Self::TENANTS)) })))
    }

    fn and(self, key: MasterKey) -> Result<Self, Error> {
        Self::new(self.0.master.clone(), self.0.previous.iter().cloned().chain([key]).collect())
    }

    /// The keys of `tenant`, derived unless they are at hand.
    pub(super) fn tenant(&self, tenant: &Tenant) -> Arc<TenantKeys> {
        let mut tenants = self.0.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = tenants.get_or_insert(tenant.clone(), || Arc::new(TenantKeys::derive(&self.0, tenant)));
        Arc::clone(keys)
    }
}

fn accepted<T>(name: &'static str, key: Result<T, Fault>) -> Result<T, Error> {
    key.map_err(|fault| error(vec![Problem::new(name, fault)]))
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("previous", &self.0.previous.len()).finish_non_exhaustive()
    }
}
