//! Zlib around the bytes of another codec.
//!
//! ```text
//! 0  how      00 plain, 01 zlib
//! 1  length   u32 big-endian, bytes before compression      (zlib only)
//! 5  stream   zlib with its own checksum                    (zlib only)
//! ```
//! Small values, and values that do not shrink, stay plain; most of the latter are known before they are compressed
//! (`shrinks`). The states of the compressor are kept, because making one costs more than compressing a small value.

use std::cell::{Cell, RefCell};
use std::hint::black_box;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::shrinks::may_shrink;
use super::{Codec, Context};
use crate::config::Policy;
use crate::error::{Error, ErrorKind};

const PLAIN: u8 = 0;
const ZLIB: u8 = 1;
const HEAD: usize = 5;
const DEFAULT_LEVEL: u32 = 6;
#[cfg(feature = "metrics")]
thread_local! {
    /// The bytes of values before and after compression, on this thread since they were taken last.
    static SIZES: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// Takes what was encoded on this thread since the last time: bytes before compression, and after.
#[cfg(feature = "metrics")]
pub(crate) fn take_sizes() -> (u64, u64) {
    SIZES.take()
}

#[cfg(feature = "metrics")]
fn note_sizes(plain: usize, stored: usize) {
    let (before, after) = SIZES.get();
    SIZES.set((before + plain as u64, after + stored as u64));
}

/// A scratch buffer larger than this is given back after use. Taking a mebibyte from the system anew costs a quarter of
/// decompressing it.
const KEPT: usize = 1024 * 1024 + 64 * 1024;

/// Compresses the bytes of another codec with zlib, if that makes them smaller.
///
/// Whether it does so, and at which level, is what the setters say, else the cache's settings (`compression_enabled`,
/// `compression_level`), else yes and 6. Whatever they say, it reads what any of them wrote.
///
/// Costs one byte an entry. Each thread that compresses keeps about 300 KiB for each level it has used, and up to 1 MiB
/// for the bytes.
///
/// With encryption it goes inside, `Encrypted<Compressed<C>>`; the other way round does not compile, because ciphertext
/// does not shrink:
/// ```
/// use cachekit::codec::{Compressed, Encrypted, Keyring, Postcard};
/// let keyring = Keyring::from_hex(&"ab".repeat(32)).unwrap();
/// let codec = Encrypted::new(Compressed::new(Postcard), keyring);
/// ```
/// ```compile_fail
/// use cachekit::codec::{Compressed, Encrypted, Keyring, Postcard};
/// let keyring = Keyring::from_hex(&"ab".repeat(32)).unwrap();
/// let codec = Compressed::new(Encrypted::new(Postcard, keyring));
/// ```
///
/// # Limits
/// Values above [`MAX_PLAIN`](Self::MAX_PLAIN) bytes, or that shrink more than [`MAX_RATIO`](Self::MAX_RATIO)-fold,
/// stay plain. So do values that would shrink by hardly more than a hundredth, such as images: what they are is told
/// from their bytes, so that they are not compressed in vain. Bytes that claim more than either, or than
/// [`Context::max_value_size`], are refused before they are decompressed.
///
/// # Examples
/// ```
/// use cachekit::Codec;
/// use cachekit::codec::{Compressed, Context, Postcard};
/// let codec = Compressed::new(Postcard).level(9);
/// let (context, mut bytes) = (Context::new("pages:1", b"header"), Vec::new());
/// codec.encode(&"cache ".repeat(1_000), context, &mut bytes)?;
/// assert!(bytes.len() < 100);
/// assert_eq!(codec.decode::<String>(&bytes, context)?, "cache ".repeat(1_000));
/// # Ok::<(), cachekit::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Compressed<C> {
    inner: C,
    level: Option<u32>,
    threshold: Option<usize>,
    enabled: Option<bool>,
}

impl<C: Codec> Compressed<C> {
    /// Values of at most this many bytes stay plain, unless [`threshold`](Self::threshold) says otherwise: 1,024.
    pub const THRESHOLD: usize = 1024;

    /// The most bytes a value has before compression: 512 MiB.
    pub const MAX_PLAIN: usize = 512 * 1024 * 1024;

    /// The most bytes before compression for one byte after.
    pub const MAX_RATIO: usize = 1000;

    /// Compresses the bytes of `inner`.
    pub fn new(inner: C) -> Self {
        const { assert!(!C::CONFIDENTIAL, "ciphertext does not shrink: put Compressed inside of Encrypted") };
        Self { inner, level: None, threshold: None, enabled: None }
    }

    /// Sets the zlib level, 1 (fast) to 9 (small). Another number is an error when the cache is built; used without a
    /// cache, it counts as the nearest of these.
    #[must_use]
    pub fn level(self, level: u32) -> Self {
        Self { level: Some(level), ..self }
    }

    /// Leaves values of at most this many bytes plain. Default [`THRESHOLD`](Self::THRESHOLD).
    #[must_use]
    pub fn threshold(self, bytes: usize) -> Self {
        Self { threshold: Some(bytes), ..self }
    }

    /// Turns compressing on or off; reading is not affected. Default on.
    #[must_use]
    pub fn enabled(self, enabled: bool) -> Self {
        Self { enabled: Some(enabled), ..self }
    }
}

#[deny(clippy::missing_trait_methods)]
impl<C: Codec> Codec for Compressed<C> {
    const CONFIDENTIAL: bool = {
        assert!(!C::CONFIDENTIAL, "ciphertext does not shrink: put Compressed inside of Encrypted");
        false
    };

    fn name(&self) -> String {
        format!("compressed({})", self.inner.name())
    }

    fn configure(&mut self, policy: &Policy) -> Result<(), Error> {
        let level = *self.level.get_or_insert(policy.compression_level);
        self.enabled.get_or_insert(policy.compression);
        if !(1..=9).contains(&level) {
            let message = format!("the compression level is {level}: zlib knows 1 (fast) to 9 (small)");
            return Err(Error::new(ErrorKind::Config, message));
        }
        self.inner.configure(policy)
    }

    fn encode<T: Serialize>(&self, value: &T, context: Context<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
        let start = out.len();
        out.push(PLAIN);
        self.inner.encode(value, context, out)?;
        let length = out.len() - start - 1;
        let worth = length > self.threshold.unwrap_or(Self::THRESHOLD) && length <= Self::MAX_PLAIN;
        if !worth || !self.enabled.unwrap_or(true) {
            return Ok(());
        }
        let level = self.level.unwrap_or(DEFAULT_LEVEL).clamp(1, 9);
        let done = with_scratch(|stream| {
            let plain = &out[start + 1..];
            if !may_shrink(plain)
                || !deflate(plain, level, stream)?
                || length > stream.len().saturating_mul(Self::MAX_RATIO)
            {
                return Ok(());
            }
            let length = length as u32;
            wipe(&mut out[start..]);
            out.truncate(start);
            out.push(ZLIB);
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(stream);
            Ok(())
        });
        #[cfg(feature = "metrics")]
        note_sizes(length, out.len() - start);
        done
    }

    fn decode<T: DeserializeOwned>(&self, bytes: &[u8], context: Context<'_>) -> Result<T, Error> {
        match bytes.split_first() {
            Some((&PLAIN, plain)) => self.inner.decode(plain, context),
            Some((&ZLIB, rest)) => {
                let (length, stream) = rest.split_first_chunk().ok_or_else(damaged)?;
                let length = u32::from_be_bytes(*length) as usize;
                if length > context.max_value_size() {
                    let message = "the entry claims to be larger than the setting max_value_size";
                    return Err(Error::new(ErrorKind::TooLarge, message));
                }
                if length > Self::MAX_PLAIN || length > stream.len().saturating_mul(Self::MAX_RATIO) {
                    return Err(Error::new(ErrorKind::Decode, "the entry claims to be larger than compression allows"));
                }
                with_scratch(|plain| {
                    inflate(stream, length, plain)?;
                    self.inner.decode(plain, context)
                })
            }
            _ => Err(Error::new(ErrorKind::Decode, "the bytes were not written by this codec")),
        }
    }
}

/// Lends a buffer of this thread, empty, and keeps it for the next.
fn with_scratch<R>(work: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    thread_local!(static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) });
    // Taken, not borrowed: a value that itself encodes or decodes finds an empty buffer, not a panic.
    let mut buffer = SCRATCH.take();
    let result = work(&mut buffer);
    wipe(&mut buffer);
    buffer.clear();
    buffer.shrink_to(KEPT);
    SCRATCH.set(buffer);
    result
}

/// Leaves nothing of what was plain, for the sake of an `Encrypted` around this codec.
fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    // Otherwise a compiler may see that the zeros are never read.
    black_box(bytes);
}

/// Fills the empty `stream`. `false` if with its head it would not be smaller than `plain`.
fn deflate(plain: &[u8], level: u32, stream: &mut Vec<u8>) -> Result<bool, Error> {
    thread_local!(static STATES: RefCell<[Option<Compress>; 9]> = const { RefCell::new([const { None }; 9]) });
    let Some(room) = plain.len().checked_sub(HEAD) else { return Ok(false) };
    stream.reserve(room);
    STATES.with_borrow_mut(|states| {
        let state = states[level as usize - 1].get_or_insert_with(|| Compress::new(Compression::new(level), true));
        state.reset();
        let status = state
            .compress_vec(plain, stream, FlushCompress::Finish)
            .map_err(|error| Error::with_source(ErrorKind::Encode, "zlib failed", error))?;
        Ok(status == Status::StreamEnd && stream.len() <= room)
    })
}

/// Fills the empty `plain` with exactly `length` bytes from exactly `stream`.
fn inflate(stream: &[u8], length: usize, plain: &mut Vec<u8>) -> Result<(), Error> {
    thread_local!(static STATE: RefCell<Option<Decompress>> = const { RefCell::new(None) });
    STATE.with_borrow_mut(|state| {
        let state = state.get_or_insert_with(|| Decompress::new(true));
        state.reset(true);
        // The claim is believed as far as the bytes bear it out: the buffer doubles only once it is full.
        plain.reserve(length.min(stream.len().saturating_mul(8)) + 1);
        loop {
            let before = (state.total_in(), state.total_out());
            let status = state
                .decompress_vec(&stream[before.0 as usize..], plain, FlushDecompress::None)
                .map_err(|_| damaged())?;
            if status == Status::StreamEnd {
                break;
            }
            if plain.len() > length {
                return Err(damaged());
            }
            if plain.len() == plain.capacity() {
                plain.reserve(plain.len().min(length - plain.len()) + 1);
            } else if before == (state.total_in(), state.total_out()) {
                return Err(damaged());
            }
        }
        if plain.len() != length || state.total_in() != stream.len() as u64 {
            return Err(damaged());
        }
        Ok(())
    })
}

fn damaged() -> Error {
    Error::new(ErrorKind::Decode, "the compressed bytes are damaged or cut short")
}
