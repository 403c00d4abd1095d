//! Changes: a value is stored or removed, and others are told of it in the same write.
//!
//! The message stands behind the change, so that it is appended after that. If it cannot be, the cache publishes it
//! afterwards, and has the reason from that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use redis::Value;

use super::ceiling::fits;
use super::request::{Append, Attempt, Single, SizeClass, is_told};
use super::{Shared, commands, whole_millis};
use crate::backends::announce;
use crate::error::{Error, ErrorKind};
use crate::key::Key;
use crate::ledger::Announcement;

/// A value on its way.
struct Set<'a> {
    key: &'a Key,
    lock: String,
    value: Bytes,
    /// In milliseconds.
    ttl: u64,
}

impl Set<'_> {
    /// With a message, it takes as few commands as it can; `scripted` is whether the server is known to take scripts.
    fn command(&self, attempt: Attempt, append: Option<&Arc<Append>>, scripted: &AtomicBool) -> Single {
        let by_script = append.is_some() && scripted.load(Relaxed);
        let set = if by_script { commands::set_alone } else { commands::set };
        set(attempt, self.key, &self.lock, &self.value, self.ttl).telling(append)
    }
}

impl Shared {
    /// Not an async fn, which would carry room for its arguments beside what is made of them.
    pub(super) fn set(&self, key: &Key, value: Bytes, ttl: Duration) -> impl Future<Output = Result<(), Error>> + Send {
        let set = Set { key, lock: self.lock(key), value, ttl: whole_millis(ttl) };
        async move {
            fits(&set.value)?;
            let append = self.announcement();
            loop {
                let command = |attempt| set.command(attempt, append.as_ref(), &self.scripted);
                match self.write(key, set.value.len(), command).await {
                    // It refuses scripts that it took before.
                    Err(error) if error.kind() == ErrorKind::Unsupported && self.scripted.swap(false, Relaxed) => {}
                    answer => return answer.map(note_told),
                }
            }
        }
    }

    pub(super) async fn remove(&self, key: &Key) -> Result<(), Error> {
        let (lock, append) = (self.lock(key), self.announcement());
        let remove = |attempt| commands::remove(attempt, key, &lock).telling(append.as_ref());
        self.one(key, SizeClass::Small, remove).await.map(note_told)
    }

    /// What others are to be told in the write of a change, if the stream is known to take it.
    fn announcement(&self) -> Option<Arc<Append>> {
        let Announcement { bus, message } = announce::get().filter(|_| self.router.is_single_node())?;
        self.streams.take_messages(&bus).then(|| Arc::new(Append { stream: Arc::clone(bus.text()), message }))
    }
}

/// Takes note of what a change was answered: others may have been told of it in the same write.
fn note_told(answer: Value) {
    if is_told(&answer) {
        announce::told();
    }
}
