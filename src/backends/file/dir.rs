//! The directory: where the files of a key are, and whether it is still the one that was opened.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::error;
use super::name::Name;
use super::open;
use super::os;
use super::paths::{look, present, set_aside};
use crate::error::Error;

/// A directory that passed the checks of `open`, by its real path.
#[derive(Debug)]
pub(super) struct Dir {
    path: PathBuf,
    /// What was under the path when it was checked last.
    checked: Mutex<fs::Metadata>,
}

impl Dir {
    pub(super) fn new(path: PathBuf) -> io::Result<Self> {
        let checked = Mutex::new(fs::symlink_metadata(&path)?);
        Ok(Self { path, checked })
    }

    /// Checks a directory that took the place of the one that was checked before, or whose rights have changed: a user
    /// who can put a file into it can put a value into the program.
    pub(super) fn check(&self) -> Result<(), Error> {
        let found = fs::symlink_metadata(&self.path).map_err(error::directory)?;
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if os::same_file(&found, &checked) && os::same_rights(&found, &checked) {
            return Ok(());
        }
        if let Some(problem) = open::fault(&found) {
            return Err(error::replaced(problem));
        }
        *checked = found;
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn entry(&self, name: Name) -> PathBuf {
        self.path.join(name.to_string())
    }

    pub(super) fn lease(&self, name: Name) -> PathBuf {
        self.path.join(format!("{name}.lease"))
    }
}

/// Removes a file; returns whether there was one. A directory in its place is moved aside.
pub(super) fn remove(path: &Path) -> io::Result<bool> {
    match present(fs::remove_file(path)) {
        Err(error) => match look(path)? {
            Some(found) if found.is_dir() => set_aside(path).map(|()| false),
            _ => Err(error),
        },
        removed => removed.map(|removed| removed.is_some()),
    }
}
