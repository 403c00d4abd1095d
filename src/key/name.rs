//! Keys that are looked for: hashed, compared, and not kept.

use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::sync::LazyLock;

use foldhash::SharedSeed;
use foldhash::quality::SeedableRandomState;

use super::Key;
use super::text::Buffer;

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
        static SEED: LazyLock<foldhash::quality::RandomState> = LazyLock::new(Default::default);
        let mut hasher = SEED.build_hasher();
        hasher.write(text.as_bytes());
        let hasher = SeedableRandomState::with_seed(hasher.finish(), SharedSeed::global_random());
        Self { text: text.into(), hasher }
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
        let mut hasher = self.hasher.build_hasher();
        hasher.write(rest);
        hasher.finish()
    }
}

/// Without the seed, which is a secret of the process.
impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

/// The hash of a whole text. What ends with its last `:` is the head: no part of a key holds one.
pub(super) fn hash(text: &str) -> u64 {
    let (head, rest) = text.split_at(text.rfind(':').map_or(0, |at| at + 1));
    Head::new(head).hash(rest.as_bytes())
}
