//! Entries: a 14-byte header and the value.
//!
//! `43 4B` magic, `01` version, `00` reserved, flags as a big-endian `u16` (0), expiry in seconds since the epoch as a
//! big-endian `u64` (0 = never). The header has no length and no checksum: files are replaced whole, and what
//! guards the bytes themselves is the codec's business.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;

use super::dir::look;
use super::os;

pub(super) const HEADER: usize = 14;
const MAGIC: [u8; 3] = [0x43, 0x4B, 1];

/// What reading an entry gave.
#[derive(Debug)]
pub(super) enum Found {
    Value(Bytes),
    /// No entry, or a file that is left alone: a link, not a file, too large, or with flags of a later version.
    Nothing,
    /// Expired, or not an entry: to be removed while its name still leads to this very file.
    Spoiled(fs::File),
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

/// Reads the entry at `path`, allocating at most `max_value` bytes.
pub(super) fn read(path: &Path, max_value: u64, now: u64) -> io::Result<Found> {
    let Some(mut file) = open(path)? else { return Ok(Found::Nothing) };
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > max_value.saturating_add(HEADER as u64) {
        return Ok(Found::Nothing);
    }
    match judge(&mut file, now)? {
        Verdict::Good(_) => {}
        Verdict::Foreign => return Ok(Found::Nothing),
        Verdict::Spoiled => return Ok(Found::Spoiled(file)),
    }
    let length = metadata.len().saturating_sub(HEADER as u64);
    let mut value = Vec::new();
    value.try_reserve_exact(usize::try_from(length).map_err(|_| io::ErrorKind::OutOfMemory)?)?;
    let read = file.take(length).read_to_end(&mut value)?;
    // Ours never shrink: somebody rewrites this file in place.
    if read as u64 != length {
        return Ok(Found::Nothing);
    }
    Ok(Found::Value(value.into()))
}

/// Opens a file of the directory for reading; `None` if there is none, or if it is no regular file.
pub(super) fn open(path: &Path) -> io::Result<Option<fs::File>> {
    match os::no_follow(OpenOptions::new().read(true)).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => match look(path)? {
            Some(metadata) if metadata.is_file() => Err(error),
            _ => Ok(None),
        },
    }
}

/// How much longer the entry at `path` lives; `Some(None)` for ever.
pub(super) fn left(path: &Path, now: u64) -> io::Result<Option<Option<Duration>>> {
    let Some(mut file) = open(path)? else { return Ok(None) };
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let Verdict::Good(expiry) = judge(&mut file, now)? else { return Ok(None) };
    let left = Duration::from_millis(expiry.saturating_mul(1_000).saturating_sub(now));
    Ok(Some((expiry != 0).then_some(left)))
}

/// Gives the entry at `path` a new life. `false` if there is none.
pub(super) fn touch(path: &Path, now: u64, ttl: Duration) -> io::Result<bool> {
    let mut file = match os::no_follow(OpenOptions::new().read(true).write(true)).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    if !file.metadata()?.is_file() {
        return Ok(false);
    }
    let Verdict::Good(_) = judge(&mut file, now)? else { return Ok(false) };
    file.seek(SeekFrom::Start(6))?;
    file.write_all(&header(now, ttl)[6..])?;
    Ok(true)
}

enum Verdict {
    /// Alive, until this second of the epoch; 0 is for ever.
    Good(u64),
    Foreign,
    Spoiled,
}

/// Reads the header of an entry, and leaves the file at its value.
fn judge(file: &mut fs::File, now: u64) -> io::Result<Verdict> {
    let mut header = [0; HEADER];
    match file.read_exact(&mut header) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Verdict::Spoiled),
        Err(error) => return Err(error),
    }
    let [m0, m1, version, reserved, f0, f1, expiry @ ..] = header;
    if [m0, m1, version] != MAGIC {
        return Ok(Verdict::Spoiled);
    }
    if [reserved, f0, f1] != [0; 3] {
        return Ok(Verdict::Foreign);
    }
    let expiry = u64::from_be_bytes(expiry);
    Ok(if expiry != 0 && now / 1_000 >= expiry { Verdict::Spoiled } else { Verdict::Good(expiry) })
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
