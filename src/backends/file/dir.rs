//! The directory: where the files of a key are.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::name::Name;

/// The real path of a directory that passed the checks of `open`.
#[derive(Debug)]
pub(super) struct Dir(PathBuf);

impl Dir {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn entry(&self, name: Name) -> PathBuf {
        self.0.join(name.to_string())
    }

    pub(super) fn lease(&self, name: Name) -> PathBuf {
        self.0.join(format!("{name}.lease"))
    }
}

/// Removes a file; returns whether there was one.
pub(super) fn remove(path: &Path) -> io::Result<bool> {
    present(fs::remove_file(path)).map(|removed| removed.is_some())
}

/// Looks at a file without following links; `None` if there is none.
pub(super) fn look(path: &Path) -> io::Result<Option<fs::Metadata>> {
    present(fs::symlink_metadata(path))
}

/// Turns "not found" into `None`.
pub(super) fn present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
