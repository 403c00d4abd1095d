//! Paths: what is under one, and how it is moved out of the way.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use std::{fs, io};

use crate::random;

/// Moves whatever is under a name of ours aside. It is kept, since it is not ours.
pub(super) fn set_aside(path: &Path) -> io::Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".aside.{}", unique()));
    present(fs::rename(path, aside)).map(drop)
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

/// The end of a name that no other file has.
pub(super) fn unique() -> String {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos());
    format!("{}.{nanos}{:06}", std::process::id(), random::number() % 1_000_000)
}
