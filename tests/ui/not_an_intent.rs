//! What is no intent is named, with what would be.

use cachekit::CacheBuilder;

fn main() {
    let _builder = CacheBuilder::new().intent("production");
}
