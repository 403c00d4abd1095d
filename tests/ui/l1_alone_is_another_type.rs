//! A cache of L1 alone is not one over a backend.

use cachekit::backends::Memory;
use cachekit::{Cache, CacheBuilder, Codec};

fn share<C: Codec>(_users: &Cache<Memory, C>) {}

fn main() {
    let alone = CacheBuilder::new().backend(Memory::new(1 << 20)).l1_only().build().unwrap();
    share(&alone);
}
