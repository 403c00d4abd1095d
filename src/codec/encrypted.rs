//! Encryption around the bytes of another codec.
//!
//! ```text
//! 0   key     4 bytes, which key of the ring to try
//! 4   nonce   12 random bytes
//! 16  cipher  AES-256-GCM of the other codec's bytes
//! ..  tag     16 bytes
//! ```
//! Tenant, key of the entry, codec stack, header and key id are associated data: an entry that was copied to another
//! key or tenant, or whose header was changed, is not authentic, nor is anything in the clear.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroize;

use super::aad::Binding;
use super::keyring::{DataKey, ID_LEN, Keyring, NONCE_LEN, TAG_LEN, TenantKeys};
use super::scratch::Scratch;
use super::{Codec, Context};
use crate::config::{Alarm, Policy};
use crate::error::{Error, ErrorKind};
use crate::key::Tenant;
use crate::memory;

/// Encrypts and authenticates the bytes of another codec with AES-256-GCM; the codec of
/// [`intent::Secure`](crate::intent::Secure).
///
/// A function that takes a `Cache<B, Encrypted<C>>` refuses every other cache. Backends and L1 see only ciphertext.
/// What is not authentic (changed, cut, moved to another key or tenant, in the clear, of a key that is not in the ring)
/// is a miss, or an error where the cache is set to fail closed.
///
/// Compress inside: `Encrypted<Compressed<C>>`. The other way round does not compile, because ciphertext does not
/// shrink; nor does encrypting twice.
///
/// # Nonces
/// Each seal takes 96 random bits from the operating system. One key should seal no more than 2^32 times, by all
/// processes together; each process counts for itself, and tells of every 2^28 seals of a key as an
/// [`Event::Warning`](crate::Event::Warning). Tenants have keys of their own.
///
/// # Cost
/// 32 bytes an entry. A read copies the entry once, into a buffer of its thread, and wipes it there. A write measures
/// the value first, so that the plain bytes leave no copies behind where their buffer grows; a value that its codec
/// writes at more than twice its size in memory may. Each thread that reads keeps up to 1 MiB.
///
/// # Examples
/// ```
/// use cachekit::codec::{Encrypted, Keyring, Postcard};
/// use cachekit::{Backend, Cache, CacheBuilder, Codec, Intent};
/// fn charge<B: Backend, C: Codec>(cards: &Cache<B, Encrypted<C>>) {
///     // Whatever cards holds, the backend and L1 see only ciphertext.
/// }
/// let keyring = Keyring::from_hex(&"ab".repeat(32))?;
/// let cards = CacheBuilder::new().intent(Intent::Secure).keyring(keyring.clone()).namespace("cards").build()?;
/// charge(&cards);
///
/// let cards = CacheBuilder::new().intent(Intent::Minimal).codec(Encrypted::new(Postcard, keyring)).build()?;
/// charge(&cards);
/// # Ok::<(), cachekit::Error>(())
/// ```
/// Encrypting twice does not compile:
/// ```compile_fail
/// use cachekit::codec::{Encrypted, Keyring, Postcard};
/// let keyring = Keyring::from_hex(&"ab".repeat(32)).unwrap();
/// let codec = Encrypted::new(Encrypted::new(Postcard, keyring.clone()), keyring);
/// ```
#[derive(Clone)]
pub struct Encrypted<C> {
    inner: C,
    keys: Option<Keys>,
    alarm: Option<Alarm>,
}

#[derive(Clone)]
struct Keys {
    ring: Keyring,
    tenant: Arc<TenantKeys>,
    binding: Arc<Binding>,
}

impl Keys {
    /// The keys of `tenant`, for entries of the stack `format`.
    fn new(ring: Keyring, tenant: &Tenant, format: &str) -> Self {
        // The name of a wrapper starts with what it does.
        let binding = Binding::new(tenant.as_str(), format, format.contains("compressed("));
        Self { tenant: ring.tenant(tenant), ring, binding: Arc::new(binding) }
    }
}

const HEAD: usize = ID_LEN + NONCE_LEN;

impl<C: Codec> Encrypted<C> {
    /// Encrypts the bytes of `inner` with the keys of `keyring`, whatever the settings say.
    pub fn new(inner: C, keyring: Keyring) -> Self {
        let keys = Keys::new(keyring, &Tenant::default(), &inner.name());
        Self { keys: Some(keys), ..Self::from_settings(inner) }
    }

    /// Encrypts the bytes of `inner` with the keys that the builder or the environment names; `build` refuses where
    /// neither does. For presets: used without a cache, it refuses every value.
    pub fn from_settings(inner: C) -> Self {
        const { assert!(!C::CONFIDENTIAL, "the codec inside of Encrypted encrypts already: encrypt once") };
        Self { inner, keys: None, alarm: None }
    }

    /// The same codec with the keys of `tenant`.
    pub(crate) fn tenant(&self, tenant: &Tenant) -> Result<Self, Error> {
        let ring = self.keys()?.ring.clone();
        Ok(Self { keys: Some(Keys::new(ring, tenant, &self.inner.name())), ..self.clone() })
    }

    /// What hides the names of this tenant's keys.
    pub(crate) fn names(&self) -> Result<crate::key::NameKey, Error> {
        Ok(self.keys()?.tenant.names.clone())
    }

    fn keys(&self) -> Result<&Keys, Error> {
        self.keys.as_ref().ok_or_else(|| {
            let message = "CACHEKIT_MASTER_KEY: there is no key to encrypt with; make one with `openssl rand -hex 32`, \
                           and set it, or name it by .keyring(..); for data that may be stored in the clear, use \
                           another intent than Intent::Secure";
            Error::new(ErrorKind::Config, message)
        })
    }

    fn count(&self, key: &DataKey) {
        if let (Some(seals), Some(alarm)) = (key.wear(), &self.alarm) {
            alarm(&format!(
                "this process has encrypted {seals} entries with one key; all processes together should encrypt no \
                 more than 4294967296 with it: rotate the master key, or give tenants keys of their own"
            ));
        }
    }
}

#[deny(clippy::missing_trait_methods)]
impl<C: Codec> Codec for Encrypted<C> {
    const CONFIDENTIAL: bool = true;

    fn name(&self) -> String {
        format!("encrypted({})", self.inner.name())
    }

    fn configure(&mut self, policy: &Policy) -> Result<(), Error> {
        if self.keys.is_none() {
            let (ring, tenant) = (Keyring::from_secrets(&policy.setup.secrets)?, Tenant::default());
            self.keys = ring.map(|ring| Keys::new(ring, &tenant, &self.inner.name()));
        }
        self.alarm = policy.setup.alarm.clone();
        // The first call gives the key: there is one codec to a cache.
        let _ = policy.setup.names.set(self.names()?);
        self.inner.configure(policy)
    }

    fn encode<T: Serialize>(&self, value: &T, context: Context<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
        let keys = self.keys()?;
        let key = &keys.tenant.current;
        let start = out.len();
        out.reserve(HEAD + TAG_LEN + memory::weigh(value).saturating_mul(2));
        out.extend_from_slice(&key.id);
        out.extend_from_slice(&[0; NONCE_LEN]);
        let mut plain = Plain { out, start: start + HEAD, is_sealed: false };
        self.inner.encode(value, context, plain.out)?;
        let (nonce, tag) = Scratch::with(|scratch| {
            keys.binding.write(&mut scratch.aad, context.key(), &[context.header(), &key.id]);
            key.seal(&scratch.aad, &mut plain.out[start + HEAD..])
        })?;
        plain.is_sealed = true;
        drop(plain);
        out[start + ID_LEN..start + HEAD].copy_from_slice(&nonce);
        out.extend_from_slice(tag.as_ref());
        if out.capacity() / 4 > out.len() / 3 {
            out.shrink_to_fit();
        }
        self.count(key);
        Ok(())
    }

    fn decode<T: DeserializeOwned>(&self, bytes: &[u8], context: Context<'_>) -> Result<T, Error> {
        let keys = self.keys()?;
        let Some((id, rest)) = bytes.split_first_chunk() else { return Err(unauthentic()) };
        let Some((nonce, sealed)) = rest.split_first_chunk() else { return Err(unauthentic()) };
        if sealed.len() < TAG_LEN {
            return Err(unauthentic());
        }
        Scratch::with(|scratch| {
            keys.binding.write(&mut scratch.aad, context.key(), &[context.header(), id]);
            let mut value = None;
            for key in keys.tenant.with_id(*id) {
                let mut buffer = scratch.plain.copy_of(sealed);
                if let Some(plain) = key.open(*nonce, &scratch.aad, buffer.bytes()) {
                    value = Some(self.inner.decode(plain, context));
                    break;
                }
            }
            value.unwrap_or_else(|| Err(unauthentic()))
        })
    }
}

/// One message for every reason, so that a forger learns nothing from it.
fn unauthentic() -> Error {
    Error::new(ErrorKind::Unauthentic, "the entry is not authentic: changed, moved, in the clear, or of another key")
}

/// Plain bytes at the end of a buffer. Wiped when dropped, unless they are sealed by then.
struct Plain<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    is_sealed: bool,
}

impl Drop for Plain<'_> {
    fn drop(&mut self) {
        if !self.is_sealed {
            self.out[self.start..].zeroize();
        }
    }
}

/// Without keys.
impl<C: fmt::Debug> fmt::Debug for Encrypted<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encrypted").field("inner", &self.inner).finish_non_exhaustive()
    }
}
