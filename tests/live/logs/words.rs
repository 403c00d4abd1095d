//! Words that nothing but keys, secrets and values holds.

pub(super) const KEY: &str = "QZXWJVKQGZHXWVQJ-raw-key";
pub(super) const VALUE: &str = "ZVJQXKWHZQGVXJWK-value";
pub(super) const PASSWORD: &str = "XJQWZKVHGXQZVWJK-password";
pub(super) const API_KEY: &str = "ck_live_WQVZJXKGHQWZXVJK";
pub(super) const MASTER_KEY: &str = "c0ffee11d00dfeed2bad5eed3decade4facade5deface6beaded7cabba9e8f0d";

/// So many characters in a row show that a word is there, also where a dump cuts it into lines.
const PART: usize = 6;

/// What shows that a word is in a record: any few characters of it, as text, in hex and as a list of bytes.
pub(super) fn parts() -> Vec<(&'static str, String)> {
    let words = [
        ("the key", &KEY[..16]),
        ("the value", &VALUE[..16]),
        ("the password", &PASSWORD[..16]),
        ("the API key", &API_KEY[8..]),
    ];
    let mut parts = vec![("the master key", MASTER_KEY[..16].to_owned())];
    for (what, word) in words {
        for part in word.as_bytes().windows(PART) {
            parts.push((what, String::from_utf8_lossy(part).into_owned()));
            parts.push((what, part.iter().map(|byte| format!("{byte:02x}")).collect()));
            parts.push((what, part.iter().map(u8::to_string).collect::<Vec<_>>().join(", ")));
        }
    }
    parts
}
