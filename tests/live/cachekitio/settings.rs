//! The settings of CachekitIO, from the environment to the server.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cachekit::backends::{AnyBackend, CachekitIo, Memory};
use cachekit::codec::{Checked, Compressed, Postcard, Standard};
use cachekit::{Cache, CacheBuilder, CachekitIoSettings, ErrorKind, Intent};

use super::support::{at_once, count, patient, settings, start};
use crate::servers::{Api, Fault, Server, eventually, full_backlog};

type Vars = BTreeMap<String, String>;

/// The variables of a program that reaches `api`, and more.
fn vars(api: &Api, more: &[(&str, &str)]) -> Vars {
    let more = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    [
        ("CACHEKIT_API_KEY".to_owned(), api.key()),
        ("CACHEKIT_API_URL".to_owned(), api.url()),
        ("CACHEKIT_ALLOW_CUSTOM_HOST".to_owned(), "true".to_owned()),
        ("CACHEKIT_CA_BUNDLE".to_owned(), api.ca().display().to_string()),
    ]
    .into_iter()
    .chain(more)
    .collect()
}

fn cache(vars: Vars) -> Cache<AnyBackend, Standard> {
    CacheBuilder::from_vars(vars).namespace("users").l1_enabled(false).build().unwrap()
}

fn io(vars: Vars) -> Result<Cache<CachekitIo, Checked<Compressed<Postcard>>>, cachekit::Error> {
    CacheBuilder::from_vars(vars).intent(Intent::Io).namespace("users").l1_enabled(false).build()
}

async fn compute(cache: &Cache<CachekitIo, Checked<Compressed<Postcard>>>, id: usize) -> String {
    let load = move || async move { Ok::<_, std::io::Error>(format!("user {id}")) };
    cache.entry(id).wait_for_write(true).get_or_compute(load).await.unwrap()
}

#[tokio::test]
async fn the_api_key_selects_the_service() {
    let api = start();
    let cache = cache(vars(&api, &[]));
    cache.set(1, "ada".to_owned()).await.unwrap();
    assert!(api.peek("users:1").is_some());
    assert_eq!(cache.get::<String>(1).await.unwrap().as_deref(), Some("ada"));
    cache.ping().await.unwrap();
}

#[tokio::test]
async fn intent_io_is_the_service_and_two_caches_share_it() {
    let api = start();
    let (one, two) = (io(vars(&api, &[])).unwrap(), io(vars(&api, &[])).unwrap());
    assert_eq!(compute(&one, 1).await, "user 1");
    assert!(api.peek("users:1").is_some());
    assert_eq!(two.get::<String>(1).await.unwrap().as_deref(), Some("user 1"));
    assert_eq!(compute(&two, 1).await, "user 1");
    assert_eq!((one.stats().computations, two.stats().computations), (1, 0));
    one.invalidate(1).await.unwrap();
    assert_eq!(two.get::<String>(1).await.unwrap(), None);
    two.set(1, "anew".to_owned()).await.unwrap();
    two.invalidate_namespace().await.unwrap();
    assert_eq!(two.get::<String>(1).await.unwrap(), None);
}

/// `REDIS_URL` is other programs' too, and another selector is no reason to go elsewhere.
#[tokio::test]
async fn intent_io_goes_nowhere_else() {
    let (api, server) = (start(), Server::start());
    for name in ["REDIS_URL", "CACHEKIT_REDIS_URL"] {
        let cache = io(vars(&api, &[(name, &server.url())])).unwrap();
        compute(&cache, 1).await;
    }
    assert_eq!(server.cli(&["DBSIZE"]), "0");
    assert!(api.peek("users:1").is_some());
}

#[tokio::test]
async fn intent_io_takes_a_service_that_the_program_names() {
    let (api, other) = (start(), start());
    let built = CacheBuilder::from_vars(vars(&other, &[])).intent(Intent::Io).backend(patient(&api)).build().unwrap();
    built.set(1, "ada".to_owned()).await.unwrap();
    assert_eq!((api.entries() > 0, other.entries()), (true, 0));
}

#[test]
fn intent_io_needs_an_api_key() {
    let without = [("CACHEKIT_API_URL".to_owned(), "https://api.cachekit.io".to_owned())];
    for error in [
        io(without.into_iter().collect()).unwrap_err(),
        CacheBuilder::new().intent(Intent::Io).build().unwrap_err(),
        CacheBuilder::new().intent(Intent::Io).backend(Memory::new(1 << 20)).build().unwrap_err(),
        CacheBuilder::new().intent(Intent::Io).l1_only().build().unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("CACHEKIT_API_KEY"), "{error}");
    }
}

#[test]
fn what_the_service_cannot_do_is_refused_if_it_is_asked_for() {
    let api = start();
    let builder = || CacheBuilder::from_vars(vars(&api, &[])).intent(Intent::Io);
    for (error, what) in [
        (builder().leases(true).build().unwrap_err(), "leases"),
        (builder().invalidation_enabled(true).build().unwrap_err(), "invalidation_enabled"),
        (builder().ttl(Duration::from_secs(1_296_001)).build().unwrap_err(), "ttl"),
    ] {
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(what) && error.to_string().contains("cachekitio"), "{error}");
    }
    let policy = builder().ttl(Duration::from_secs(1_296_000)).build().unwrap();
    assert_eq!(policy.policy().operation_timeout, Duration::from_secs(5));
}

const SECOND: Duration = Duration::from_secs(1);
/// The default is five seconds.
const LESS_THAN_USUAL: Duration = Duration::from_millis(4_500);

#[tokio::test]
async fn the_timeout_ends_an_operation() {
    let api = start();
    let cache = cache(vars(&api, &[("CACHEKIT_TIMEOUT", "0.3")]));
    eventually("it answers", async || cache.ping().await.is_ok()).await;
    api.fault(Fault::Hang);
    let start = Instant::now();
    assert_eq!(cache.get::<String>(1).await.unwrap_err().kind(), ErrorKind::Timeout);
    assert!((SECOND * 3 / 10..LESS_THAN_USUAL).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[tokio::test]
async fn the_timeout_ends_a_connect() {
    let (api, hole) = (start(), full_backlog());
    let url = format!("https://{}", hole.address);
    let cache = cache(vars(&api, &[("CACHEKIT_TIMEOUT", "0.3"), ("CACHEKIT_API_URL", &url)]));
    let start = Instant::now();
    assert_eq!(cache.ping().await.unwrap_err().kind(), ErrorKind::Timeout);
    assert!((SECOND * 15 / 100..LESS_THAN_USUAL).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[tokio::test]
async fn the_retries_are_counted_by_the_server() {
    for retries in ["0", "2"] {
        let api = start();
        let cache = cache(vars(&api, &[("CACHEKIT_MAX_RETRIES", retries)]));
        api.fault(Fault::status(503));
        assert!(cache.ping().await.unwrap_err().is_temporary());
        assert_eq!(count(&api, "GET"), retries.parse::<usize>().unwrap() + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pool_size_bounds_the_connections() {
    let api = start();
    let cache = cache(vars(&api, &[("CACHEKIT_CONNECTION_POOL_SIZE", "2"), ("CACHEKIT_TIMEOUT", "30")]));
    let answers = at_once(100, move |id| {
        let cache = cache.clone();
        async move { cache.get::<String>(id).await.unwrap() }
    });
    assert!(answers.await.iter().all(Option::is_none));
    assert_eq!(api.most_open(), 2);
}

#[tokio::test]
async fn each_variable_of_a_bundle_adds_its_roots() {
    let api = start();
    let bundle = api.ca().display().to_string();
    for name in ["CACHEKIT_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"] {
        let mut vars = vars(&api, &[]);
        vars.remove("CACHEKIT_CA_BUNDLE");
        assert!(cache(vars.clone()).ping().await.is_err(), "nobody trusts it");
        vars.insert(name.into(), bundle.clone());
        cache(vars).ping().await.unwrap();
    }
}

#[test]
fn bundles_and_settings_that_cannot_be_used_are_told_at_build() {
    let api = start();
    let refusal = |name: &str, value: &str| io(vars(&api, &[(name, value)])).unwrap_err().to_string();
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    for (name, value, rule) in [
        ("CACHEKIT_CA_BUNDLE", "/nowhere/at/all.pem", "can be read"),
        ("CACHEKIT_CA_BUNDLE", empty.to_str().unwrap(), "holds no certificate"),
        ("CACHEKIT_API_URL", "http://api.cachekit.io", "https"),
        ("CACHEKIT_API_URL", "https://169.254.169.254", "link-local"),
        ("CACHEKIT_ALLOW_CUSTOM_HOST", "false", "api.staging.cachekit.io"),
        ("CACHEKIT_TIMEOUT", "0", "CACHEKIT_TIMEOUT"),
        ("CACHEKIT_CONNECTION_POOL_SIZE", "0", "CACHEKIT_CONNECTION_POOL_SIZE"),
        ("CACHEKIT_API_KEY", "two words", "CACHEKIT_API_KEY"),
    ] {
        let refusal = refusal(name, value);
        assert!(refusal.contains(rule) && !refusal.contains("two words"), "{name}={value}: {refusal}");
    }
}

#[test]
fn settings_of_a_program_are_checked_as_the_environment_is() {
    let api = start();
    let refusal = |change: fn(&mut CachekitIoSettings)| {
        let mut settings = settings(&api);
        change(&mut settings);
        let error = CachekitIo::new(settings).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        error.to_string()
    };
    assert!(refusal(|settings| settings.api_key = None).contains("CACHEKIT_API_KEY"));
    assert!(refusal(|settings| settings.pool_size = 0).contains("CACHEKIT_CONNECTION_POOL_SIZE"));
    assert!(refusal(|settings| settings.pool_size = 10_001).contains("CACHEKIT_CONNECTION_POOL_SIZE"));
    assert!(refusal(|settings| settings.timeout = Duration::ZERO).contains("CACHEKIT_TIMEOUT"));
    assert!(refusal(|settings| settings.timeout = Duration::MAX).contains("CACHEKIT_TIMEOUT"));
    assert!(refusal(|settings| settings.ca_bundle = Some("/nowhere".into())).contains("cannot be read"));
    let both = refusal(|settings| (settings.api_key, settings.pool_size) = (None, 0));
    assert_eq!(both.lines().count(), 2, "{both}");
    for text in ["", "two words", "a\r\nb", "\u{e9}"] {
        let error = CachekitIoSettings::new(text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{text:?}");
    }
}
