//! Records, as a function of bytes.

use super::record::Record;

/// A record that is read is written as the same bytes.
pub fn record(bytes: &[u8]) {
    if let Some(record) = Record::read(bytes) {
        assert_eq!(record.to_bytes(), bytes);
    }
}
