//! Writing nothing that would not come back.
//!
//! The mirror image of `limited`: a layer between a type and its format that watches each step of writing. It refuses
//! what the format cannot tell apart (`Some(None)` from `None`, `NaN` from nothing), and whatever the type would not
//! read as it writes it: a field left out, a variant of another number, a number of another width. What the type reads
//! comes from its [`Plan`](crate::schema::Plan). The bytes stay as they are.

use std::any::type_name;
use std::borrow::Cow;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use foldhash::fast::FixedState;
use serde::{Serialize, Serializer};
use xxhash_rust::xxh3::xxh3_64;

use self::place::At;
use self::watched::Watched;
use super::Context;
use crate::error::{Error, ErrorKind};
use crate::schema::{Loose, Place, Plan, Schema};

mod compound;
mod mismatch;
mod place;
mod serializer;
#[cfg(all(test, feature = "compression", feature = "encryption", feature = "messagepack"))]
mod tests;
mod watched;

/// What a format cannot do.
pub(super) trait Format {
    const NAME: &'static str;

    /// Whether it reads by position: neither names nor kinds are in the bytes.
    const BY_POSITION: bool;

    /// Whether types are told that people read it.
    const IS_HUMAN: bool;

    /// Whether `Some` of nothing looks like `None`.
    const HIDES_SOME: bool;

    /// Whether a struct without fields, such as `struct Unit;`, looks like nothing.
    const HIDES_UNIT_STRUCTS: bool;

    /// Whether the number of fields is in the bytes.
    const COUNTS_FIELDS: bool;

    /// Whether numbers are finite, and keys of maps are text.
    const IS_TEXT: bool;
}

/// What a cache knows about a value that a codec only sees as something to write.
#[derive(Debug)]
pub(crate) struct Reading {
    schema: &'static Schema,
    is_doubtful: AtomicBool,
    /// The name of the type that is tried out, where what is written only stands in for values of that type.
    trial: Option<&'static str>,
}

impl Reading {
    pub(crate) fn new(schema: &'static Schema) -> Self {
        Self { schema, is_doubtful: AtomicBool::new(false), trial: None }
    }

    /// Refuses what no value of the type can be written as, and lets any value through.
    pub(crate) fn trial(schema: &'static Schema, name: &'static str) -> Self {
        Self { trial: Some(name), ..Self::new(schema) }
    }

    /// Whether only reading the bytes back can show that they are readable.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.is_doubtful.load(Relaxed)
    }
}

/// Why a value is refused.
#[derive(Debug)]
pub(super) struct Refusal {
    what: Cow<'static, str>,
    way_out: &'static str,
}

pub(super) const NAMED: &str = "`MessagePack` and `Json` carry it";
pub(super) const POSTCARD: &str = "`Postcard` carries it";
pub(super) const BINARY: &str = "`Postcard` and `MessagePack` carry it";
pub(super) const SYMMETRY: &str = "no codec carries what is written in one way and read in another: use the attribute \
                                   for both directions, or mend the implementation";

/// One value being written.
#[derive(Default)]
pub(super) struct Exact<'a> {
    plan: Option<&'a Plan>,
    reading: Option<&'a Reading>,
    /// Elements of sequences and maps so far, and the end of each.
    elements: Cell<usize>,
    /// What the elements take in memory so far.
    memory: Cell<usize>,
    /// The text of the key that was written last, where names may clash; hashed, and never zero.
    key: Cell<u64>,
    /// The keys of each map in which fields and entries are mixed.
    mixed: RefCell<HashSet<(usize, u64), FixedState>>,
    refused: OnceCell<Refusal>,
}

impl<'a> Exact<'a> {
    /// Writes a value to be read as `context` says. Without a plan only what the format itself hides is refused.
    pub(super) fn of<F: Format>(context: Context<'a>) -> Self {
        let plan = context.reading.map(|reading| reading.schema.plan(F::IS_HUMAN));
        Self { plan, reading: context.reading, ..Self::default() }
    }

    /// Writes `value` to `format`, unless it would come back as another one.
    ///
    /// # Errors
    /// What the format says; if [`refusal`](Self::refusal) has something to say, that is the reason.
    #[inline]
    pub(super) fn write<F: Format, T: Serialize + ?Sized, S: Serializer>(
        &self,
        value: &T,
        format: S,
    ) -> Result<S::Ok, S::Error> {
        if F::BY_POSITION
            && let Some(loose) = self.plan.and_then(|plan| plan.loose)
        {
            return Err(self.refuse(loosely(loose), NAMED));
        }
        let judged = self.plan.filter(|_| self.trial().is_none());
        let place = judged.map_or(Place::UNKNOWN, |plan| plan.root);
        value.serialize(Watched::new(format, At::<F>::root(self, place)))
    }

    /// Why the value was refused, if this layer did it.
    pub(super) fn refusal<F: Format, T: ?Sized>(&self) -> Option<Error> {
        let Refusal { what, way_out } = self.refused.get()?;
        let (format, name) = (F::NAME, self.trial().unwrap_or(type_name::<T>()));
        Some(Error::new(ErrorKind::Encode, format!("{format} would not give this `{name}` back: {what}; {way_out}")))
    }

    /// The error of a value that `library` cannot write. What it says may quote the value, so the error has no source.
    #[cold]
    pub(super) fn unwritable<F: Format, T: ?Sized>(&self, library: &str) -> Error {
        self.refusal::<F, T>().unwrap_or_else(|| {
            let message = format!(
                "{} cannot write this `{}`: give it to `{library}` to see why, since the reason may quote the value",
                F::NAME,
                type_name::<T>()
            );
            Error::new(ErrorKind::Encode, message)
        })
    }

    fn trial(&self) -> Option<&'static str> {
        self.reading?.trial
    }

    /// How many elements were written so far.
    pub(super) fn elements(&self) -> usize {
        self.elements.get()
    }

    /// How many bytes the elements of sequences and maps that were written so far take in memory.
    pub(super) fn memory(&self) -> usize {
        self.memory.get()
    }

    /// Counts bytes of elements.
    #[inline]
    fn count(&self, bytes: usize) {
        self.memory.set(self.memory.get().saturating_add(bytes));
    }

    #[cold]
    pub(super) fn refuse<E: serde::ser::Error>(&self, what: impl Into<Cow<'static, str>>, way_out: &'static str) -> E {
        let refusal = self.refused.get_or_init(|| Refusal { what: what.into(), way_out });
        E::custom(&refusal.what)
    }

    /// Notes the text of a key.
    fn note_key(&self, text: &str) {
        self.key.set(xxh3_64(text.as_bytes()).max(1));
    }

    #[cold]
    fn refuse_twice<E: serde::ser::Error>(&self) -> E {
        let what = "it writes two entries of one name: a field beside a `#[serde(flatten)]`, or one that is called as \
                    the `#[serde(tag)]`";
        self.refuse(what, "no codec with names carries it: rename one of them")
    }

    /// Notes that this value may not be readable, though it would not be another one.
    #[cold]
    fn doubt(&self) {
        if let Some(reading) = self.reading {
            reading.is_doubtful.store(true, Relaxed);
        }
    }
}

fn loosely(loose: Loose) -> &'static str {
    match loose {
        Loose::Names => {
            "it looks for names, as `#[serde(flatten)]` and `#[serde(tag, content)]` do, and there are none"
        }
        Loose::Contents => {
            "it reads what it finds, as `#[serde(untagged)]`, `#[serde(tag)]`, `#[serde(flatten)]` and \
             `serde_json::Value` do, and the bytes do not say what they are"
        }
    }
}
