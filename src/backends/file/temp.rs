//! Temporary files: written aside, then renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::name::Name;
use super::os;
use super::paths::{look, set_aside, unique};

/// A file on its way to its name. Removed when dropped before it gets there.
#[derive(Debug)]
pub(super) struct Temp {
    path: PathBuf,
    placed: bool,
}

impl Temp {
    /// Writes `parts` to a new file in `directory`, and waits until the disk has them.
    pub(super) fn write(directory: &Path, name: Name, parts: &[&[u8]]) -> io::Result<Self> {
        let (temp, mut file) = Self::create(directory, name)?;
        for part in parts {
            file.write_all(part)?;
        }
        file.sync_all()?;
        Ok(temp)
    }

    /// Creates an empty file and removes it: whether this user can write here.
    pub(super) fn probe(directory: &Path) -> io::Result<()> {
        let (mut temp, _) = Self::create(directory, Name::PROBE)?;
        temp.placed = true;
        fs::remove_file(&temp.path)
    }

    /// Gives the file its name, whatever was there before. A directory is moved aside.
    pub(super) fn place(mut self, path: &Path) -> io::Result<()> {
        if let Err(error) = fs::rename(&self.path, path) {
            if !look(path)?.is_some_and(|found| found.is_dir()) {
                return Err(error);
            }
            set_aside(path)?;
            fs::rename(&self.path, path)?;
        }
        self.placed = true;
        Ok(())
    }

    fn create(directory: &Path, name: Name) -> io::Result<(Self, File)> {
        let path = directory.join(format!("{name}.tmp.{}", unique()));
        let mut options = OpenOptions::new();
        let file = os::private(os::no_follow(options.write(true).create_new(true))).open(&path)?;
        Ok((Self { path, placed: false }, file))
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        if !self.placed {
            // What cannot be removed now is removed by age, when the directory is scanned.
            let _ = fs::remove_file(&self.path);
        }
    }
}
