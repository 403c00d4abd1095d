//! Postcard: compact bytes, the default.
//!
//! Postcard writes neither names nor kinds, so it is small and fast, and bytes of another type may decode without an
//! error; the schema fingerprint in each entry's header catches that.

use std::any::type_name;

use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::exact::{Exact, Format};
use super::limits::{Limits, check_written};
use super::{Codec, Context};
use crate::config::Policy;
use crate::error::{Error, ErrorKind};

/// Serializes with [postcard](https://docs.rs/postcard): no names, small numbers in one byte.
///
/// The smallest and fastest of the base codecs, and the default. It is not self-describing, so it refuses types with
/// `#[serde(untagged)]`, `#[serde(tag = "..")]`, `#[serde(flatten)]` or `serde_json::Value` inside, and values that leave
/// fields out (`skip_serializing_if`) or whose variant stands behind one with `#[serde(skip)]`. `MessagePack` and
/// [`Json`](super::Json) carry them. What a cache adds to this: a value is also refused if its type does not read what it
/// writes. A `Some(None)` and numbers that are not finite come back.
///
/// # Limits
/// `decode` refuses values nested more than 256 levels deep, counting sequences, maps, structs, enums, options and
/// newtypes, or so deep that reading them takes more than 768 KiB of stack: a linked list of more than 128 nodes, for
/// one. A cache refuses to store them. `encode` refuses values that hold more than 65,536 elements which take no byte,
/// such as a `Vec<()>` of that length.
///
/// # Examples
/// ```
/// use cachekit::Codec;
/// use cachekit::codec::{Context, Postcard};
/// let (context, mut bytes) = (Context::new("users:42", b"header"), Vec::new());
/// Postcard.encode(&(7u64, "ada"), context, &mut bytes)?;
/// assert_eq!(bytes, [7, 3, b'a', b'd', b'a']);
/// assert_eq!(Postcard.decode::<(u64, String)>(&bytes, context)?, (7, "ada".to_owned()));
/// # Ok::<(), cachekit::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Postcard;

impl Codec for Postcard {
    const CONFIDENTIAL: bool = false;

    fn name(&self) -> String {
        "postcard".to_owned()
    }

    fn configure(&mut self, _policy: &Policy) -> Result<(), Error> {
        Ok(())
    }

    fn encode<T: Serialize>(&self, value: &T, context: Context<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
        let (exact, start) = (Exact::of::<Self>(context), out.len());
        let mut format = postcard::Serializer { output: Append(out) };
        let written = exact.write::<Self, T, _>(value, &mut format);
        written.map_err(|error| exact.refusal::<Self, T>().unwrap_or_else(|| unwritable::<T>(error)))?;
        check_written::<T>(exact.elements(), exact.memory(), out.len() - start, context)
    }

    fn decode<T: DeserializeOwned>(&self, bytes: &[u8], context: Context<'_>) -> Result<T, Error> {
        let limits = Limits::of(bytes, context);
        let mut format = postcard::Deserializer::from_bytes(bytes);
        let value = limits.read(&mut format).map_err(|error| {
            let message = "the bytes are not postcard of this type";
            limits.refusal().unwrap_or_else(|| Error::with_source(ErrorKind::Decode, message, error))
        })?;
        let rest =
            format.finalize().map_err(|error| Error::with_source(ErrorKind::Decode, "postcard failed", error))?;
        if !rest.is_empty() {
            return Err(Error::new(ErrorKind::Decode, "bytes are left over after the value"));
        }
        Ok(value)
    }
}

impl Format for Postcard {
    const NAME: &'static str = "postcard";
    const BY_POSITION: bool = true;
    const IS_HUMAN: bool = false;
    const HIDES_SOME: bool = false;
    const HIDES_UNIT_STRUCTS: bool = false;
    const COUNTS_FIELDS: bool = false;
    const IS_TEXT: bool = false;
}

#[cold]
fn unwritable<T>(error: postcard::Error) -> Error {
    let message = format!(
        "postcard cannot write this `{}`: `#[serde(flatten)]`, sequences of unknown length and fallible `Serialize` \
         implementations need `MessagePack` or `Json`",
        type_name::<T>()
    );
    Error::with_source(ErrorKind::Encode, message, error)
}

/// Lets postcard write behind what is already there.
struct Append<'a>(&'a mut Vec<u8>);

impl Flavor for Append<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        // Not as a slice: numbers come a few bytes at a time, and a loop is faster than a call then.
        self.0.extend(bytes.iter().copied());
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}
