//! What a server sees of a cache that encrypts.

use cachekit::backends::Redis;
use cachekit::codec::{Encrypted, Keyring, Postcard};
use cachekit::{Cache, CacheBuilder, Intent, RedisSettings};

use crate::servers::{PATIENCE, Reply, Server};

#[tokio::test]
async fn redis_sees_nothing_in_the_clear() {
    let server = Server::start();
    let mut settings = RedisSettings::new(&server.url()).unwrap();
    (settings.timeout, settings.connect_timeout) = (PATIENCE, PATIENCE);
    let keyring = Keyring::from_bytes(&[1; 32]).unwrap();
    let cache = CacheBuilder::new().intent(Intent::Secure).keyring(keyring).backend(Redis::new(settings).unwrap());
    let cache: Cache<_, Encrypted<Postcard>> = cache.namespace("users").build().unwrap();
    cache.set("42", "telltale".to_owned()).await.unwrap();
    let Reply::Text(entry) = server.call(&["GET", "users:42"]) else { panic!("it is stored") };
    let contains = |part: &[u8]| entry.windows(part.len()).any(|bytes| bytes == part);
    assert!(entry.len() > 64 + 32 && !contains(b"tell") && !contains(b"tale"));
    assert_eq!(cache.entry("42").skip_l1_read().get::<String>().await.unwrap().as_deref(), Some("telltale"));
}
