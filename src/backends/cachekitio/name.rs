//! Names: keys as the service takes them.
//!
//! The service takes ASCII letters, digits and `_ . : -`, no two dots in a row, and has uses of its own for names that
//! begin with `ns:` or `nsapi:`. A key that keeps to this stands under its own text. Any other is written out, behind a
//! head that no key under its own text has, so that no two keys share a name.

use crate::error::{Error, ErrorKind};

/// What a key that is written out begins with.
const HEAD: &str = "ck:";

/// The longest name the service takes.
const MAX_LEN: usize = 400;

/// What stands for other things than entries where a key stands in a path.
const ROUTES: [&str; 6] = ["", ".", "..", "health", "ttl", "lock"];

/// The segment of a path that names the entry of `key`.
///
/// # Errors
/// [`ErrorKind::Key`] for what the service cannot have as a name.
pub(super) fn segment(key: &str) -> Result<String, Error> {
    if ROUTES.contains(&key) {
        return Err(Error::new(ErrorKind::Key, "CachekitIO keeps this name for itself: choose another key"));
    }
    let name = if is_plain(key) { String::from(key) } else { written_out(key) };
    if name.len() > MAX_LEN {
        let message = format!("the key is too long for CachekitIO, which takes {MAX_LEN} characters: shorten it");
        return Err(Error::new(ErrorKind::Key, message));
    }
    Ok(percent_encoded(&name))
}

fn is_plain(key: &str) -> bool {
    let is_taken = [HEAD, "ns:", "nsapi:"].iter().any(|head| key.starts_with(head));
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
    !is_taken && !key.contains("..") && key.bytes().all(is_allowed)
}

/// The head, and every byte that may not stand as it is as `_` and what it was.
fn written_out(key: &str) -> String {
    let mut name = String::with_capacity(HEAD.len() + key.len() * 2);
    name.push_str(HEAD);
    for byte in key.bytes() {
        match byte {
            b'_' => name.push_str("__"),
            b'%' => name.push_str("_p"),
            b'/' => name.push_str("_s"),
            b'~' => name.push_str("_t"),
            b'.' if name.ends_with('.') => name.push_str("_d"),
            byte if byte.is_ascii_alphanumeric() || b".:-".contains(&byte) => name.push(char::from(byte)),
            byte => name.push_str(&format!("_x{byte:02x}")),
        }
    }
    name
}

/// Everything but letters, digits and `- . _ ~` as `%XX`.
fn percent_encoded(name: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut segment = String::with_capacity(name.len() + 8);
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            segment.push(char::from(byte));
            continue;
        }
        for part in [b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]] {
            segment.push(char::from(part));
        }
    }
    segment
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::key::Key;

    #[test]
    fn percent_encoding_is_that_of_the_protocol() {
        for (key, encoded) in [
            ("ns:test:func:__main__.get_user:args:3870:1s", "ns%3Atest%3Afunc%3A__main__.get_user%3Aargs%3A3870%3A1s"),
            ("default:../../admin", "default%3A..%2F..%2Fadmin"),
            ("x/../../health", "x%2F..%2F..%2Fhealth"),
            ("k?x=1#f", "k%3Fx%3D1%23f"),
            ("a b", "a%20b"),
            ("100%", "100%25"),
            ("a:..", "a%3A.."),
            ("..a", "..a"),
            ("ns:key", "ns%3Akey"),
            ("f(x)!*'", "f%28x%29%21%2A%27"),
            ("a\\..\\health", "a%5C..%5Chealth"),
            (".\t.", ".%09."),
            (".\r\n.", ".%0D%0A."),
            (".. ", "..%20"),
            ("health\u{b}", "health%0B"),
            ("a\0b\u{1f}c\u{7f}d", "a%00b%1Fc%7Fd"),
            ("%2e%2e", "%252e%252e"),
            ("caf\u{e9}", "caf%C3%A9"),
            ("\u{1f600}", "%F0%9F%98%80"),
            ("\u{2025}", "%E2%80%A5"),
            ("-._~", "-._~"),
        ] {
            assert_eq!(percent_encoded(key), encoded, "{key:?}");
        }
    }

    #[test]
    fn what_names_a_route_names_no_entry() {
        for key in ["", ".", "..", "health", "ttl", "lock"] {
            assert_eq!(segment(key).expect_err(key).kind(), ErrorKind::Key, "{key:?}");
        }
        for key in ["...", "Health", "ttl:", "users:lock", "users:.."] {
            assert!(segment(key).is_ok(), "{key:?}");
        }
    }

    #[test]
    fn plain_keys_keep_their_text_and_others_are_written_out() {
        for (key, name) in [
            ("users:42", "users:42"),
            ("users:a_b.c-D", "users:a_b.c-D"),
            ("users:1:version", "users:1:version"),
            ("users::bus", "users::bus"),
            ("users:eu%20west/42", "ck:users:eu_p20west_s42"),
            ("users:a_b/c", "ck:users:a__b_sc"),
            ("users:....", "ck:users:._d._d"),
            ("ck:1", "ck:ck:1"),
            ("ns:1", "ck:ns:1"),
            ("nsapi:1", "ck:nsapi:1"),
            ("users:a~b", "ck:users:a_tb"),
            ("users:\u{e9}", "ck:users:_xc3_xa9"),
        ] {
            assert_eq!(segment(key).expect(key), name.replace(':', "%3A"), "{key}");
        }
    }

    /// As the service checks a name after it has decoded it.
    fn is_taken_by_the_service(name: &str) -> bool {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
        let heads = !name.starts_with("ns:") && !name.starts_with("nsapi:");
        (1..=400).contains(&name.len()) && heads && !name.contains("..") && name.bytes().all(is_allowed)
    }

    #[test]
    fn no_two_texts_share_a_name_and_the_service_takes_every_one() {
        let alphabet = ["a", "_", "%", "/", "~", ".", ":", "ck:", "ns:", "p", "s", "t", "d", "x", "\u{e9}"];
        let mut names: HashMap<String, String> = HashMap::new();
        let mut texts = vec![String::new()];
        for _ in 0..4 {
            texts =
                texts.iter().flat_map(|text| alphabet.iter().map(move |letter| format!("{text}{letter}"))).collect();
            for text in &texts {
                let Ok(segment) = segment(text) else { continue };
                let name = segment.replace("%3A", ":");
                assert!(is_taken_by_the_service(&name), "{text:?} became {name:?}");
                if let Some(other) = names.insert(name, text.clone()) {
                    assert_eq!(&other, text, "share a name");
                }
            }
        }
    }

    #[test]
    fn the_longest_key_fits_with_what_stands_beside_it() {
        let chunk = |key: Key| key.reserved("chunk:ffffffffffffffff:4294967295");
        let longest = Key::from_text(&"_/".repeat(Key::MAX_LEN / 2));
        let cut = Key::new("users", "%".repeat(9_000)).unwrap();
        for key in [chunk(longest), chunk(cut)] {
            assert!(segment(key.as_str()).is_ok());
        }
        assert_eq!(segment(&"a".repeat(401)).expect_err("too long").kind(), ErrorKind::Key);
    }
}
