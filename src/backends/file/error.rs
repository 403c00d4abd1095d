//! Errors of the file system, as cache errors.
//!
//! What the program gets back without any change of its own is temporary: space, handles, a directory, a mount that
//! can be written to. A full disk and a read-only one go on being read, and are told from one that cannot be used. What
//! needs another directory or another user is not temporary.

use std::io;

use super::os;
use crate::error::{Error, ErrorKind};

/// For what changes the directory: creating, renaming and removing files.
pub(super) fn directory(error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::PermissionDenied {
        let message = "this user may not write to the cache directory: give it to this user, or choose another";
        return Error::with_source(ErrorKind::Backend, message, error);
    }
    common(error)
}

/// Another directory took the place of the one that was opened, and must not be used.
pub(super) fn replaced(problem: &str) -> Error {
    let message = format!("the cache directory was replaced or opened to others while it was in use: it {problem}");
    Error::new(ErrorKind::Backend, message)
}

/// For what reads or writes one file.
pub(super) fn entry(error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::PermissionDenied {
        let message = "this user may not read a file in the cache directory: remove it, or give it to this user";
        return Error::with_source(ErrorKind::Unavailable, message, error);
    }
    common(error)
}

fn common(error: io::Error) -> Error {
    use io::ErrorKind as Io;
    let (kind, message) = match error.kind() {
        Io::StorageFull | Io::QuotaExceeded => {
            (ErrorKind::ReadOnly, "no space left in the cache directory: free some, or lower its max_size")
        }
        Io::ReadOnlyFilesystem => (
            ErrorKind::ReadOnly,
            "the cache directory is on a read-only file system: mount it writable, or choose another",
        ),
        Io::FileTooLarge => {
            (ErrorKind::TooLarge, "the value is longer than a file may be: see the file system's limit and `ulimit -f`")
        }
        Io::NotFound | Io::NotADirectory => {
            (ErrorKind::Unavailable, "the cache directory is gone: create it again, for this user alone")
        }
        Io::OutOfMemory | Io::ResourceBusy | Io::StaleNetworkFileHandle | Io::TimedOut | Io::WouldBlock => {
            (ErrorKind::Unavailable, "the system lacks the means for a file operation at the moment")
        }
        _ if os::out_of_handles(&error) => {
            (ErrorKind::Unavailable, "too many files are open: raise the limit on open files")
        }
        _ => (ErrorKind::Backend, "a file operation in the cache directory failed: look at the source of this error"),
    };
    Error::with_source(kind, message, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_pass_is_temporary() {
        use io::ErrorKind as Io;
        for (kind, expected) in [
            (Io::StorageFull, ErrorKind::ReadOnly),
            (Io::QuotaExceeded, ErrorKind::ReadOnly),
            (Io::ReadOnlyFilesystem, ErrorKind::ReadOnly),
            (Io::FileTooLarge, ErrorKind::TooLarge),
            (Io::NotFound, ErrorKind::Unavailable),
            (Io::OutOfMemory, ErrorKind::Unavailable),
        ] {
            assert_eq!(directory(kind.into()).kind(), expected, "{kind:?}");
            assert_eq!(entry(kind.into()).kind(), expected, "{kind:?}");
        }
        assert_eq!(directory(Io::Other.into()).kind(), ErrorKind::Backend);
        assert!(directory(Io::StorageFull.into()).to_string().starts_with("no space left in the cache directory"));
    }

    #[test]
    fn a_file_without_permission_is_temporary_a_directory_is_not() {
        assert_eq!(entry(io::ErrorKind::PermissionDenied.into()).kind(), ErrorKind::Unavailable);
        assert_eq!(directory(io::ErrorKind::PermissionDenied.into()).kind(), ErrorKind::Backend);
    }

    #[cfg(unix)]
    #[test]
    fn running_out_of_handles_is_temporary() {
        let error = io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error());
        assert_eq!(directory(error).kind(), ErrorKind::Unavailable);
    }
}
