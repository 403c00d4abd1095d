//! MessagePack: self-describing bytes with named fields.
//!
//! Names in the bytes cost space and time, and let a type evolve and use every serde attribute.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::exact::{Exact, Format};
use super::limits::{Limits, check_written};
use super::{Codec, Context};
use crate::config::Policy;
use crate::error::{Error, ErrorKind};

/// Serializes with [MessagePack](https://msgpack.org), structs as maps with their field names.
///
/// Takes every serde attribute, `untagged`, `tag`, `flatten` and `skip_serializing_if` included. It refuses `Some(None)`,
/// `Some(())` and the like, which would read back as `None`.
///
/// # Limits
/// `decode` refuses values nested more than 256 levels deep, counting sequences, maps, structs, enums, options and
/// newtypes, or so deep that reading them takes more than 768 KiB of stack.
///
/// # Examples
/// ```
/// use cachekit::Codec;
/// use cachekit::codec::{Context, MessagePack};
/// let (context, mut bytes) = (Context::new("users:42", b"header"), Vec::new());
/// MessagePack.encode(&(7u64, "ada"), context, &mut bytes)?;
/// assert_eq!(MessagePack.decode::<(u64, String)>(&bytes, context)?, (7, "ada".to_owned()));
/// # Ok::<(), cachekit::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MessagePack;

impl Codec for MessagePack {
    const CONFIDENTIAL: bool = false;

    fn name(&self) -> String {
        "messagepack".to_owned()
    }

    fn configure(&mut self, _policy: &Policy) -> Result<(), Error> {
        Ok(())
    }

    /// The error has no source: what a `Serialize` of the user's says may quote the value.
    fn encode<T: Serialize>(&self, value: &T, context: Context<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
        let (exact, start) = (Exact::of::<Self>(context), out.len());
        let mut format = rmp_serde::Serializer::new(&mut *out).with_struct_map();
        let written = exact.write::<Self, T, _>(value, &mut format);
        written.map_err(|_| exact.unwritable::<Self, T>("rmp_serde"))?;
        check_written::<T>(exact.elements(), exact.memory(), out.len() - start, context)
    }

    /// The error has no source: what serde says about unfit bytes may quote the value.
    fn decode<T: DeserializeOwned>(&self, bytes: &[u8], context: Context<'_>) -> Result<T, Error> {
        let limits = Limits::of(bytes, context);
        let mut format = rmp_serde::Deserializer::from_read_ref(bytes);
        let value = limits.read(&mut format).map_err(|_| {
            let message = "the bytes are not MessagePack of this type";
            limits.refusal().unwrap_or_else(|| Error::new(ErrorKind::Decode, message))
        })?;
        if !is_at_end(&mut format) {
            return Err(Error::new(ErrorKind::Decode, "bytes are left over after the value"));
        }
        Ok(value)
    }
}

impl Format for MessagePack {
    const NAME: &'static str = "MessagePack";
    const BY_POSITION: bool = false;
    const IS_HUMAN: bool = false;
    const HIDES_SOME: bool = true;
    const HIDES_UNIT_STRUCTS: bool = false;
    const COUNTS_FIELDS: bool = true;
    const IS_TEXT: bool = false;
}

/// Whether nothing follows. A `bool` is one marker, so only at the end is there no marker to read.
fn is_at_end<'de, R: rmp_serde::decode::ReadSlice<'de>>(format: &mut rmp_serde::Deserializer<R>) -> bool {
    matches!(bool::deserialize(format), Err(rmp_serde::decode::Error::InvalidMarkerRead(_)))
}
