//! Each endpoint does what the protocol says.

use std::time::Duration;

use serde_json::{Value, json};

use super::client::{Client, Reply};
use crate::servers::{Api, Authority};

fn api() -> (Api, Client) {
    let api = Api::start(&Authority::new());
    api.stop_clock();
    let client = Client::of(&api);
    (api, client)
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Status, freshness, fresh-for.
fn freshness(reply: &Reply) -> (u16, Option<&str>, Option<&str>) {
    (reply.status, reply.header("X-CacheKit-Freshness"), reply.header("X-CacheKit-Fresh-For"))
}

#[test]
fn values_are_stored_read_replaced_and_deleted() {
    let (api, mut client) = api();
    assert_eq!(client.get("a").status, 404);
    let stored = client.put("a", b"\0\xff one", &[]);
    assert_eq!((stored.status, stored.json()), (200, json!({"success": true})));
    assert_eq!(client.put("b", b"", &[]).status, 200);
    let read = client.get("a");
    assert_eq!((read.status, read.body.as_slice()), (200, b"\0\xff one".as_slice()));
    assert_eq!(read.header("content-type"), Some("application/octet-stream"));
    assert_eq!((read.header("cache-control"), read.header("vary")), (Some("no-store"), Some("Authorization")));
    assert_eq!(client.get("b").body, b"");
    assert_eq!((api.entries(), api.peek("a")), (2, Some(b"\0\xff one".to_vec())));
    client.put("a", b"two", &[]);
    assert_eq!(client.get("a").body, b"two");
    assert_eq!(client.delete("a").json(), json!({"success": true}));
    assert_eq!(client.get("a").status, 404);
    assert_eq!(client.delete("a").status, 200, "of what is gone");
    assert_eq!((api.entries(), api.peek("a")), (1, None));
}

#[test]
fn head_tells_what_get_would() {
    let (_api, mut client) = api();
    assert_eq!(client.head("a").status, 404);
    client.put("a", b"value", &[("X-CacheKit-TTL", "60")]);
    let head = client.head("a");
    assert_eq!(freshness(&head), (200, Some("fresh"), None));
    assert_eq!((head.header("content-length"), head.body.len()), (Some("5"), 0));
    assert_eq!(client.get("a").body, b"value", "the answer to HEAD had a body");
}

#[test]
fn keys_are_decoded_once() {
    let (api, mut client) = api();
    client.put("ns%3Ausers%3A42", b"v", &[]);
    assert_eq!(client.get("ns:users:42").body, b"v");
    assert_eq!(client.get("ns%3ausers%3a42").body, b"v");
    assert!(api.peek("ns:users:42").is_some());
    assert_eq!(api.requests()[0].target, "/v1/cache/ns%3Ausers%3A42");
}

#[test]
fn entries_are_fresh_then_stale_then_gone() {
    let (api, mut client) = api();
    let times = [("X-CacheKit-TTL", "10"), ("X-CacheKit-Stale-TTL", "5")];
    client.put("a", b"v", &times);
    assert_eq!(freshness(&client.get("a")), (200, Some("fresh"), Some("10")));
    api.advance(Duration::from_millis(9_500));
    assert_eq!(freshness(&client.get("a")), (200, Some("fresh"), Some("0")));
    api.advance(Duration::from_millis(500));
    assert_eq!(freshness(&client.get("a")), (200, Some("stale"), Some("0")));
    assert_eq!(client.get("a").body, b"v");
    assert_eq!(freshness(&client.head("a")), (200, Some("stale"), None));
    api.advance(seconds(5));
    assert_eq!((client.get("a").status, client.head("a").status, api.entries()), (404, 404, 0));
    client.put("a", b"v", &times);
    client.put("a", b"v", &times[..1]);
    api.advance(seconds(10));
    assert_eq!(client.get("a").status, 404, "the stale time of before");
}

#[test]
fn entries_without_a_ttl_stay() {
    let (api, mut client) = api();
    client.put("a", b"v", &[]);
    client.put("old", b"v", &[("X-TTL", "10")]);
    assert_eq!(client.get("a/ttl").json(), json!({"ttl": Value::Null}));
    api.advance(seconds(1 << 40));
    assert_eq!(freshness(&client.get("a")), (200, Some("fresh"), None));
    assert_eq!(client.get("old").status, 404);
}

#[test]
fn the_store_keeps_whole_seconds() {
    let (api, mut client) = api();
    api.advance(Duration::from_millis(900));
    client.put("a", b"v", &[("X-CacheKit-TTL", "1")]);
    assert_eq!(freshness(&client.get("a")), (200, Some("fresh"), Some("0")));
    api.advance(Duration::from_millis(100));
    assert_eq!(client.get("a").status, 404);
}

#[test]
fn ttls_are_told_and_renewed() {
    let (api, mut client) = api();
    client.put("a", b"v", &[("X-CacheKit-TTL", "10"), ("X-CacheKit-Stale-TTL", "5")]);
    assert_eq!(client.get("a/ttl").json(), json!({"ttl": 15}));
    api.advance(Duration::from_millis(9_900));
    assert_eq!(client.get("a/ttl").json(), json!({"ttl": 6}), "rounded up");
    assert_eq!(client.send_json("PATCH", "a/ttl", r#"{"ttl": 20}"#).status, 200);
    assert_eq!(client.get("a/ttl").json(), json!({"ttl": 25}));
    api.advance(seconds(20));
    assert_eq!(client.send_json("PATCH", "a/ttl", r#"{"ttl": 20}"#).status, 409, "stale");
    api.advance(seconds(5));
    assert_eq!(client.send_json("PATCH", "a/ttl", r#"{"ttl": 20}"#).status, 200, "absent");
    assert_eq!((client.get("a/ttl").status, client.get("a").status), (404, 404));
    client.put("b", b"v", &[]);
    client.send_json("PATCH", "b/ttl", r#"{"ttl": 20}"#);
    assert_eq!(client.get("b/ttl").json(), json!({"ttl": 20}));
}

#[test]
fn locks_have_one_holder_for_a_while() {
    let (api, mut client) = api();
    let ask = r#"{"timeout_ms": 1500}"#;
    let lock = client.send_json("POST", "a/lock", ask);
    let id = lock.json()["lock_id"].as_str().unwrap().to_owned();
    assert_eq!((lock.status, id.len()), (200, 36));
    let held = client.send_json("POST", "a/lock", ask);
    assert_eq!((held.status, held.json()), (200, json!({"lock_id": Value::Null})));
    assert!(client.send_json("POST", "b/lock", ask).json()["lock_id"].is_string());
    assert_eq!(client.ask("DELETE", "a/lock", &[("X-CacheKit-Lock-Id", "another")], b"").status, 200);
    assert!(client.send_json("POST", "a/lock", ask).json()["lock_id"].is_null(), "released by another");
    assert_eq!(client.ask("DELETE", "a/lock", &[("X-CacheKit-Lock-Id", &id)], b"").status, 200);
    let next = client.send_json("POST", "a/lock", ask).json()["lock_id"].as_str().unwrap().to_owned();
    assert_ne!(next, id);
    api.advance(Duration::from_millis(1_499));
    assert!(client.send_json("POST", "a/lock", ask).json()["lock_id"].is_null());
    api.advance(Duration::from_millis(1));
    let last = client.send_json("POST", "a/lock", ask).json()["lock_id"].as_str().unwrap().to_owned();
    client.delete(&format!("a/lock?lock_id={last}"));
    assert!(client.send_json("POST", "a/lock", ask).json()["lock_id"].is_string());
    assert_eq!(client.get("a").status, 404, "a lock is no entry");
}

#[test]
fn health_counts() {
    let (_api, mut client) = api();
    client.put("a", b"v", &[]);
    client.send_json("POST", "a/lock", r#"{"timeout_ms": 1}"#);
    let health = client.get("health");
    assert_eq!((health.status, &health.json()["status"]), (200, &json!("ok")));
    assert_eq!((&health.json()["cache_entries"], &health.json()["active_locks"]), (&json!(1), &json!(1)));
}

#[test]
fn the_clock_runs_until_it_is_stopped() {
    let api = Api::start(&Authority::new());
    let mut client = Client::of(&api);
    let ask = r#"{"timeout_ms": 1}"#;
    assert!(client.send_json("POST", "a/lock", ask).json()["lock_id"].is_string());
    crate::servers::wait_until("a millisecond", || {
        client.send_json("POST", "a/lock", ask).json()["lock_id"].is_string()
    });
    api.stop_clock();
    api.advance(Duration::from_millis(1));
    client.send_json("POST", "a/lock", ask);
    let start = std::time::Instant::now();
    while start.elapsed() < Duration::from_millis(5) {
        assert!(client.send_json("POST", "a/lock", ask).json()["lock_id"].is_null());
    }
}

#[test]
fn requests_and_connections_are_told() {
    let (api, mut client) = api();
    client.put("a", &[7; 5_000], &[("X-Asked", "yes")]);
    let mut other = Client::of(&api);
    other.get("a?b=c");
    let [put, get] = &api.requests()[..] else { panic!("not two requests") };
    assert_eq!((put.method.as_str(), put.target.as_str(), put.length), ("PUT", "/v1/cache/a", 5_000));
    assert_eq!((put.header("x-asked"), put.body.as_slice()), (Some("yes"), [7; 4_096].as_slice()));
    assert_eq!((get.method.as_str(), get.target.as_str(), get.length), ("GET", "/v1/cache/a?b=c", 0));
    assert_eq!((api.connections(), api.open(), api.most_open()), (2, 2, 2));
    drop(other);
    crate::servers::wait_until("it is closed", || api.open() == 1);
    Client::of(&api).get("a");
    assert_eq!((api.connections(), api.most_open()), (3, 2));
    assert_eq!(client.ask("GET", "a", &[("Connection", "close")], b"").status, 200);
    assert_eq!(client.rest().unwrap(), b"");
}
