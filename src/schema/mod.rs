//! Schemas: what a type looks like to serde.
//!
//! A fingerprint is a number for a type's shape, a [`Plan`] that shape for those who write.
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

mod numbers;
mod plan;
mod shapes;
#[cfg(test)]
mod tests;
mod tracer;

pub(crate) use self::plan::{Inside, Kind, Loose, Node, Place, Plan};
use self::shapes::Shapes;
use self::tracer::Tracer;

/// What is known of a type: kept for as long as the program runs.
#[derive(Debug)]
pub(crate) struct Schema {
    fingerprint: u64,
    binary: Plan,
    text: OnceLock<Plan>,
    trace_text: fn() -> Plan,
}

impl Schema {
    fn of<T: DeserializeOwned>() -> Self {
        let (shapes, is_complete) = explore::<T>(false);
        Self {
            fingerprint: xxh3_64(&bytes_of::<T>(&shapes, is_complete)),
            binary: Plan::of(&shapes),
            text: OnceLock::new(),
            trace_text: || Plan::of(&explore::<T>(true).0),
        }
    }

    /// The fingerprint of the type's shape as serde sees it: names, kinds and order of everything inside. The same in
    /// every process and build.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// What the type asks for of a format that `is_human` readable, or is not.
    pub(crate) fn plan(&self, is_human: bool) -> &Plan {
        if is_human { self.text.get_or_init(self.trace_text) } else { &self.binary }
    }
}

/// Schemas that are found without a lock: every read of a backend asks for one.
static AT_HAND: [OnceLock<(TypeId, &Schema)>; 256] = [const { OnceLock::new() }; 256];

/// How often a type is driven at most.
const MAX_RUNS: usize = 4096;

/// The schema of `T`.
///
/// The first call for a type traces it (microseconds for a plain struct, up to a fraction of a second for the largest);
/// further calls look it up. Grows with the types of the program.
pub(crate) fn schema_of<T: DeserializeOwned + 'static>() -> &'static Schema {
    let id = TypeId::of::<T>();
    let place = &AT_HAND[FixedState::default().hash_one(id) as usize % AT_HAND.len()];
    match place.get() {
        Some((at_hand, schema)) if *at_hand == id => schema,
        _ => {
            let schema = look_up::<T>(id);
            // Another type may have the place; this one is looked up every time then.
            let _ = place.set((id, schema));
            schema
        }
    }
}

/// Whether this is the fingerprint of a type that this process has asked about. Looks at all of them.
pub(crate) fn is_known(fingerprint: u64) -> bool {
    KNOWN.read().unwrap_or_else(PoisonError::into_inner).values().any(|known| known.fingerprint == fingerprint)
}

static KNOWN: LazyLock<RwLock<HashMap<TypeId, &Schema>>> = LazyLock::new(RwLock::default);

fn look_up<T: DeserializeOwned + 'static>(id: TypeId) -> &'static Schema {
    let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner).get(&id).copied();
    if let Some(schema) = known {
        return schema;
    }
    // No lock is held here: a user's `Deserialize` may use a cache of its own.
    let schema = Schema::of::<T>();
    KNOWN.write().unwrap_or_else(PoisonError::into_inner).entry(id).or_insert_with(|| Box::leak(Box::new(schema)))
}

/// Drives `T` until all of it is seen. `false` if that could not be.
fn explore<T: DeserializeOwned>(is_human: bool) -> (Shapes, bool) {
    let mut shapes = Shapes::new(is_human);
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
    (shapes, complete == Some(true))
}

/// What a fingerprint is taken of.
fn bytes_of<T>(shapes: &Shapes, is_complete: bool) -> Vec<u8> {
    let mut out = shapes.to_bytes();
    if !is_complete {
        out.extend_from_slice(type_name::<T>().as_bytes());
    }
    out
}
