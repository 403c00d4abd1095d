//! The runtime of all blocking caches, and where it may be waited for.

use std::cell::Cell;
use std::sync::LazyLock;

use tokio::runtime::{Builder, Handle, Runtime};

use crate::error::{Error, ErrorKind};

/// Threads of the runtime. They talk to backends, encode and decode; computations run on the threads that call.
const THREADS: usize = 2;

thread_local! {
    static MAY_BLOCK: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f`, in which blocking caches may be called, on a thread of `tokio::task::spawn_blocking`.
///
/// Inside a tokio runtime blocking caches refuse to work, because the thread may be one that other tasks need. tokio does
/// not tell whether it is: so the program says it where it hands work to `spawn_blocking`. On a thread that runs tasks
/// nevertheless, calls panic.
///
/// # Examples
/// ```
/// use cachekit::{CacheBuilder, blocking};
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let names = CacheBuilder::new().namespace("names").build_blocking()?;
/// assert!(names.set(42, "Ada".to_owned()).is_err());
/// let store = move || blocking::may_block(|| names.set(42, "Ada".to_owned()));
/// tokio::task::spawn_blocking(store).await??;
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
pub fn may_block<R>(f: impl FnOnce() -> R) -> R {
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            MAY_BLOCK.set(self.0);
        }
    }
    let _before = Before(MAY_BLOCK.replace(true));
    f()
}

/// Refuses to block a thread of a runtime.
pub(super) fn check() -> Result<(), Error> {
    if MAY_BLOCK.get() || Handle::try_current().is_err() {
        return Ok(());
    }
    let message = "a blocking cache was called inside a tokio runtime, whose thread it would block: use `cachekit::Cache` \
                   there, or, on a thread of `spawn_blocking`, call it inside `cachekit::blocking::may_block`";
    Err(Error::new(ErrorKind::Unsupported, message))
}

/// The runtime, if this thread may wait for it. It is never dropped, so no drop of a cache blocks.
pub(super) fn runtime() -> Result<&'static Runtime, Error> {
    static RUNTIME: LazyLock<Result<Runtime, Error>> = LazyLock::new(|| {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(THREADS).thread_name("cachekit-blocking").enable_all().build().map_err(|error| {
            let message = "the threads of blocking caches cannot be started: see the source of this error";
            Error::with_source(ErrorKind::Closed, message, error)
        })
    });
    check()?;
    RUNTIME.as_ref().map_err(Error::clone)
}

/// Waits for a call of an async cache.
pub(super) fn wait<F: Future>(call: F) -> Result<F::Output, Error> {
    Ok(runtime()?.block_on(call))
}
