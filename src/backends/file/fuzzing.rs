//! Entries in files, as a function of bytes.

use std::fs;

use super::entry::{self, Found, HEADER};

/// A file of these bytes is an entry whose value is the rest of it, or none.
pub fn file_entry(bytes: &[u8]) {
    let name = format!("cachekit-fuzz-{}-{:?}", std::process::id(), std::thread::current().id());
    let path = std::env::temp_dir().join(name);
    fs::write(&path, bytes).expect("there is room for it");
    let found = entry::find(&path, 1 << 10, 5_000).expect("it can be read");
    if let Found::Alive(alive) = found {
        assert!(bytes.len() <= HEADER + (1 << 10) && alive.left(5_000).is_none_or(|left| !left.is_zero()));
        assert_eq!(alive.read().expect("it can be read").as_deref(), Some(&bytes[HEADER..]));
    }
    fs::remove_file(&path).expect("it is there");
}
