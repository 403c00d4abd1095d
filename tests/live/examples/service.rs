//! The web service, called by an HTTP client.

use std::io::{BufRead, BufReader, Lines};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::LazyLock;
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use ureq::Agent;

use super::super::servers::{Server, wait_until};
use super::built_bin;

/// A process of the service, which is killed when dropped.
struct Service {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    url: String,
    client: Agent,
}

/// What was answered: status, `X-Cache`, body.
type Answer = (u16, Option<String>, String);

fn program() -> PathBuf {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| built_bin("cachekit-axum-example", "axum_service"));
    PROGRAM.clone()
}

impl Service {
    fn start(redis: &str) -> Self {
        let mut command = Command::new(program());
        command.arg("127.0.0.1:0").env_clear().env("CACHEKIT_REDIS_URL", redis);
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = lines.next().unwrap().unwrap();
        let url = line.strip_prefix("listening on ").unwrap().to_owned();
        let client = Agent::config_builder().http_status_as_error(false).build().into();
        Self { process, lines, url, client }
    }

    fn get(&self, path: &str) -> Answer {
        let mut answer = self.client.get(format!("{}{path}", self.url)).call().unwrap();
        let cache = answer.headers().get("x-cache").map(|value| value.to_str().unwrap().to_owned());
        (answer.status().as_u16(), cache, answer.body_mut().read_to_string().unwrap())
    }

    fn x_cache(&self, path: &str) -> String {
        let (status, cache, _) = self.get(path);
        assert_eq!(status, 200);
        cache.unwrap()
    }

    fn post(&self, path: &str) -> u16 {
        self.client.post(format!("{}{path}", self.url)).send_empty().unwrap().status().as_u16()
    }

    /// Asks it to end; the rest of what it prints.
    fn end(mut self) -> Vec<String> {
        kill_process(Pid::from_child(&self.process), Signal::TERM).unwrap();
        let rest = self.lines.by_ref().map(Result::unwrap).collect();
        assert!(self.process.wait().unwrap().success());
        rest
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn service_answers_from_the_cache_and_says_so() {
    let server = Server::start();
    let service = Service::start(&server.url());
    let user = r#"{"id":42,"name":"user 42"}"#.to_owned();
    assert_eq!(service.get("/users/42"), (200, Some("miss".into()), user.clone()));
    assert_eq!(service.get("/users/42"), (200, Some("hit".into()), user));
    assert_eq!(service.get("/users/41/orders").2, r#"[{"item":"item 0"},{"item":"item 1"}]"#);
    assert_eq!(service.get("/users/100"), (404, None, "there is no user 100".into()));
    for _ in 0..2 {
        let (status, cache, body) = service.get("/users/0");
        assert_eq!((status, cache), (502, None));
        assert_eq!(body, "the database failed: connection lost");
    }
    assert_eq!(service.get("/users/ada").0, 400);
    assert_eq!(service.get("/health"), (200, None, "backend up, 0 changes wait for it".into()));
    assert_eq!(service.end(), ["closed"]);
}

#[test]
fn services_share_entries_and_forget_together() {
    let server = Server::start();
    let (one, two) = (Service::start(&server.url()), Service::start(&server.url()));
    let paths = ["/users/42", "/users/42/orders", "/users/7"];
    assert_eq!(paths.map(|path| one.x_cache(path)), ["miss", "miss", "miss"]);
    assert_eq!(paths.map(|path| two.x_cache(path)), ["hit", "hit", "hit"]);
    assert_eq!(one.post("/users/42/invalidate"), 204);
    wait_until("the other one forgets", || two.x_cache("/users/42") == "miss");
    assert_eq!(paths.map(|path| one.x_cache(path)), ["hit", "miss", "hit"]);
    assert_eq!(two.x_cache("/users/7"), "hit");
}

#[test]
fn concurrent_requests_are_one_computation() {
    let server = Server::start();
    let service = Service::start(&server.url());
    let answers: Vec<String> = thread::scope(|scope| {
        let clients: Vec<_> = (0..16).map(|_| scope.spawn(|| service.x_cache("/users/42"))).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    assert_eq!(answers.iter().filter(|answer| *answer == "miss").count(), 1);
}

#[test]
fn service_goes_on_without_its_redis() {
    let server = Server::start();
    let service = Service::start(&server.url());
    assert_eq!(service.x_cache("/users/1"), "miss");
    drop(server);
    assert_eq!(service.get("/users/2").0, 200);
    let (status, _, body) = service.get("/health");
    assert_eq!(status, 200);
    assert!(body.starts_with("backend down: "), "{body}");
}

#[test]
fn prometheus_scrapes_the_numbers_of_this_moment() {
    let server = Server::start();
    let service = Service::start(&server.url());
    assert_eq!(
        ["/users/42", "/users/42", "/users/42/orders"].map(|path| service.x_cache(path)),
        ["miss", "hit", "miss"]
    );
    let (status, _, scrape) = service.get("/metrics");
    assert_eq!(status, 200);
    for line in [
        r#"cachekit_calls_total{namespace="service",domain="users",outcome="l1_hit"} 1"#,
        r#"cachekit_calls_total{namespace="service",domain="users",outcome="computed"} 1"#,
        r#"cachekit_calls_total{namespace="service",domain="orders",outcome="computed"} 1"#,
        r#"cachekit_computation_seconds_count{namespace="service",domain="orders",result="ok"} 1"#,
        r#"cachekit_misses_total{namespace="service",domain="users",reason="new"} 1"#,
        r#"cachekit_breaker_state{namespace="service",domain="",backend="redis",part="0"} 0"#,
    ] {
        assert!(scrape.lines().any(|other| other == line), "{line} in {scrape}");
    }
    assert!(!scrape.contains("user:42"), "{scrape}");
}
