//! The cache that the environment configures.

use std::time::Duration;

use cachekit::backends::AnyBackend;
use cachekit::codec::Standard;
use cachekit::{Cache, CacheBuilder, Environment, Error, Intent, IntoKey, KeyWriter};

use super::args::Scope;

/// How long what was begun may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// The cache of a namespace, or a domain of it. It keeps nothing in this process.
pub(super) fn cache(environment: Environment, scope: &Scope) -> Result<Cache<AnyBackend, Standard>, Error> {
    let builder = CacheBuilder::from_environment(environment).intent(Intent::Production);
    let cache = builder.namespace(&scope.namespace).l1_enabled(false).warm_keys(0).build()?;
    match &scope.domain {
        Some(domain) => cache.domain(domain),
        None => Ok(cache),
    }
}

/// Waits until others were told.
pub(super) async fn close(cache: &Cache<AnyBackend, Standard>) -> Result<(), Error> {
    cache.close(PATIENCE).await
}

/// A key as people write it: a slash separates its parts.
#[derive(Debug)]
pub(super) struct Parts<'a>(pub(super) &'a str);

impl IntoKey for Parts<'_> {
    fn write_key(&self, key: &mut KeyWriter<'_>) {
        self.0.split('/').for_each(|part| key.part(part));
    }
}

/// What of a stored key stands behind its namespace.
pub(super) fn name<'a>(key: &'a cachekit::Key, scope: &Scope) -> &'a str {
    let text = key.as_str().split_once(':').map_or(key.as_str(), |(_, name)| name);
    match &scope.domain {
        Some(_) => text.split_once(':').map_or(text, |(_, name)| name),
        None => text,
    }
}
