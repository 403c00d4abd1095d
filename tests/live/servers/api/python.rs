//! The original Python client against this server.
//!
//! It proves the server: what the server takes for right is what this client sends, and what it answers is what this
//! client understands. Its version is pinned in `tests/requirements.txt`; `tests/run.sh` installs it.
#![cfg(test)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Api, Class, Fault};
use crate::servers::{Authority, wait_until};

/// One process of the original client.
struct Original {
    process: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Original {
    fn of(api: &Api) -> Self {
        Self::start(api, &api.key(), api.ca())
    }

    fn with_key(api: &Api, api_key: &str) -> Self {
        Self::start(api, api_key, api.ca())
    }

    fn start(api: &Api, api_key: &str, trusted: &Path) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/live/servers/api/client.py");
        let mut command = Command::new(interpreter());
        // Nothing from outside: no proxy, no other settings of the client.
        command.arg("-I").arg(script).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped());
        command.env("CACHEKIT_API_URL", api.url_of("cachekit.test")).env("CACHEKIT_API_KEY", api_key);
        command.env("CACHEKIT_ALLOW_CUSTOM_HOST", "true").env("CACHEKIT_TIMEOUT", "30");
        let mut process = command.env("SSL_CERT_FILE", trusted).spawn().unwrap();
        let requests = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self { process, requests, answers }
    }

    /// Calls the client: the name of the call, then its arguments.
    fn answer(&mut self, call: Value) -> Value {
        let requests = self.requests.as_mut().expect("it is open until the drop");
        writeln!(requests, "{call}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("{call} ended the Python process: see its error above"))
    }

    /// What a call returns.
    fn call(&mut self, call: Value) -> Value {
        let mut answer = self.answer(call);
        assert_eq!(answer.get("error"), None, "{answer}");
        answer["value"].take()
    }

    /// The class of the error a call ends with.
    fn error(&mut self, call: Value) -> String {
        let answer = self.answer(call);
        answer["error"].as_str().unwrap_or_else(|| panic!("no error: {answer}")).to_owned()
    }
}

impl Drop for Original {
    fn drop(&mut self) {
        // It ends with its input.
        drop(self.requests.take());
        let _ = self.process.wait();
    }
}

/// The Python that has the original client.
fn interpreter() -> PathBuf {
    let environment = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python");
    let installed = fs::read_to_string(environment.join("requirements.txt")).unwrap_or_default();
    assert!(
        installed == include_str!("../../../requirements.txt"),
        "the Python packages of tests/requirements.txt are not installed in {}: run tests/run.sh, which installs them",
        environment.display(),
    );
    environment.join("bin/python")
}

fn api() -> Api {
    let api = Api::start(&Authority::new());
    api.stop_clock();
    api
}

#[test]
fn values_and_their_times() {
    let api = api();
    let mut client = Original::of(&api);
    assert_eq!(client.call(json!(["version"])), "0.24.1");
    let key = "ns:users:func:m.get_user:args:3870b2:1s";
    assert_eq!(client.call(json!(["get", key])), Value::Null);
    assert_eq!(client.call(json!(["exists", key])), false);
    assert_eq!(client.call(json!(["set", key, "\u{0}\u{ff}v", 10.5, 4])), Value::Null);
    assert_eq!(client.call(json!(["get", key])), "\u{0}\u{ff}v");
    assert_eq!(client.call(json!(["exists", key])), true);
    assert_eq!(client.call(json!(["get_with_freshness", key])), json!(["\u{0}\u{ff}v", false, 11]));
    assert_eq!(client.call(json!(["ttl", key])), 15);
    assert_eq!(client.call(json!(["refresh", key, 20])), true);
    assert_eq!(client.call(json!(["ttl", key])), 24);
    api.advance(Duration::from_secs(20));
    assert_eq!(client.call(json!(["get_with_freshness", key])), json!(["\u{0}\u{ff}v", true, 0]));
    assert_eq!(client.call(json!(["refresh", key, 20])), false, "stale");
    api.advance(Duration::from_secs(4));
    assert_eq!(client.call(json!(["get", key])), Value::Null);
    assert_eq!(client.call(json!(["ttl", key])), Value::Null);
    client.call(json!(["set", key, ""]));
    assert_eq!(client.call(json!(["get_with_freshness", key])), json!(["", false, null]));
    assert_eq!(client.call(json!(["ttl", key])), Value::Null);
    assert_eq!(client.call(json!(["delete", key])), true);
    assert_eq!(client.call(json!(["delete", key])), true);
    assert_eq!((api.entries(), api.connections()), (0, 1));
}

#[test]
fn what_it_sends() {
    let api = api();
    let mut client = Original::of(&api);
    client.call(json!(["set", "a:b_c-d.e", "v", 1, 2]));
    client.call(json!(["refresh", "a", 1.5]));
    client.call(json!(["lock", "a", 2.5, null]));
    client.call(json!(["unlock", "a"]));
    client.call(json!(["health"]));
    let requests = api.requests();
    let told = |index: usize| {
        let request = &requests[index];
        (request.method.as_str(), request.target.strip_prefix("/v1/cache/").unwrap())
    };
    let expected =
        [("PUT", "a%3Ab_c-d.e"), ("PATCH", "a/ttl"), ("POST", "a/lock"), ("DELETE", "a/lock"), ("GET", "health")];
    assert_eq!(std::array::from_fn(told), expected);
    let header = |index: usize, name| requests[index].header(name).unwrap_or_default();
    assert_eq!((header(0, "x-cachekit-ttl"), header(0, "x-cachekit-stale-ttl")), ("1", "2"));
    assert_eq!(header(0, "content-type"), "application/octet-stream");
    assert_eq!(
        (header(1, "content-type"), requests[1].body.as_slice()),
        ("application/json", br#"{"ttl": 2}"#.as_slice())
    );
    assert_eq!(requests[2].body, br#"{"timeout_ms": 2500}"#);
    assert_eq!(header(3, "x-cachekit-lock-id").len(), 36);
    for request in &requests {
        assert_eq!(request.header("authorization"), Some(format!("Bearer {}", api.key()).as_str()));
        assert_eq!(request.header("x-cachekit-l1-status"), Some("disabled"));
        assert!(request.header("user-agent").unwrap().starts_with("cachekit-py/0.24.1 urllib3/"));
    }
}

#[test]
fn locks() {
    let api = api();
    let (mut one, mut two) = (Original::of(&api), Original::of(&api));
    assert_eq!(one.call(json!(["lock", "a", 30, null])), true);
    assert_eq!(two.call(json!(["lock", "a", 30, null])), false, "no wait");
    assert_eq!(two.call(json!(["lock", "a", 30, 0.2])), false, "in vain");
    one.call(json!(["unlock", "a"]));
    assert_eq!(two.call(json!(["lock", "a", 30, 0.2])), true);
    api.advance(Duration::from_secs(30));
    assert_eq!(one.call(json!(["lock", "a", 30, null])), true, "after the holder's time");
    two.call(json!(["unlock", "a"]));
    assert_eq!(two.call(json!(["lock", "a", 30, null])), false, "released by one whose time had ended");
    api.fault(Fault::body(200, "no JSON"));
    assert_eq!(two.call(json!(["lock", "b", 30, null])), false);
}

#[test]
fn health() {
    let api = api();
    let mut client = Original::of(&api);
    let health = client.call(json!(["health"]));
    assert_eq!((&health[0], &health[1]["version"]), (&json!(true), &json!("1.0.0")));
    api.fault(Fault::status(503));
    assert_eq!(client.call(json!(["health"]))[0], false);
}

#[test]
fn error_classes() {
    let api = api();
    let mut client = Original::of(&api);
    for (status, class) in [
        (400, "permanent"),
        (401, "authentication"),
        (403, "authentication"),
        (404, "permanent"),
        (409, "permanent"),
        (413, "permanent"),
        (429, "transient"),
        (500, "transient"),
        (503, "transient"),
    ] {
        api.fault(Fault::status(status).times(1));
        assert_eq!(client.error(json!(["set", "a", "v", 1])), class, "{status}");
    }
    for (fault, class) in [
        (Fault::redirect("https://cachekit.test/v1/cache/b"), "unknown"),
        (Fault::Close, "transient"),
        (Fault::Reset, "transient"),
        (Fault::Garbage, "transient"),
        (Fault::Truncated, "transient"),
    ] {
        let told = format!("{fault:?}");
        api.fault(fault.times(1));
        assert_eq!(client.error(json!(["get", "a"])), class, "{told}");
    }
}

#[test]
fn refused_requests() {
    let api = api();
    let mut client = Original::of(&api);
    for key in ["", ".", "..", "health", "ttl", "lock"] {
        let asked = api.requests().len();
        assert_eq!(client.error(json!(["get", key])), "permanent", "{key}");
        assert_eq!(api.requests().len(), asked, "{key}");
    }
    // Sent, and refused here.
    for key in ["a/b", "a b", "é", "a~b", "a%b", "a..b", "ns:a"] {
        assert_eq!(client.error(json!(["get", key])), "permanent", "{key}");
    }
    for ttl in [0, -1, 2_592_001] {
        assert_eq!(client.error(json!(["set", "a", "v", ttl])), "permanent", "{ttl}");
    }
    assert_eq!(Original::with_key(&api, "ck_live_other").error(json!(["get", "a"])), "authentication");
    let mut sdk = Original::with_key(&api, &api.key_of(Class::Sdk));
    assert_eq!(sdk.error(json!(["set", "nsapi:n:a", "v"])), "authentication");
    assert_eq!(sdk.call(json!(["set", "ns:n:a", "v"])), Value::Null);
}

#[test]
fn a_certificate_of_another_authority_is_refused() {
    let (api, other) = (api(), Authority::new());
    let mut client = Original::start(&api, &api.key(), other.bundle());
    assert_eq!(client.error(json!(["get", "a"])), "transient");
    assert!(api.requests().is_empty());
}

#[test]
fn retries() {
    let api = api();
    let mut client = Original::of(&api);
    api.fault(Fault::retry_after(503, "1").times(1));
    let start = Instant::now();
    assert_eq!(client.call(json!(["set", "a", "v", 60])), Value::Null);
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_eq!((api.requests().len(), api.entries()), (2, 1));
    for (call, after) in [(json!(["get", "a"]), "1"), (json!(["delete", "a"]), "3"), (json!(["delete", "a"]), "1.5")] {
        api.fault(Fault::retry_after(503, after).times(1));
        let asked = api.requests().len();
        assert_eq!(client.error(call), "transient");
        assert_eq!(api.requests().len(), asked + 1);
    }
}

#[test]
fn decorated_functions_share_values() {
    let api = api();
    let mut one = Original::with_key(&api, &api.key_of(Class::Sdk));
    assert_eq!(one.call(json!(["square", 7])), json!([{"square": 49}, 1]));
    wait_until("the value is stored", || api.entries() == 1);
    assert_eq!(Original::of(&api).call(json!(["square", 7])), json!([{"square": 49}, 0]));
    let put = api.requests().into_iter().find(|request| request.method == "PUT").unwrap();
    let (key, told) = (put.target.strip_prefix("/v1/cache/").unwrap(), put.header("x-cachekit-l1-status"));
    assert!(key.starts_with("ns%3Asquares%3Afunc%3A__main__.square%3Aargs%3A"), "{key}");
    assert_eq!((put.header("x-cachekit-ttl"), told), (Some("60"), Some("miss")));
    assert!(put.body.starts_with(b"CK\x03"), "{:?}", put.body);
}
