//! Samples: some entries of a cache.

use std::time::Duration;

use cachekit::backends::AnyBackend;
use cachekit::codec::Standard;
use cachekit::{Cache, EntryState, Stored};
use indicatif::ProgressBar;

use super::failure::Failure;

/// How many keys are asked for at once.
const PAGE: usize = 256;

/// Up to `limit` entries, and whether there are more.
pub(super) async fn take(cache: &Cache<AnyBackend, Standard>, limit: usize) -> Result<(Vec<Stored>, bool), Failure> {
    // Hidden where standard error is no terminal.
    let bar = ProgressBar::new_spinner().with_message("reading entries");
    bar.enable_steady_tick(Duration::from_millis(100));
    let (mut entries, mut after) = (Vec::new(), None);
    loop {
        let sample = cache.sample(after, PAGE.min(limit.max(1))).await?;
        entries.extend(sample.entries);
        after = sample.next;
        bar.set_message(format!("{} entries read", entries.len()));
        if after.is_none() || entries.len() >= limit {
            bar.finish_and_clear();
            let more = after.is_some() || entries.len() > limit;
            entries.truncate(limit);
            return Ok((entries, more));
        }
    }
}

/// What an entry is good for, in a word.
pub(super) fn state(entry: &Stored) -> &'static str {
    match entry.state() {
        EntryState::Missing(_) => "unknown",
        state => state.name(),
    }
}
