//! The contract of backends, and what it looks like on the wire.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cachekit::backends::Memory;
use cachekit::testing::conformance::{BackendOptions, backend};
use cachekit::testing::{Chaos, ManualClock};
use cachekit::{Backend, ErrorKind, Key, LeaseToken};

use super::support::{MINUTE, key, patient, start, with};
use crate::servers::{Api, Class};
use harness::support::{NoLeases, leased};

/// The service keeps whole seconds.
const PRECISION: Duration = Duration::from_secs(1);

fn options(api: &Arc<Api>) -> BackendOptions {
    api.stop_clock();
    let api = Arc::clone(api);
    let advance = move |duration| {
        api.advance(duration);
        std::future::ready(())
    };
    BackendOptions::advanced_by(advance).precision(PRECISION).patience(MINUTE * 2).largest(26_000_000)
}

/// Fails unless `kept` is what a backend without leases keeps.
async fn is_everything(kept: Vec<&'static str>) {
    let clock = ManualClock::new();
    let memory = || async { NoLeases(Memory::with_clock(4 << 20, Arc::new(clock.clone()))) };
    assert_eq!(kept, backend(memory, BackendOptions::manual(clock.clone())).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_is_kept() {
    let api = Arc::new(start());
    let io = patient(&api);
    let kept = backend(|| async { io.clone() }, options(&api)).await;
    is_everything(kept).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_kept_by_one_connection_and_through_chaos() {
    let api = Arc::new(start());
    let io = Chaos::new(with(&api, |settings| settings.pool_size = 1));
    let kept = backend(|| async { io.clone() }, options(&api)).await;
    is_everything(kept).await;
    assert_eq!(api.most_open(), 1);
}

#[tokio::test]
async fn capabilities_are_those_of_the_api() {
    let api = start();
    let can = with(&api, |settings| settings.timeout = MINUTE).capabilities();
    assert_eq!((can.name, can.leases, can.max_value), ("cachekitio", false, 25_000_000));
    assert_eq!((can.max_ttl, can.timeout), (Duration::from_secs(2_592_000), MINUTE));
    let io = patient(&api);
    assert!(io.bus(&key("bus")).is_none());
    let refusals = [
        leased(&io, &key(1), MINUTE).await.map(drop),
        io.fill(&key(1), "v".into(), MINUTE, LeaseToken::random()).await.map(drop),
        io.release(&key(1), LeaseToken::random()).await,
    ];
    for refusal in refusals {
        assert_eq!(refusal.unwrap_err().kind(), ErrorKind::Unsupported);
    }
    assert!(api.requests().is_empty());
}

/// What the last request was: method, target, and the headers that carry meaning.
fn last(api: &Api) -> (String, String, [Option<String>; 3]) {
    let request = api.requests().pop().unwrap();
    assert_eq!(request.header("authorization"), Some(format!("Bearer {}", api.key()).as_str()));
    assert_eq!(request.header("x-cachekit-l1-status"), Some("disabled"));
    assert!(request.header("user-agent").unwrap().starts_with("cachekit-typed/"));
    let header = |name| request.header(name).map(str::to_owned);
    let headers = [header("content-type"), header("x-cachekit-ttl"), header("content-length")];
    (request.method, request.target, headers)
}

#[tokio::test]
async fn every_operation_has_its_request() {
    let api = start();
    let io = patient(&api);
    let key = key("a");
    let path = "/v1/cache/users%3Aa";
    let expect = |method: &str, target: &str, kind: Option<&str>, ttl: Option<&str>, length: Option<&str>| {
        let text = |text: Option<&str>| text.map(str::to_owned);
        assert_eq!(last(&api), (method.into(), target.into(), [text(kind), text(ttl), text(length)]));
    };
    io.ping().await.unwrap();
    expect("GET", "/v1/cache/health", None, None, None);
    io.set(&key, "value".into(), Duration::from_millis(1_500)).await.unwrap();
    expect("PUT", path, Some("application/octet-stream"), Some("2"), Some("5"));
    assert_eq!(io.get(&key).await.unwrap().as_deref(), Some(&b"value"[..]));
    expect("GET", path, None, None, None);
    assert_eq!(io.ttl(&key).await.unwrap(), Some(Duration::from_secs(2)));
    expect("GET", "/v1/cache/users%3Aa/ttl", None, None, None);
    io.remove(&key).await.unwrap();
    expect("DELETE", path, None, None, None);
    assert_eq!((io.get(&key).await.unwrap(), api.entries()), (None, 0));
}

#[tokio::test]
async fn keys_of_every_kind_have_names_the_service_takes() {
    let api = start();
    let io = with(&api, |settings| {
        settings.api_key = cachekit::CachekitIoSettings::new(&api.key_of(Class::Sdk)).unwrap().api_key;
    });
    let texts = ["a", "a_b", "..", "a..b", "/", "a b", "\u{e9}", "%", "~", "ttl", "lock", "health"];
    let mut keys: Vec<Key> = texts.iter().map(|text| key(*text)).collect();
    keys.extend(["ns", "nsapi", "ck"].map(|namespace| Key::new(namespace, 1).unwrap()));
    keys.extend([key(("a", "b")), key("long".repeat(1_000)), key("a").reserved("tag:7")]);
    for (index, key) in keys.iter().enumerate() {
        io.set(key, Bytes::from(vec![index as u8]), MINUTE).await.unwrap();
    }
    for (index, key) in keys.iter().enumerate() {
        assert_eq!(io.get(key).await.unwrap().as_deref(), Some(&[index as u8][..]), "{}", key.as_str());
    }
    assert_eq!((api.entries(), api.peek("users:a_b")), (keys.len(), Some(vec![1])));
}

#[tokio::test]
async fn ttls_are_whole_seconds_within_the_service_s_limits() {
    let api = start();
    let io = patient(&api);
    let sent = async |ttl| {
        io.set(&key(1), "v".into(), ttl).await.unwrap();
        last(&api).2[1].clone().unwrap()
    };
    for (nanos, seconds) in [(0, "1"), (1, "1"), (1_000_000_000, "1"), (1_000_000_001, "2"), (59_999_999_999, "60")] {
        assert_eq!(sent(Duration::from_nanos(nanos)).await, seconds, "{nanos} ns");
    }
    assert_eq!(sent(Duration::from_secs(2_592_000)).await, "2592000");
    let before = api.requests().len();
    let long = Duration::from_secs(2_592_000) + Duration::from_nanos(1);
    let refusals = [io.set(&key(1), "v".into(), long).await, io.set_many(vec![(key(1), "v".into())], long).await];
    assert!(refusals.iter().all(|refusal| refusal.as_ref().unwrap_err().kind() == ErrorKind::Argument));
    assert_eq!(api.requests().len(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_are_requests_of_which_few_are_under_way() {
    let api = start();
    let io = with(&api, |settings| settings.pool_size = 100);
    let items: Vec<(Key, Bytes)> = (0..200).map(|id| (key(id), format!("value {id}").into())).collect();
    let keys: Vec<Key> = (0..201).map(key).collect();
    io.set_many(items.clone(), MINUTE).await.unwrap();
    let mut expected: Vec<_> = items.into_iter().map(|(_, value)| Some(value)).collect();
    expected.push(None);
    assert_eq!(io.get_many(&keys).await.unwrap(), expected);
    assert!(api.most_open() <= 16, "{}", api.most_open());
    io.remove_many(&keys).await.unwrap();
    assert_eq!(api.entries(), 0);
    assert_eq!(io.get_many(&[]).await.unwrap(), Vec::<Option<Bytes>>::new());
}
