//! The head of keys: a namespace, perhaps a tenant of it, perhaps a domain.

use std::fmt;

use blake2::digest::consts::U32;
use blake2::digest::{KeyInit, Mac};
use blake2::{Blake2b256, Blake2bMac, Digest};

use super::buffer::Buffer;
use super::name::{Head, Rest};
use super::text::Text;
use super::{Digits, IntoKey, Key, KeyWriter, Name, hash, push_hex};
use crate::error::{Error, ErrorKind};

/// A namespace, escaped once, ready to be the head of keys.
#[derive(Debug, Clone)]
pub(crate) struct Namespace {
    /// What stands in front of every part of a key.
    head: Head,
    /// How much of it names the namespace, whatever the tenant and the domain.
    root: usize,
    /// How much of it names the namespace and the tenant, whatever the domain.
    tenant: usize,
    names: Names,
}

/// How much of a key the backend sees.
#[derive(Debug, Clone)]
enum Names {
    Shown,
    Hashed,
    Keyed(NameKey),
}

/// The key under which names are hashed. Wiped when dropped.
#[derive(Clone)]
pub(crate) struct NameKey([u8; 32]);

impl Namespace {
    pub(crate) fn new(namespace: &str) -> Result<Self, Error> {
        if namespace.is_empty() {
            return Err(Error::new(ErrorKind::Key, "the namespace is empty: give it a name"));
        }
        let mut text = Text::new();
        let mut writer = KeyWriter { text: &mut text, input: 0, parts: 0 };
        writer.part(&namespace);
        writer.check()?;
        text.plain(":");
        let head = Head::new(text.as_rest().as_str());
        Ok(Self { root: head.len(), tenant: head.len(), head, names: Names::Shown })
    }

    /// Stores hashes of keys from now on: keyed ones, if there is a key.
    pub(crate) fn hide_names(&mut self, key: Option<NameKey>) {
        self.names = key.map_or(Names::Hashed, Names::Keyed);
    }

    /// The part of this namespace, and of the domain, that belongs to `tenant`. `key` hides names, where they are hidden.
    #[cfg(feature = "encryption")]
    pub(crate) fn tenant(&self, tenant: &Tenant, key: NameKey) -> Self {
        let mut head = String::from(&self.head.as_str()[..self.root]);
        push_level(&mut head, '@', tenant.as_str());
        let tenant = head.len();
        head.push_str(&self.head.as_str()[self.tenant..]);
        let names = if matches!(self.names, Names::Shown) { Names::Shown } else { Names::Keyed(key) };
        Self { head: Head::new(&head), root: self.root, tenant, names }
    }

    /// The domain of this name, in the same namespace, and of the same tenant.
    pub(crate) fn domain(&self, name: &str) -> Self {
        let mut head = String::from(&self.head.as_str()[..self.tenant]);
        push_level(&mut head, '+', name);
        Self { head: Head::new(&head), names: self.names.clone(), ..*self }
    }

    /// The name of what the cache keeps for the whole namespace. Its reserved names hold two `:`, as no user key does.
    pub(crate) fn root(&self) -> Key {
        Key::from_text(&self.head.as_str()[..self.root])
    }

    /// The namespace itself, escaped.
    pub(crate) fn name(&self) -> &str {
        self.head.as_str()[..self.root].trim_end_matches(':')
    }

    /// What all keys of this cache begin with, of its tenant and domain if it is one's. Where names are hidden, that of the
    /// namespace and the mark of hashes.
    pub(crate) fn prefix(&self) -> String {
        match self.names {
            Names::Shown => self.head.as_str().to_owned(),
            _ => format!("{}#", &self.head.as_str()[..self.root]),
        }
    }

    /// The name of the bus of all caches of this namespace.
    pub(crate) fn bus(&self) -> Key {
        self.root().reserved("bus")
    }

    /// The key of `key`.
    pub(crate) fn key(&self, key: &impl IntoKey) -> Result<Key, Error> {
        self.with(key, |name| name.to_key())
    }

    /// Hashes `key` and hands its name to `f`. Allocates nothing, or nothing once a buffer of this thread has grown, so an
    /// L1 hit can look up by it.
    #[inline]
    pub(crate) fn with<R>(&self, key: &impl IntoKey, f: impl FnOnce(Name<'_>) -> R) -> Result<R, Error> {
        let (mut digits, mut text);
        digits = Digits::new();
        let part = key.as_text(&mut digits).filter(|part| (1..=Key::MAX_LEN).contains(&part.text.len()));
        let rest = match part {
            Some(part) if part.is_plain() => Rest::Text(part.text),
            Some(part) => {
                text = Text::new();
                text.escape(part.text);
                text.as_rest()
            }
            None => {
                text = Text::new();
                let mut writer = KeyWriter { text: &mut text, input: 0, parts: 0 };
                key.write_key(&mut writer);
                writer.check()?;
                text.as_rest()
            }
        };
        if self.head.len() + rest.as_bytes().len() > Key::MAX_LEN || !matches!(self.names, Names::Shown) {
            let Buffer(text) = &self.rewritten(rest.as_str());
            return Ok(f(Name::new("", Rest::Text(text), hash(text))));
        }
        Ok(f(Name::new(self.head.as_str(), rest, self.head.hash(rest.as_bytes()))))
    }

    /// The text of a key that is too long, or is hidden.
    #[cold]
    fn rewritten(&self, rest: &str) -> Buffer {
        let mut buffer = Buffer::of(self.head.as_str(), rest);
        let Buffer(text) = &mut buffer;
        if !matches!(self.names, Names::Shown) {
            self.hide(text);
        }
        if text.len() > Key::MAX_LEN {
            shorten(text);
        }
        buffer
    }

    /// Leaves of a key its namespace and a hash of the whole.
    fn hide(&self, text: &mut String) {
        let digest = match &self.names {
            Names::Keyed(NameKey(key)) => {
                let mut mac = Blake2bMac::<U32>::new_from_slice(key).expect("BLAKE2b takes keys of up to 64 bytes");
                mac.update(text.as_bytes());
                mac.finalize().into_bytes()
            }
            Names::Shown | Names::Hashed => Blake2b256::digest(text.as_bytes()),
        };
        text.truncate(self.root);
        text.push('#');
        push_hex(text, &digest);
    }
}

/// Adds a level to a head, told from others by its `mark`.
fn push_level(head: &mut String, mark: char, name: &str) {
    let mut text = Text::new();
    text.escaped(name);
    head.extend([&mark.to_string(), text.as_rest().as_str(), ":"]);
}

fn shorten(text: &mut String) {
    const TAIL: usize = 64;
    let digest = Blake2b256::digest(text.as_bytes());
    text.truncate(Key::MAX_LEN - TAIL - 1);
    text.push('~');
    push_hex(text, &digest);
}

#[cfg(feature = "encryption")]
impl NameKey {
    pub(crate) fn new(key: [u8; 32]) -> Self {
        Self(key)
    }
}

#[cfg(feature = "encryption")]
impl Drop for NameKey {
    fn drop(&mut self) {
        use zeroize::Zeroize;
        self.0.zeroize();
    }
}

impl fmt::Debug for NameKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// The name of a tenant, of a length that every part of the library accepts. `Debug` does not show it.
#[cfg(feature = "encryption")]
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Tenant(std::sync::Arc<str>);

#[cfg(feature = "encryption")]
impl Tenant {
    /// The longest name of a tenant, in bytes.
    const MAX_LEN: usize = 256;

    pub(crate) fn new(id: &str) -> Result<Self, Error> {
        match id.len() {
            0 => Err(Error::new(ErrorKind::Key, "the tenant's id is empty: give it a name")),
            1..=Self::MAX_LEN => Ok(Self(id.into())),
            length => {
                let message = format!(
                    "a tenant's id of {length} bytes is longer than the {} accepted: use a shorter one",
                    Self::MAX_LEN
                );
                Err(Error::new(ErrorKind::Key, message))
            }
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The tenant of a cache that names none.
#[cfg(feature = "encryption")]
impl Default for Tenant {
    fn default() -> Self {
        Self("default".into())
    }
}

#[cfg(feature = "encryption")]
impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenant").finish_non_exhaustive()
    }
}
