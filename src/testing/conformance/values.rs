//! What was stored is what is read.

use std::future::Future;

use super::{Case, LONG, Suite};
use crate::backends::Backend;

pub(super) async fn check<F, M, B>(suite: &mut Suite<F>)
where
    F: Fn() -> M + Send + Sync,
    M: Future<Output = B> + Send,
    B: Backend,
{
    suite.case("`get` of an absent key is `Ok(None)`.", absent).await;
    suite.case("An empty value is a value.", empty).await;
    suite.case("What `set` stored, `get` returns unchanged.", unchanged).await;
    suite.case("A second `set` replaces the value.", replaced).await;
    suite.case("`remove` forgets a key.", removed).await;
    suite.case("`remove` of an absent key succeeds.", removed_absent).await;
}

async fn absent<B: Backend>(case: Case<B>) {
    case.lacks(&case.key("never stored"), "of a key never stored").await;
}

async fn empty<B: Backend>(case: Case<B>) {
    let key = case.key("k");
    case.set(&key, "", LONG).await;
    case.holds(&key, b"", "after storing nothing").await;
    case.set(&key, "full", LONG).await;
    case.set(&key, "", LONG).await;
    case.holds(&key, b"", "after replacing something by nothing").await;
}

async fn unchanged<B: Backend>(case: Case<B>) {
    let every_byte: Vec<u8> = (0..=255).collect();
    let limit = case.backend.capabilities().max_value;
    let long: Vec<u8> = (0..limit.min(1 << 20)).map(|i| (i % 251) as u8).collect();
    for (name, value) in [
        ("zero", vec![0]),
        ("newline", b"\r\n".to_vec()),
        ("text end", b"a\0b".to_vec()),
        ("every byte", every_byte),
        ("long", long),
    ] {
        let key = case.key(name);
        case.set(&key, value.clone(), LONG).await;
        case.holds(&key, &value, &format!("after storing `{name}`")).await;
        case.holds(&key, &value, &format!("for the second time after storing `{name}`")).await;
    }
}

async fn replaced<B: Backend>(case: Case<B>) {
    let key = case.key("k");
    for value in ["first", "a second, longer one", "3rd"] {
        case.set(&key, value, LONG).await;
        case.holds(&key, value.as_bytes(), "after set").await;
    }
}

async fn removed<B: Backend>(case: Case<B>) {
    let (gone, kept) = (case.key("gone"), case.key("kept"));
    case.set(&gone, "v", LONG).await;
    case.set(&kept, "w", LONG).await;
    case.remove(&gone).await;
    case.lacks(&gone, "after remove").await;
    case.holds(&kept, b"w", "after removing another key").await;
    case.set(&gone, "again", LONG).await;
    case.holds(&gone, b"again", "after storing a removed key").await;
}

async fn removed_absent<B: Backend>(case: Case<B>) {
    let key = case.key("k");
    case.remove(&key).await;
    case.set(&key, "v", LONG).await;
    case.remove(&key).await;
    case.remove(&key).await;
    case.lacks(&key, "after two removes").await;
}
