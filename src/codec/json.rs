//! JSON: bytes that people can read.
//!
//! For stores that other tools look into. The largest and slowest of the base codecs.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::exact::{Exact, Format};
use super::limits::{Limits, check_written};
use super::{Codec, Context};
use crate::config::Policy;
use crate::error::{Error, ErrorKind};

/// Serializes as JSON text.
///
/// Takes every serde attribute. Keys of maps must be strings, numbers, booleans or unit variants. It refuses `NaN` and
/// infinite numbers, and `Some(None)`, `Some(())` and the like, which would read back as `None`.
///
/// # Limits
/// `decode` refuses values nested more than 127 arrays and objects deep, or so deep that reading them takes more than
/// 768 KiB of stack.
///
/// # Examples
/// ```
/// use cachekit::Codec;
/// use cachekit::codec::{Context, Json};
/// let (context, mut bytes) = (Context::new("users:42", b"header"), Vec::new());
/// Json.encode(&(7u64, "ada"), context, &mut bytes)?;
/// assert_eq!(bytes, br#"[7,"ada"]"#);
/// assert_eq!(Json.decode::<(u64, String)>(&bytes, context)?, (7, "ada".to_owned()));
/// # Ok::<(), cachekit::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Json;

impl Codec for Json {
    const CONFIDENTIAL: bool = false;

    fn name(&self) -> String {
        "json".to_owned()
    }

    fn configure(&mut self, _policy: &Policy) -> Result<(), Error> {
        Ok(())
    }

    /// The error has no source: what a `Serialize` of the user's says may quote the value.
    fn encode<T: Serialize>(&self, value: &T, context: Context<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
        let (exact, start) = (Exact::of::<Self>(context), out.len());
        let mut format = serde_json::Serializer::new(&mut *out);
        let written = exact.write::<Self, T, _>(value, &mut format);
        written.map_err(|_| exact.unwritable::<Self, T>("serde_json"))?;
        check_written::<T>(exact.elements(), exact.memory(), out.len() - start, context)
    }

    /// The error has no source: what serde says about unfit bytes may quote the value.
    fn decode<T: DeserializeOwned>(&self, bytes: &[u8], context: Context<'_>) -> Result<T, Error> {
        let limits = Limits::of(bytes, context);
        let mut format = serde_json::Deserializer::from_slice(bytes);
        let value = limits.read(&mut format).map_err(|error| limits.refusal().unwrap_or_else(|| unreadable(&error)))?;
        format.end().map_err(|_| Error::new(ErrorKind::Decode, "bytes are left over after the value"))?;
        Ok(value)
    }
}

impl Format for Json {
    const NAME: &'static str = "JSON";
    const BY_POSITION: bool = false;
    const IS_HUMAN: bool = true;
    const HIDES_SOME: bool = true;
    const HIDES_UNIT_STRUCTS: bool = true;
    const COUNTS_FIELDS: bool = false;
    const IS_TEXT: bool = true;
}

fn unreadable(error: &serde_json::Error) -> Error {
    let what = match error.classify() {
        Category::Eof => "the JSON text is cut short",
        Category::Data => "the JSON text does not hold a value of this type",
        Category::Syntax | Category::Io => "the bytes are not JSON text, or nest too deep",
    };
    Error::new(ErrorKind::Decode, format!("{what}: line {}, column {}", error.line(), error.column()))
}
