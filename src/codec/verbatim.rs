//! The bytes of a value as a base codec wrote them, whatever its type.
//!
//! A stack is taken off an entry without knowing what is inside: in place of the base codec stands one that hands its
//! bytes on.

use serde::de::value::BytesDeserializer;
use serde::de::{DeserializeOwned, Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use std::fmt;

use super::{Checked, Codec, Compressed, Context};
#[cfg(feature = "encryption")]
use super::{Encrypted, Keyring};
use crate::config::Policy;
use crate::error::{Error, ErrorKind};

/// A base codec of this name that reads bytes as they are.
#[derive(Debug, Clone, Copy)]
struct Verbatim(&'static str);

impl Codec for Verbatim {
    const CONFIDENTIAL: bool = false;

    fn name(&self) -> String {
        self.0.to_owned()
    }

    fn configure(&mut self, _policy: &Policy) -> Result<(), Error> {
        Ok(())
    }

    fn encode<T: Serialize>(&self, _: &T, _: Context<'_>, _: &mut Vec<u8>) -> Result<(), Error> {
        Err(Error::new(ErrorKind::Encode, "this codec reads only"))
    }

    fn decode<T: DeserializeOwned>(&self, bytes: &[u8], _: Context<'_>) -> Result<T, Error> {
        let read = T::deserialize(BytesDeserializer::<serde::de::value::Error>::new(bytes));
        read.map_err(|_| Error::new(ErrorKind::Decode, "the bytes are asked for as something else"))
    }
}

struct Body(Vec<u8>);

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Body;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Body, E> {
                Ok(Body(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

/// The base codecs of this library.
const BASES: [&str; 3] = ["postcard", "json", "messagepack"];
/// What this library's intents and wrappers put around them, the base in place of the dots.
const WRAPPERS: [[&str; 2]; 6] = [
    ["", ""],
    ["compressed(", ")"],
    ["checked(", ")"],
    ["checked(compressed(", "))"],
    ["encrypted(", ")"],
    ["encrypted(compressed(", "))"],
];

/// A stack of this library's codecs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KnownStack {
    wrapper: usize,
    pub(crate) base: &'static str,
}

impl KnownStack {
    /// The stack of whose name this is true, if there is one.
    pub(crate) fn find(is_it: impl Fn(&str) -> bool) -> Option<Self> {
        let all = BASES.into_iter().flat_map(|base| (0..WRAPPERS.len()).map(move |wrapper| Self { wrapper, base }));
        all.into_iter().find(|stack| is_it(&stack.name()))
    }

    pub(crate) fn name(self) -> String {
        let [before, after] = WRAPPERS[self.wrapper];
        format!("{before}{}{after}", self.base)
    }

    pub(crate) fn is_encrypted(self) -> bool {
        WRAPPERS[self.wrapper][0].starts_with("encrypted")
    }

    /// What the base codec wrote.
    ///
    /// # Errors
    /// Those of the codecs around it. Without a key, an encrypted body is not authentic.
    pub(crate) fn unwrap(self, body: &[u8], context: Context<'_>, keys: Keys<'_>) -> Result<Vec<u8>, Error> {
        let base = Verbatim(self.base);
        let body: Body = match self.wrapper {
            0 => base.decode(body, context),
            1 => Compressed::new(base).decode(body, context),
            2 => Checked::new(base).decode(body, context),
            3 => Checked::new(Compressed::new(base)).decode(body, context),
            wrapper => decrypt(base, wrapper, body, context, keys),
        }?;
        Ok(body.0)
    }
}

/// Keys, if there are any.
#[cfg(feature = "encryption")]
pub(crate) type Keys<'a> = Option<&'a Keyring>;
#[cfg(not(feature = "encryption"))]
pub(crate) type Keys<'a> = std::marker::PhantomData<&'a ()>;

#[cfg(feature = "encryption")]
fn decrypt(base: Verbatim, wrapper: usize, body: &[u8], context: Context<'_>, keys: Keys<'_>) -> Result<Body, Error> {
    let keys = keys.ok_or_else(no_key)?.clone();
    match wrapper {
        4 => Encrypted::new(base, keys).decode(body, context),
        _ => Encrypted::new(Compressed::new(base), keys).decode(body, context),
    }
}

#[cfg(not(feature = "encryption"))]
fn decrypt(_: Verbatim, _: usize, _: &[u8], _: Context<'_>, _: Keys<'_>) -> Result<Body, Error> {
    Err(no_key())
}

fn no_key() -> Error {
    Error::new(ErrorKind::Unauthentic, "the entry is encrypted, and there is no key")
}

#[cfg(test)]
mod tests {
    use super::super::{Json, Postcard};
    use super::*;

    fn taken_off<C: Codec>(codec: C, keys: Keys<'_>) -> Vec<u8> {
        let (context, mut bytes) = (Context::new("users:1", b"header"), Vec::new());
        codec.encode(&"a".repeat(2_000), context, &mut bytes).unwrap();
        let stack = KnownStack::find(|name| name == codec.name()).unwrap();
        assert_eq!(stack.name(), codec.name());
        stack.unwrap(&bytes, context, keys).unwrap()
    }

    #[test]
    fn every_stack_is_taken_off() {
        let text = format!("\"{}\"", "a".repeat(2_000)).into_bytes();
        let plain = Keys::default();
        assert_eq!(taken_off(Json, plain), text);
        assert_eq!(taken_off(Compressed::new(Json), plain), text);
        assert_eq!(taken_off(Checked::new(Json), plain), text);
        assert_eq!(taken_off(Checked::new(Compressed::new(Json)), plain), text);
        assert_eq!(taken_off(Postcard, plain)[..2], [0xd0, 0x0f], "the length in front");
        assert_eq!(KnownStack::find(|name| name == "toml"), None);
    }

    #[cfg(feature = "encryption")]
    #[test]
    fn encrypted_stacks_need_their_key() {
        let ring = |digit: &str| Keyring::from_hex(&digit.repeat(64)).unwrap();
        let text = format!("\"{}\"", "a".repeat(2_000)).into_bytes();
        assert_eq!(taken_off(Encrypted::new(Json, ring("a")), Some(&ring("a"))), text);
        assert_eq!(taken_off(Encrypted::new(Compressed::new(Json), ring("a")), Some(&ring("a"))), text);
        let (context, mut bytes) = (Context::new("users:1", b"header"), Vec::new());
        Encrypted::new(Json, ring("a")).encode(&1, context, &mut bytes).unwrap();
        let stack = KnownStack::find(|name| name == "encrypted(json)").unwrap();
        assert!(stack.is_encrypted());
        for keys in [None, Some(&ring("b"))] {
            assert_eq!(stack.unwrap(&bytes, context, keys).unwrap_err().kind(), ErrorKind::Unauthentic);
        }
    }
}
