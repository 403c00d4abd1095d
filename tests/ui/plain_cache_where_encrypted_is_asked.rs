//! A function that asks for an encrypting cache refuses every other.

use cachekit::codec::Encrypted;
use cachekit::{Backend, Cache, CacheBuilder, Codec, Intent};

fn charge<B: Backend, C: Codec>(_cards: &Cache<B, Encrypted<C>>) {}

fn main() {
    let plain = CacheBuilder::new().intent(Intent::Production).build().unwrap();
    charge(&plain);
}
