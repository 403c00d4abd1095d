//! Many at once, as one by one.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;

use super::{Case, LONG, Suite, shown};
use crate::backends::Backend;
use crate::key::Key;

pub(super) async fn check<F, M, B>(suite: &mut Suite<F>)
where
    F: Fn() -> M + Send + Sync,
    M: Future<Output = B> + Send,
    B: Backend,
{
    suite.case("`get_many` answers for each key, in their order.", in_order).await;
    suite.case("`get_many` answers as often as a key is asked for.", twice).await;
    suite.case("`set_many` stores each value, and replaces what was there.", stored).await;
    suite.case("The last value of a key in `set_many` counts.", last_of_batch).await;
    suite.case("What `set_many` stored is gone when its TTL is over.", gone).await;
    suite.case("`remove_many` forgets each key, and passes over absent ones.", removed).await;
    suite.case("An empty batch succeeds.", empty).await;
    suite.case("A batch of 1,000 works as a small one.", large).await;
}

impl<B: Backend> Case<B> {
    pub(super) async fn set_many(&self, items: &[(&Key, &str)], ttl: Duration) {
        let items = items.iter().map(|(key, value)| ((*key).clone(), Bytes::from((*value).to_owned()))).collect();
        let answer = self.backend.set_many(items, ttl).await;
        self.done("set_many", answer);
    }

    pub(super) async fn remove_many(&self, keys: &[Key]) {
        let answer = self.backend.remove_many(keys).await;
        self.done("remove_many", answer);
    }

    /// Fails the check unless `get_many` answers with exactly these.
    async fn hold(&self, keys: &[Key], expected: &[Option<&str>], when: &str) {
        let answer = self.backend.get_many(keys).await;
        let found = self.done("get_many", answer);
        self.require(found.len() == expected.len(), || {
            format!("get_many {when} gave {} answers for {} keys", found.len(), expected.len())
        });
        for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
            let (found, expected) = (found.as_deref(), expected.map(str::as_bytes));
            self.require(found == expected, || {
                format!("answer {i} of get_many {when} is {}, not {}", shown(found), shown(expected))
            });
        }
    }
}

async fn in_order<B: Backend>(case: Case<B>) {
    // Neither in the order in which they are stored nor in that of the alphabet, either way.
    let keys = ["m", "absent", "z", "a", "empty", "gone", "c"].map(|name| case.key(name));
    let [m, _, z, a, empty, gone, c] = &keys;
    for (key, value) in [(a, "1"), (c, "2"), (gone, "3"), (m, "4"), (z, "5"), (empty, "")] {
        case.set(key, value, LONG).await;
    }
    case.remove(gone).await;
    let expected = [Some("4"), None, Some("5"), Some("1"), Some(""), None, Some("2")];
    case.hold(&keys, &expected, "of seven keys").await;
    case.hold(&keys[1..2], &[None], "of an absent key").await;
    case.hold(&keys[2..3], &[Some("5")], "of one key").await;
}

async fn twice<B: Backend>(case: Case<B>) {
    let (k, other, absent) = (case.key("k"), case.key("other"), case.key("absent"));
    case.set(&k, "v", LONG).await;
    case.set(&other, "w", LONG).await;
    let keys = [k.clone(), absent.clone(), other, k.clone(), absent, k];
    case.hold(&keys, &[Some("v"), None, Some("w"), Some("v"), None, Some("v")], "of keys asked for again").await;
}

async fn stored<B: Backend>(case: Case<B>) {
    let keys = ["a", "b", "c", "bystander"].map(|name| case.key(name));
    let [a, b, c, bystander] = &keys;
    case.set(b, "old, and longer than the new one", LONG).await;
    case.set(bystander, "stays", LONG).await;
    case.set_many(&[(a, "1"), (b, "2"), (c, "")], LONG).await;
    for (key, value) in [(a, "1"), (b, "2"), (c, ""), (bystander, "stays")] {
        case.holds(key, value.as_bytes(), "after set_many").await;
    }
    case.hold(&keys, &[Some("1"), Some("2"), Some(""), Some("stays")], "after set_many").await;
}

async fn last_of_batch<B: Backend>(case: Case<B>) {
    let (k, other) = (case.key("k"), case.key("other"));
    case.set_many(&[(&k, "first"), (&other, "other"), (&k, "second"), (&k, "third")], LONG).await;
    case.hold(&[k, other], &[Some("third"), Some("other")], "after set_many of one key three times").await;
}

async fn gone<B: Backend>(case: Case<B>) {
    let (a, b, kept) = (case.key("a"), case.key("b"), case.key("kept"));
    let ttl = case.unit() * 2;
    case.set(&a, "old", LONG).await;
    case.set_many(&[(&kept, "w")], LONG).await;
    case.set_many(&[(&a, "v"), (&b, "v")], ttl).await;
    case.advance(ttl + case.options.precision).await;
    case.hold(&[a, b, kept], &[None, None, Some("w")], "after the TTL of two").await;
}

async fn removed<B: Backend>(case: Case<B>) {
    let keys = ["a", "b", "c", "never stored"].map(|name| case.key(name));
    let [a, b, c, never] = &keys;
    case.set_many(&[(a, "1"), (b, "2"), (c, "3")], LONG).await;
    case.remove_many(&[never.clone(), c.clone(), a.clone(), c.clone()]).await;
    case.hold(&keys, &[None, Some("2"), None, None], "after remove_many").await;
    case.lacks(a, "after remove_many").await;
    case.set(a, "again", LONG).await;
    case.remove_many(std::slice::from_ref(b)).await;
    case.hold(&keys, &[Some("again"), None, None, None], "after remove_many of another key").await;
}

async fn empty<B: Backend>(case: Case<B>) {
    let key = case.key("k");
    case.set(&key, "v", LONG).await;
    case.set_many(&[], LONG).await;
    case.remove_many(&[]).await;
    case.hold(&[], &[], "of no keys").await;
    case.holds(&key, b"v", "after empty batches").await;
}

async fn large<B: Backend>(case: Case<B>) {
    let keys: Vec<Key> = (0..1_000).map(|i| case.key(i)).collect();
    let values: Vec<String> = (0..1_000).map(|i| format!("value {i}")).collect();
    let items: Vec<_> = keys.iter().zip(values.iter().map(String::as_str)).collect();
    let all: Vec<_> = values.iter().map(|value| Some(value.as_str())).collect();
    case.hold(&keys, &vec![None; 1_000], "of 1,000 absent keys").await;
    case.set_many(&items, LONG).await;
    case.hold(&keys, &all, "after set_many of 1,000").await;
    case.remove_many(&keys).await;
    case.hold(&keys, &vec![None; 1_000], "after remove_many of 1,000").await;
}
