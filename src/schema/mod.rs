//! Schema fingerprints: a number for a type's shape.
//!
//! Postcard writes neither names nor kinds, so bytes of yesterday's struct may decode into a wrong value of today's.
//! Each entry therefore carries a fingerprint of the type it was written from, and another fingerprint is a miss.
//!
//! The shape is what serde sees: `T::deserialize` is driven by a deserializer that writes down what it is asked for and
//! answers with samples. As an answer shows one variant of an enum only, it is driven again until all are seen. Where
//! that cannot be done (a type that refuses every sample, or asks for "anything"), `type_name` joins the fingerprint,
//! so that such a type is at least told from others.

use std::any::{TypeId, type_name};
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{LazyLock, OnceLock, PoisonError, RwLock};

use foldhash::fast::FixedState;
use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::xxh3_64;

mod shapes;
#[cfg(test)]
mod tests;
mod tracer;

use self::shapes::Shapes;
use self::tracer::Tracer;

/// Fingerprints that are found without a lock: every read of a backend asks for one.
static AT_HAND: [OnceLock<(TypeId, u64)>; 256] = [const { OnceLock::new() }; 256];

/// How often a type is driven at most.
const MAX_RUNS: usize = 4096;

/// The fingerprint of `T`'s shape as serde sees it: names, kinds and order of everything inside.
///
/// The same in every process and build. The first call for a type traces it (microseconds for a plain struct, up to a
/// fraction of a second for the largest); further calls look it up. Grows with the types of the program.
pub(crate) fn fingerprint_of<T: DeserializeOwned + 'static>() -> u64 {
    let id = TypeId::of::<T>();
    let place = &AT_HAND[FixedState::default().hash_one(id) as usize % AT_HAND.len()];
    match place.get() {
        Some((at_hand, fingerprint)) if *at_hand == id => *fingerprint,
        _ => {
            let fingerprint = look_up::<T>(id);
            // Another type may have the place; this one is looked up every time then.
            let _ = place.set((id, fingerprint));
            fingerprint
        }
    }
}

fn look_up<T: DeserializeOwned + 'static>(id: TypeId) -> u64 {
    static KNOWN: LazyLock<RwLock<HashMap<TypeId, u64>>> = LazyLock::new(RwLock::default);
    let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner).get(&id).copied();
    if let Some(fingerprint) = known {
        return fingerprint;
    }
    // No lock is held here: a user's `Deserialize` may use a cache of its own.
    let fingerprint = xxh3_64(&trace::<T>());
    KNOWN.write().unwrap_or_else(PoisonError::into_inner).insert(id, fingerprint);
    fingerprint
}

/// What a fingerprint is taken of.
fn trace<T: DeserializeOwned>() -> Vec<u8> {
    let mut shapes = Shapes::default();
    let complete = (0..MAX_RUNS).find_map(|_| {
        shapes.begin();
        let run = catch_unwind(AssertUnwindSafe(|| T::deserialize(Tracer(&mut shapes)).map(drop)));
        match run {
            Ok(Ok(())) if shapes.explored() => None,
            Ok(Ok(())) => Some(shapes.is_complete()),
            Ok(Err(_)) if shapes.evade() => None,
            Ok(Err(_)) | Err(_) => Some(false),
        }
    });
    let mut out = shapes.into_bytes();
    if complete != Some(true) {
        out.extend_from_slice(type_name::<T>().as_bytes());
    }
    out
}
