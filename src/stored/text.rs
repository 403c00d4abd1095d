//! What a base codec wrote, as text where the codec names what it writes.

use super::Plain;

/// `None` if the bytes are not what the codec writes.
pub(super) fn plain(base: &str, value: Vec<u8>) -> Option<Plain> {
    match base {
        "json" => {
            let text = String::from_utf8(value).ok()?;
            serde_json::from_str::<serde::de::IgnoredAny>(&text).ok()?;
            Some(Plain::Text(text))
        }
        #[cfg(feature = "messagepack")]
        "messagepack" => messagepack::read(&value),
        _ => Some(Plain::Bytes(value.into())),
    }
}

#[cfg(feature = "messagepack")]
mod messagepack {
    use std::fmt;

    use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
    use serde_json::{Map, Number, Value};

    use super::Plain;

    /// The value as JSON. Binary strings become arrays of numbers, and names of entries that are no text become text.
    pub(super) fn read(bytes: &[u8]) -> Option<Plain> {
        let value = Any.deserialize(&mut rmp_serde::Deserializer::from_read_ref(bytes)).ok()?;
        Some(Plain::Text(value.to_string()))
    }

    struct Any;

    impl<'de> DeserializeSeed<'de> for Any {
        type Value = Value;
        fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
            deserializer.deserialize_any(self)
        }
    }

    impl<'de> Visitor<'de> for Any {
        type Value = Value;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a value")
        }
        fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
            Ok(value.into())
        }
        fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
            Ok(value.into())
        }
        fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
            Ok(value.into())
        }
        fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
            Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
        }
        fn visit_str<E>(self, value: &str) -> Result<Value, E> {
            Ok(value.into())
        }
        fn visit_bytes<E>(self, value: &[u8]) -> Result<Value, E> {
            Ok(value.into())
        }
        fn visit_unit<E>(self) -> Result<Value, E> {
            Ok(Value::Null)
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Value, A::Error> {
            let mut values = Vec::new();
            while let Some(value) = parts.next_element_seed(Any)? {
                values.push(value);
            }
            Ok(Value::Array(values))
        }
        fn visit_map<A: MapAccess<'de>>(self, mut parts: A) -> Result<Value, A::Error> {
            let mut values = Map::new();
            while let Some(name) = parts.next_key_seed(Any)? {
                let name = name.as_str().map_or_else(|| name.to_string(), str::to_owned);
                values.insert(name, parts.next_value_seed(Any)?);
            }
            Ok(Value::Object(values))
        }
    }

    #[cfg(test)]
    mod tests {
        use std::collections::BTreeMap;

        use super::*;

        #[test]
        fn any_value_is_json() {
            let json = |value: Vec<u8>| match read(&value) {
                Some(Plain::Text(text)) => text,
                other => panic!("{other:?}"),
            };
            let map = BTreeMap::from([(1u8, (true, -7i8, 0.5f64, "a", Option::<u8>::None))]);
            assert_eq!(json(rmp_serde::to_vec(&map).unwrap()), r#"{"1":[true,-7,0.5,"a",null]}"#);
            assert_eq!(json(vec![0xc4, 2, 7, 8]), "[7,8]");
            assert_eq!(read(&[0xc1]), None, "nothing begins like that");
        }
    }
}
