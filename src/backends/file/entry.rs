//! Entries: a 14-byte header and the value.
//!
//! `43 4B` magic, `01` version, `00` reserved, flags as a big-endian `u16` (0), expiry in seconds since the epoch as a
//! big-endian `u64` (0 = never). The header has no length and no checksum: files are replaced whole, and what
//! guards the bytes themselves is the codec's business.

use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;

use super::os;
use super::paths::look;
use crate::backends::Lease;

pub(super) const HEADER: usize = 14;
const MAGIC: [u8; 3] = [0x43, 0x4B, 1];

/// What is under the path of an entry.
#[derive(Debug)]
pub(super) enum Found {
    Alive(Alive),
    /// No entry, or what is left alone until a write takes its place: a link, not a file, one that this user may not
    /// read, too large, or with flags of a later version.
    Nothing,
    /// Expired, or not an entry: to be removed while its name still leads to this very file.
    Spoiled(fs::File),
}

/// An entry that has not expired, opened, its header read.
#[derive(Debug)]
pub(super) struct Alive {
    file: fs::File,
    metadata: Metadata,
    /// The second of the epoch at which it expires; 0 is never.
    expiry: u64,
}

/// The header of an entry stored at `now` (milliseconds since the epoch) for `ttl`.
///
/// The expiry is rounded up to whole seconds, so an entry never ends early.
pub(super) fn header(now: u64, ttl: Duration) -> [u8; HEADER] {
    let millis = u128::from(now) + ttl.as_nanos().div_ceil(1_000_000);
    let expiry = u64::try_from(millis.div_ceil(1_000)).unwrap_or(u64::MAX).max(1);
    let mut header = [0; HEADER];
    header[..3].copy_from_slice(&MAGIC);
    header[6..].copy_from_slice(&expiry.to_be_bytes());
    header
}

/// Opens the entry at `path`, whose value is of at most `max_value` bytes.
pub(super) fn find(path: &Path, max_value: u64, now: u64) -> io::Result<Found> {
    let Some((mut file, metadata)) = open(path)? else { return Ok(Found::Nothing) };
    if metadata.len() > max_value.saturating_add(HEADER as u64) {
        return Ok(Found::Nothing);
    }
    Ok(match judge(&mut file)? {
        Verdict::Entry { expiry } if lives(expiry, now) => Found::Alive(Alive { file, metadata, expiry }),
        Verdict::Entry { .. } | Verdict::Spoiled => Found::Spoiled(file),
        Verdict::Foreign => Found::Nothing,
    })
}

/// The value in the bytes of a whole file, `Some(None)` if it is left alone; `None` if it is spoiled.
pub(super) fn value_of(bytes: Bytes, now: u64) -> Option<Option<Bytes>> {
    match Verdict::of(*bytes.first_chunk()?) {
        Verdict::Entry { expiry } if lives(expiry, now) => Some(Some(bytes.slice(HEADER..))),
        Verdict::Entry { .. } | Verdict::Spoiled => None,
        Verdict::Foreign => Some(None),
    }
}

impl Alive {
    /// The value, unless it is the one that was `seen`: of that only the beginning is read.
    pub(super) fn read_unless(mut self, seen: Option<&Bytes>) -> io::Result<Option<Bytes>> {
        let length = self.metadata.len().saturating_sub(HEADER as u64);
        if let Some(seen) = seen.filter(|seen| seen.len() as u64 == length) {
            let seen = &seen[..seen.len().min(Lease::COMPARED)];
            let mut beginning = Vec::with_capacity(seen.len());
            (&mut self.file).take(seen.len() as u64).read_to_end(&mut beginning)?;
            if beginning == seen {
                return Ok(None);
            }
            self.file.seek(SeekFrom::Start(HEADER as u64))?;
        }
        self.read()
    }

    /// The value, unless the file is rewritten in place.
    pub(super) fn read(self) -> io::Result<Option<Bytes>> {
        let length = self.metadata.len().saturating_sub(HEADER as u64);
        let mut value = Vec::new();
        value.try_reserve_exact(usize::try_from(length).map_err(|_| io::ErrorKind::OutOfMemory)?)?;
        let read = self.file.take(length).read_to_end(&mut value)?;
        // Ours never shrink.
        Ok((read as u64 == length).then(|| value.into()))
    }

    /// How much longer the entry is kept; `None` for ever.
    pub(super) fn left(&self, now: u64) -> Option<Duration> {
        let ends = self.expiry.saturating_mul(1_000);
        (self.expiry != 0).then(|| Duration::from_millis(ends.saturating_sub(now)))
    }
}

fn lives(expiry: u64, now: u64) -> bool {
    expiry == 0 || now / 1_000 < expiry
}

/// Opens a regular file of the directory for reading. `None` if there is none, or one that this user may not read: ours
/// are this user's, so it was planted, and the next write takes its place.
pub(super) fn open(path: &Path) -> io::Result<Option<(fs::File, Metadata)>> {
    match os::no_follow(OpenOptions::new().read(true)).open(path) {
        Ok(file) => {
            let metadata = file.metadata()?;
            Ok(metadata.is_file().then_some((file, metadata)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => match look(path)? {
            Some(metadata) if metadata.is_file() && error.kind() != io::ErrorKind::PermissionDenied => Err(error),
            _ => Ok(None),
        },
    }
}

enum Verdict {
    Entry { expiry: u64 },
    Foreign,
    Spoiled,
}

/// Reads the header of an entry, and leaves the file at its value.
fn judge(file: &mut fs::File) -> io::Result<Verdict> {
    let mut header = [0; HEADER];
    match file.read_exact(&mut header) {
        Ok(()) => Ok(Verdict::of(header)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Verdict::Spoiled),
        Err(error) => Err(error),
    }
}

impl Verdict {
    fn of(header: [u8; HEADER]) -> Self {
        let [m0, m1, version, reserved, f0, f1, expiry @ ..] = header;
        if [m0, m1, version] != MAGIC {
            return Self::Spoiled;
        }
        if [reserved, f0, f1] != [0; 3] {
            return Self::Foreign;
        }
        Self::Entry { expiry: u64::from_be_bytes(expiry) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expiry(now: u64, ttl: Duration) -> u64 {
        let header = header(now, ttl);
        assert_eq!(header[..6], [0x43, 0x4B, 1, 0, 0, 0]);
        u64::from_be_bytes(header[6..].try_into().unwrap())
    }

    #[test]
    fn expiry_is_rounded_up_and_never_means_never() {
        assert_eq!(expiry(5_000, Duration::from_secs(60)), 65);
        assert_eq!(expiry(5_001, Duration::from_secs(60)), 66);
        assert_eq!(expiry(5_000, Duration::from_nanos(1)), 6);
        assert_eq!(expiry(0, Duration::ZERO), 1);
        assert_eq!(expiry(u64::MAX, Duration::MAX), u64::MAX);
    }
}
