//! Homes of keys: the cache itself, and domains of it.
//!
//! What is loaded lives in a domain of its own, because a loader that is asked for one key names no tags.

use crate::error::Error;
use crate::frame;
use crate::key::{Key, Namespace};

/// The namespace of the caches.
pub(super) const NAMESPACE: &str = "simulation";
/// The names of all domains.
pub(super) const DOMAINS: [&str; 2] = ["tagged", LOADED];
/// The domain that has a loader.
pub(super) const LOADED: &str = "loaded";

/// The number of the domain that a key lives in, if it does in one.
pub(super) fn number(key: usize) -> Option<usize> {
    match key % 5 {
        1 => Some(0),
        3 | 4 => Some(1),
        _ => None,
    }
}

/// The domain of a key, if it lives in one.
pub(super) fn domain_of(key: usize) -> Option<&'static str> {
    number(key).map(|number| DOMAINS[number])
}

/// Whether a loader has this key.
pub(super) fn is_loaded(key: usize) -> bool {
    domain_of(key) == Some(LOADED)
}

/// What a key is called at home. Keys of two homes have the same name.
pub(super) fn name_of(key: usize) -> usize {
    key - usize::from(number(key).is_some())
}

/// Whether an order about these tags concerns the domain of a key.
pub(super) fn has_domain_tag(key: usize, tags: &[u64]) -> bool {
    domain_of(key).is_some_and(|name| tags.contains(&frame::domain_tag(name)))
}

/// The text of a key, as messages spell it.
pub(super) fn text_of(key: usize) -> Result<Key, Error> {
    let root = Namespace::new(NAMESPACE)?;
    let namespace = domain_of(key).map_or_else(|| root.clone(), |name| root.domain(name));
    namespace.key(&name_of(key))
}
