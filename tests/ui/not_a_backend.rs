//! What is no backend is named, with what would be.

use cachekit::CacheBuilder;

fn main() {
    let _builder = CacheBuilder::new().backend("redis://localhost:6379/0");
}
