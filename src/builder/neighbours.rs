//! Caches of one process over the same entries.
//!
//! Two caches of one namespace over one store share its entries. Where both are alike that may be meant. It is not where
//! no name was given, so that unlike things have one key, nor where each writes bytes that the other cannot use.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError, Weak};

use crate::key::Key;
use crate::warnings::Warnings;

/// A cache as its neighbours see it.
pub(super) struct Resident {
    /// Whether the program named the namespace.
    pub(super) is_named: bool,
    /// What its bytes look like.
    pub(super) stack: String,
    /// Lives as long as the cache.
    pub(super) life: Weak<Warnings>,
}

/// The living caches over the entries of one namespace in one store.
#[derive(Default)]
struct Place {
    residents: Vec<Resident>,
    warned: bool,
}

/// Takes note of a new cache over the entries of the namespace `root` in `store`, and returns what is wrong with it beside
/// the others, the first time that something is.
pub(super) fn meet(backend: &str, store: u64, root: Key, new: Resident) -> Option<String> {
    static PLACES: LazyLock<Mutex<HashMap<(u64, Key), Place>>> = LazyLock::new(Mutex::default);
    let mut places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
    places.retain(|_, place| {
        place.residents.retain(|resident| resident.life.strong_count() > 0);
        !place.residents.is_empty()
    });
    let name = root.as_str().trim_end_matches(':').to_owned();
    let place = places.entry((store, root)).or_default();
    let conflict = place.residents.iter().find_map(|resident| conflict(resident, &new));
    place.residents.push(new);
    let conflict = conflict.filter(|_| !std::mem::replace(&mut place.warned, true))?;
    Some(format!(
        "two caches of this process keep their entries in the namespace `{name}` of one {backend} backend, {conflict}"
    ))
}

fn conflict(old: &Resident, new: &Resident) -> Option<String> {
    if old.stack != new.stack {
        let (old, new) = (&old.stack, &new.stack);
        return Some(format!(
            "and one writes them as `{old}`, the other as `{new}`: each replaces what the other stored; give each a \
             namespace of its own, or both one codec"
        ));
    }
    (!old.is_named || !new.is_named).then(|| {
        "and one of them names no namespace: the same key is the same entry for both; give each one of its own with \
         .namespace(..)"
            .to_owned()
    })
}
