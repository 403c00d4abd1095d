//! Which number of a variant each of its names stands for.
//!
//! Formats without names number the variants that can be read. The names that an enum lists are no help: an alias
//! has a place in the list, too. So the identifier itself is asked, once by each name and once by each number.

use std::mem::{Discriminant, discriminant};

use serde::Deserialize;
use serde::de::value::{StrDeserializer, U32Deserializer};

use super::shapes::Stop;

/// The number that each of `names` stands for. `None` if `V` does not tell its variants apart as an enum does.
pub(super) fn numbers_of<'de, V: Deserialize<'de>>(names: &[&'static str]) -> Option<Vec<Option<usize>>> {
    let count = u32::try_from(names.len()).ok()?;
    let by_number: Vec<_> = (0..count).map(|number| told(V::deserialize(U32Deserializer::new(number)))).collect();
    let mut known = by_number.iter().flatten();
    let first = known.next()?;
    if count > 1 && known.all(|other| other == first) {
        return None;
    }
    let number = |name: &&'static str| {
        let wanted = told(V::deserialize(StrDeserializer::new(name)))?;
        by_number.iter().position(|told| *told == Some(wanted))
    };
    Some(names.iter().map(number).collect())
}

fn told<V>(identifier: Result<V, Stop>) -> Option<Discriminant<V>> {
    identifier.ok().as_ref().map(discriminant)
}
