//! Keys: made once, valid for every backend.
//!
//! The text of a key is `namespace:part` or `namespace:part/part/...`. Every byte of a part outside
//! `A-Z a-z 0-9 . _ -` is written `%XX`, so the separators cannot be forged and different parts never
//! give one text. A user key holds exactly one `:`; reserved names (locks, chunks, the ledger) and the keys of tenants
//! (`namespace:@tenant:part/...`) and domains (`namespace:+domain:part/...`) hold more, so no user key can collide with
//! them. Texts longer than
//! [`Key::MAX_LEN`] keep a readable head and end in `~` and a BLAKE2b-256 tail; `~` never appears otherwise. Where
//! names are hidden a key is `namespace:#` and a hash; `@`, `+` and `#` never appear otherwise, either.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZero;
use std::sync::Arc;

use blake2::digest::consts::U8;
use blake2::{Blake2b, Digest};

use self::escape::are_plain;
use self::name::{Rest, hash};
use self::text::Text;
use crate::error::{Error, ErrorKind};

mod buffer;
mod escape;
mod from;
mod name;
mod namespace;
mod text;

pub use self::from::FromKey;
pub(crate) use self::from::from_text;
pub(crate) use self::name::Name;
#[cfg(feature = "encryption")]
pub(crate) use self::namespace::Tenant;
pub(crate) use self::namespace::{NameKey, Namespace};

/// The name of one cache entry, as every backend sees it.
///
/// ASCII, without blanks or control characters, at most [`Key::MAX_LEN`] bytes. `Debug` and `Display`
/// show [`Key::id`], a short hash, because keys often carry personal data; [`Key::as_str`] is the text.
///
/// # Examples
/// ```
/// use cachekit::Key;
/// let key = Key::new("users", ("eu west", 42))?;
/// assert_eq!(key.as_str(), "users:eu%20west/42");
/// assert_ne!(Key::new("n", ("a:b", "c"))?, Key::new("n", ("a", "b:c"))?);
/// # Ok::<(), cachekit::Error>(())
/// ```
#[derive(Clone)]
pub struct Key {
    text: Arc<str>,
    hash: u64,
}

impl Key {
    /// The longest text of a key, in bytes. It leaves room for a backend's own prefix and for `:lock` within
    /// memcached's 250 bytes.
    pub const MAX_LEN: usize = 180;

    /// The longest user key accepted, in bytes before escaping, all parts together: 64 KiB.
    pub const MAX_INPUT: usize = 64 * 1024;

    /// Makes the key of `key` in `namespace`.
    ///
    /// # Errors
    /// [`ErrorKind::Key`] if the namespace or the key is empty or longer than [`Key::MAX_INPUT`].
    pub fn new(namespace: &str, key: impl IntoKey) -> Result<Self, Error> {
        Namespace::new(namespace)?.key(&key)
    }

    /// A key of this hash, whatever its text.
    #[cfg(test)]
    pub(crate) fn with_hash(text: &str, hash: u64) -> Self {
        Self { text: text.into(), hash }
    }

    /// The key of a text that another process made.
    pub(crate) fn from_text(text: &str) -> Self {
        Self { text: text.into(), hash: hash(text) }
    }

    /// The text that backends store the entry under. It often carries personal data: log [`id`](Key::id) instead.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// A short, stable name for logs: 16 hex digits of BLAKE2b-64 over the text.
    pub fn id(&self) -> String {
        let mut out = String::with_capacity(16);
        push_hex(&mut out, &Blake2b::<U8>::digest(self.text.as_bytes()));
        out
    }

    /// The key of something the cache keeps beside this entry, such as `lock` or `chunk:0`.
    ///
    /// It holds at least two `:`, which no user key does.
    pub fn reserved(&self, name: &str) -> Self {
        let text = format!("{}:{name}", self.text);
        let hash = hash(&text);
        Self { text: text.into(), hash }
    }

    /// The part of the backend whose ledger this belongs to, if it names something of a ledger.
    #[cfg(feature = "memcached")]
    pub(crate) fn ledger_part(&self) -> Option<u16> {
        // No part of a key is empty and `:` is escaped in all of them, so an entry's key never holds two in a row.
        let (_, ledger) = self.text.split_once("::{ledger-")?;
        u16::from_str_radix(ledger.split(':').nth(1)?, 16).ok()
    }

    /// The text, to be shared.
    pub(crate) fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// The same, as what is looked for.
    #[inline]
    pub(crate) fn name(&self) -> Name<'_> {
        Name::new("", Rest::Text(&self.text), self.hash)
    }

    /// The hash of the text under this process's random seed.
    pub(crate) fn hash64(&self) -> u64 {
        self.hash
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.text == other.text
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id())
    }
}

fn push_hex(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
}

/// Receives the parts of a key; see [`IntoKey`].
pub struct KeyWriter<'a> {
    text: &'a mut Text,
    input: usize,
    parts: usize,
}

impl KeyWriter<'_> {
    /// Adds one part, separated from the one before by `/`.
    #[inline]
    pub fn part(&mut self, part: &(impl KeyPart + ?Sized)) {
        if self.parts > 0 {
            self.text.plain("/");
        }
        self.parts += 1;
        part.write_part(&mut PartWriter { text: self.text, input: &mut self.input });
    }

    #[inline]
    fn check(&self) -> Result<(), Error> {
        match self.input {
            0 if self.parts <= 1 => Err(Error::new(ErrorKind::Key, "the key is empty: an entry needs a name")),
            0..=Key::MAX_INPUT => Ok(()),
            input => Err(too_long(input)),
        }
    }
}

#[cold]
fn too_long(input: usize) -> Error {
    let message = format!(
        "a key of {input} bytes is longer than the {} bytes accepted: use a shorter key, such as a hash of this one",
        Key::MAX_INPUT
    );
    Error::new(ErrorKind::Key, message)
}

impl fmt::Debug for KeyWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyWriter").field("parts", &self.parts).finish_non_exhaustive()
    }
}

/// Receives the text of one part; see [`KeyPart`].
pub struct PartWriter<'a> {
    text: &'a mut Text,
    input: &'a mut usize,
}

impl PartWriter<'_> {
    /// Appends text to this part. Bytes outside `A-Z a-z 0-9 . _ -` are escaped.
    #[inline]
    pub fn text(&mut self, text: &str) {
        *self.input += text.len();
        if *self.input > Key::MAX_INPUT {
            return;
        }
        self.text.escaped(text);
    }

    /// Appends text that needs no escapes.
    #[inline]
    fn plain(&mut self, text: &str) {
        *self.input += text.len();
        self.text.plain(text);
    }
}

/// So that `write!` appends what a type displays.
impl fmt::Write for PartWriter<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.text(text);
        Ok(())
    }
}

impl fmt::Debug for PartWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartWriter").finish_non_exhaustive()
    }
}

/// What can name an entry: a [`KeyPart`], or a tuple of two to six of them.
///
/// An integer, `bool`, `char` or IP address is the same part as its text. A string of a fixed form, such as a UUID's, is
/// a part as it is. Floats name nothing, because equal ones need not be written alike; nor does `Option`, whose `None`
/// has no text of its own; nor do tuples within tuples.
///
/// # Examples
/// ```
/// use cachekit::Key;
/// assert_eq!(Key::new("users", 42)?, Key::new("users", "42")?);
/// assert_ne!(Key::new("users", ("eu", 42))?, Key::new("users", "eu/42")?);
/// # Ok::<(), cachekit::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a cache key",
    label = "not a key",
    note = "keys are `&str`, `String`, integers, `bool`, `char`, IP addresses, and tuples of two to six of these",
    note = "implement `KeyPart` for a type of your own"
)]
pub trait IntoKey: Send + Sync {
    /// Writes the parts of this key.
    fn write_key(&self, key: &mut KeyWriter<'_>);

    /// The text of a key of one part, where it is at hand: see [`KeyPart::as_text`].
    fn as_text<'a>(&'a self, digits: &'a mut Digits) -> Option<PartText<'a>> {
        let _ = digits;
        None
    }
}

/// What can be one part of a key: text, an integer, `bool`, `char`, an IP address, or a type of your own.
///
/// Two different values must write different text. [`PartWriter`] escapes, so any text will do: `write!(part, "{self}")`
/// is enough where what a type displays tells its values apart.
///
/// # Examples
/// ```
/// use cachekit::{Key, KeyPart, PartWriter};
/// struct UserId(u64);
/// impl KeyPart for UserId {
///     fn write_part(&self, part: &mut PartWriter<'_>) {
///         self.0.write_part(part);
///     }
/// }
/// assert_eq!(Key::new("users", UserId(7))?.as_str(), "users:7");
/// # Ok::<(), cachekit::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a part of a cache key",
    label = "not a part of a key",
    note = "parts are `&str`, `String`, integers, `bool`, `char` and IP addresses; implement `KeyPart` for a type of your own"
)]
pub trait KeyPart: Send + Sync {
    /// Writes the text of this part.
    fn write_part(&self, part: &mut PartWriter<'_>);

    /// The text that [`write_part`](Self::write_part) writes, before escapes, where it is at hand. Default `None`.
    ///
    /// A hit by such a key copies nothing, which takes a third off its cost. A type around one part of a known type passes
    /// the call on: `self.0.as_text(digits)`; one around text gives [`PartText::new`] of it.
    fn as_text<'a>(&'a self, digits: &'a mut Digits) -> Option<PartText<'a>> {
        let _ = digits;
        None
    }
}

/// The text of a key part; see [`KeyPart::as_text`].
#[derive(Clone, Copy)]
pub struct PartText<'a> {
    text: &'a str,
    /// Whether it is known to need no escapes.
    is_plain: bool,
}

impl<'a> PartText<'a> {
    /// Takes the text of a part, before escapes.
    pub fn new(text: &'a str) -> Self {
        Self { text, is_plain: false }
    }

    /// Whether it needs no escapes.
    #[inline]
    fn is_plain(self) -> bool {
        self.is_plain || are_plain(self.text)
    }
}

/// Without the text, which often carries personal data.
impl fmt::Debug for PartText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartText").field("len", &self.text.len()).finish_non_exhaustive()
    }
}

/// Room for the text of a number; see [`KeyPart::as_text`].
pub struct Digits(itoa::Buffer);

impl Digits {
    #[inline]
    pub(crate) fn new() -> Self {
        Self(itoa::Buffer::new())
    }
}

impl fmt::Debug for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digits")
    }
}

macro_rules! pointer_parts {
    ($($pointer:ty)*) => {$(
        impl<P: KeyPart + ?Sized> KeyPart for $pointer {
            #[inline]
            fn write_part(&self, part: &mut PartWriter<'_>) {
                (**self).write_part(part);
            }

            #[inline]
            fn as_text<'a>(&'a self, digits: &'a mut Digits) -> Option<PartText<'a>> {
                (**self).as_text(digits)
            }
        }
    )*};
}
pointer_parts!(&P Box<P> Arc<P>);

impl KeyPart for str {
    #[inline]
    fn write_part(&self, part: &mut PartWriter<'_>) {
        part.text(self);
    }

    #[inline]
    fn as_text<'a>(&'a self, _: &'a mut Digits) -> Option<PartText<'a>> {
        Some(PartText::new(self))
    }
}

impl KeyPart for String {
    #[inline]
    fn write_part(&self, part: &mut PartWriter<'_>) {
        part.text(self);
    }

    #[inline]
    fn as_text<'a>(&'a self, _: &'a mut Digits) -> Option<PartText<'a>> {
        Some(PartText::new(self))
    }
}

impl KeyPart for Cow<'_, str> {
    #[inline]
    fn write_part(&self, part: &mut PartWriter<'_>) {
        part.text(self);
    }

    #[inline]
    fn as_text<'a>(&'a self, _: &'a mut Digits) -> Option<PartText<'a>> {
        Some(PartText::new(self))
    }
}

macro_rules! integer_parts {
    ($($integer:ty)*) => {$(
        impl KeyPart for $integer {
            #[inline]
            fn write_part(&self, part: &mut PartWriter<'_>) {
                part.plain(itoa::Buffer::new().format(*self));
            }

            #[inline]
            fn as_text<'a>(&'a self, digits: &'a mut Digits) -> Option<PartText<'a>> {
                Some(PartText { text: digits.0.format(*self), is_plain: true })
            }
        }

        impl KeyPart for NonZero<$integer> {
            fn write_part(&self, part: &mut PartWriter<'_>) {
                self.get().write_part(part);
            }
        }
    )*};
}
integer_parts!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize);

impl KeyPart for bool {
    fn write_part(&self, part: &mut PartWriter<'_>) {
        part.plain(if *self { "true" } else { "false" });
    }
}

impl KeyPart for char {
    fn write_part(&self, part: &mut PartWriter<'_>) {
        part.text(self.encode_utf8(&mut [0; 4]));
    }
}

macro_rules! displayed_parts {
    ($($displayed:ty)*) => {$(
        impl KeyPart for $displayed {
            fn write_part(&self, part: &mut PartWriter<'_>) {
                let _ = write!(part, "{self}");
            }
        }
    )*};
}
// Each is displayed as one text, and no two as the same.
displayed_parts!(IpAddr Ipv4Addr Ipv6Addr);

impl<P: KeyPart + ?Sized> IntoKey for P {
    #[inline]
    fn write_key(&self, key: &mut KeyWriter<'_>) {
        key.part(self);
    }

    #[inline]
    fn as_text<'a>(&'a self, digits: &'a mut Digits) -> Option<PartText<'a>> {
        KeyPart::as_text(self, digits)
    }
}

macro_rules! tuple_keys {
    ($(($($name:ident $index:tt)*))*) => {$(
        impl<$($name: KeyPart),*> IntoKey for ($($name,)*) {
            #[inline]
            fn write_key(&self, key: &mut KeyWriter<'_>) {
                $(key.part(&self.$index);)*
            }
        }
    )*};
}
tuple_keys! {
    (A 0 B 1)
    (A 0 B 1 C 2)
    (A 0 B 1 C 2 D 3)
    (A 0 B 1 C 2 D 3 E 4)
    (A 0 B 1 C 2 D 3 E 4 F 5)
}
