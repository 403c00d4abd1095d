//! Associated data: what a ciphertext belongs to.
//!
//! ```text
//! 03  then for each part: u32 big-endian length, bytes
//! ```
//! The parts are tenant, key, format, and `True` or `False` for compressed, as in the Python library; what a format has
//! beside that follows. The lengths make it injective: no byte can move from one part to the next unseen.

const VERSION: u8 = 3;

/// Replaces what is in `out`.
pub(super) fn write(out: &mut Vec<u8>, parts: Parts<'_>, further: &[&[u8]]) {
    let Parts { tenant, key, format, compressed } = parts;
    let compressed = if compressed { "True" } else { "False" };
    out.clear();
    out.push(VERSION);
    for part in [tenant, key, format, compressed].map(str::as_bytes).iter().chain(further) {
        // Nothing that gets here is anywhere near 4 GiB: keys and headers are bounded.
        out.extend_from_slice(&(part.len() as u32).to_be_bytes());
        out.extend_from_slice(part);
    }
}

/// The parts that every associated data has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts<'a> {
    pub(super) tenant: &'a str,
    /// As the backend has it.
    pub(super) key: &'a str,
    pub(super) format: &'a str,
    pub(super) compressed: bool,
}
