//! What is odd about the directory: how full it is, and what it lies on.

use super::evict::{self, HIGH};
use super::ledger::Caps;
use super::os;
use super::store::Store;
use crate::finding::Finding;

/// Below this share of the largest size, in percent, the disk ends before the cache does.
const SCARCE: u64 = 10;

pub(super) fn findings(store: &Store) -> Vec<Finding> {
    let path = store.dir.path();
    let mut found = Vec::new();
    if let Err(error) = store.ping() {
        found.push(Finding::of_error(&error).follows("no entry is stored there"));
    }
    match evict::count(path) {
        Ok(totals) => {
            let (entries, bytes) = (store.limits.max_entries, store.limits.max_size);
            found.push(Finding::note(format!(
                "{} of {entries} files, {} of {} MiB in use",
                totals.entries,
                totals.bytes >> 20,
                bytes >> 20
            )));
            if !totals.within(HIGH, &Caps::of(&store.limits, 0)) {
                let fix = "raise CACHEKIT_FILE_MAX_SIZE_MB or CACHEKIT_FILE_MAX_ENTRY_COUNT";
                found.push(
                    Finding::warning("the directory is full", fix).follows("the oldest entries are removed early"),
                );
            }
        }
        Err(error) => {
            let found_out = format!("the directory cannot be listed ({})", error.kind());
            found.push(Finding::error(found_out, "make it readable to this user, or choose another"));
        }
    }
    found.extend(os::free_bytes(path).map(|free| disk(free, store.limits.max_size)));
    if os::is_remote(path) {
        let fix = "choose a directory on a disk of this machine, or another backend";
        let odd = Finding::warning("the directory lies on a network file system", fix);
        found.push(odd.follows("its locks may not hold between machines"));
    }
    found
}

fn disk(free: u64, max_size: u64) -> Finding {
    let found = format!("{} MiB are free on its disk", free >> 20);
    if free >= max_size / 100 * SCARCE {
        return Finding::note(found);
    }
    let fix = "make room, or lower CACHEKIT_FILE_MAX_SIZE_MB";
    Finding::warning(found, fix).follows("the disk is full before the cache is, and nothing more is stored")
}
