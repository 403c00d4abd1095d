//! A derived key: seals, opens, counts.
//!
//! Derivation is that of the Python library, byte for byte: HKDF-SHA256 of the master key, with domain and tenant in
//! the salt behind their lengths, because HKDF itself only strings its parts together.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use lru::LruCache;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, Tag, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use ring::{aead, digest};
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind};
use crate::key::Tenant;

/// Bytes of the id of a key.
pub(in crate::codec) const ID_LEN: usize = 4;
pub(in crate::codec) const NONCE_LEN: usize = aead::NONCE_LEN;
pub(in crate::codec) const TAG_LEN: usize = 16;

const KEY_LEN: usize = 32;

/// What a key is derived for.
#[derive(Debug, Clone, Copy)]
pub(in crate::codec) enum Domain {
    Encryption,
    CacheKeys,
}

impl Domain {
    fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::Encryption => b"encryption",
            Self::CacheKeys => b"cache_keys",
        }
    }
}

/// A key of AES-256-GCM.
pub(in crate::codec) struct DataKey {
    pub(in crate::codec) id: [u8; ID_LEN],
    key: LessSafeKey,
    seals: Arc<AtomicU64>,
}

impl DataKey {
    /// After each this many seals by this process it is time to say so. Beyond 2^32 by all processes together two
    /// random nonces may be equal with a chance worth minding.
    pub(in crate::codec) const WORN: u64 = 1 << 28;

    pub(super) fn derive(master: &[u8], tenant: &Tenant) -> Self {
        let key = derive(master, Domain::Encryption, tenant);
        let fingerprint = fingerprint(&key);
        let mut id = [0; ID_LEN];
        id.copy_from_slice(&fingerprint[..ID_LEN]);
        let unbound = UnboundKey::new(&AES_256_GCM, &key[..]).expect("a key of this cipher has 32 bytes");
        Self { id, key: LessSafeKey::new(unbound), seals: counter(fingerprint) }
    }

    /// Encrypts `plain` in place. Returns the nonce, fresh from the operating system, and the tag.
    ///
    /// # Errors
    /// If the system gives no random bytes, or `plain` is longer than the cipher allows: 64 GiB.
    pub(in crate::codec) fn seal(&self, aad: &[u8], plain: &mut [u8]) -> Result<([u8; NONCE_LEN], Tag), Error> {
        // Random, not counted: a counter runs twice in a forked process, or in a virtual machine set back.
        let mut nonce = [0; NONCE_LEN];
        let random = SystemRandom::new().fill(&mut nonce);
        random
            .map_err(|_| Error::new(ErrorKind::Encode, "the operating system gives no random bytes to encrypt with"))?;
        let sealed = self.key.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), plain);
        let tag = sealed.map_err(|_| Error::new(ErrorKind::Encode, "the value is too large to be encrypted"))?;
        Ok((nonce, tag))
    }

    /// Decrypts `sealed`, ciphertext and tag, in place. `None` if it is not authentic; what it holds is garbage then.
    pub(in crate::codec) fn open<'a>(
        &self,
        nonce: [u8; NONCE_LEN],
        aad: &[u8],
        sealed: &'a mut [u8],
    ) -> Option<&'a mut [u8]> {
        self.key.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(aad), sealed).ok()
    }

    /// Counts a seal. Returns how many there are, where that is worth telling.
    pub(in crate::codec) fn wear(&self) -> Option<u64> {
        let seals = self.seals.fetch_add(1, Relaxed) + 1;
        seals.is_multiple_of(Self::WORN).then_some(seals)
    }

    #[cfg(test)]
    pub(super) fn pretend(&self, seals: u64) {
        self.seals.store(seals, Relaxed);
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataKey").finish_non_exhaustive()
    }
}

/// Derives the key of `tenant` for one purpose.
pub(in crate::codec) fn derive(master: &[u8], domain: Domain, tenant: &Tenant) -> Zeroizing<[u8; KEY_LEN]> {
    struct Length;
    impl KeyType for Length {
        fn len(&self) -> usize {
            KEY_LEN
        }
    }
    let (domain, tenant) = (domain.as_bytes(), tenant.as_str().as_bytes());
    let mut salt = b"cachekit_v1_".to_vec();
    salt.push(domain.len() as u8);
    salt.extend_from_slice(domain);
    // A tenant's name is shorter than this counts.
    salt.extend_from_slice(&(tenant.len() as u16).to_be_bytes());
    salt.extend_from_slice(tenant);
    let mut key = Zeroizing::new([0; KEY_LEN]);
    let info = [domain];
    let secret = Salt::new(HKDF_SHA256, &salt).extract(master);
    let derived = secret.expand(&info, Length).and_then(|derived| derived.fill(&mut key[..]));
    derived.expect("HKDF-SHA256 gives up to 8,160 bytes");
    key
}

/// The name of the key that is derived from `master` to encrypt for `tenant`.
pub(super) fn fingerprint_of(master: &[u8], tenant: &Tenant) -> String {
    let bytes = fingerprint(&derive(master, Domain::Encryption, tenant));
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn fingerprint(key: &[u8; KEY_LEN]) -> [u8; 16] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"key_fingerprint_v1");
    context.update(key);
    let mut fingerprint = [0; 16];
    fingerprint.copy_from_slice(&context.finish().as_ref()[..16]);
    fingerprint
}

/// The count of a key, the same for all keyrings of this process, of the 4,096 keys derived last.
fn counter(fingerprint: [u8; 16]) -> Arc<AtomicU64> {
    type Counters = Mutex<LruCache<[u8; 16], Arc<AtomicU64>>>;
    const KEYS: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();
    static COUNTERS: LazyLock<Counters> = LazyLock::new(|| Mutex::new(LruCache::sparse(KEYS)));
    let mut counters = COUNTERS.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(counters.get_or_insert(fingerprint, Arc::default))
}
