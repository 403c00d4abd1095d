//! File names: a hash of the key.
//!
//! Flat, without a readable part: a listing of the directory tells no keys, and no key can name another file.

use std::ffi::OsStr;
use std::fmt;

use blake2::digest::consts::U16;
use blake2::{Blake2b, Digest};

use crate::key::Key;

/// BLAKE2b-128 of the text of a key; shown as 32 lower-case hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name(u128);

/// What a file in the directory is, by its name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Role {
    Entry(Name),
    Temp,
    Lease(Name),
}

impl Name {
    /// Names the file that checks whether the directory can be written to.
    pub(super) const PROBE: Self = Self(0);

    pub(super) fn of(key: &Key) -> Self {
        let hash: [u8; 16] = Blake2b::<U16>::digest(key.as_str().as_bytes()).into();
        Self(u128::from_be_bytes(hash))
    }

    fn parse(text: &str) -> Option<Self> {
        let is_hex = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !is_hex {
            return None;
        }
        u128::from_str_radix(text, 16).ok().map(Self)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Role {
    /// The role of a file, or `None` for a file that is not the cache's.
    pub(super) fn of(file: &OsStr) -> Option<Self> {
        let (stem, rest) = file.to_str()?.split_at_checked(32)?;
        let name = Name::parse(stem)?;
        match rest {
            "" => Some(Self::Entry(name)),
            ".lease" => Some(Self::Lease(name)),
            _ => rest.starts_with(".tmp.").then_some(Self::Temp),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_hash_in_lower_case_hex() {
        let key = Key::new("users", 42).unwrap();
        assert_eq!(Name::of(&key).to_string(), "582992d52d563cfc1eec671a3b89bd6e");
    }

    #[test]
    fn only_our_own_files_have_a_role() {
        let hash = "00c0ffee00c0ffee00c0ffee00c0ffee";
        let role = |rest: &str| Role::of(OsStr::new(&format!("{hash}{rest}")));
        let name = Name::parse(hash).unwrap();
        assert_eq!(name.to_string(), hash);
        assert_eq!(role(""), Some(Role::Entry(name)));
        assert_eq!(role(".lease"), Some(Role::Lease(name)));
        assert_eq!(role(".tmp.12.345"), Some(Role::Temp));
        assert_eq!(role(".bak"), None);
        assert_eq!(role("0"), None);
        for other in
            ["", ".cachekit.lock", "notes.txt", &hash[1..], &hash.to_uppercase(), "+0c0ffee00c0ffee00c0ffee00c0ffee"]
        {
            assert_eq!(Role::of(OsStr::new(other)), None, "{other}");
        }
    }
}
