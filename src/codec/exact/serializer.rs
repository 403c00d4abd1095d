//! The serializer that watches each step of what writes.

use std::fmt::Display;

use serde::{Serialize, Serializer};

use super::compound::{Elements, Fields};
use super::watched::Watched;
use super::{BINARY, Format};
use crate::schema::Kind;

impl<X, F: Format> Watched<'_, X, F> {
    #[inline]
    fn finite<E: serde::ser::Error>(&self, is_finite: bool) -> Result<(), E> {
        if F::IS_TEXT && !is_finite {
            let what = "it has a number that is not finite (`NaN`, infinity), which is written as `null`";
            return Err(self.at.exact.refuse(what, BINARY));
        }
        Ok(())
    }
}

macro_rules! integers {
    ($($method:ident($type:ty) $kind:ident)*) => {$(
        #[inline]
        fn $method(self, value: $type) -> Result<S::Ok, S::Error> {
            let kind = self.at.place.kind;
            if kind != Kind::$kind && kind != Kind::Unknown {
                self.at.integer(Kind::$kind, i128::try_from(value).ok())?;
            }
            self.inner.$method(value)
        }
    )*};
}

macro_rules! scalars {
    ($($method:ident($type:ty) $kind:ident)*) => {$(
        #[inline]
        fn $method(self, value: $type) -> Result<S::Ok, S::Error> {
            self.at.expect(Kind::$kind)?;
            self.inner.$method(value)
        }
    )*};
}

impl<'a, S: Serializer, F: Format> Serializer for Watched<'a, S, F> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Elements<'a, S::SerializeSeq, F>;
    type SerializeTuple = Fields<'a, S::SerializeTuple, F>;
    type SerializeTupleStruct = Fields<'a, S::SerializeTupleStruct, F>;
    type SerializeTupleVariant = Fields<'a, S::SerializeTupleVariant, F>;
    type SerializeMap = Elements<'a, S::SerializeMap, F>;
    type SerializeStruct = Fields<'a, S::SerializeStruct, F>;
    type SerializeStructVariant = Fields<'a, S::SerializeStructVariant, F>;

    integers! {
        serialize_i8(i8) I8
        serialize_i16(i16) I16
        serialize_i32(i32) I32
        serialize_i64(i64) I64
        serialize_i128(i128) I128
        serialize_u8(u8) U8
        serialize_u16(u16) U16
        serialize_u32(u32) U32
        serialize_u64(u64) U64
        serialize_u128(u128) U128
    }

    scalars! {
        serialize_bool(bool) Bool
        serialize_char(char) Char
        serialize_bytes(&[u8]) Bytes
    }

    #[inline]
    fn serialize_f32(self, value: f32) -> Result<S::Ok, S::Error> {
        self.finite(value.is_finite())?;
        self.at.expect(Kind::F32)?;
        self.inner.serialize_f32(value)
    }

    #[inline]
    fn serialize_f64(self, value: f64) -> Result<S::Ok, S::Error> {
        self.finite(value.is_finite())?;
        self.at.expect(Kind::F64)?;
        self.inner.serialize_f64(value)
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result<S::Ok, S::Error> {
        self.at.expect(Kind::Str)?;
        self.at.name(value);
        self.inner.serialize_str(value)
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.at.expect(Kind::Str)?;
        self.inner.collect_str(value)
    }

    #[inline]
    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.at.nothing()?;
        self.at.expect(Kind::Option)?;
        self.inner.serialize_none()
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.serialize_some(&Watched { inner: value, at: self.at.some()? })
    }

    #[inline]
    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.at.nothing()?;
        self.at.expect(Kind::Unit)?;
        self.inner.serialize_unit()
    }

    #[inline]
    fn serialize_unit_struct(self, name: &'static str) -> Result<S::Ok, S::Error> {
        if F::HIDES_UNIT_STRUCTS {
            self.at.nothing()?;
        }
        self.at.expect(Kind::Unit)?;
        self.inner.serialize_unit_struct(name)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.serialize_newtype_struct(name, &Watched { inner: value, at: self.at.deeper() })
    }

    #[inline]
    fn serialize_unit_variant(self, name: &'static str, number: u32, variant: &'static str) -> Result<S::Ok, S::Error> {
        let contents = self.at.variant(number, variant)?;
        self.at.inside(contents).expect(Kind::Unit)?;
        self.at.name(variant);
        self.inner.serialize_unit_variant(name, number, variant)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        number: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let contents = self.at.variant(number, variant)?;
        let value = Watched { inner: value, at: self.at.inside(contents).deeper() };
        self.inner.serialize_newtype_variant(name, number, variant, &value)
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        let place = self.at.expect(Kind::Seq)?;
        Ok(Elements::new(self.inner.serialize_seq(len)?, self.at, place, len))
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        let place = self.at.expect(Kind::Map)?;
        Ok(Elements::new(self.inner.serialize_map(len)?, self.at, place, len))
    }

    #[inline]
    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple, S::Error> {
        let place = self.at.expect(Kind::Group)?;
        Ok(Fields::new(self.inner.serialize_tuple(len)?, self.at, place, len))
    }

    #[inline]
    fn serialize_tuple_struct(self, name: &'static str, len: usize) -> Result<Self::SerializeTupleStruct, S::Error> {
        let place = self.at.expect(Kind::Group)?;
        Ok(Fields::new(self.inner.serialize_tuple_struct(name, len)?, self.at, place, len))
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        name: &'static str,
        number: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        let at = self.at.inside(self.at.variant(number, variant)?).deeper();
        let place = at.expect(Kind::Group)?;
        Ok(Fields::new(self.inner.serialize_tuple_variant(name, number, variant, len)?, at, place, len))
    }

    #[inline]
    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Self::SerializeStruct, S::Error> {
        let place = self.at.expect(Kind::Group)?;
        Ok(Fields::new(self.inner.serialize_struct(name, len)?, self.at, place, len))
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        name: &'static str,
        number: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        let at = self.at.inside(self.at.variant(number, variant)?).deeper();
        let place = at.expect(Kind::Group)?;
        Ok(Fields::new(self.inner.serialize_struct_variant(name, number, variant, len)?, at, place, len))
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        // What is read as anything is told later that it is for people, whatever the format.
        if !F::IS_HUMAN && self.at.place.kind == Kind::Anything {
            self.at.exact.doubt();
        }
        self.inner.is_human_readable()
    }
}
