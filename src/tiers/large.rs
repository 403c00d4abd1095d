//! Large values: walked, sealed and opened apart from the threads that serve requests.
//!
//! A value of some hundred kilobytes takes milliseconds to serialize, compress and encrypt, in which a worker of the
//! runtime would do nothing else. So it goes to a blocking thread; small values stay where they are.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;

use super::Tiers;
use crate::backends::Backend;
use crate::codec::Codec;
use crate::error::Error;
use crate::event::Unreadable;
use crate::key::Key;
use crate::memory;
use crate::seal::{Dates, EntryHead, Marks, Sealer, Value};

/// The most bytes that a value takes which is walked and sealed in place.
const LARGE: usize = 256 << 10;
/// The same of a value that is compressed: that takes a hundred times as long as writing it.
const LARGE_COMPRESSED: usize = 64 << 10;
/// The most sealed bytes that are opened in place. Fewer, because they may be compressed.
const LARGE_SEALED: usize = 64 << 10;

/// Whether so many sealed bytes are opened apart, which needs a runtime.
pub(super) fn is_opened_apart(sealed: &[u8]) -> bool {
    sealed.len() > LARGE_SEALED && Handle::try_current().is_ok()
}

/// How many bytes a value is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bulk {
    /// So many.
    Small(usize),
    /// Too many to walk all of them in place.
    Large,
    /// Its serialization panics, which is for sealing to tell.
    Unknown,
}

impl Bulk {
    pub(crate) fn of<T: Value>(value: &T) -> Self {
        match catch_unwind(AssertUnwindSafe(|| memory::weigh_up_to(value, LARGE))) {
            Ok(Some(weight)) => Self::Small(weight),
            Ok(None) => Self::Large,
            Err(_) => Self::Unknown,
        }
    }

    /// Whether a value of more than `most` bytes; one of [`LARGE`] is more than any.
    fn is_above(self, most: usize) -> bool {
        match self {
            Self::Small(weight) => weight > most,
            Self::Large => true,
            Self::Unknown => false,
        }
    }

    /// What [`memory::weigh`] says of the value.
    pub(crate) async fn weigh<T: Value>(self, value: &Arc<T>) -> usize {
        match self {
            Self::Small(weight) => weight,
            Self::Unknown => memory::weigh(&**value),
            Self::Large => {
                let value = Arc::clone(value);
                apart(move || memory::weigh(&*value)).await
            }
        }
    }
}

/// A value that is to be sealed, and what its header says.
#[derive(Debug)]
pub(crate) struct Sealing<T, C> {
    pub(crate) sealer: Arc<Sealer<C>>,
    pub(crate) key: Key,
    pub(crate) value: Arc<T>,
    pub(crate) bulk: Bulk,
    pub(crate) dates: Dates,
    pub(crate) cost: Duration,
}

impl<T: Value, C: Codec> Sealing<T, C> {
    /// Whether the value is sealed apart.
    pub(crate) fn is_apart(&self) -> bool {
        self.bulk.is_above(if self.sealer.compresses() { LARGE_COMPRESSED } else { LARGE })
    }

    /// Seals the value as one that was computed under these marks.
    pub(crate) async fn seal(&self, marks: Marks) -> Result<Bytes, Error> {
        let Self { sealer, key, value, bulk: _, dates, cost } = self;
        if !self.is_apart() {
            return sealer.seal(key, &**value, *dates, *cost, &marks);
        }
        let (sealer, key, value, dates, cost) = (Arc::clone(sealer), key.clone(), Arc::clone(value), *dates, *cost);
        apart(move || sealer.seal(&key, &*value, dates, cost, &marks)).await
    }
}

impl<B: Backend, C: Codec> Tiers<B, C> {
    /// What is needed to seal a value that took `cost` to compute.
    pub(crate) fn sealing<T: Value>(&self, key: &Key, value: &Arc<T>, dates: Dates, cost: Duration) -> Sealing<T, C> {
        let (sealer, value, bulk) = (Arc::clone(&self.sealer), Arc::clone(value), Bulk::of(&**value));
        Sealing { sealer, key: key.clone(), value, bulk, dates, cost }
    }

    /// Opens what was stored under `key`, which begins with this head.
    pub(super) async fn open<T: Value>(&self, key: &Key, sealed: &Bytes, head: &EntryHead) -> Result<T, Unreadable> {
        if !is_opened_apart(sealed) {
            return self.sealer.open(key.as_str(), sealed, head);
        }
        let (sealer, key, sealed, head) = (Arc::clone(&self.sealer), key.clone(), sealed.clone(), head.clone());
        // Boxed: long work has room to wait, and a read of a small value needs none for it.
        Box::pin(apart(move || sealer.open(key.as_str(), &sealed, &head))).await
    }
}

/// Runs work on a blocking thread; here, if there is none, because there is no runtime or it shuts down.
async fn apart<R: Send + 'static>(work: impl Fn() -> R + Send + Sync + 'static) -> R {
    let Ok(runtime) = Handle::try_current() else { return work() };
    let work = Arc::new(work);
    let task = runtime.spawn_blocking({
        let work = Arc::clone(&work);
        move || work()
    });
    match task.await {
        Ok(result) => result,
        Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
        Err(_) => work(),
    }
}
