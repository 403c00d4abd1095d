//! What must hold before a directory is used.
//!
//! A user who can put a file into the directory can put a value into the program, so a directory that others own, can
//! write to, or can redirect is refused.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::os;
use super::temp::Temp;
use crate::config::FileLimits;
use crate::error::{Error, ErrorKind};

/// Checks the limits; every problem is told at once.
pub(super) fn limits(limits: &FileLimits) -> Result<(), Error> {
    const MIB: u64 = 1 << 20;
    let mut problems = Vec::new();
    if !(MIB..=1_000_000 * MIB).contains(&limits.max_size) {
        problems.push("max_size (CACHEKIT_FILE_MAX_SIZE_MB) must be 1 to 1,000,000 MiB: choose a value in that range");
    }
    if !(MIB..=limits.max_size / 2).contains(&limits.max_value) {
        problems.push(
            "max_value (CACHEKIT_FILE_MAX_VALUE_MB) must be 1 MiB to half of max_size: lower it, or raise max_size",
        );
    }
    if !(100..=1_000_000).contains(&limits.max_entries) {
        problems
            .push("max_entries (CACHEKIT_FILE_MAX_ENTRY_COUNT) must be 100 to 1,000,000: choose a value in that range");
    }
    if !(Duration::from_millis(500)..=Duration::from_secs(30)).contains(&limits.lock_timeout) {
        problems.push(
            "lock_timeout (CACHEKIT_FILE_LOCK_TIMEOUT_SECONDS) must be 0.5 to 30 s: choose a value in that range",
        );
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Config, problems.join("\n")))
}

/// Makes `asked` ready for use, and returns its real path.
pub(super) fn directory(asked: &Path) -> Result<PathBuf, Error> {
    // Without a trailing slash, which would have the system follow a link.
    let path: PathBuf = asked.components().collect();
    if path.as_os_str().is_empty() {
        return Err(refused(&path, "has an empty name: name a directory", None));
    }
    if let Err(error) = fs::symlink_metadata(&path) {
        if error.kind() != io::ErrorKind::NotFound {
            return Err(refused(&path, "cannot be looked at: make its parents accessible to this user", Some(error)));
        }
        let advice = "cannot be created: create it for this user, or choose another";
        os::create_dir(&path).map_err(|error| refused(&path, advice, Some(error)))?;
    }
    let gone = |error| refused(&path, "disappeared while it was opened: let nobody else remove it", Some(error));
    let metadata = fs::symlink_metadata(&path).map_err(gone)?;
    if let Some(problem) = fault(&metadata) {
        return Err(refused(&path, problem, None));
    }
    match Temp::probe(&path) {
        // A full disk passes; a cache on one must not keep the program from starting.
        Err(error) if !matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
            let advice = "cannot be written to by this user: make it writable, or choose another";
            Err(refused(&path, advice, Some(error)))
        }
        _ => fs::canonicalize(&path).map_err(gone),
    }
}

/// Why what was found under the path of a cache directory must not be used, and what to do about it.
pub(super) fn fault(found: &fs::Metadata) -> Option<&'static str> {
    if found.is_symlink() {
        return Some("is a symbolic link: name the directory it leads to");
    }
    if !found.is_dir() {
        return Some("is not a directory: name a directory, or remove that file");
    }
    os::intruders(found)
}

fn refused(path: &Path, problem: &str, source: Option<io::Error>) -> Error {
    let message = format!("the cache directory {} (CACHEKIT_FILE_CACHE_DIR) {problem}", path.display());
    match source {
        Some(source) => Error::with_source(ErrorKind::Config, message, source),
        None => Error::new(ErrorKind::Config, message),
    }
}
