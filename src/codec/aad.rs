//! Associated data: what a ciphertext belongs to.
//!
//! ```text
//! 03  then for each part: u32 big-endian length, bytes
//! ```
//! The parts are tenant, key, format, and `True` or `False` for compressed, as in the Python library; what a format has
//! beside that follows. The lengths make it injective: no byte can move from one part to the next unseen.

const VERSION: u8 = 3;

/// What is the same in the associated data of all entries of a codec and a tenant, written once.
#[derive(Debug)]
pub(super) struct Binding {
    /// Version and tenant.
    head: Vec<u8>,
    /// Format and compressed.
    tail: Vec<u8>,
}

impl Binding {
    pub(super) fn new(tenant: &str, format: &str, compressed: bool) -> Self {
        let (mut head, mut tail) = (vec![VERSION], Vec::new());
        part(&mut head, tenant.as_bytes());
        part(&mut tail, format.as_bytes());
        part(&mut tail, if compressed { b"True" } else { b"False" });
        Self { head, tail }
    }

    /// Replaces what is in `out` by the associated data of the entry stored under `key`.
    #[inline]
    pub(super) fn write(&self, out: &mut Vec<u8>, key: &str, further: &[&[u8]]) {
        out.clear();
        out.extend_from_slice(&self.head);
        part(out, key.as_bytes());
        out.extend_from_slice(&self.tail);
        further.iter().for_each(|bytes| part(out, bytes));
    }
}

#[inline]
fn part(out: &mut Vec<u8>, bytes: &[u8]) {
    // Nothing that gets here is anywhere near 4 GiB: keys and headers are bounded.
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}
