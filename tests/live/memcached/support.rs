//! What the tests of Memcached share.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cachekit::backends::Memcached;
use cachekit::testing::ManualClock;
use cachekit::{Error, IntoKey, Key, MemcachedSettings};
use tokio::task::JoinSet;

use crate::servers;

pub(super) const MINUTE: Duration = Duration::from_secs(60);
/// How long exchanges and connects of [`hasty`] backends may take.
pub(super) const HASTE: Duration = Duration::from_secs(1);

/// For tests in which nothing takes long unless the machine is busy.
pub(super) fn patient(servers: &[&servers::Memcached]) -> Memcached {
    with(servers, |_| ())
}

/// For tests that wait for a timeout.
pub(super) fn hasty(servers: &[&servers::Memcached]) -> Memcached {
    with(servers, |settings| (settings.timeout, settings.connect_timeout) = (HASTE, HASTE))
}

pub(super) fn with(servers: &[&servers::Memcached], change: impl FnOnce(&mut MemcachedSettings)) -> Memcached {
    Memcached::new(settings(servers, change)).unwrap()
}

/// On a clock that says when a lost server is tried again. Patient, since timeouts are in real time.
pub(super) fn on_clock(
    servers: &[&servers::Memcached],
    clock: &ManualClock,
    change: impl FnOnce(&mut MemcachedSettings),
) -> Memcached {
    Memcached::with_clock(settings(servers, change), Arc::new(clock.clone())).unwrap()
}

fn settings(servers: &[&servers::Memcached], change: impl FnOnce(&mut MemcachedSettings)) -> MemcachedSettings {
    let mut settings = MemcachedSettings::new(servers.iter().map(|server| server.address()));
    (settings.timeout, settings.connect_timeout) = (MINUTE / 2, MINUTE / 2);
    change(&mut settings);
    settings
}

pub(super) fn key(id: impl IntoKey) -> Key {
    Key::new("users", id).unwrap()
}

/// A value that tells whose it is.
pub(super) fn value_of(id: usize) -> Bytes {
    format!("the value of {id}").into()
}

/// What `count` tasks say that run at once.
pub(super) async fn at_once<T, F>(count: usize, task: impl Fn(usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    (0..count).for_each(|index| drop(tasks.spawn(task(index))));
    tasks.join_all().await
}

/// Everything an error can be made to say.
pub(super) fn every_text(error: &Error) -> String {
    let mut text = format!("{error}\n{error:?}\n{error:#?}");
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!("\n{cause}\n{cause:?}\n{cause:#?}");
        source = cause.source();
    }
    text
}
