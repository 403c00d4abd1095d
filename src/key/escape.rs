//! How bytes stand in keys.
//!
//! A hit tests its key, so bytes are tested many at a time, and escapes are looked up and not computed.

/// Whether all bytes of a text stand for themselves.
#[inline]
pub(super) fn are_plain(text: &str) -> bool {
    /// By blocks of so many bytes, of which the last may overlap the one before.
    #[inline(always)]
    fn by<const N: usize>(bytes: &[u8]) -> Option<bool> {
        let last = bytes.last_chunk::<N>()?;
        Some(bytes.as_chunks::<N>().0.iter().all(is_plain) && is_plain(last))
    }
    let bytes = text.as_bytes();
    by::<16>(bytes).or_else(|| by::<8>(bytes)).or_else(|| by::<4>(bytes)).or_else(|| by::<1>(bytes)).unwrap_or(true)
}

/// Whether all of these bytes stand for themselves. Without branches, so that the compiler tests many at once.
#[inline(always)]
const fn is_plain<const N: usize>(bytes: &[u8; N]) -> bool {
    let (mut others, mut at) = (0, 0);
    while at < N {
        let byte = bytes[at];
        let is_letter = (byte | 0x20).wrapping_sub(b'a') < 26;
        // From `-` to `9` there are `.`, `/` and the digits.
        let is_digit_or_dot = (byte.wrapping_sub(b'-') < 13) & (byte != b'/');
        others |= !(is_letter | is_digit_or_dot | (byte == b'_')) as u8;
        at += 1;
    }
    others == 0
}

/// Which bytes stand for themselves.
pub(super) static PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        plain[byte] = is_plain(&[byte as u8]);
        byte += 1;
    }
    plain
};

/// The escape of every byte, one after the other: `%00%01%02`...
pub(super) static ESCAPES: [u8; 768] = {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut bytes = [b'%'; 768];
    let mut byte = 0;
    while byte < 256 {
        bytes[byte * 3 + 1] = HEX[byte >> 4];
        bytes[byte * 3 + 2] = HEX[byte & 15];
        byte += 1;
    }
    bytes
};
