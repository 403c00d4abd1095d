//! What the protocol says is refused, is.

use super::client::Client;
use crate::servers::{Api, Authority, Class};

fn api() -> (Api, Client) {
    let api = Api::start(&Authority::new());
    let client = Client::of(&api);
    (api, client)
}

#[test]
fn other_api_keys_are_refused_before_all_else() {
    let (api, client) = api();
    for wrong in ["", "ck_live_", &format!("{}x", api.key()), &api.key().replace("live", "test"), &api.key()[8..]] {
        let mut client = Client::of(&api).with_key(wrong);
        for path in ["a", "health", "a%2Fb", "..%2F"] {
            assert_eq!(client.get(path).status, 401, "{wrong} {path}");
        }
        assert_eq!(client.put("a", b"v", &[("X-CacheKit-TTL", "0")]).status, 401);
    }
    let mut client = client.with_key(format!("{0}\r\nAuthorization: Bearer {0}", api.key()));
    assert_eq!(client.get("a").status, 401, "two");
    assert_eq!(client.ask("OPTIONS", "a", &[], b"").status, 204);
    assert_eq!(api.entries(), 0);
}

#[test]
fn classes_of_api_keys_have_their_limits() {
    let (api, _) = api();
    let status = [("X-CacheKit-L1-Status", "miss")];
    let mut sdk = Client::of(&api).with_key(api.key_of(Class::Sdk));
    assert_eq!(sdk.get("a").status, 400, "no status of the memory cache");
    assert_eq!(sdk.ask("GET", "a", &[("X-CacheKit-L1-Status", "none")], b"").status, 400);
    assert_eq!(sdk.put("ns:n:a", b"v", &status).status, 200);
    assert_eq!(sdk.put("a", b"v", &status).status, 200);
    assert_eq!(sdk.put("nsapi:n:a", b"v", &status).status, 403);
    let mut direct = Client::of(&api).with_key(api.key_of(Class::Api));
    assert_eq!(direct.put("nsapi:n:a", b"v", &[]).status, 200);
    assert_eq!(direct.put("ns:n:a", b"w", &[]).status, 403);
    assert_eq!(direct.delete("ns:n:a").status, 403);
    assert_eq!(direct.send_json("PATCH", "ns:n:a/ttl", r#"{"ttl": 1}"#).status, 403);
    assert_eq!(direct.send_json("POST", "ns:n:a/lock", r#"{"timeout_ms": 1}"#).status, 403);
    assert_eq!(direct.get("ns:n:a").body, b"v");
    let mut live = Client::of(&api);
    assert_eq!((live.delete("ns:n:a").status, live.delete("nsapi:n:a").status), (200, 200));
}

#[test]
fn keys_of_other_characters_are_refused() {
    let (api, mut client) = api();
    let long = "k".repeat(401);
    let wrong = ["a%20b", "a%2Fb", "a%25", "a~b", "caf%C3%A9", "a%00", "a%", "a%4", "a%zz", "%ff", "a..b", &long];
    let namespaces = ["ns:", "ns:a", "ns:a:", "ns::a", "ns:a.b:c", "nsapi:a"];
    let words = ["", "ttl", "lock"];
    for path in wrong.into_iter().chain(namespaces).chain(words) {
        assert_eq!(client.put(path, b"v", &[]).status, 400, "{path}");
    }
    assert_eq!(client.get("/ttl").status, 400);
    for path in [&long[1..], "a.b_c-D:9", "ns:a_b-c:d", "nsx:a", "%61"] {
        assert_eq!(client.put(path, b"v", &[]).status, 200, "{path}");
    }
    assert_eq!(api.entries(), 5);
}

#[test]
fn dot_segments_lead_elsewhere() {
    let (api, mut client) = api();
    for path in ["..", "%2e%2E", ".%2e/ttl", "a/b", "a/ttl/x", "../x"] {
        assert_eq!(client.get(path).status, 404, "{path}");
    }
    assert_eq!(client.get(".").status, 400, "an empty key");
    client.put("x/../a", b"v", &[]);
    assert_eq!(api.peek("a"), Some(b"v".to_vec()));
    assert_eq!(client.get("./health").status, 200);
}

#[test]
fn other_methods_are_refused() {
    let (_api, mut client) = api();
    for (path, wrong, allowed) in [
        ("a", "POST", "GET, HEAD, PUT, DELETE"),
        ("a/ttl", "PUT", "GET, PATCH"),
        ("a/lock", "GET", "POST, DELETE"),
        ("health", "DELETE", "GET"),
    ] {
        let refused = client.ask(wrong, path, &[], b"");
        assert_eq!((refused.status, refused.header("allow")), (405, Some(allowed)));
    }
}

#[test]
fn times_out_of_range_are_refused() {
    let (api, mut client) = api();
    let (ttl, stale) = ("X-CacheKit-TTL", "X-CacheKit-Stale-TTL");
    for wrong in ["0", "-1", "1.5", "", "1s", "2592001", "99999999999999999999"] {
        assert_eq!(client.put("a", b"v", &[(ttl, wrong)]).status, 400, "{wrong}");
        assert_eq!(client.put("a", b"v", &[(ttl, wrong), ("X-TTL", "5")]).status, 400, "{wrong}");
        assert_eq!(client.put("a", b"v", &[("X-TTL", wrong)]).status, 400, "{wrong}");
        let body = format!(r#"{{"ttl": {}}}"#, if wrong.is_empty() { "null" } else { wrong });
        assert_eq!(client.send_json("PATCH", "a/ttl", &body).status, 400, "{wrong}");
        let refused = client.put("a", b"v", &[(ttl, "1"), (stale, wrong)]).status;
        assert_eq!(refused, if wrong == "0" { 200 } else { 400 }, "{wrong}");
    }
    assert_eq!(client.put("a", b"v", &[(stale, "5")]).status, 400, "stale time without a TTL");
    assert_eq!(client.put("a", b"v", &[(ttl, "2592000"), (stale, "1")]).status, 400);
    assert_eq!(client.put("a", b"v", &[(ttl, "1"), (stale, "2591999")]).status, 200);
    assert_eq!(client.send_json("PATCH", "a/ttl", r#"{"ttl": 2}"#).status, 400, "with the stale time");
    assert_eq!(client.put("a", b"v", &[(ttl, "2592000")]).status, 200);
    assert_eq!(api.entries(), 1);
}

#[test]
fn bodies_are_checked() {
    let (api, mut client) = api();
    assert_eq!(client.ask("PUT", "a", &[], b"v").status, 400, "no content type");
    assert_eq!(client.send_json("PUT", "a", "v").status, 400);
    for wrong in ["", "[]", "{}", r#"{"timeout_ms": 0}"#, r#"{"timeout_ms": "5"}"#, r#"{"timeout_ms": -5}"#] {
        assert_eq!(client.send_json("POST", "a/lock", wrong).status, 400, "{wrong}");
    }
    assert_eq!(client.delete("a/lock").status, 400, "no id");
    assert_eq!(client.ask("DELETE", "a/lock", &[("X-CacheKit-Lock-Id", " ")], b"").status, 400);
    assert_eq!(client.put("a", &vec![0; 25_000_001], &[]).status, 413);
    assert_eq!(api.entries(), 0);
    assert_eq!(client.put("a", &vec![0; 25_000_000], &[]).status, 200);
    assert_eq!(api.peek("a").unwrap().len(), 25_000_000);
}

#[test]
fn what_is_not_http_is_refused() {
    let (api, _) = api();
    let host = "Host: localhost\r\n";
    for (request, status) in [
        ("GET / HTTP/1.0\r\n\r\n".into(), 400),
        ("GET /\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\n\r\n".into(), 400),
        (format!("GET / HTTP/1.1\n{host}\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n{host}Bad Name: x\r\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n{host}Content-Length: x\r\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n{host}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n{host}Content-Length: 999999999\r\n\r\n"), 413),
        (format!("GET / HTTP/1.1\r\n{host}X: {}\r\n\r\n", "x".repeat(32 << 10)), 431),
    ] {
        let mut client = Client::of(&api);
        client.write(request.as_bytes()).unwrap();
        assert_eq!(client.read("GET").unwrap().status, status, "{request:.80}");
    }
    assert!(api.requests().is_empty());
}

#[test]
fn bodies_may_come_in_chunks() {
    let (api, mut client) = api();
    let head = format!(
        "PUT /v1/cache/a HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n{}",
        api.key(),
        "Content-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    client.write(format!("{head}3\r\none\r\nA\r\n and two..\r\n0\r\n\r\n").as_bytes()).unwrap();
    assert_eq!(client.read("PUT").unwrap().status, 200);
    assert_eq!(api.peek("a"), Some(b"one and two..".to_vec()));
    client.write(format!("{head}fffffffffffffff\r\n").as_bytes()).unwrap();
    assert_eq!(client.read("PUT").unwrap().status, 413);
}

#[test]
fn only_names_of_the_certificate_are_believed() {
    let (api, _) = api();
    for name in ["localhost", "127.0.0.1", "cachekit.test"] {
        assert_eq!(Client::named(&api, name).unwrap().get("health").status, 200, "{name}");
    }
    assert!(Client::named(&api, "cachekit.example").is_err());
    let other = Api::start(&Authority::new());
    assert_ne!((other.ca(), other.key()), (api.ca(), api.key()));
    assert_eq!(api.url_of("cachekit.test"), format!("https://cachekit.test:{}", api.port()));
    assert_eq!(api.url(), format!("https://localhost:{}", api.port()));
}
