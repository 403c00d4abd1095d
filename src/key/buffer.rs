//! Where the whole text of a key is put together, if anything wants it.

use std::cell::Cell;

thread_local!(static BUFFER: Cell<String> = const { Cell::new(String::new()) });

/// The buffer of this thread, until dropped. Taken, not borrowed: a key type that itself asks a cache finds an empty one,
/// not a panic.
pub(super) struct Buffer(pub(super) String);

impl Buffer {
    /// With these two pieces of a key in it.
    #[inline]
    pub(super) fn of(head: &str, rest: &str) -> Self {
        let mut text = BUFFER.take();
        text.clear();
        text.push_str(head);
        text.push_str(rest);
        Self(text)
    }
}

impl Drop for Buffer {
    #[inline]
    fn drop(&mut self) {
        self.0.shrink_to(4 * 1024);
        BUFFER.set(std::mem::take(&mut self.0));
    }
}
