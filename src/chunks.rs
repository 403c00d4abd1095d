//! Chunks: values larger than one item.
//!
//! The parts are stored first, under reserved keys, then a manifest under the key itself. Their keys and they
//! themselves carry one random write id: a write touches no part of another, so an entry stays whole until its
//! successor is, and a reader who misses a part finds a torn entry and not a wrong value. Parts that no manifest names
//! any more end with their TTL.
//!
//! ```text
//! chunk      C1 01 02 | write id u64 | index u32 | bytes
//! manifest   C1 01 01 | write id u64 | length u64 | chunks u32
//! ```
//! A manifest is believed only if a build could have written it: it names no more chunks than its length takes, and
//! memory is taken for the bytes that come, not for those that it promises.

use bytes::Bytes;

use crate::event::Unreadable;
use crate::frame::{self, Fields, Kind};
use crate::key::Key;
use crate::random;

/// The bytes a chunk needs for itself.
const OVERHEAD: usize = 3 + 8 + 4;
/// The bytes of a manifest.
const MANIFEST: usize = 3 + 8 + 8 + 4;
/// The fewest bytes of a value in a chunk that is not the last.
const MIN_PART: usize = 512;

/// Whether items of `size` bytes can hold a manifest and enough of a value.
pub(crate) fn fit(size: usize) -> bool {
    size >= MANIFEST.max(OVERHEAD + MIN_PART)
}

/// What stands under the key of a split value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Manifest {
    write: u64,
    length: u64,
    chunks: u32,
}

/// Splits `value` into chunks whose stored form is at most `size` bytes, and the manifest that names them.
pub(crate) fn split(key: &Key, value: &Bytes, size: usize) -> (Vec<(Key, Bytes)>, Bytes) {
    let write = random::number();
    let part = size.saturating_sub(OVERHEAD).max(1);
    let chunks: Vec<_> = value
        .chunks(part)
        .zip(0u32..)
        .map(|(bytes, index)| {
            let mut out = Vec::with_capacity(OVERHEAD + bytes.len());
            frame::start(Kind::Chunk, &mut out);
            out.extend_from_slice(&write.to_be_bytes());
            out.extend_from_slice(&index.to_be_bytes());
            out.extend_from_slice(bytes);
            (name(key, write, index), out.into())
        })
        .collect();
    let mut manifest = Vec::with_capacity(MANIFEST);
    frame::start(Kind::Manifest, &mut manifest);
    manifest.extend_from_slice(&write.to_be_bytes());
    manifest.extend_from_slice(&(value.len() as u64).to_be_bytes());
    manifest.extend_from_slice(&(chunks.len() as u32).to_be_bytes());
    (chunks, manifest.into())
}

impl Manifest {
    /// Reads a manifest of a value of at most `max_length` bytes. `None` if `bytes` are none, `Some(Err)` if they claim to
    /// be one that cannot be believed.
    pub(crate) fn read(bytes: &[u8], max_length: usize) -> Option<Result<Self, Unreadable>> {
        let (Kind::Manifest, rest) = frame::kind(bytes)? else { return None };
        let manifest = Self::fields(rest).filter(Self::is_plausible).ok_or(Unreadable::Torn);
        Some(manifest.and_then(|manifest| match manifest.length <= max_length as u64 {
            true => Ok(manifest),
            false => Err(Unreadable::TooLarge),
        }))
    }

    fn fields(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let manifest = Self { write: fields.u64()?, length: fields.u64()?, chunks: fields.u32()? };
        fields.0.is_empty().then_some(manifest)
    }

    fn is_plausible(&self) -> bool {
        (1..=self.length.div_ceil(MIN_PART as u64)).contains(&u64::from(self.chunks))
    }

    /// The keys of the chunks, in order.
    pub(crate) fn keys(&self, key: &Key) -> impl Iterator<Item = Key> {
        let (key, write) = (key.clone(), self.write);
        (0..self.chunks).map(move |index| name(&key, write, index))
    }

    /// Adds the chunk with this index to what was read before. `None` if it is not of this write.
    pub(crate) fn add(&self, index: u32, chunk: &[u8], whole: &mut Vec<u8>) -> Option<()> {
        let (Kind::Chunk, rest) = frame::kind(chunk)? else { return None };
        let mut fields = Fields(rest);
        let ours = fields.u64()? == self.write && fields.u32()? == index;
        let fits = (whole.len() + fields.0.len()) as u64 <= self.length;
        let is_last = index + 1 == self.chunks;
        let is_whole = fields.0.len() >= if is_last { 1 } else { MIN_PART };
        if !ours || !fits || !is_whole {
            return None;
        }
        whole.extend_from_slice(fields.0);
        Some(())
    }

    /// Whether `whole` has all bytes.
    pub(crate) fn is_complete(&self, whole: &[u8]) -> bool {
        whole.len() as u64 == self.length
    }
}

fn name(key: &Key, write: u64, index: u32) -> Key {
    key.reserved(&format!("chunk:{write:016x}:{index}"))
}
