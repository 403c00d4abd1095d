//! Whether a value is `None`.
//!
//! An absent answer may live shorter than others, and the cache cannot match on a generic `T`. Serde can tell: `None`
//! is the one value that calls `serialize_none`.

use std::fmt;

use serde::Serialize;
use serde::ser::{Impossible, Serializer};

/// Whether serde writes `value` as `None`. Looks at the outermost layer only and visits no contents.
pub(crate) fn is_none<T: Serialize>(value: &T) -> bool {
    value.serialize(Probe).is_ok()
}

/// Succeeds for `None` only.
struct Probe;

/// Not `None`.
#[derive(Debug)]
struct Other;

impl fmt::Display for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not None")
    }
}

impl std::error::Error for Other {}

impl serde::ser::Error for Other {
    fn custom<M: fmt::Display>(_message: M) -> Self {
        Self
    }
}

macro_rules! other {
    ($($method:ident$(<$generic:ident>)?($($type:ty),*) -> $out:ty;)*) => {$(
        fn $method$(<$generic: Serialize + ?Sized>)?(self, $(_: $type),*) -> Result<$out, Other> {
            Err(Other)
        }
    )*};
}

impl Serializer for Probe {
    type Ok = ();
    type Error = Other;
    type SerializeSeq = Impossible<(), Other>;
    type SerializeTuple = Impossible<(), Other>;
    type SerializeTupleStruct = Impossible<(), Other>;
    type SerializeTupleVariant = Impossible<(), Other>;
    type SerializeMap = Impossible<(), Other>;
    type SerializeStruct = Impossible<(), Other>;
    type SerializeStructVariant = Impossible<(), Other>;

    fn serialize_none(self) -> Result<(), Other> {
        Ok(())
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, _value: &T) -> Result<(), Other> {
        Err(Other)
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    other! {
        serialize_bool(bool) -> ();
        serialize_i8(i8) -> ();
        serialize_i16(i16) -> ();
        serialize_i32(i32) -> ();
        serialize_i64(i64) -> ();
        serialize_i128(i128) -> ();
        serialize_u8(u8) -> ();
        serialize_u16(u16) -> ();
        serialize_u32(u32) -> ();
        serialize_u64(u64) -> ();
        serialize_u128(u128) -> ();
        serialize_f32(f32) -> ();
        serialize_f64(f64) -> ();
        serialize_char(char) -> ();
        serialize_str(&str) -> ();
        serialize_bytes(&[u8]) -> ();
        serialize_some<T>(&T) -> ();
        serialize_unit() -> ();
        serialize_unit_struct(&'static str) -> ();
        serialize_unit_variant(&'static str, u32, &'static str) -> ();
        serialize_newtype_struct<T>(&'static str, &T) -> ();
        serialize_newtype_variant<T>(&'static str, u32, &'static str, &T) -> ();
        serialize_seq(Option<usize>) -> Self::SerializeSeq;
        serialize_tuple(usize) -> Self::SerializeTuple;
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Self::SerializeTupleVariant;
        serialize_map(Option<usize>) -> Self::SerializeMap;
        serialize_struct(&'static str, usize) -> Self::SerializeStruct;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Self::SerializeStructVariant;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use serde::{Serialize, Serializer};

    use super::is_none;

    #[test]
    fn only_none_is_none() {
        assert!(is_none(&None::<u32>));
        assert!(is_none(&&Box::new(None::<Vec<String>>)), "references and boxes are transparent");
        assert!(!is_none(&Some(1)));
        assert!(!is_none(&Some(None::<u32>)), "the outermost layer counts");
        assert!(!is_none(&()));
        assert!(!is_none(&Vec::<u32>::new()));
        assert!(!is_none(&""));
        assert!(!is_none(&f64::NAN));
        assert!(!is_none(&(None::<u32>,)));
        assert!(!is_none(&Ok::<Option<u32>, ()>(None)));
        assert!(!is_none(&std::collections::HashMap::<String, u8>::new()));
    }

    #[test]
    fn a_newtype_around_none_is_a_value() {
        #[derive(Serialize)]
        struct Wrapper(Option<u8>);
        assert!(!is_none(&Wrapper(None)));
    }

    #[test]
    fn contents_are_not_visited() {
        struct Watched(Rc<Cell<bool>>);
        impl Serialize for Watched {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.set(true);
                serializer.serialize_unit()
            }
        }
        let visited = Rc::new(Cell::new(false));
        assert!(!is_none(&vec![Some(Watched(Rc::clone(&visited)))]));
        assert!(!is_none(&Some(Watched(Rc::clone(&visited)))));
        assert!(!visited.get());
    }
}
