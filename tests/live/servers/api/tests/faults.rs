//! Each fault does what it says.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::client::Client;
use crate::servers::{Api, Authority, Fault, PATIENCE, wait_until};

fn api() -> (Api, Client) {
    let api = Api::start(&Authority::new());
    let mut client = Client::of(&api);
    client.put("a", b"value", &[("X-CacheKit-TTL", "60")]);
    (api, client)
}

#[test]
fn faults_are_for_the_next_few_of_a_method_or_until_cleared() {
    let (api, mut client) = api();
    api.fault(Fault::status(500).on("GET").times(2));
    api.fault(Fault::status(503).times(2));
    api.fault(Fault::status(429));
    let mut statuses = || ["GET", "HEAD", "GET", "GET", "GET"].map(|method| client.ask(method, "a", &[], b"").status);
    assert_eq!(statuses(), [500, 503, 500, 503, 429]);
    api.clear();
    assert_eq!(statuses(), [200; 5]);
}

#[test]
fn other_answers_come_instead_and_nothing_is_done() {
    let (api, mut client) = api();
    api.fault(Fault::retry_after(503, "2").times(1));
    let reply = client.delete("a");
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("2")));
    api.fault(Fault::redirect("https://elsewhere.test/").times(1));
    let reply = client.delete("a");
    assert_eq!((reply.status, reply.header("location")), (307, Some("https://elsewhere.test/")));
    api.fault(Fault::body(200, "{\"lock_id\": 5}").times(1));
    assert_eq!(client.send_json("POST", "a/lock", "{\"timeout_ms\": 1}").body, b"{\"lock_id\": 5}");
    assert_eq!(client.get("a").body, b"value");
    assert_eq!((api.requests().len(), api.connections()), (5, 1));
}

#[test]
fn freshness_is_told_as_told() {
    let (api, mut client) = api();
    api.fault(Fault::freshness(Some("mouldy"), Some("+5")).times(1));
    let reply = client.get("a");
    assert_eq!(reply.header("X-CacheKit-Freshness"), Some("mouldy"));
    assert_eq!((reply.header("X-CacheKit-Fresh-For"), reply.body.as_slice()), (Some("+5"), b"value".as_slice()));
    api.fault(Fault::freshness(None, None).times(1));
    let reply = client.get("a");
    assert_eq!((reply.header("X-CacheKit-Freshness"), reply.header("X-CacheKit-Fresh-For")), (None, None));
}

#[test]
fn bodies_are_cut_short() {
    let (api, mut client) = api();
    api.fault(Fault::Truncated.times(1));
    let reply = client.get("a");
    assert_eq!((reply.header("content-length"), reply.body.as_slice()), (Some("5"), b"va".as_slice()));
    let mut client = Client::of(&api);
    client.put("empty", b"", &[]);
    api.fault(Fault::Truncated.times(1));
    let reply = client.get("empty");
    assert_eq!((reply.header("content-length"), reply.body.len()), (Some("1"), 0));
}

#[test]
fn answers_are_late_or_drip() {
    let (api, mut client) = api();
    let distance = Duration::from_millis(10);
    let mut takes = |fault: Fault| {
        api.fault(fault.times(1));
        let start = Instant::now();
        assert_eq!(client.get("a").body, b"value");
        start.elapsed()
    };
    assert!(takes(Fault::Late(distance)) >= distance);
    assert!(takes(Fault::Drip(distance)) >= distance * 4);
    assert!(takes(Fault::DripHead(distance)) >= distance * 100);
}

#[test]
fn answers_are_too_large() {
    let (api, mut client) = api();
    api.fault(Fault::Large(3_000_000).times(1));
    assert_eq!(client.get("a").body, vec![b'x'; 3_000_000]);
    api.fault(Fault::HugeHeaders(100_000).times(1));
    assert_eq!(client.get("a").header("x-huge").map(str::len), Some(100_000));
    api.fault(Fault::Endless.times(1));
    let reply = client.get("a");
    assert_eq!((reply.header("transfer-encoding"), reply.header("content-length")), (Some("chunked"), None));
    let mut sink = std::io::sink();
    assert_eq!(std::io::copy(&mut client.take(5_000_000), &mut sink).unwrap(), 5_000_000);
    drop(client);
    wait_until("the server notices", || api.open() == 0);
}

#[test]
fn what_is_not_http_is_answered() {
    let (api, mut client) = api();
    api.fault(Fault::Garbage.times(1));
    assert_eq!(client.try_ask("GET", "a", &[], b"").unwrap_err().kind(), ErrorKind::InvalidData);
}

#[test]
fn connections_close_without_an_answer() {
    let (api, mut client) = api();
    api.fault(Fault::Close.times(1));
    assert_eq!(client.try_ask("DELETE", "a", &[], b"").unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert!(api.peek("a").is_some());
    let mut client = Client::of(&api);
    api.fault(Fault::Lost.times(1));
    assert_eq!(client.try_ask("DELETE", "a", &[], b"").unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert!(api.peek("a").is_none());
    assert_eq!(api.requests().len(), 3);
}

#[test]
fn connections_are_reset_with_the_request_unread() {
    let (api, mut client) = api();
    api.fault(Fault::Reset.times(1));
    assert_eq!(client.try_ask("DELETE", "a", &[], b"").unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!((api.requests().len(), api.entries()), (1, 1));
    assert_eq!(Client::of(&api).get("a").body, b"value");
}

#[test]
fn some_are_never_answered() {
    let (api, mut client) = api();
    api.fault(Fault::Hang.times(1));
    client.socket().set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let silence = client.try_ask("DELETE", "a", &[], b"").unwrap_err().kind();
    assert!(matches!(silence, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{silence}");
    assert_eq!((api.requests().len(), api.entries(), api.open()), (2, 1, 1));
    assert_eq!(Client::of(&api).get("a").body, b"value", "others are answered");
    drop(client);
    wait_until("the server notices", || api.open() == 0);
}

#[test]
fn all_connections_can_be_cut() {
    let (api, mut client) = api();
    api.cut();
    assert!(client.try_ask("GET", "a", &[], b"").is_err());
    wait_until("it is closed", || api.open() == 0);
    assert_eq!(Client::of(&api).get("a").body, b"value");
}

#[test]
fn nothing_is_left_of_a_dropped_server() {
    let (api, mut client) = api();
    let port = api.port();
    drop(api);
    client.socket().set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(client.try_ask("GET", "a", &[], b"").is_err());
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}
