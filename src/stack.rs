//! How much stack a recursion has used.
//!
//! A bound on depth alone does not prevent an overflow: one level of a struct of a kilobyte takes many times that in a
//! debug build. Threads have 2 MiB by default.

use std::hint::black_box;

/// How much stack reading one value may take, in bytes.
const MAX_STACK: usize = 768 * 1024;

/// Where on the stack a recursion began.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct StackMark(usize);

impl StackMark {
    /// The position of the caller.
    pub(crate) fn here() -> Self {
        let local = 0u8;
        Self(std::ptr::from_ref(black_box(&local)).addr())
    }

    /// Whether the caller is further from this mark than a recursion may go.
    pub(crate) fn is_far(self) -> bool {
        self.0.abs_diff(Self::here().0) > MAX_STACK
    }
}
