//! The ceiling: the size from which on a server takes no values.
//!
//! A server, or a proxy before it, may take less than Redis does, and many end the connection over a longer value. What
//! was refused once is not sent again for a while, nor is anything as long.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::error::{Error, ErrorKind};

/// What is known of one backend.
pub(super) struct Ceiling {
    /// The length of the shortest value that was refused lately; `usize::MAX` if none was.
    refused: AtomicUsize,
    /// Until when that counts.
    until: Mutex<Option<Instant>>,
}

/// The largest value a server takes: 512 MB.
pub(super) const MAX_VALUE: usize = 512 * 1024 * 1024;
/// How long a refusal is remembered.
const REMEMBERED: Duration = Duration::from_secs(30);

impl Ceiling {
    pub(super) fn new() -> Self {
        Self { refused: AtomicUsize::new(usize::MAX), until: Mutex::new(None) }
    }

    /// Refuses a value of so many bytes if a value of that length or a shorter one was refused lately.
    pub(super) fn check(&self, bytes: usize, place: &str) -> Result<(), Error> {
        let refused = self.refused.load(Relaxed);
        if bytes < refused {
            return Ok(());
        }
        self.check_time(bytes, refused, place)
    }

    #[cold]
    fn check_time(&self, bytes: usize, refused: usize, place: &str) -> Result<(), Error> {
        // Nothing under the lock panics.
        let Ok(mut until) = self.until.lock() else { return Ok(()) };
        if until.is_some_and(|until| Instant::now() < until) {
            return Err(not_sent(bytes, refused, place));
        }
        *until = None;
        self.refused.store(usize::MAX, Relaxed);
        Ok(())
    }

    /// A value of so many bytes was refused for its length.
    pub(super) fn lower(&self, bytes: usize) {
        let Ok(mut until) = self.until.lock() else { return };
        *until = Some(Instant::now() + REMEMBERED);
        self.refused.fetch_min(bytes, Relaxed);
    }
}

/// Refuses a value that no server takes.
pub(super) fn fits(value: &Bytes) -> Result<(), Error> {
    if value.len() <= MAX_VALUE {
        return Ok(());
    }
    let message = format!("a value of {} bytes does not fit: Redis takes up to {MAX_VALUE}", value.len());
    Err(Error::new(ErrorKind::TooLarge, message))
}

/// The server does not take a value for its length. That was said, or it ended the connection and answers on others.
#[cold]
pub(super) fn too_large(place: &str) -> Error {
    let message = format!(
        "Redis at {place} takes no value as long as this one: see its proto-max-bulk-len, or the limit of a proxy \
         before it, or lower max_chunk_size_mb"
    );
    Error::new(ErrorKind::TooLarge, message)
}

/// A value was not sent, because one of `refused` bytes was too long a moment ago.
#[cold]
fn not_sent(bytes: usize, refused: usize, place: &str) -> Error {
    let message = format!(
        "a value of {bytes} bytes was not sent to Redis at {place}, which took none of {refused} bytes a moment ago: \
         see its proto-max-bulk-len, or the limit of a proxy before it, or lower max_chunk_size_mb"
    );
    Error::new(ErrorKind::TooLarge, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn refused_size_and_larger_ones_are_not_sent_for_a_while() {
        let ceiling = Ceiling::new();
        let takes = |bytes| ceiling.check(bytes, "h:1").is_ok();
        assert!(takes(usize::MAX - 1));
        ceiling.lower(3_000);
        ceiling.lower(2_000);
        ceiling.lower(4_000);
        assert!(takes(1_999) && !takes(2_000) && !takes(5_000));
        tokio::time::advance(REMEMBERED).await;
        assert!(takes(5_000) && takes(2_000), "the limit may have been raised");
    }
}
