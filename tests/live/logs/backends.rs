//! Everything that can be done with each backend, while it works and while it does not.

use std::fs;
use std::time::Duration;

use bytes::Bytes;
use cachekit::backends::{CachekitIo, File, Memcached, Memory, Redis};
use cachekit::codec::{Json, Keyring, MessagePack, Postcard};
use cachekit::{
    Backend, CacheBuilder, CachekitIoSettings, Codec, FileLimits, Intent, Key, LeaseToken, MemcachedSettings,
    RedisSettings, Tracing,
};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::words::{API_KEY, KEY, MASTER_KEY, PASSWORD, VALUE};
use crate::servers::{self, RUDE_HTTPS, RUDE_MEMCACHED, RudeAnswer, RudeHttps, RudeMemcached, Server};
use harness::support::Broken;

const MINUTE: Duration = Duration::from_secs(60);
const HASTE: Duration = Duration::from_millis(150);

/// A value whose own code quotes it when it fails.
#[derive(Debug, Clone)]
struct Quoting;

impl Serialize for Quoting {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom(format!("{VALUE} cannot be written")))
    }
}

impl<'de> Deserialize<'de> for Quoting {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom(format!("{VALUE} cannot be read")))
    }
}

pub(super) async fn all() {
    memory().await;
    file().await;
    redis().await;
    memcached().await;
    https().await;
}

async fn memory() {
    exercise(Memory::new(1 << 20)).await;
    codec(Json).await;
    codec(MessagePack).await;
    codec(Postcard).await;
}

async fn file() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("cache");
    let files = File::open(&dir, FileLimits::default()).unwrap();
    exercise(files.clone()).await;
    for item in fs::read_dir(&dir).unwrap() {
        fs::write(item.unwrap().path(), VALUE).unwrap();
    }
    exercise(files.clone()).await;
    fs::remove_dir_all(&dir).unwrap();
    exercise(files).await;
}

async fn redis() {
    let server = Server::setup().password(PASSWORD).start();
    let mut settings = RedisSettings::new(&server.url()).unwrap();
    (settings.timeout, settings.connect_timeout) = (HASTE, HASTE);
    let redis = Redis::new(settings).unwrap();
    exercise(redis.clone()).await;
    let wrong = format!("redis://:{PASSWORD}-not@{}/0", server.address());
    exercise(Redis::new(RedisSettings::new(&wrong).unwrap()).unwrap()).await;
    server.kill();
    exercise(redis).await;
}

async fn memcached() {
    let server = servers::Memcached::start();
    let memcached = |address: String| {
        let mut settings = MemcachedSettings::new([address]);
        (settings.timeout, settings.connect_timeout) = (HASTE, HASTE);
        Memcached::new(settings).unwrap()
    };
    let real = memcached(server.address());
    exercise(real.clone()).await;
    server.kill();
    exercise(real).await;
    for mode in RUDE_MEMCACHED {
        let rude = RudeMemcached::start();
        rude.set(mode);
        raw(&memcached(rude.address().to_owned())).await;
    }
}

async fn https() {
    let service = RudeHttps::start();
    let client = |service: &RudeHttps| {
        let mut settings = CachekitIoSettings::new(API_KEY).unwrap();
        settings.url = service.url().parse().unwrap();
        (settings.allow_custom_host, settings.ca_bundle) = (true, Some(service.ca().to_owned()));
        (settings.timeout, settings.max_retries) = (HASTE * 4, 0);
        CachekitIo::new(settings).unwrap()
    };
    exercise(client(&service)).await;
    for mode in RUDE_HTTPS {
        let rude = RudeHttps::start();
        rude.set(mode);
        let io = client(&rude);
        raw(&io).await;
        rude.set(RudeAnswer::No);
    }
}

/// Every operation of a backend, whatever comes of it.
async fn raw(backend: &impl Backend) {
    let (key, other) = (Key::new("users", KEY).unwrap(), Key::new("users", (KEY, 2)).unwrap());
    let value = Bytes::from(VALUE);
    let token = LeaseToken::random();
    let _ = backend.set(&key, value.clone(), MINUTE).await;
    let _ = backend.get(&key).await;
    let _ = backend.ttl(&key).await;
    let _ = backend.set_many(vec![(key.clone(), value.clone()), (other.clone(), value.clone())], MINUTE).await;
    let _ = backend.get_many(&[key.clone(), other.clone()]).await;
    let _ = backend.remove_many(&[key.clone(), other.clone()]).await;
    let _ = backend.lease(&key, MINUTE, token, None).await;
    let _ = backend.renew(&key, MINUTE, token).await;
    let _ = backend.fill(&key, value, MINUTE, token).await;
    let _ = backend.release(&key, token).await;
    let _ = backend.remove(&key).await;
    let _ = backend.ping().await;
}

async fn exercise<B: Backend + Clone>(backend: B) {
    raw(&backend).await;
    let builder = || CacheBuilder::new().backend(backend.clone()).namespace("users").tracing(Tracing::Verbose);
    calls(&builder().intent(Intent::Production).build().unwrap()).await;
    let keyring = Keyring::from_hex(MASTER_KEY).unwrap();
    calls(&builder().intent(Intent::Secure).keyring(keyring).build().unwrap()).await;
}

/// Every operation of a cache, whatever comes of it.
async fn calls<B: Backend, C: Codec>(cache: &cachekit::Cache<B, C>) {
    let work = || async { Ok::<_, Broken>(VALUE.to_owned()) };
    let _ = cache.get_or_compute(KEY, work).await;
    let _ = cache.get_or_compute(KEY, work).await;
    let _ = cache.get::<String>(KEY).await;
    let _ = cache.get::<u64>(KEY).await;
    let _ = cache.exists(KEY).await;
    let _ = cache.set(KEY, VALUE.to_owned()).await;
    let _ = cache.set(KEY, Quoting).await;
    let _ = cache.set(KEY, VALUE.repeat(200_000)).await;
    let _ = cache.entry(KEY).tags(["group"]).set(VALUE.to_owned()).await;
    let _ = cache.get_or_compute("quoting", || async { Ok::<_, Broken>(Quoting) }).await;
    let _ = cache.get_or_compute((KEY, 3), || async { Err::<String, _>(Broken("it fails")) }).await;
    let _ = cache.expire(KEY).await;
    let _ = cache.invalidate(KEY).await;
    let _ = cache.invalidate_tag("group").await;
    let _ = cache.invalidate_namespace().await;
    let _ = cache.clear().await;
    let _ = cache.close(Duration::from_secs(1)).await;
}

async fn codec<C: Codec + Default>(codec: C) {
    let cache = CacheBuilder::new().codec(codec).backend(Memory::new(1 << 20)).build().unwrap();
    let refused = cache.set(KEY, Quoting).await.unwrap_err();
    let mut told = format!("{refused} {refused:?}");
    let mut source = std::error::Error::source(&refused);
    while let Some(cause) = source {
        told += &format!("{cause} {cause:?}");
        source = cause.source();
    }
    assert!(!told.contains(VALUE) && !told.contains(KEY), "{told}");
    calls(&cache).await;
}
