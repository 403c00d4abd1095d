//! Secrets: values that no output shows.

use std::fmt;
use std::sync::Arc;

use super::problem::{Fault, Problem};

/// A value that `Debug` does not show. Clones share one allocation.
///
/// # Examples
/// ```
/// let environment = cachekit::Environment::from_vars([("CACHEKIT_API_KEY", "ck_live_42")]);
/// let key = environment.cachekitio.api_key.unwrap();
/// assert_eq!((format!("{key:?}").as_str(), key.expose()), ("[secret]", "ck_live_42"));
/// ```
pub struct Secret<T: ?Sized>(Arc<T>);

impl<T: ?Sized> Secret<T> {
    pub(crate) fn new(value: impl Into<Arc<T>>) -> Self {
        Self(value.into())
    }

    /// The value itself, for the one place that needs it.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: ?Sized> Clone for Secret<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: ?Sized> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

const GENERATE: &str = "make one with `openssl rand -hex 32`";

/// A master key. Clones share one copy of its bytes, which is wiped with the last of them.
#[derive(Clone)]
pub(crate) struct MasterKey(Arc<Material>);

struct Material(Box<[u8]>);

#[cfg(feature = "encryption")]
impl Drop for Material {
    fn drop(&mut self) {
        use zeroize::Zeroize;
        self.0[..].zeroize();
    }
}

impl MasterKey {
    /// The fewest bytes of a key.
    pub(crate) const MIN_LEN: usize = 32;

    /// A key from hex digits of either case.
    ///
    /// # Errors
    /// The fault names the number of digits, never the digits.
    pub(crate) fn from_hex(text: &str) -> Result<Self, Fault> {
        let digits = text.chars().count();
        if digits == 0 {
            return Err(Fault::new("must not be empty", GENERATE));
        }
        if !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(Fault::new("must be hex digits (0-9, a-f) only", GENERATE));
        }
        if digits % 2 == 1 {
            return Err(Fault::new(format!("must have an even number of hex digits and has {digits}"), GENERATE));
        }
        if digits < 2 * Self::MIN_LEN {
            let rule = format!("must have at least 64 hex digits (32 bytes) and has {digits} ({} bytes)", digits / 2);
            return Err(Fault::new(rule, GENERATE));
        }
        // As long as the key from the start, so that no copy of a part is left behind.
        let mut material = Material(vec![0; digits / 2].into());
        for (byte, pair) in material.0.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = nibble(pair[0]) << 4 | nibble(pair[1]);
        }
        Ok(Self(Arc::new(material)))
    }

    /// A key from its bytes.
    ///
    /// # Errors
    /// If there are too few.
    #[cfg(feature = "encryption")]
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, Fault> {
        if bytes.len() < Self::MIN_LEN {
            return Err(Fault::new(format!("must have at least 32 bytes and has {}", bytes.len()), GENERATE));
        }
        Ok(Self(Arc::new(Material(bytes.into()))))
    }

    /// The bytes, for the one place that needs them.
    pub(crate) fn expose(&self) -> &[u8] {
        &self.0.0
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// The value of a hex digit.
fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// The keys of encryption. A key is a source, not a switch: alone it encrypts nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Secrets {
    /// Encrypts and decrypts.
    pub master: Option<MasterKey>,
    /// Decrypt only, at most [`MAX_PREVIOUS`](Self::MAX_PREVIOUS).
    pub previous: Vec<MasterKey>,
}

impl Secrets {
    /// The most previous keys.
    pub(crate) const MAX_PREVIOUS: usize = 3;

    /// Whether the keys go together, wherever each comes from; `name` is what the previous keys are called.
    pub(crate) fn check(&self, name: &'static str, problems: &mut Vec<Problem>) {
        let mut refuse = |rule: String, fix: &'static str| problems.push(Problem::new(name, Fault::new(rule, fix)));
        if self.previous.len() > Self::MAX_PREVIOUS {
            let rule = format!("must hold at most {} keys and holds {}", Self::MAX_PREVIOUS, self.previous.len());
            refuse(rule, "drop the oldest; entries written under it become misses");
        }
        for (index, key) in self.previous.iter().enumerate() {
            let place = index + 1;
            if self.master.as_ref().is_some_and(|master| master.expose() == key.expose()) {
                refuse(format!("key {place} must differ from the current master key"), "remove it from the list");
            }
            if self.previous[..index].iter().any(|earlier| earlier.expose() == key.expose()) {
                refuse(format!("key {place} must not repeat an earlier one"), "remove it from the list");
            }
        }
    }
}
