//! cachekit in this process: caches of L1 alone, or over `Memory`.

use std::fmt;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use cachekit::backends::{Memory, NoBackend};
use cachekit::codec::{Checked, Postcard};
use cachekit::{Cache, CacheBuilder, Intent, IntoKey, Value};

use crate::Failure;

/// Longer than any run.
const TTL: Duration = Duration::from_secs(24 * 3_600);
/// The smallest budget of L1.
const MIB: usize = 1 << 20;

pub(crate) type Production = Cache<NoBackend, Checked<Postcard>>;
pub(crate) type Minimal = Cache<NoBackend, Postcard>;
pub(crate) type OverMemory = Cache<Memory, Checked<Postcard>>;

/// L1 alone, with a budget of so many bytes, or of a mebibyte.
pub(crate) fn builder(bytes: usize) -> CacheBuilder<NoBackend, Postcard, Intent::Production> {
    let megabytes = bytes.max(MIB) as f64 / MIB as f64;
    CacheBuilder::new().namespace("peers").ttl(TTL).l1_max_size_mb(megabytes)
}

/// Everything on, L1 alone, with a budget of so many bytes, or of a mebibyte.
pub(crate) fn production(bytes: usize) -> Result<Production, Failure> {
    Ok(builder(bytes).l1_only().intent(Intent::Production).build()?)
}

/// Nothing but the tiers, L1 alone.
pub(crate) fn minimal(bytes: usize) -> Result<Minimal, Failure> {
    Ok(builder(bytes).l1_only().intent(Intent::Minimal).build()?)
}

/// Everything on, over a backend in this process that has room for all.
pub(crate) fn over_memory(bytes: usize) -> Result<OverMemory, Failure> {
    Ok(builder(bytes).backend(Memory::new(1 << 30)).intent(Intent::Production).build()?)
}

/// What a computation fails with that ought not to run.
#[derive(Debug)]
pub(crate) struct Absent;

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the value was not in the cache")
    }
}

impl std::error::Error for Absent {}

/// A computation for calls that find a value.
pub(crate) async fn absent<T>() -> Result<T, Absent> {
    Err(Absent)
}

/// The answer of a call that does not wait, such as a hit.
pub(crate) fn now<T>(call: impl Future<Output = T>) -> T {
    match pin!(call).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("a hit waits for nothing"),
    }
}

/// What L1 counts for an entry of such a key and value, in bytes.
pub(crate) fn weight<T: Value>(key: impl IntoKey, value: T) -> Result<usize, Failure> {
    let cache = minimal(64 * MIB)?;
    super::runtime()?.block_on(cache.set(key, value))?;
    Ok(cache.l1_bytes())
}
