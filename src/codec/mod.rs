//! Codecs: values to bytes and back.
//!
//! A base codec ([`Postcard`], `MessagePack`, [`Json`]) serializes; a wrapper ([`Compressed`], [`Checked`], `Encrypted`)
//! changes the bytes of the codec inside it. The stack is a type, so a function can ask for it.
//!
//! | codec | feature | for |
//! |---|---|---|
//! | [`Postcard`] | - | the default: compact and fast |
//! | `MessagePack` | `messagepack` | every serde attribute, bytes with names |
//! | [`Json`] | - | bytes that other tools read |
//! | [`Compressed<C>`](Compressed) | - | large values |
//! | [`Checked<C>`](Checked) | - | damage and mix-ups, found before anything is parsed |
//! | `Encrypted<C>` | `encryption` | values the backend must not see |

use std::any::type_name;
use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserializer, Serialize};

use crate::config::Policy;
use crate::error::{Error, ErrorKind};

#[cfg(feature = "encryption")]
mod aad;
mod checked;
mod compressed;
#[cfg(feature = "encryption")]
mod encrypted;
mod exact;
mod json;
#[cfg(feature = "encryption")]
mod keyring;
mod limited;
mod limits;
#[cfg(feature = "messagepack")]
mod messagepack;
mod postcard;
#[cfg(feature = "encryption")]
mod scratch;
mod shrinks;
mod verbatim;
mod verify;

pub use self::checked::Checked;
pub use self::compressed::Compressed;
#[cfg(feature = "metrics")]
pub(crate) use self::compressed::take_sizes;
#[cfg(feature = "encryption")]
pub use self::encrypted::Encrypted;
pub(crate) use self::exact::Reading;
pub use self::json::Json;
#[cfg(feature = "encryption")]
pub use self::keyring::Keyring;
#[cfg(feature = "messagepack")]
pub use self::messagepack::MessagePack;
pub use self::postcard::Postcard;
pub(crate) use self::verbatim::{Keys, KnownStack};
pub(crate) use self::verify::{Trials, Verified};

/// The stack of most caches: compact, compressed where that pays, with a checksum.
///
/// # Examples
/// ```
/// use cachekit::codec::{Context, Standard};
/// use cachekit::{Codec, Error};
/// fn size(value: &str) -> Result<usize, Error> {
///     let mut bytes = Vec::new();
///     Standard::default().encode(&value, Context::new("pages:1", b""), &mut bytes)?;
///     Ok(bytes.len())
/// }
/// assert_eq!(size("ada")?, "ada".len() + 1 + 1 + 8);
/// # Ok::<(), Error>(())
/// ```
pub type Standard = Checked<Compressed<Postcard>>;

/// The stack of a cache from the environment with [`intent::Secure`](crate::intent::Secure): compact, compressed where
/// that pays, encrypted.
///
/// # Examples
/// ```no_run
/// use cachekit::backends::AnyBackend;
/// use cachekit::codec::Confidential;
/// use cachekit::{Cache, CacheBuilder, Intent};
/// struct App {
///     cards: Cache<AnyBackend, Confidential>,
/// }
/// let app = App { cards: CacheBuilder::from_env().intent(Intent::Secure).namespace("cards").build()? };
/// # Ok::<(), cachekit::Error>(())
/// ```
#[cfg(feature = "encryption")]
pub type Confidential = Encrypted<Compressed<Postcard>>;

/// A way to turn values into bytes and back.
///
/// # Contract
/// - `decode` of what `encode` wrote, with an equal [`Context`], gives an equal value. `encode` refuses a value of which
///   it can tell that this is not so. The base codecs here also compare each value of a cache with what its type reads;
///   a wrapper passes the context on for that.
/// - `decode` reads all of `bytes`: anything left over is an error.
/// - `decode` never panics, whatever the bytes, and builds no value larger than [`Context::max_value_size`]: a base codec
///   reads through [`Context::read`], which counts; a wrapper that makes bytes longer stops there. `encode` refuses what
///   `decode` would.
/// - Both are pure: same codec, same result, but for the random numbers of encryption. A codec that binds its context
///   refuses bytes written under another.
///
/// # Wrappers
/// `Name<C>` reads from the outside in: `Checked<Compressed<Postcard>>` serializes, compresses, then adds a checksum. A
/// wrapper forwards every item, constants included.
///
/// # Examples
/// ```
/// use cachekit::codec::{Checked, Postcard};
/// use cachekit::{Backend, Cache, Codec};
/// // Any backend, any codec, but a checksum around it.
/// fn serve<B: Backend, C: Codec>(pages: &Cache<B, Checked<C>>) -> usize {
///     pages.pending()
/// }
/// let pages = cachekit::CacheBuilder::new().codec(Postcard).build()?;
/// assert_eq!(serve(&pages), 0);
/// # Ok::<(), cachekit::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a codec",
    label = "not a `Codec`",
    note = "use `Postcard`, `MessagePack` or `Json`, wrapped in `Compressed<_>`, `Checked<_>` or `Encrypted<_>` as needed"
)]
pub trait Codec: Clone + fmt::Debug + Send + Sync + 'static {
    /// Whether the bytes hide the value. If so, L1 keeps only bytes and opens them on each hit.
    const CONFIDENTIAL: bool;

    /// The name of the whole stack, such as `checked(postcard)`. Entries of another stack are misses.
    fn name(&self) -> String;

    /// Takes what the settings say about this codec. Called once, by `build`.
    ///
    /// What was set on the codec itself wins over `policy`.
    ///
    /// # Errors
    /// If the settings lack something the codec needs, such as a key.
    fn configure(&mut self, policy: &Policy) -> Result<(), Error>;

    /// Appends the bytes of `value` to `out`.
    ///
    /// # Errors
    /// [`ErrorKind::Encode`] if the value cannot be serialized, or would come back as another
    /// one, [`ErrorKind::TooLarge`] above [`Context::max_value_size`]. What was appended then
    /// is garbage.
    fn encode<T: Serialize>(&self, value: &T, context: Context<'_>, out: &mut Vec<u8>) -> Result<(), Error>;

    /// Reads a value from exactly `bytes`.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`] for bytes that are not such a value,
    /// [`ErrorKind::TooLarge`] for a value above [`Context::max_value_size`],
    /// [`ErrorKind::Unauthentic`] for bytes that fail a checksum or a key.
    fn decode<T: DeserializeOwned>(&self, bytes: &[u8], context: Context<'_>) -> Result<T, Error>;
}

/// What the bytes of an entry belong to: its key and its plain header.
///
/// `Checked` covers it, `Encrypted` authenticates it: an entry copied under another key or header is refused. `Debug`
/// shows the length of the header, nothing else.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    key: &'a str,
    header: &'a [u8],
    max_value_size: usize,
    reading: Option<&'a Reading>,
}

impl<'a> Context<'a> {
    /// The context of an entry stored under the key text `key`, behind the bytes `header`, of a value of up to 100 MiB.
    pub fn new(key: &'a str, header: &'a [u8]) -> Self {
        Self { key, header, max_value_size: DEFAULT_MAX_VALUE_SIZE, reading: None }
    }

    /// The same for values of up to so many bytes.
    #[must_use]
    pub fn with_max_value_size(self, bytes: usize) -> Self {
        Self { max_value_size: bytes, ..self }
    }

    /// The same for a value that is to be read back as this type.
    pub(crate) fn read_as(self, reading: &'a Reading) -> Self {
        Self { reading: Some(reading), ..self }
    }

    /// The text of the key.
    pub fn key(self) -> &'a str {
        self.key
    }

    /// The bytes in front of the codec's output.
    pub fn header(self) -> &'a [u8] {
        self.header
    }

    /// The largest value in bytes: what a wrapper hands to the codec inside it, and what a base codec builds of it, elements
    /// of collections by their size in memory. A cache sets it to [`max_value_size`](crate::Settings::max_value_size).
    pub fn max_value_size(self) -> usize {
        self.max_value_size
    }

    /// Reads a `T` from `format`, a deserializer over `bytes`, for codecs of your own: without believing lengths, no
    /// deeper than 256 levels, and of no more memory than [`max_value_size`](Self::max_value_size).
    ///
    /// Whether `format` is at its end is for the codec to see.
    ///
    /// # Errors
    /// [`ErrorKind::TooLarge`] for a value that is larger,
    /// [`ErrorKind::Decode`] for the rest, without what serde says: that may quote the value.
    ///
    /// # Examples
    /// ```
    /// use cachekit::ErrorKind;
    /// use cachekit::codec::Context;
    /// let text = "[1, 2, 3, 4]";
    /// let read = |context: Context<'_>| {
    ///     context.read::<Vec<u64>, _>(text.as_bytes(), &mut serde_json::Deserializer::from_str(text))
    /// };
    /// let context = Context::new("users:42", b"header");
    /// assert_eq!(read(context)?, [1, 2, 3, 4]);
    /// assert_eq!(read(context.with_max_value_size(24)).unwrap_err().kind(), ErrorKind::TooLarge);
    /// # Ok::<(), cachekit::Error>(())
    /// ```
    pub fn read<'de, T: DeserializeOwned, D: Deserializer<'de>>(self, bytes: &[u8], format: D) -> Result<T, Error> {
        let limits = limits::Limits::of(bytes, self);
        limits.read(format).map_err(|_| {
            limits
                .refusal()
                .unwrap_or_else(|| Error::new(ErrorKind::Decode, format!("the bytes are not a `{}`", type_name::<T>())))
        })
    }
}

/// The default of the setting `max_value_size`.
const DEFAULT_MAX_VALUE_SIZE: usize = 100 << 20;

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("header", &self.header.len()).finish_non_exhaustive()
    }
}
