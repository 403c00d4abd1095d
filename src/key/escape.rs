//! How bytes stand in keys, as tables.
//!
//! A hit writes its key, so what a byte becomes is looked up and not computed.

/// Which bytes stand for themselves.
pub(super) static PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        plain[byte] = (byte as u8).is_ascii_alphanumeric() || matches!(byte as u8, b'.' | b'_' | b'-');
        byte += 1;
    }
    plain
};

/// The escape of every byte, one after the other: `%00%01%02`...
pub(super) static ESCAPES: &str = {
    const BYTES: [u8; 768] = {
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
    match str::from_utf8(&BYTES) {
        Ok(text) => text,
        Err(_) => unreachable!(),
    }
};
