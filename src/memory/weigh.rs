//! How many bytes a value takes.
//!
//! One walk of serde over the value, without an allocation. What it cannot see is estimated: a sequence is as long
//! as its capacity, a map is a hash map, a string is owned. An overestimate wastes room, an underestimate memory; the
//! usual shapes come out within a third.

use std::fmt::{self, Display, Write};
use std::mem::size_of;

use serde::ser::{self, Serialize};

/// What an allocator adds to a block, rounding included.
const BLOCK: usize = 16;
/// What an `Arc` keeps beside its value.
const COUNTS: usize = 16;
/// `Vec` and `String` in place.
const HEADER: usize = 24;
/// What tells the variants of an enum apart, or `Some` from `None`, with padding.
const TAG: usize = 8;

/// Estimates the bytes `value` takes in memory behind an `Arc`.
///
/// Never fails: if `T` cannot be serialized, what was counted so far is the answer.
pub(crate) fn weigh<T: Serialize>(value: &T) -> usize {
    measure(value, usize::MAX)
}

/// Like [`weigh`], of a value of at most `limit` bytes; `None` for a larger one, which is not walked to its end.
pub(crate) fn weigh_up_to<T: Serialize>(value: &T, limit: usize) -> Option<usize> {
    Some(measure(value, limit)).filter(|bytes| *bytes <= limit)
}

fn measure<T: Serialize>(value: &T, limit: usize) -> usize {
    let mut meter = Meter { inline: Inline::default(), heap: 0, limit };
    // A failed walk leaves the meter where it stopped.
    let _ = value.serialize(&mut meter);
    let inline = meter.inline.size().max(size_of::<T>());
    inline.saturating_add(meter.heap).saturating_add(COUNTS + BLOCK)
}

/// The bytes that a `T` takes behind an `Arc` which owns so many on the heap.
pub(super) fn around<T>(heap: usize) -> usize {
    size_of::<T>().saturating_add(heap).saturating_add(COUNTS + BLOCK)
}

/// Bytes on the heap so far, and the fields in place of the value being walked.
struct Meter {
    inline: Inline,
    heap: usize,
    /// The walk ends soon after more than this is on the heap.
    limit: usize,
}

/// Fields laid out together.
#[derive(Default, Clone, Copy)]
struct Inline {
    bytes: usize,
    align: usize,
}

impl Inline {
    #[inline]
    fn add(&mut self, bytes: usize, align: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.align = self.align.max(align);
    }

    /// With the padding at the end; alignments are powers of two.
    #[inline]
    fn size(self) -> usize {
        let past = self.align.max(1) - 1;
        self.bytes.saturating_add(past) & !past
    }
}

impl Meter {
    #[inline]
    fn scalar<T>(&mut self) -> Result<(), Unserializable> {
        self.inline.add(size_of::<T>(), align_of::<T>());
        Ok(())
    }

    #[inline]
    fn text(&mut self, len: usize) {
        self.inline.add(HEADER, 8);
        if len > 0 {
            self.heap = self.heap.saturating_add(len).saturating_add(BLOCK);
        }
    }

    fn tag(&mut self) {
        self.inline.add(TAG, TAG);
    }

    fn collection(&mut self, growth: Growth) -> Collection<'_> {
        self.inline.add(HEADER, 8);
        let outer = std::mem::take(&mut self.inline);
        Collection { meter: self, outer, growth, count: 0, widest: 0 }
    }
}

/// How the memory of a collection follows its elements.
#[derive(Clone, Copy)]
enum Growth {
    Exact,
    /// A power of two of slots, at most seven eighths of them full, a byte of control each.
    Table,
}

impl Growth {
    fn bytes(self, count: usize, widest: usize) -> usize {
        let slots = match self {
            Self::Exact => return count.saturating_mul(widest).saturating_add(BLOCK),
            // Half of what a small tree allocates, twice what a small table does.
            Self::Table if count < 8 => 8,
            Self::Table => (count.saturating_mul(8) / 7).saturating_add(1).next_power_of_two(),
        };
        slots.saturating_mul(widest.saturating_add(1)).saturating_add(2 * BLOCK)
    }
}

/// The elements of a sequence or a map: all take as much in place as the widest of them.
struct Collection<'a> {
    meter: &'a mut Meter,
    outer: Inline,
    growth: Growth,
    count: usize,
    widest: usize,
}

impl Collection<'_> {
    #[inline]
    fn element_done(&mut self) -> Result<(), Unserializable> {
        self.count += 1;
        self.widest = self.widest.max(std::mem::take(&mut self.meter.inline).size());
        let heap = self.meter.heap.saturating_add(self.count.saturating_mul(self.widest));
        if heap <= self.meter.limit { Ok(()) } else { Err(Unserializable) }
    }
}

/// Charges on the way out, so that a walk that fails halfway has counted half.
impl Drop for Collection<'_> {
    fn drop(&mut self) {
        if self.count > 0 {
            self.meter.heap = self.meter.heap.saturating_add(self.growth.bytes(self.count, self.widest));
        }
        self.meter.inline = self.outer;
    }
}

/// The one error: the value's own `Serialize` gave up, or the limit is reached. It carries nothing, so as not to
/// allocate.
#[derive(Debug)]
struct Unserializable;

impl Display for Unserializable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the value cannot be serialized")
    }
}

impl std::error::Error for Unserializable {}

impl ser::Error for Unserializable {
    fn custom<T: Display>(_: T) -> Self {
        Self
    }
}

/// Counts what is written to it.
struct Length(usize);

impl Write for Length {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}

macro_rules! scalars {
    ($($method:ident $scalar:ty)*) => {$(
        #[inline]
        fn $method(self, _: $scalar) -> Result<(), Unserializable> {
            self.scalar::<$scalar>()
        }
    )*};
}

impl<'a> ser::Serializer for &'a mut Meter {
    type Ok = ();
    type Error = Unserializable;
    type SerializeSeq = Collection<'a>;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Collection<'a>;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    scalars! {
        serialize_bool bool serialize_i8 i8 serialize_i16 i16 serialize_i32 i32 serialize_i64 i64 serialize_i128 i128
        serialize_u8 u8 serialize_u16 u16 serialize_u32 u32 serialize_u64 u64 serialize_u128 u128
        serialize_f32 f32 serialize_f64 f64 serialize_char char
    }

    fn serialize_str(self, text: &str) -> Result<(), Unserializable> {
        self.text(text.len());
        Ok(())
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), Unserializable> {
        self.text(bytes.len());
        Ok(())
    }

    /// As text, but measured while it is formatted.
    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<(), Unserializable> {
        let mut length = Length(0);
        write!(length, "{value}").map_err(|_| Unserializable)?;
        self.text(length.0);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Unserializable> {
        self.tag();
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Unserializable> {
        self.tag();
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Unserializable> {
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Unserializable> {
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<(), Unserializable> {
        self.scalar::<u8>()
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), Unserializable> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Unserializable> {
        self.tag();
        value.serialize(self)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Collection<'a>, Unserializable> {
        Ok(self.collection(Growth::Exact))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Collection<'a>, Unserializable> {
        Ok(self.collection(Growth::Table))
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, Unserializable> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, Unserializable> {
        Ok(self)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, Unserializable> {
        self.tag();
        Ok(self)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Unserializable> {
        Ok(self)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, Unserializable> {
        self.tag();
        Ok(self)
    }

    fn is_human_readable(&self) -> bool {
        // Addresses and ids then show themselves as the bytes they are, not as text.
        false
    }
}

impl ser::SerializeSeq for Collection<'_> {
    type Ok = ();
    type Error = Unserializable;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unserializable> {
        value.serialize(&mut *self.meter)?;
        self.element_done()
    }

    fn end(self) -> Result<(), Unserializable> {
        Ok(())
    }
}

impl ser::SerializeMap for Collection<'_> {
    type Ok = ();
    type Error = Unserializable;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Unserializable> {
        key.serialize(&mut *self.meter)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unserializable> {
        value.serialize(&mut *self.meter)?;
        self.element_done()
    }

    fn end(self) -> Result<(), Unserializable> {
        Ok(())
    }
}

macro_rules! in_place {
    ($($trait:ident $method:ident($($name:ty)?);)*) => {$(
        impl ser::$trait for &mut Meter {
            type Ok = ();
            type Error = Unserializable;

            fn $method<T: Serialize + ?Sized>(&mut self, $(_: $name,)? value: &T) -> Result<(), Unserializable> {
                value.serialize(&mut **self)
            }

            fn end(self) -> Result<(), Unserializable> {
                Ok(())
            }
        }
    )*};
}
in_place! {
    SerializeTuple serialize_element();
    SerializeTupleStruct serialize_field();
    SerializeTupleVariant serialize_field();
    SerializeStruct serialize_field(&'static str);
    SerializeStructVariant serialize_field(&'static str);
}

#[cfg(test)]
mod tests;
