//! What the tests of Redis share.

use std::error::Error as _;
use std::time::Duration;

use bytes::Bytes;
use cachekit::backends::Redis;
use cachekit::{Backend, Error, IntoKey, Key, RedisSettings};
use tokio::task::JoinSet;

pub(super) const MINUTE: Duration = Duration::from_secs(60);
/// How long commands and connects of [`hasty`] backends may take.
pub(super) const HASTE: Duration = Duration::from_secs(1);

/// For tests that listen to a bus, which waits for half as long as a command may take.
pub(super) fn listening(url: &str) -> Redis {
    with(url, |settings| (settings.timeout, settings.connect_timeout) = (MINUTE / 30, MINUTE / 2))
}

/// For tests in which nothing takes long unless the machine is busy.
pub(super) fn patient(url: &str) -> Redis {
    with(url, |settings| (settings.timeout, settings.connect_timeout) = (MINUTE / 2, MINUTE / 2))
}

/// For tests that wait for a timeout.
pub(super) fn hasty(url: &str) -> Redis {
    with(url, |settings| (settings.timeout, settings.connect_timeout) = (HASTE, HASTE))
}

pub(super) fn with(url: &str, change: impl FnOnce(&mut RedisSettings)) -> Redis {
    let mut settings = RedisSettings::new(url).unwrap();
    change(&mut settings);
    Redis::new(settings).unwrap()
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

/// Stores the values of so many keys.
pub(super) async fn fill_in(redis: &Redis, count: usize) {
    let items = (0..count).map(|id| (key(id), value_of(id))).collect();
    redis.set_many(items, MINUTE).await.unwrap();
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
