//! A deserializer that bounds what is built: each step counts against the limits of the call.

use std::fmt;

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::limits::{Limits, Scope};

/// Something of serde's, within limits.
///
/// `COUNTED` says that the number of its elements comes from the bytes; that of a tuple or struct comes from the type.
pub(super) struct Limited<'a, X, const COUNTED: bool = false> {
    inner: X,
    scope: Scope<'a>,
}

impl<'a, X, const COUNTED: bool> Limited<'a, X, COUNTED> {
    #[inline]
    pub(super) fn new(inner: X, scope: Scope<'a>) -> Self {
        Self { inner, scope }
    }

    #[inline]
    fn around<Y, const ITS: bool>(&self, inner: Y) -> Limited<'a, Y, ITS> {
        Limited { inner, scope: self.scope }
    }
}

impl Limits {
    /// Reads a `T` from `format` within these limits.
    pub(super) fn read<'de, T: DeserializeOwned, D: Deserializer<'de>>(&self, format: D) -> Result<T, D::Error> {
        let value = T::deserialize(Limited::<_>::new(format, self.scope::<T, _>()?))?;
        self.kept().map(|()| value)
    }
}

macro_rules! forward_deserializer {
    ($($method:ident($($arg:ident: $type:ty),*) $counted:literal)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, $($arg: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            let visitor = self.around::<_, $counted>(visitor);
            self.inner.$method($($arg,)* visitor)
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Limited<'_, D> {
    type Error = D::Error;

    forward_deserializer! {
        deserialize_any() true
        deserialize_bool() false
        deserialize_i8() false
        deserialize_i16() false
        deserialize_i32() false
        deserialize_i64() false
        deserialize_i128() false
        deserialize_u8() false
        deserialize_u16() false
        deserialize_u32() false
        deserialize_u64() false
        deserialize_u128() false
        deserialize_f32() false
        deserialize_f64() false
        deserialize_char() false
        deserialize_str() false
        deserialize_string() false
        deserialize_bytes() false
        deserialize_byte_buf() false
        deserialize_option() false
        deserialize_unit() false
        deserialize_unit_struct(name: &'static str) false
        deserialize_newtype_struct(name: &'static str) false
        deserialize_seq() true
        deserialize_tuple(len: usize) false
        deserialize_tuple_struct(name: &'static str, len: usize) false
        deserialize_map() true
        deserialize_struct(name: &'static str, fields: &'static [&'static str]) false
        deserialize_enum(name: &'static str, variants: &'static [&'static str]) false
        deserialize_identifier() false
        deserialize_ignored_any() true
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! forward_scalars {
    ($($method:ident($type:ty))*) => {$(
        #[inline]
        fn $method<E: serde::de::Error>(self, value: $type) -> Result<V::Value, E> {
            self.inner.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>, const COUNTED: bool> Visitor<'de> for Limited<'_, V, COUNTED> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    forward_scalars! {
        visit_bool(bool)
        visit_i8(i8)
        visit_i16(i16)
        visit_i32(i32)
        visit_i64(i64)
        visit_i128(i128)
        visit_u8(u8)
        visit_u16(u16)
        visit_u32(u32)
        visit_u64(u64)
        visit_u128(u128)
        visit_f32(f32)
        visit_f64(f64)
        visit_char(char)
        visit_str(&str)
        visit_borrowed_str(&'de str)
        visit_string(String)
        visit_bytes(&[u8])
        visit_borrowed_bytes(&'de [u8])
        visit_byte_buf(Vec<u8>)
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    #[inline]
    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let scope = self.scope.deeper::<V::Value, _>()?;
        self.inner.visit_some(Limited::<_>::new(inner, scope))
    }

    #[inline]
    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let scope = self.scope.deeper::<V::Value, _>()?;
        self.inner.visit_newtype_struct(Limited::<_>::new(inner, scope))
    }

    #[inline]
    fn visit_seq<A: SeqAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let scope = self.scope.deeper::<V::Value, _>()?;
        self.inner.visit_seq(Limited::<_, COUNTED>::new(inner, scope))
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let scope = self.scope.deeper::<V::Value, _>()?;
        self.inner.visit_map(Limited::<_, COUNTED>::new(inner, scope))
    }

    #[inline]
    fn visit_enum<A: EnumAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let scope = self.scope.deeper::<V::Value, _>()?;
        self.inner.visit_enum(Limited::<_>::new(inner, scope))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Limited<'_, S> {
    type Value = S::Value;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        let scope = self.scope.of::<S::Value>();
        self.inner.deserialize(Limited::<_>::new(inner, scope))
    }
}

#[deny(clippy::missing_trait_methods)]
impl<'de, A: SeqAccess<'de>, const COUNTED: bool> SeqAccess<'de> for Limited<'_, A, COUNTED> {
    type Error = A::Error;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        if COUNTED {
            self.scope.element()?;
        }
        let seed = self.around::<_, false>(seed);
        let element = self.inner.next_element_seed(seed);
        if COUNTED && matches!(element, Ok(Some(_))) {
            self.scope.built::<S::Value, _>()?;
        }
        element
    }

    #[inline]
    fn next_element<T: serde::Deserialize<'de>>(&mut self) -> Result<Option<T>, A::Error> {
        self.next_element_seed(std::marker::PhantomData)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint().map(|claimed| self.scope.hint(claimed))
    }
}

#[deny(clippy::missing_trait_methods)]
impl<'de, A: MapAccess<'de>, const COUNTED: bool> MapAccess<'de> for Limited<'_, A, COUNTED> {
    type Error = A::Error;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        if COUNTED {
            self.scope.element()?;
        }
        let seed = self.around::<_, false>(seed);
        let key = self.inner.next_key_seed(seed);
        if COUNTED && matches!(key, Ok(Some(_))) {
            self.scope.built::<S::Value, _>()?;
        }
        key
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let seed = self.around::<_, false>(seed);
        if COUNTED {
            self.scope.built::<S::Value, _>()?;
        }
        self.inner.next_value_seed(seed)
    }

    fn next_entry_seed<K: DeserializeSeed<'de>, S: DeserializeSeed<'de>>(
        &mut self,
        key: K,
        value: S,
    ) -> Result<Option<(K::Value, S::Value)>, A::Error> {
        let Some(key) = self.next_key_seed(key)? else { return Ok(None) };
        Ok(Some((key, self.next_value_seed(value)?)))
    }

    fn next_key<K: serde::Deserialize<'de>>(&mut self) -> Result<Option<K>, A::Error> {
        self.next_key_seed(std::marker::PhantomData)
    }

    fn next_value<T: serde::Deserialize<'de>>(&mut self) -> Result<T, A::Error> {
        self.next_value_seed(std::marker::PhantomData)
    }

    fn next_entry<K: serde::Deserialize<'de>, T: serde::Deserialize<'de>>(
        &mut self,
    ) -> Result<Option<(K, T)>, A::Error> {
        self.next_entry_seed(std::marker::PhantomData, std::marker::PhantomData)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint().map(|claimed| self.scope.hint(claimed))
    }
}

impl<'a, 'de, A: EnumAccess<'de>> EnumAccess<'de> for Limited<'a, A> {
    type Error = A::Error;
    type Variant = Limited<'a, A::Variant>;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        let seed = self.around::<_, false>(seed);
        let (value, inner) = self.inner.variant_seed(seed)?;
        Ok((value, Limited::new(inner, self.scope)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Limited<'_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        let seed = self.around::<_, false>(seed);
        self.inner.newtype_variant_seed(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        let visitor = self.around::<_, false>(visitor);
        self.inner.tuple_variant(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let visitor = self.around::<_, false>(visitor);
        self.inner.struct_variant(fields, visitor)
    }
}
