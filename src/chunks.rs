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
//! Chunks go in batches, some MiB at once, so that a long value neither waits for each of its chunks nor takes its own
//! length again while it is under way.
//!
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

/// The bytes of the chunks in one batch, unless one chunk has more.
const BATCH: usize = 4 << 20;
/// The most chunks in one batch. They may be longer than their manifest says.
const MOST: usize = 16;
/// How many batches are under way at once.
pub(crate) const WIDTH: usize = 2;

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

/// A value that is to be stored in chunks.
#[derive(Debug)]
pub(crate) struct Split<'a> {
    key: &'a Key,
    value: &'a Bytes,
    /// The bytes of the value in each chunk but the last.
    part: usize,
    write: u64,
}

impl<'a> Split<'a> {
    /// Splits `value` into chunks whose stored form is at most `size` bytes.
    pub(crate) fn new(key: &'a Key, value: &'a Bytes, size: usize) -> Self {
        Self { key, value, part: size.saturating_sub(OVERHEAD).max(1), write: random::number() }
    }

    /// The chunks, copied batch by batch as they are asked for.
    pub(crate) fn batches(&self) -> impl Iterator<Item = Vec<(Key, Bytes)>> {
        let count = per_batch(self.part);
        let parts = self.value.chunks(self.part.saturating_mul(count));
        parts.zip((0u32..).step_by(count)).map(move |(parts, first)| {
            let chunk = |(part, index)| (name(self.key, self.write, index), self.chunk(index, part));
            parts.chunks(self.part).zip(first..).map(chunk).collect()
        })
    }

    fn chunk(&self, index: u32, part: &[u8]) -> Bytes {
        let mut out = Vec::with_capacity(OVERHEAD + part.len());
        frame::start(Kind::Chunk, &mut out);
        out.extend_from_slice(&self.write.to_be_bytes());
        out.extend_from_slice(&index.to_be_bytes());
        out.extend_from_slice(part);
        out.into()
    }

    /// What names the chunks.
    pub(crate) fn manifest(&self) -> Bytes {
        let mut out = Vec::with_capacity(MANIFEST);
        frame::start(Kind::Manifest, &mut out);
        out.extend_from_slice(&self.write.to_be_bytes());
        out.extend_from_slice(&(self.value.len() as u64).to_be_bytes());
        out.extend_from_slice(&(self.value.len().div_ceil(self.part) as u32).to_be_bytes());
        out.into()
    }
}

/// How many chunks of so many bytes are a batch.
fn per_batch(part: usize) -> usize {
    (BATCH / part).clamp(1, MOST)
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

    /// The keys of the chunks in order, batch by batch.
    pub(crate) fn batches(&self, key: &Key) -> impl Iterator<Item = Vec<Key>> {
        let (key, write, chunks, count) = (key.clone(), self.write, self.chunks, per_batch(self.longest_part()));
        (0..chunks).step_by(count).map(move |first| {
            let end = chunks.min(first.saturating_add(count as u32));
            (first..end).map(|index| name(&key, write, index)).collect()
        })
    }

    /// The most bytes that a chunk is stored as.
    pub(crate) fn longest_chunk(&self) -> usize {
        self.longest_part().saturating_add(OVERHEAD)
    }

    /// All parts but the last are of one length, and the last has a byte.
    fn longest_part(&self) -> usize {
        let others = u64::from(self.chunks.saturating_sub(1)).max(1);
        usize::try_from(self.length / others).unwrap_or(usize::MAX).max(1)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_value_is_rejoined_from_batches_of_bounded_size() {
        let key = Key::new("pages", 1).unwrap();
        for (length, size) in [(1, 600), (513, 600), (600 * 600, 600), (20 << 20, 1 << 20), (9 << 20, 5 << 20)] {
            let value: Bytes = (0..length).map(|n| ((n * 31) >> 7) as u8).collect();
            let split = Split::new(&key, &value, size);
            let manifest = Manifest::read(&split.manifest(), usize::MAX).unwrap().unwrap();
            let (mut whole, mut index) = (Vec::new(), 0);
            for (batch, keys) in split.batches().zip(manifest.batches(&key)) {
                assert_eq!(batch.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>(), keys, "{length} by {size}");
                let bytes: usize = batch.iter().map(|(_, chunk)| chunk.len()).sum();
                assert!(batch.len() == 1 || batch.len() <= MOST && bytes <= BATCH + MOST * OVERHEAD);
                for (_, chunk) in batch {
                    assert!(chunk.len() <= size.min(manifest.longest_chunk()));
                    manifest.add(index, &chunk, &mut whole).unwrap();
                    index += 1;
                }
            }
            assert!(manifest.is_complete(&whole) && whole == value, "{length} by {size}");
            assert_eq!(index, manifest.chunks);
        }
    }
}
