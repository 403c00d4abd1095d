//! Sequences, maps, structs and tuples, watched while they are written.

use serde::Serialize;
use serde::ser::{
    Error, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple, SerializeTupleStruct,
    SerializeTupleVariant,
};

use super::place::At;
use super::watched::Watched;
use super::{Format, NAMED, SYMMETRY};
use crate::schema::{Kind, Node, Place};

/// As many elements or entries as there are, all alike.
pub(super) struct Elements<'a, X, F> {
    inner: X,
    at: At<'a, F>,
    /// The first is that of the elements, or of the keys.
    places: [Place; 2],
    len: Option<usize>,
    count: usize,
    /// The bytes of one in memory, as far as the type that is read is known.
    size: usize,
    /// Of a map in which names may clash: the first name, and whether all of them may.
    first: u64,
    is_mixed: bool,
    /// Tells maps apart: how many elements there were before.
    map: usize,
}

impl<'a, X, F: Format> Elements<'a, X, F> {
    #[inline]
    pub(super) fn new(inner: X, at: At<'a, F>, place: Place, len: Option<usize>) -> Self {
        let elements = at.exact.elements.get().saturating_add(len.unwrap_or(0)).saturating_add(1);
        at.exact.elements.set(elements);
        let first = if place.kind == Kind::Bytes { Place::of(Kind::U8) } else { at.within(place, 0) };
        let places = [first, at.within(place, 1)];
        let is_mixed = place.kind == Kind::Map && first.kind == Kind::Anything;
        let size = at.node(place).map_or(0, |node| node.element);
        Self { inner, at: at.deeper(), places, len, count: 0, size, first: 0, is_mixed, map: elements }
    }

    /// Compares the name of the entry just written with those before: the tag of an enum comes first, and fields beside
    /// `flatten` may have any of the names.
    #[inline]
    fn check_name<E: Error>(&mut self) -> Result<(), E> {
        if self.places[0].kind == Kind::Anything { self.check_text() } else { Ok(()) }
    }

    #[inline(never)]
    fn check_text<E: Error>(&mut self) -> Result<(), E> {
        let (exact, name) = (self.at.exact, self.at.exact.key.take());
        if name == 0 {
            return Ok(());
        }
        let clashes =
            if self.is_mixed { !exact.mixed.borrow_mut().insert((self.map, name)) } else { self.first == name };
        if self.first == 0 {
            self.first = name;
        }
        if clashes { Err(exact.refuse_twice()) } else { Ok(()) }
    }

    /// Checks that there were as many as was said, and counts what they take.
    #[inline]
    fn check<E: Error>(&self) -> Result<(), E> {
        self.at.exact.count(self.count.saturating_mul(self.size));
        match self.len {
            Some(len) if len != self.count => {
                let what = format!("it says that it has {len} elements, and writes {}", self.count);
                Err(self.at.exact.refuse(what, SYMMETRY))
            }
            _ => Ok(()),
        }
    }
}

impl<X: SerializeSeq, F: Format> SerializeSeq for Elements<'_, X, F> {
    type Ok = X::Ok;
    type Error = X::Error;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), X::Error> {
        self.count += 1;
        self.inner.serialize_element(&Watched::new(value, self.at.inside(self.places[0])))
    }

    #[inline]
    fn end(self) -> Result<X::Ok, X::Error> {
        self.check()?;
        self.inner.end()
    }
}

#[deny(clippy::missing_trait_methods)]
impl<X: SerializeMap, F: Format> SerializeMap for Elements<'_, X, F> {
    type Ok = X::Ok;
    type Error = X::Error;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), X::Error> {
        self.count += 1;
        self.inner.serialize_key(&Watched::new(key, self.at.key(self.places[0])))?;
        self.check_name()
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), X::Error> {
        self.inner.serialize_value(&Watched::new(value, self.at.inside(self.places[1])))
    }

    #[inline]
    fn serialize_entry<K: Serialize + ?Sized, V: Serialize + ?Sized>(
        &mut self,
        key: &K,
        value: &V,
    ) -> Result<(), X::Error> {
        if self.places[0].kind == Kind::Anything {
            self.serialize_key(key)?;
            return self.serialize_value(value);
        }
        self.count += 1;
        let key = Watched::new(key, self.at.key(self.places[0]));
        self.inner.serialize_entry(&key, &Watched::new(value, self.at.inside(self.places[1])))
    }

    #[inline]
    fn end(self) -> Result<X::Ok, X::Error> {
        self.check()?;
        self.inner.end()
    }
}

/// Fields, each of its own kind.
pub(super) struct Fields<'a, X, F> {
    inner: X,
    at: At<'a, F>,
    place: Place,
    node: Option<&'a Node>,
    next: usize,
    /// How many fields are still to be written, by what was said at first.
    left: usize,
    /// The name that may be a tag.
    first: &'static str,
}

impl<'a, X, F: Format> Fields<'a, X, F> {
    #[inline]
    pub(super) fn new(inner: X, at: At<'a, F>, place: Place, len: usize) -> Self {
        Self { inner, at: at.deeper(), place, node: at.node(place), next: 0, left: len, first: "" }
    }

    /// The next element of a tuple.
    #[inline]
    fn element(&mut self) -> At<'a, F> {
        let place = self.at.within(self.place, self.next);
        self.next += 1;
        self.at.inside(place)
    }

    /// The next field, of this name.
    #[inline]
    fn field<E: Error>(&mut self, name: &'static str) -> Result<At<'a, F>, E> {
        let at = self.next;
        self.next += 1;
        let place = match self.node {
            None if self.place.kind == Kind::Anything => {
                if at == 0 {
                    self.first = name;
                } else if self.first == name {
                    return Err(self.at.exact.refuse_twice());
                }
                self.place
            }
            None => Place::UNKNOWN,
            Some(node) => match node.inside.get(at) {
                Some(inside) if inside.seen.is(name) => inside.place,
                _ => self.unseen_field(node, at, name)?,
            },
        };
        Ok(self.at.inside(place))
    }

    /// Compares a name with those that the type reads.
    #[cold]
    fn unseen_field<E: Error>(&self, node: &Node, at: usize, name: &'static str) -> Result<Place, E> {
        let place = |at: usize| node.inside.get(at).map_or(Place::UNKNOWN, |inside| inside.place);
        if node.names.is_empty() {
            return Ok(place(at));
        }
        let Some(listed) = node.names.iter().position(|listed| *listed == name) else {
            let what =
                format!("it does not read a field `{name}`: `skip_deserializing`, or a `rename` for one direction");
            return Err(self.at.exact.refuse(what, SYMMETRY));
        };
        // Aliases are listed, too, each beside its field.
        let aliases = node.names.len().saturating_sub(node.inside.len());
        if (at..=at + aliases).contains(&listed) {
            if let Some(inside) = node.inside.get(at) {
                inside.seen.learn(name);
            }
            return Ok(place(at));
        }
        if F::BY_POSITION {
            let what = format!("its field `{name}` is written in another place than it is read from");
            return Err(self.at.exact.refuse(what, NAMED));
        }
        Ok(if aliases == 0 { place(listed) } else { Place::UNKNOWN })
    }

    #[inline]
    fn skip<E: Error>(&mut self, name: &'static str) -> Result<(), E> {
        if F::BY_POSITION {
            let what = format!(
                "its field `{name}` is left out (`#[serde(skip_serializing_if)]`), and fields are read by position"
            );
            return Err(self.at.exact.refuse(what, NAMED));
        }
        self.field(name).map(drop)
    }

    /// Checks that there were as many fields as are read.
    #[inline]
    fn check<E: Error>(&self) -> Result<(), E> {
        if F::COUNTS_FIELDS && self.left != 0 {
            let what = "it says that it has another number of fields than it writes";
            return Err(self.at.exact.refuse(what, SYMMETRY));
        }
        match self.node {
            Some(node) if self.next != node.inside.len() && node.is_whole => Err(self.miscounted(node)),
            _ => Ok(()),
        }
    }

    #[cold]
    fn miscounted<E: Error>(&self, node: &Node) -> E {
        let what = format!(
            "it writes {} fields of the {} that it reads: `skip_serializing` or `skip_deserializing`",
            self.next,
            node.inside.len()
        );
        self.at.exact.refuse(what, SYMMETRY)
    }
}

macro_rules! by_position {
    ($($trait:ident::$method:ident)*) => {$(
        impl<X: $trait, F: Format> $trait for Fields<'_, X, F> {
            type Ok = X::Ok;
            type Error = X::Error;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), X::Error> {
                let at = self.element();
                self.left = self.left.wrapping_sub(1);
                self.inner.$method(&Watched::new(value, at))
            }

            #[inline]
            fn end(self) -> Result<X::Ok, X::Error> {
                self.check()?;
                self.inner.end()
            }
        }
    )*};
}

macro_rules! by_name {
    ($($trait:ident)*) => {$(
        impl<X: $trait, F: Format> $trait for Fields<'_, X, F> {
            type Ok = X::Ok;
            type Error = X::Error;

            #[inline]
            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), X::Error> {
                let at = self.field(name)?;
                self.left = self.left.wrapping_sub(1);
                self.inner.serialize_field(name, &Watched::new(value, at))
            }

            #[inline]
            fn skip_field(&mut self, name: &'static str) -> Result<(), X::Error> {
                self.skip(name)?;
                self.inner.skip_field(name)
            }

            #[inline]
            fn end(self) -> Result<X::Ok, X::Error> {
                self.check()?;
                self.inner.end()
            }
        }
    )*};
}

by_position! {
    SerializeTuple::serialize_element
    SerializeTupleStruct::serialize_field
    SerializeTupleVariant::serialize_field
}

by_name! {
    SerializeStruct
    SerializeStructVariant
}
