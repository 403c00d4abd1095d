//! Every key has its own entry.

use std::future::Future;

use super::{Case, LONG, Suite};
use crate::backends::Backend;
use crate::key::Key;

pub(super) async fn check<F, M, B>(suite: &mut Suite<F>)
where
    F: Fn() -> M + Send + Sync,
    M: Future<Output = B> + Send,
    B: Backend,
{
    suite.case("Many keys are not mixed up.", many).await;
    suite.case("Keys that hardly differ, or look like something else, are different keys.", alike).await;
}

async fn many<B: Backend>(case: Case<B>) {
    let keys: Vec<Key> = (0..200).map(|i| case.key(i)).collect();
    apart(&case, &keys).await;
}

async fn alike<B: Backend>(case: Case<B>) {
    let last_byte = |c: char| "x".repeat(4 * Key::MAX_LEN) + &String::from(c);
    let unshortened = Key::MAX_LEN - case.space.len() - 1;
    let longest = |c: char| "y".repeat(unshortened - 1) + &String::from(c);
    let mut keys = vec![
        case.key(last_byte('a')),
        case.key(last_byte('b')),
        case.key(longest('a')),
        case.key(longest('b')),
        case.key(longest('A')),
        // Not `lock`: a backend may keep its lease on `k` there.
        case.key("k").reserved("version"),
        case.key("k").reserved("chunk:0"),
        case.key("k").reserved("chunk:00"),
        case.key(("a", "b")),
        case.key(("a", "b", "c")),
        case.key(("a", "")),
        case.key(("", "a")),
        case.key(Key::new(&case.space, "a").map_or_else(|_| String::new(), |key| key.as_str().into())),
        Key::new(&format!("{}b", case.space), "a").expect("the suite's keys are neither empty nor too long"),
    ];
    let texts = [
        "k",
        "K",
        "a",
        "A",
        "a/b",
        "a:b",
        "a%2fb",
        "a%2Fb",
        "a b",
        "a  b",
        " a",
        "a ",
        "a\nb",
        "a\r\nb",
        "a\0b",
        "a\0",
        ".",
        "..",
        "../a",
        "...",
        "a.",
        "a.tmp",
        "-",
        "--",
        "_",
        "~",
        "con",
        "nul",
        "*",
        "?",
        "'",
        "\"",
        "\\",
        "é",
        "e\u{301}",
        "É",
        "ß",
        "ss",
        "🦀",
        "\u{feff}a",
        "%",
        "%%",
        "%25",
        "$a",
        "{a}",
        "[a]",
        "0",
        "00",
        "-0",
        "1e0",
    ];
    keys.extend(texts.into_iter().map(|text| case.key(text)));
    apart(&case, &keys).await;
}

/// Fails the check unless each of `keys` holds its own value, and removing every other one leaves the rest.
async fn apart<B: Backend>(case: &Case<B>, keys: &[Key]) {
    let value = |i: usize| format!("value {i} of this check").into_bytes();
    for (i, key) in keys.iter().enumerate() {
        case.set(key, value(i), LONG).await;
    }
    for (i, key) in keys.iter().enumerate() {
        case.holds(key, &value(i), &format!("of key {} of {}", i + 1, keys.len())).await;
    }
    for key in keys.iter().step_by(2) {
        case.remove(key).await;
    }
    for (i, key) in keys.iter().enumerate() {
        let when = format!("of key {} of {} after removing every other one", i + 1, keys.len());
        match i % 2 {
            0 => case.lacks(key, &when).await,
            _ => case.holds(key, &value(i), &when).await,
        }
    }
}
