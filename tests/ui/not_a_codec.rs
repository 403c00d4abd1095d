//! What is no codec is named, with what would be.

use cachekit::CacheBuilder;

struct Xml;

fn main() {
    let _builder = CacheBuilder::new().codec(Xml);
}
