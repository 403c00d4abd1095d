//! Buffers of a thread for reading what is encrypted.
//!
//! A buffer for each read would cost as much as a small read itself. What was plain in one is wiped right after its
//! use, also where that ends in a panic.

use std::cell::Cell;

use zeroize::Zeroize;

/// A buffer larger than this is given back after use.
const KEPT: usize = 1024 * 1024 + 64 * 1024;

#[derive(Default)]
pub(super) struct Scratch {
    pub(super) aad: Vec<u8>,
    pub(super) plain: Buffer,
}

/// Bytes that are wiped between uses.
#[derive(Default)]
pub(super) struct Buffer(Vec<u8>);

/// The bytes of one use.
pub(super) struct Use<'a>(&'a mut Vec<u8>);

impl Scratch {
    /// Lends the buffers of this thread.
    pub(super) fn with<R>(work: impl FnOnce(&mut Self) -> R) -> R {
        thread_local!(static SCRATCH: Cell<Option<Scratch>> = const { Cell::new(None) });
        // Taken, not borrowed: a value that itself reads from a cache finds other buffers, not a panic.
        let mut scratch = SCRATCH.take().unwrap_or_default();
        let result = work(&mut scratch);
        if scratch.plain.0.capacity() <= KEPT {
            SCRATCH.set(Some(scratch));
        }
        result
    }
}

impl Buffer {
    /// A copy of `bytes`, wiped when it is dropped.
    pub(super) fn copy_of(&mut self, bytes: &[u8]) -> Use<'_> {
        self.0.clear();
        self.0.extend_from_slice(bytes);
        Use(&mut self.0)
    }
}

impl Use<'_> {
    pub(super) fn bytes(&mut self) -> &mut [u8] {
        self.0
    }
}

impl Drop for Use<'_> {
    fn drop(&mut self) {
        self.0[..].zeroize();
    }
}
