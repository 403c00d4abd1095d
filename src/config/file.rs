//! The limits of the File backend.

use std::path::PathBuf;
use std::time::Duration;

use super::parse;
use super::problem::{Fault, Problem};
use super::variables::Variables;

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

/// What the environment says about the File backend.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileSettings {
    /// Where the entries are. Default `cachekit` in the directory for temporary files.
    pub directory: PathBuf,
    /// How much is kept there.
    pub limits: FileLimits,
}

impl Default for FileSettings {
    fn default() -> Self {
        Self { directory: std::env::temp_dir().join("cachekit"), limits: FileLimits::default() }
    }
}

impl FileSettings {
    pub(super) fn read(vars: &Variables, problems: &mut Vec<Problem>) -> Self {
        let default = Self::default();
        let directory = vars.cachekit_file_cache_dir.read(problems, |text| Ok(PathBuf::from(text)));
        let size: Option<u64> = vars.cachekit_file_max_size_mb.read(problems, parse::whole(1..=1_000_000, 1_024));
        let max_size = size.map_or(default.limits.max_size, |megabytes| megabytes << 20);
        let max_value = vars.cachekit_file_max_value_mb.read(problems, |text| value_limit(text, max_size));
        let entries = vars.cachekit_file_max_entry_count.read(problems, parse::whole(100..=1_000_000, 10_000));
        let lock = vars.cachekit_file_lock_timeout_seconds.read(problems, parse::seconds_of(0.5..=30.0, "5.0"));
        let limits = FileLimits {
            max_size,
            // A small cache needs no second setting: the default gives way to the half.
            max_value: max_value.unwrap_or(default.limits.max_value.min(max_size / 2)),
            max_entries: entries.unwrap_or(default.limits.max_entries),
            lock_timeout: lock.unwrap_or(default.limits.lock_timeout),
        };
        Self { directory: directory.unwrap_or(default.directory), limits }
    }
}

/// Bytes of a limit in whole MB, of at most half of `max_size`.
fn value_limit(text: &str, max_size: u64) -> Result<u64, Fault> {
    let bytes = parse::whole::<u64>(1..=1_000_000, 100)(text)? << 20;
    if bytes <= max_size / 2 {
        return Ok(bytes);
    }
    let rule = format!("must be at most half of CACHEKIT_FILE_MAX_SIZE_MB, which is {}", max_size >> 20);
    Err(Fault::new(rule, "lower it, or raise CACHEKIT_FILE_MAX_SIZE_MB"))
}
