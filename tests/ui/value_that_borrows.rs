//! What is cached is read back from bytes that are gone by then, so it owns what it holds.

use cachekit::{Backend, Cache, Codec};

fn keep<B: Backend, C: Codec>(users: &Cache<B, C>) {
    let _kept = users.set(42, "ada");
}

fn main() {}
