//! What the tests of CachekitIO share.

use std::error::Error as _;
use std::time::Duration;

use cachekit::backends::CachekitIo;
use cachekit::{CachekitIoSettings, Error, IntoKey, Key};
use tokio::task::JoinSet;

use crate::servers::{Api, Authority, PATIENCE};

pub(super) const MINUTE: Duration = Duration::from_secs(60);
/// How long operations of [`hasty`] backends may take.
pub(super) const HASTE: Duration = Duration::from_millis(500);

pub(super) fn start() -> Api {
    Api::start(&Authority::new())
}

/// Those of a client that reaches `api` and waits long.
pub(super) fn settings(api: &Api) -> CachekitIoSettings {
    let mut settings = CachekitIoSettings::new(&api.key()).unwrap();
    settings.url = api.url_of("127.0.0.1").parse().unwrap();
    settings.allow_custom_host = true;
    settings.ca_bundle = Some(api.ca().to_owned());
    settings.timeout = PATIENCE;
    settings
}

pub(super) fn with(api: &Api, change: impl FnOnce(&mut CachekitIoSettings)) -> CachekitIo {
    let mut settings = settings(api);
    change(&mut settings);
    CachekitIo::new(settings).unwrap()
}

/// For tests in which nothing takes long unless the machine is busy.
pub(super) fn patient(api: &Api) -> CachekitIo {
    with(api, |_| ())
}

/// For tests in which each request is made once.
pub(super) fn once(api: &Api) -> CachekitIo {
    with(api, |settings| settings.max_retries = 0)
}

/// For tests that wait for a timeout.
pub(super) fn hasty(api: &Api) -> CachekitIo {
    with(api, |settings| settings.timeout = HASTE)
}

pub(super) fn key(id: impl IntoKey) -> Key {
    Key::new("users", id).unwrap()
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

/// How many requests of `method` the server has read.
pub(super) fn count(api: &Api, method: &str) -> usize {
    api.requests().iter().filter(|request| request.method == method).count()
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
