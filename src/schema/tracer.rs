//! The deserializer that writes down what it is asked for.
//!
//! It answers in postcard's manner: structs as sequences of their fields.

use std::any::type_name;
use std::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer, StrDeserializer, UnitDeserializer};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor};

use super::numbers::numbers_of;
use super::shapes::{Choice, Item, Shapes, Stop, push};

/// Answers from samples and notes the questions.
#[derive(Debug)]
pub(super) struct Tracer<'a>(pub(super) &'a mut Shapes);

/// Tried in turn where a type refuses one; few types want more than these.
const NUMBERS: [u8; 12] = [1, 0, 2, 3, 4, 5, 7, 8, 10, 16, 32, 100];
const CHARS: [char; 3] = ['a', 'A', '0'];
const LENGTHS: [usize; 12] = [16, 4, 0, 1, 2, 6, 8, 12, 20, 24, 32, 64];
const STRINGS: [&str; 24] = [
    "a",
    "",
    "1",
    "A",
    "67e55044-10b1-426f-9247-bb680e5fe0c8",
    "2001-02-03T04:05:06Z",
    "2001-02-03T04:05:06",
    "2001-02-03",
    "04:05:06",
    "https://example.com/",
    "a@example.com",
    "example.com",
    "192.0.2.1",
    "192.0.2.1:80",
    "192.0.2.0/24",
    "1.0.0",
    "1.5",
    "true",
    "UTC",
    "en",
    "EUR",
    "#000000",
    "00000000000000000000000000000000",
    "0x0000000000000000000000000000000000000000",
];

impl Tracer<'_> {
    fn shape<'de, V: Visitor<'de>>(
        self,
        head: &[u8],
        choice: Choice,
        read: impl FnOnce(&mut Shapes, usize) -> Result<V::Value, Stop>,
    ) -> Result<V::Value, Stop> {
        let part = self.0.enter(type_name::<V>(), head, choice)?;
        let result = read(self.0, part);
        self.0.leave(result.is_ok());
        result
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $tag:literal)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
            let sample = self.0.leaf(&[$tag], NUMBERS.len())?;
            visitor.$visit(NUMBERS[sample].into())
        }
    )*};
}

impl<'de> Deserializer<'de> for Tracer<'_> {
    type Error = Stop;

    numbers! {
        deserialize_i16 visit_i16 b'2'
        deserialize_i32 visit_i32 b'3'
        deserialize_i64 visit_i64 b'4'
        deserialize_i128 visit_i128 b'5'
        deserialize_u8 visit_u8 b'6'
        deserialize_u16 visit_u16 b'7'
        deserialize_u32 visit_u32 b'8'
        deserialize_u64 visit_u64 b'9'
        deserialize_u128 visit_u128 b'a'
        deserialize_f32 visit_f32 b'f'
        deserialize_f64 visit_f64 b'd'
    }

    fn deserialize_i8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let sample = self.0.leaf(b"1", NUMBERS.len())?;
        visitor.visit_i8(NUMBERS[sample].cast_signed())
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let sample = self.0.leaf(b"?", 2)?;
        visitor.visit_bool(sample == 0)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let sample = self.0.leaf(b"c", CHARS.len())?;
        visitor.visit_char(CHARS[sample])
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let sample = self.0.leaf(b"s", STRINGS.len())?;
        visitor.visit_borrowed_str(STRINGS[sample])
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let sample = self.0.leaf(b"S", STRINGS.len())?;
        visitor.visit_str(STRINGS[sample])
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let sample = self.0.leaf(b"b", LENGTHS.len())?;
        visitor.visit_borrowed_bytes(&[0; 64][..LENGTHS[sample]])
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let sample = self.0.leaf(b"B", LENGTHS.len())?;
        visitor.visit_bytes(&[0; 64][..LENGTHS[sample]])
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.0.leaf(b"u", 1)?;
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Stop> {
        self.0.leaf(&head(b'U', &[name]), 1)?;
        visitor.visit_unit()
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.shape::<V>(b"O", Choice::Maybe, |shapes, part| match part {
            0 => visitor.visit_some(Tracer(shapes)),
            _ => visitor.visit_none(),
        })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Stop> {
        self.shape::<V>(&head(b'N', &[name]), Choice::One(&[]), |shapes, _| {
            visitor.visit_newtype_struct(Tracer(shapes))
        })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.shape::<V>(b"Q", Choice::Maybe, |shapes, part| visitor.visit_seq(Items { shapes, left: 1 - part }))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.shape::<V>(b"M", Choice::Maybe, |shapes, part| visitor.visit_map(Items { shapes, left: 1 - part }))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Stop> {
        self.shape::<V>(&sized(b'T', len), Choice::One(&[]), |shapes, _| visitor.visit_seq(Items { shapes, left: len }))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        let mut head = head(b'P', &[name]);
        head.extend_from_slice(&sized(b'T', len));
        self.shape::<V>(&head, Choice::One(&[]), |shapes, _| visitor.visit_seq(Items { shapes, left: len }))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        let mut head = head(b'R', &[name]);
        fields.iter().for_each(|field| push(&mut head, field.as_bytes()));
        self.shape::<V>(&head, Choice::One(fields), |shapes, _| visitor.visit_seq(Items { shapes, left: fields.len() }))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        let mut head = head(b'E', &[name]);
        variants.iter().for_each(|variant| push(&mut head, variant.as_bytes()));
        if variants.is_empty() {
            self.0.veil();
            return Err(Stop);
        }
        self.shape::<V>(&head, Choice::Variants(variants), |shapes, part| {
            visitor.visit_enum(Variant { shapes, name: variants[part] })
        })
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.0.veil();
        let sample = self.0.leaf(b"i", STRINGS.len())?;
        visitor.visit_borrowed_str(STRINGS[sample])
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.0.veil();
        self.0.leaf(b"_", 1)?;
        visitor.visit_unit()
    }

    /// What the visitor says it expects is all that can be learned: the contents decide.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.0.veil();
        let expected = format!("{}", Expected(&visitor));
        let sample = self.0.leaf(&head(b'*', &[&expected]), 8)?;
        match sample {
            0 => visitor.visit_unit(),
            1 => visitor.visit_u64(1),
            2 => visitor.visit_str("a"),
            3 => visitor.visit_bool(true),
            4 => visitor.visit_f64(1.0),
            5 => visitor.visit_seq(SeqDeserializer::new(std::iter::empty::<UnitDeserializer<Stop>>())),
            6 => visitor.visit_map(MapDeserializer::new(std::iter::empty::<(UnitDeserializer<Stop>, ())>())),
            _ => visitor.visit_i64(-1),
        }
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human
    }
}

fn head(tag: u8, names: &[&str]) -> Vec<u8> {
    let mut out = vec![tag];
    names.iter().for_each(|name| push(&mut out, name.as_bytes()));
    out
}

fn sized(tag: u8, len: usize) -> Vec<u8> {
    let mut out = vec![tag];
    out.extend_from_slice(&(len as u64).to_be_bytes());
    out
}

/// Elements, or entries, that are still to be answered.
struct Items<'a> {
    shapes: &'a mut Shapes,
    left: usize,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Stop;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Stop> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        self.shapes.size(0, size_of::<S::Value>());
        self.shapes.varying(|shapes| seed.deserialize(Tracer(shapes))).map(Some)
    }

    /// Asked for by type: nothing but the type decides what is read.
    fn next_element<T: Deserialize<'de>>(&mut self) -> Result<Option<T>, Stop> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        self.shapes.size(0, size_of::<T>());
        T::deserialize(Tracer(self.shapes)).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'de> MapAccess<'de> for Items<'_> {
    type Error = Stop;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Stop> {
        self.next_element_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Stop> {
        self.shapes.size(1, size_of::<S::Value>());
        self.shapes.varying(|shapes| seed.deserialize(Tracer(shapes)))
    }

    fn next_key<K: Deserialize<'de>>(&mut self) -> Result<Option<K>, Stop> {
        self.next_element()
    }

    fn next_value<T: Deserialize<'de>>(&mut self) -> Result<T, Stop> {
        self.shapes.size(1, size_of::<T>());
        T::deserialize(Tracer(self.shapes))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// The variant that this run takes.
struct Variant<'a> {
    shapes: &'a mut Shapes,
    name: &'static str,
}

impl<'de> EnumAccess<'de> for Variant<'_> {
    type Error = Stop;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Stop> {
        let value = seed.deserialize(StrDeserializer::<Stop>::new(self.name))?;
        Ok((value, self))
    }

    fn variant<V: Deserialize<'de>>(self) -> Result<(V, Self), Stop> {
        self.shapes.number(numbers_of::<V>);
        let value = V::deserialize(StrDeserializer::<Stop>::new(self.name))?;
        Ok((value, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = Stop;

    fn unit_variant(self) -> Result<(), Stop> {
        self.shapes.note(b"u", Item::Contents(b'u', &[]));
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Stop> {
        self.shapes.note(b"N", Item::Contents(b'N', &[]));
        self.shapes.varying(|shapes| seed.deserialize(Tracer(shapes)))
    }

    fn newtype_variant<T: Deserialize<'de>>(self) -> Result<T, Stop> {
        self.shapes.note(b"N", Item::Contents(b'N', &[]));
        T::deserialize(Tracer(self.shapes))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Stop> {
        self.shapes.note(&sized(b'T', len), Item::Contents(b'T', &[]));
        visitor.visit_seq(Items { shapes: self.shapes, left: len })
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Stop> {
        self.shapes.note(&head(b'R', fields), Item::Contents(b'R', fields));
        visitor.visit_seq(Items { shapes: self.shapes, left: fields.len() })
    }
}

/// Shows what a visitor expects.
struct Expected<'a, V>(&'a V);

impl<'de, V: Visitor<'de>> fmt::Display for Expected<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the type refused a sample")
    }
}

impl std::error::Error for Stop {}

impl serde::de::Error for Stop {
    fn custom<M: fmt::Display>(_message: M) -> Self {
        Self
    }
}
