//! Real servers, started by the tests themselves.
//!
//! Each test has servers of its own, on free loopback ports and in a directory of their own. They end when dropped, and
//! at the latest with this process, however that ends. A missing program is a failure, never a test that is silently
//! not run: `tests/run.sh` installs what is missing.
#![cfg(unix)]

mod api;
mod cluster;
mod holes;
mod memcached;
mod ports;
mod process;
mod proxy;
mod reaper;
mod resp;
mod rude_https;
mod rude_memcached;
mod rude_redis;
mod sentinel;
mod server;
mod tests;
mod tls;

use std::time::{Duration, Instant};

pub(crate) use self::api::{Api, Class, Fault};
pub(crate) use self::cluster::Cluster;
pub(crate) use self::holes::{full_backlog, silent};
pub(crate) use self::memcached::Memcached;
pub(crate) use self::ports::unused;
pub(crate) use self::proxy::{Mood, Proxy};
pub(crate) use self::resp::Reply;
pub(crate) use self::rude_https::{ALL as RUDE_HTTPS, RudeAnswer, RudeHttps};
pub(crate) use self::rude_memcached::{ALL as RUDE_MEMCACHED, Rude, RudeMemcached};
pub(crate) use self::rude_redis::{Mode, RudeRedis};
pub(crate) use self::sentinel::Sentinels;
pub(crate) use self::server::{Monitor, Server};
pub(crate) use self::tls::Authority;

/// Longer than anything here takes, on however busy a machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Longer than what ends by a timeout of its own takes, on however busy a machine, and shorter than [`PATIENCE`].
pub(crate) const SOON: Duration = Duration::from_secs(15);

/// Blocks this thread until `condition` holds.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until `condition` holds, and lets other tasks run meanwhile.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
