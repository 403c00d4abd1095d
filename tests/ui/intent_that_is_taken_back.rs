//! The last intent counts, and its type says so: where encryption is asked for, a cache that lost it is refused.

use cachekit::codec::Encrypted;
use cachekit::{Backend, Cache, CacheBuilder, Codec, Intent};

fn charge<B: Backend, C: Codec>(_cards: &Cache<B, Encrypted<C>>) {}

fn main() {
    let builder = CacheBuilder::new().intent(Intent::Secure).compression_enabled(false).intent(Intent::Minimal);
    charge(&builder.build().unwrap());
}
