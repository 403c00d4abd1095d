//! The limits of the File backend.

use std::time::Duration;

/// How much the File backend keeps, and how long it waits for its lock.
///
/// # Examples
/// ```
/// use cachekit::FileLimits;
/// let mut limits = FileLimits::default();
/// limits.max_entries = 500;
/// assert_eq!(limits.max_size, 1024 * 1024 * 1024);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileLimits {
    /// Bytes of all entries together; 1 MiB to 1,000,000 MiB. Default 1,024 MiB.
    pub max_size: u64,
    /// Bytes of one entry; 1 MiB to half of `max_size`. Default 100 MiB.
    pub max_value: u64,
    /// Entries; 100 to 1,000,000. Default 10,000.
    pub max_entries: u64,
    /// How long a write waits for other writers; 0.5 to 30 s. Default 5 s.
    pub lock_timeout: Duration,
}

impl Default for FileLimits {
    fn default() -> Self {
        Self { max_size: 1024 << 20, max_value: 100 << 20, max_entries: 10_000, lock_timeout: Duration::from_secs(5) }
    }
}
