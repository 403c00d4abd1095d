//! The two places where entries are kept.

/// A place where a cache keeps entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tier {
    /// The memory of the process.
    L1,
    /// The backend.
    L2,
}
