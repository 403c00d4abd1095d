//! Leases: a small file beside the entry.
//!
//! `43 4B 4C 01`, end in milliseconds since the epoch, token; big-endian. Created and removed under the lock only. A
//! file of any other shape is no lease, so a writer that dies half way leaves nothing that holds.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use super::entry;
use super::os;

const LENGTH: usize = 28;
const MAGIC: [u8; 4] = [0x43, 0x4B, 0x4C, 1];

/// A lease as the directory keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) token: u128,
    /// Milliseconds since the epoch.
    pub(super) ends: u64,
}

impl Note {
    /// The lease at `path`, if there is one that has not ended.
    pub(super) fn live(path: &Path, now: u64) -> io::Result<Option<Self>> {
        let Some((file, _)) = entry::open(path)? else { return Ok(None) };
        let mut bytes = Vec::with_capacity(LENGTH + 1);
        file.take(LENGTH as u64 + 1).read_to_end(&mut bytes)?;
        Ok(Self::decode(&bytes).filter(|note| now < note.ends))
    }

    /// Writes the lease to a new file. Not synced: after a crash of the system no process holds a lease.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let mut options = fs::OpenOptions::new();
        let mut file = os::private(os::no_follow(options.write(true).create_new(true))).open(path)?;
        file.write_all(&self.encode()).inspect_err(|_| {
            let _ = fs::remove_file(path);
        })
    }

    fn encode(&self) -> [u8; LENGTH] {
        let mut out = [0; LENGTH];
        out[..4].copy_from_slice(&MAGIC);
        out[4..12].copy_from_slice(&self.ends.to_be_bytes());
        out[12..].copy_from_slice(&self.token.to_be_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (ends, token) = bytes.strip_prefix(&MAGIC)?.split_first_chunk()?;
        let token = token.try_into().ok()?;
        Some(Self { token: u128::from_be_bytes(token), ends: u64::from_be_bytes(*ends) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_note_is_one() {
        let note = Note { token: 7 << 100, ends: 1_700_000_000_000 };
        let bytes = note.encode();
        assert_eq!(Note::decode(&bytes), Some(note));
        for length in 0..LENGTH {
            assert_eq!(Note::decode(&bytes[..length]), None, "{length} bytes");
        }
        assert_eq!(Note::decode(&[&bytes[..], &[0]].concat()), None);
        assert_eq!(Note::decode(&[0; LENGTH]), None);
    }
}
