//! Where in a value a writer is, and what is read there.

use std::marker::PhantomData;

use serde::ser::Error;

use super::{Exact, Format, NAMED, POSTCARD, SYMMETRY};
use crate::schema::{Inside, Kind, Node, Place};

/// Values that nest deeper are read back, as reading them may take more stack than there is.
const DEEP: u16 = 16;

/// A step of writing: 16 bytes and a reference, so that it stays in registers.
pub(super) struct At<'a, F> {
    pub(super) exact: &'a Exact<'a>,
    pub(super) place: Place,
    depth: u16,
    /// Whether this is what a `Some` holds.
    in_some: bool,
    pub(super) is_key: bool,
    format: PhantomData<F>,
}

impl<F> Clone for At<'_, F> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<F> Copy for At<'_, F> {}

impl<'a, F: Format> At<'a, F> {
    #[inline]
    pub(super) fn root(exact: &'a Exact<'a>, place: Place) -> Self {
        Self { exact, place, depth: 0, in_some: false, is_key: false, format: PhantomData }
    }

    /// A step inside of this one.
    #[inline]
    pub(super) fn inside(self, place: Place) -> Self {
        Self { place, in_some: false, is_key: false, ..self }
    }

    #[inline]
    pub(super) fn key(self, place: Place) -> Self {
        Self { is_key: true, ..self.inside(place) }
    }

    #[inline]
    pub(super) fn deeper(self) -> Self {
        if self.depth == DEEP {
            self.exact.doubt();
        }
        Self { depth: self.depth.saturating_add(1), ..self }
    }

    /// The value of a `Some`.
    #[inline]
    pub(super) fn some<E: Error>(self) -> Result<Self, E> {
        let place = match self.place.kind {
            Kind::Option => self.only(),
            // A name or a kind in the bytes says that there is something: `Some` itself leaves no trace.
            _ if !F::BY_POSITION => self.place,
            _ => self.mismatch(Kind::Option)?,
        };
        Ok(Self { place, in_some: true, ..self }.deeper())
    }

    /// Notes a name, where names may clash.
    #[inline]
    pub(super) fn name(self, text: &str) {
        if self.is_key && self.place.kind == Kind::Anything {
            self.exact.note_key(text);
        }
    }

    /// Checks that what is written as nothing does not stand for something.
    #[inline]
    pub(super) fn nothing<E: Error>(self) -> Result<(), E> {
        if F::HIDES_SOME && self.in_some && self.reads_nothing() {
            let what = "it has a `Some` that holds nothing (`Some(None)`, `Some(())`, `Some(Value::Null)`), which reads \
                        back as `None`";
            return Err(self.exact.refuse(what, POSTCARD));
        }
        Ok(())
    }

    /// Whether nothing may be a value here. If not, the type itself adds the `Some`.
    fn reads_nothing(self) -> bool {
        matches!(self.place.kind, Kind::Option | Kind::Unit | Kind::Unknown | Kind::Anything)
    }

    /// Checks that what is written is what is read, and gives the place inside.
    #[inline]
    pub(super) fn expect<E: Error>(self, written: Kind) -> Result<Place, E> {
        match self.place.kind {
            kind if kind == written => Ok(self.place),
            Kind::Unknown => Ok(Place::UNKNOWN),
            _ => self.mismatch(written),
        }
    }

    #[inline]
    pub(super) fn node(self, place: Place) -> Option<&'a Node> {
        self.exact.plan?.node(place)
    }

    /// What an option or a sequence holds.
    #[inline]
    pub(super) fn only(self) -> Place {
        self.within(self.place, 0)
    }

    #[inline]
    pub(super) fn within(self, place: Place, at: usize) -> Place {
        match place.kind {
            Kind::Anything => place,
            _ => self.node(place).and_then(|node| node.inside.get(at)).map_or(Place::UNKNOWN, |inside| inside.place),
        }
    }

    /// Checks a variant, and gives the place of its contents.
    #[inline]
    pub(super) fn variant<E: Error>(self, number: u32, name: &'static str) -> Result<Place, E> {
        let place = self.expect(Kind::Enum)?;
        let Some(node) = self.node(place) else { return Ok(self.within(place, 0)) };
        match node.inside.get(number as usize) {
            Some(inside) if inside.seen.is(name) => Ok(inside.place),
            inside => self.unseen_variant(node, inside, number, name),
        }
    }

    #[cold]
    fn unseen_variant<E: Error>(
        self,
        node: &Node,
        inside: Option<&Inside>,
        number: u32,
        name: &'static str,
    ) -> Result<Place, E> {
        if let Some(inside) = inside.filter(|inside| inside.names.contains(&name)) {
            inside.seen.learn(name);
            return Ok(inside.place);
        }
        if !node.names.contains(&name) {
            let what = format!(
                "it does not read a variant `{name}`: `#[serde(skip)]`, `skip_deserializing` or a `rename` for one \
                 direction"
            );
            return Err(self.exact.refuse(what, SYMMETRY));
        }
        if !F::BY_POSITION {
            let named = node.inside.iter().find(|inside| inside.names.contains(&name));
            return Ok(named.map_or(Place::UNKNOWN, |inside| inside.place));
        }
        let read = inside.and_then(|inside| inside.names.first()).map_or("nothing", |read| read);
        let what = format!(
            "its variant `{name}` is written as number {number}, which reads back as `{read}`: there is a \
             `#[serde(skip)]` on a variant before it"
        );
        Err(self.exact.refuse(what, NAMED))
    }
}
