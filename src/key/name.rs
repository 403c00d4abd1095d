//! Keys that are looked for: hashed, compared, and not kept.

use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::sync::LazyLock;

use foldhash::SharedSeed;
use foldhash::quality::SeedableRandomState;

use super::Key;
use super::buffer::Buffer;

/// The text of a key in two pieces, and its hash. A hit in L1 needs no more.
#[derive(Clone, Copy)]
pub(crate) struct Name<'a> {
    /// May be empty; then the rest is the whole.
    head: &'a str,
    rest: Rest<'a>,
    hash: u64,
}

/// What stands behind the head.
#[derive(Clone, Copy)]
pub(super) enum Rest<'a> {
    /// It stands in the key itself.
    Text(&'a str),
    /// It was written for this look-up: ASCII, which is not tested for a hit.
    Written(&'a [u8]),
}

impl<'a> Rest<'a> {
    #[inline]
    pub(super) fn as_bytes(self) -> &'a [u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Written(text) => text,
        }
    }

    pub(super) fn as_str(self) -> &'a str {
        match self {
            Self::Text(text) => text,
            Self::Written(text) => str::from_utf8(text).unwrap_or_default(),
        }
    }
}

impl<'a> Name<'a> {
    #[inline]
    pub(super) fn new(head: &'a str, rest: Rest<'a>, hash: u64) -> Self {
        Self { head, rest, hash }
    }

    /// The hash of the text under this process's random seed.
    #[inline]
    pub(crate) fn hash64(self) -> u64 {
        self.hash
    }

    /// How long the text is.
    pub(crate) fn len(self) -> usize {
        self.head.len() + self.rest.as_bytes().len()
    }

    /// Whether this is the text.
    #[inline]
    pub(crate) fn is(self, text: &[u8]) -> bool {
        let split = text.split_at_checked(self.head.len());
        split.is_some_and(|(head, rest)| is_same(rest, self.rest.as_bytes()) && is_same(head, self.head.as_bytes()))
    }

    /// The key of this name.
    pub(crate) fn to_key(self) -> Key {
        self.with_text(|text| Key { text: text.into(), hash: self.hash })
    }

    /// Hands the text to `f`. Allocates nothing once a buffer of this thread has grown.
    pub(crate) fn with_text<R>(self, f: impl FnOnce(&str) -> R) -> R {
        let Buffer(text) = &Buffer::of(self.head, self.rest.as_str());
        f(text)
    }
}

/// Compares short texts without a call: words of eight bytes, of which the last may overlap the one before.
#[inline(always)]
fn is_same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let word = |bytes: &[u8; 8]| u64::from_ne_bytes(*bytes);
    if let (Some(last), Some(other)) = (a.last_chunk::<8>(), b.last_chunk::<8>()) {
        let mut words = a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0);
        return word(last) == word(other) && words.all(|(a, b)| word(a) == word(b));
    }
    if let (Some(last), Some(other)) = (a.last_chunk::<4>(), b.last_chunk::<4>()) {
        return last == other && a.first_chunk::<4>() == b.first_chunk::<4>();
    }
    a.iter().eq(b)
}

/// What keys begin with: a namespace, perhaps a tenant of it, perhaps a domain. It is hashed once.
#[derive(Clone)]
pub(super) struct Head {
    text: Box<str>,
    hasher: SeedableRandomState,
}

impl Head {
    pub(super) fn new(text: &str) -> Self {
        Self { text: text.into(), hasher: hasher_behind(text) }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// The hash of the text of this head and a rest.
    #[inline]
    pub(super) fn hash(&self, rest: &[u8]) -> u64 {
        hash_by(&self.hasher, rest)
    }
}

/// Without the seed, which is a secret of the process.
impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

/// What hashes texts that begin with this head.
fn hasher_behind(head: &str) -> SeedableRandomState {
    static SEED: LazyLock<foldhash::quality::RandomState> = LazyLock::new(Default::default);
    let mut hasher = SEED.build_hasher();
    hasher.write(head.as_bytes());
    SeedableRandomState::with_seed(hasher.finish(), SharedSeed::global_random())
}

#[inline]
fn hash_by(hasher: &SeedableRandomState, rest: &[u8]) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write(rest);
    hasher.finish()
}

/// The hash of a whole text. What ends with its last `:` is the head: no part of a key holds one.
pub(super) fn hash(text: &str) -> u64 {
    let (head, rest) = text.split_at(text.rfind(':').map_or(0, |at| at + 1));
    hash_by(&hasher_behind(head), rest.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Digits, IntoKey, KeyPart, Namespace, PartText, PartWriter};

    #[test]
    fn texts_of_every_length_are_compared_to_the_last_byte() {
        let text: Vec<u8> = (0..70).map(|byte| b'!' + byte).collect();
        for length in 0..text.len() {
            let text = &text[..length];
            // At another address, so nothing is compared with itself.
            let copy = text.to_vec();
            assert!(is_same(text, &copy), "{length}");
            assert!(!is_same(text, &text.iter().copied().chain([b'!']).collect::<Vec<_>>()), "{length}");
            for at in 0..length {
                let mut other = text.to_vec();
                other[at] ^= 1;
                assert!(!is_same(text, &other), "byte {at} of {length}");
            }
        }
    }

    #[test]
    fn name_is_its_text_wherever_it_is_cut() {
        let text = "shop:+prices:1234567";
        for cut in 0..=text.len() {
            let (head, rest) = text.split_at(cut);
            let name = Name::new(head, Rest::Text(rest), 7);
            assert!(name.is(text.as_bytes()) && name.len() == text.len());
            assert!(!name.is(&text.as_bytes()[1..]) && !name.is(b"") && !name.is(b"shop:+prices:1234568"));
            assert_eq!((name.to_key().as_str(), name.to_key().hash64()), (text, 7));
        }
    }

    /// A key as its type says, and one that is written part by part.
    fn both<K: KeyPart>(key: K) {
        /// Says nothing of its text.
        struct Written<K>(K);
        impl<K: KeyPart> KeyPart for Written<K> {
            fn write_part(&self, part: &mut PartWriter<'_>) {
                self.0.write_part(part);
            }
        }
        let namespace = Namespace::new("shop").unwrap().domain("prices");
        let described = namespace.key(&key).unwrap();
        let written = namespace.key(&Written(key)).unwrap();
        assert_eq!((described.as_str(), described.hash64()), (written.as_str(), written.hash64()));
        // What another process tells of is found by its text.
        assert_eq!(Key::from_text(described.as_str()).hash64(), described.hash64());
    }

    #[test]
    fn keys_are_the_same_however_they_are_looked_up() {
        for length in [1, 3, 4, 7, 8, 15, 16, 17, 31, 33, 160, 168, 169, 180, 181, 185, 300, 70_000 / 2] {
            both("x".repeat(length));
            both("x".repeat(length - 1) + ":");
            both("ß".repeat(length.div_ceil(2)));
        }
        both(0u64);
        both(-1i128);
        both(u128::MAX);
        both("grüße: 100 %/~#+@".to_owned());
    }

    #[test]
    fn empty_and_endless_keys_are_refused_as_text_too() {
        let namespace = Namespace::new("shop").unwrap();
        assert!(namespace.key(&"").is_err());
        assert!(namespace.key(&"x".repeat(Key::MAX_INPUT)).is_ok());
        assert!(namespace.key(&"x".repeat(Key::MAX_INPUT + 1)).is_err());
    }

    #[test]
    fn type_of_a_users_own_passes_its_text_on() {
        struct Sku(String);
        impl KeyPart for Sku {
            fn write_part(&self, part: &mut PartWriter<'_>) {
                self.0.write_part(part);
            }
            fn as_text<'a>(&'a self, _: &'a mut Digits) -> Option<PartText<'a>> {
                Some(PartText::new(&self.0))
            }
        }
        let namespace = Namespace::new("shop").unwrap();
        let key = namespace.key(&Sku("a:b".into())).unwrap();
        assert_eq!((key.as_str(), key.hash64()), ("shop:a%3Ab", namespace.key(&"a:b").unwrap().hash64()));
        assert!(IntoKey::as_text(&Sku("a".into()), &mut Digits::new()).is_some());
    }
}
