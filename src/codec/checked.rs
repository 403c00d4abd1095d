//! A checksum behind the bytes of another codec.
//!
//! It catches what happens to bytes by accident: flipped bits, cuts, an entry that ended up under another key. It is no
//! secret, so it does not stop a forger; `Encrypted` does.

use serde::Serialize;
use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::Xxh3;

use super::{Codec, Context};
use crate::config::Policy;
use crate::error::{Error, ErrorKind};

/// Appends a 64-bit checksum (XXH3) over key, header and bytes, and checks it before anything is parsed.
///
/// Costs 8 bytes an entry. Put it outside of `Compressed`, so that damaged bytes are not decompressed. The intents
/// `Dev`, `Production` and `Io` add it.
///
/// # Examples
/// ```
/// use cachekit::codec::{Checked, Context, Postcard};
/// use cachekit::{Codec, ErrorKind};
/// let codec = Checked::new(Postcard);
/// let mut bytes = Vec::new();
/// codec.encode(&"ada", Context::new("users:42", b"header"), &mut bytes)?;
/// assert_eq!(codec.decode::<String>(&bytes, Context::new("users:42", b"header"))?, "ada");
/// let moved = codec.decode::<String>(&bytes, Context::new("users:43", b"header"));
/// assert_eq!(moved.unwrap_err().kind(), ErrorKind::Unauthentic);
/// # Ok::<(), cachekit::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Checked<C>(C);

impl<C: Codec> Checked<C> {
    /// Adds a checksum to the bytes of `inner`.
    pub fn new(inner: C) -> Self {
        Self(inner)
    }
}

#[deny(clippy::missing_trait_methods)]
impl<C: Codec> Codec for Checked<C> {
    const CONFIDENTIAL: bool = C::CONFIDENTIAL;

    fn name(&self) -> String {
        format!("checked({})", self.0.name())
    }

    fn configure(&mut self, policy: &Policy) -> Result<(), Error> {
        self.0.configure(policy)
    }

    fn encode<T: Serialize>(&self, value: &T, context: Context<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
        let start = out.len();
        self.0.encode(value, context, out)?;
        let sum = checksum(context, &out[start..]);
        out.extend_from_slice(&sum.to_be_bytes());
        Ok(())
    }

    fn decode<T: DeserializeOwned>(&self, bytes: &[u8], context: Context<'_>) -> Result<T, Error> {
        match bytes.split_last_chunk() {
            Some((body, sum)) if checksum(context, body) == u64::from_be_bytes(*sum) => self.0.decode(body, context),
            _ => Err(Error::new(ErrorKind::Unauthentic, "the checksum does not match: the entry is damaged or moved")),
        }
    }
}

/// Key and header go in behind their lengths, so that no byte can move from one part to the next unseen.
fn checksum(context: Context<'_>, body: &[u8]) -> u64 {
    let mut hasher = Xxh3::new();
    for part in [context.key().as_bytes(), context.header()] {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.update(body);
    hasher.digest()
}
