//! Names: keys as memcached takes them.
//!
//! A name is at most 250 bytes of visible ASCII. Most keys are names as they are; of the others a name keeps a readable
//! head and ends in `~~` and a BLAKE2b-256 tail over the whole key. A key that already looks so is treated as one of the
//! others, so no two keys have one name.

use std::fmt::Write as _;

use blake2::{Blake2b256, Digest};

/// The longest name, in bytes.
const LONGEST: usize = 250;
const MARK: &str = "~~";
/// The length of the tail: BLAKE2b-256 in hex.
const TAIL: usize = 64;

/// The name of `key` behind `prefix`.
pub(super) fn name(prefix: &str, key: &str, suffix: &str) -> String {
    let mut text = String::with_capacity((prefix.len() + key.len() + suffix.len()).max(LONGEST));
    text.push_str(prefix);
    text.push_str(key);
    text.push_str(suffix);
    if text.len() <= LONGEST && text.bytes().all(|byte| byte.is_ascii_graphic()) && !looks_mapped(&text) {
        return text;
    }
    map(&text)
}

#[cold]
fn map(text: &str) -> String {
    let readable = |byte: u8| if byte.is_ascii_graphic() { char::from(byte) } else { '_' };
    let mut name: String = text.bytes().take(LONGEST - MARK.len() - TAIL).map(readable).collect();
    name.push_str(MARK);
    for byte in Blake2b256::digest(text.as_bytes()) {
        let _ = write!(name, "{byte:02x}");
    }
    name
}

fn looks_mapped(text: &str) -> bool {
    let Some((head, tail)) = text.len().checked_sub(TAIL).and_then(|at| text.split_at_checked(at)) else {
        return false;
    };
    head.ends_with(MARK) && tail.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn what_can_be_a_name_is_one() {
        let longest = "k".repeat(LONGEST - 2);
        for (prefix, key, expected) in [
            ("", "users:42", "users:42"),
            ("app:", "n:%20/~", "app:n:%20/~"),
            ("p:", &longest, &format!("p:{longest}")),
        ] {
            assert_eq!(name(prefix, key, ""), expected);
        }
        assert_eq!(name("p:", "users:42", ":lock"), "p:users:42:lock");
    }

    #[test]
    fn what_cannot_be_a_name_gets_one_of_its_own() {
        let long = |last: char| "k".repeat(400) + &String::from(last);
        let keys = [
            "a b",
            "a  b",
            "a\tb",
            "a\r\nb",
            "a\nflush_all",
            "a\0b",
            "a_b ",
            "ab ",
            "é",
            "e\u{301}",
            "\u{7f}",
            "",
            " ",
        ];
        let mut names = HashSet::new();
        for key in keys.into_iter().map(String::from).chain([long('a'), long('b'), "k".repeat(251)]) {
            let mapped = name("", &key, "");
            let is_fit = mapped.len() <= LONGEST && mapped.bytes().all(|byte| byte.is_ascii_graphic());
            assert!(is_fit, "{mapped:?}");
            // What is a name by itself when another key is mapped to it would be the other's.
            assert!(key.is_empty() || names.insert(name("", &mapped, "")), "{key:?}");
            assert!(key.is_empty() || names.insert(mapped), "{key:?}");
        }
    }

    #[test]
    fn prefix_key_and_suffix_are_one_text() {
        assert_eq!(name("a ", "b", ""), name("", "a b", ""));
        assert_ne!(name("p", &"k".repeat(250), ""), name("q", &"k".repeat(250), ""));
        assert!(name("app:", &"k".repeat(400), ":lock").starts_with("app:kkk"));
    }
}
