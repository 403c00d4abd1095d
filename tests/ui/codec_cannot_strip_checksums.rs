//! The intent wraps whatever codec is named, also one that is named later.

use cachekit::codec::Json;
use cachekit::{Backend, Cache, CacheBuilder, Intent};

fn keep<B: Backend>(_users: Cache<B, Json>) {}

fn main() {
    keep(CacheBuilder::new().intent(Intent::Production).codec(Json).build().unwrap());
}
