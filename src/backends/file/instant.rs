//! Reads that wait for no disk.
//!
//! The system keeps files that were read or written recently in its memory. Reading a small one from there takes a few
//! microseconds, less than handing the work to another thread and back. Linux reads on the condition that it need not
//! wait, so such entries are read where the call is. All else is left to a blocking thread: what is on the disk, is
//! long or spoiled, and what lies on a file system that has no such reads.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::Bytes;

use super::entry;
use super::os;

/// The most bytes of a file that is read at once: more take longer than the way to another thread and back.
const MOST: usize = 64 * 1024;

/// Reads at once, of one directory.
#[derive(Debug, Default)]
pub(super) struct Instant {
    /// The system, or the file system, has none.
    is_refused: AtomicBool,
}

impl Instant {
    /// The value under a path, `Some(None)` if there is none. `None` if that cannot be told at once.
    pub(super) fn read(&self, path: &Path, now: u64) -> Option<Option<Bytes>> {
        if self.is_refused.load(Relaxed) {
            return None;
        }
        match os::read_at_once(path, MOST) {
            Ok(bytes) => entry::value_of(bytes.into(), now),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(None),
            Err(error) => {
                if os::has_none(&error) {
                    self.is_refused.store(true, Relaxed);
                }
                None
            }
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::fs;
    use std::time::Duration;

    #[test]
    fn what_is_in_memory_is_read_and_all_else_is_left_to_others() {
        let directory = tempfile::tempdir().unwrap();
        let (path, instant) = (directory.path().join("entry"), Instant::default());
        let store =
            |value: &[u8]| fs::write(&path, [&entry::header(5_000, Duration::from_secs(1)), value].concat()).unwrap();
        store(b"ada");
        let read = instant.read(&path, 5_000);
        if instant.is_refused.load(Relaxed) {
            assert_eq!(read, None, "this system, or its file system, has no such reads");
            return;
        }
        assert_eq!(read, Some(Some("ada".into())));
        assert_eq!(instant.read(&path, 6_000), None, "expired: to be removed under the lock");
        store(&vec![7; MOST - entry::HEADER]);
        assert_eq!(instant.read(&path, 5_000), Some(Some(vec![7; MOST - entry::HEADER].into())));
        store(&vec![7; MOST - entry::HEADER + 1]);
        assert_eq!(instant.read(&path, 5_000), None, "long");
        fs::write(&path, "garbage that is no entry").unwrap();
        assert_eq!(instant.read(&path, 5_000), None);
        fs::write(&path, "").unwrap();
        assert_eq!(instant.read(&path, 5_000), None);
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(instant.read(&link, 5_000), None, "links are not followed");
        assert_eq!(instant.read(directory.path(), 5_000), None, "a directory");
        let other = directory.path().join("other");
        assert!(fs::metadata(&other).is_err());
        assert_eq!(instant.read(&other, 5_000), Some(None), "the system knows by now that there is no such file");
        assert!(!instant.is_refused.load(Relaxed));
    }
}
