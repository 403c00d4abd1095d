//! What users say of how many bytes their values take.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::weigh::around;

/// The bytes that a value owns on the heap.
type Weigher<T> = Box<dyn Fn(&T) -> usize + Send + Sync>;

/// One weigher for each type that has one.
#[derive(Default)]
pub(crate) struct Weighers(HashMap<TypeId, Box<dyn Any + Send + Sync>>);

impl Weighers {
    /// Weighs all values of this type by `weigher` from now on.
    pub(crate) fn add<T: 'static>(&mut self, weigher: impl Fn(&T) -> usize + Send + Sync + 'static) {
        let weigher: Weigher<T> = Box::new(weigher);
        self.0.insert(TypeId::of::<T>(), Box::new(weigher));
    }

    /// The bytes that `value` takes behind an `Arc`, if its type has a weigher. One that panics says nothing.
    pub(crate) fn weigh<T: 'static>(&self, value: &T) -> Option<usize> {
        if self.0.is_empty() {
            return None;
        }
        let weigher = self.0.get(&TypeId::of::<T>())?.downcast_ref::<Weigher<T>>()?;
        let heap = catch_unwind(AssertUnwindSafe(|| weigher(value))).ok()?;
        Some(around::<T>(heap))
    }
}

impl fmt::Debug for Weighers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Weighers").field("types", &self.0.len()).finish()
    }
}
