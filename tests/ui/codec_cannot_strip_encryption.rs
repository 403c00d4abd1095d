//! The intent wraps whatever codec is named, also one that is named later.

use cachekit::backends::NoBackend;
use cachekit::codec::Json;
use cachekit::{Cache, CacheBuilder, Error, Intent};

fn main() {
    let _cards: Result<Cache<NoBackend, Json>, Error> = CacheBuilder::new().intent(Intent::Secure).codec(Json).build();
}
