//! The harness itself: a harness that does nothing would prove nothing.
#![cfg(test)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::memcached::Memcached;
use super::{Authority, Cluster, Mood, Proxy, Sentinels, Server, full_backlog, silent, unused, wait_until};

#[test]
fn memcached_answers() {
    assert!(Memcached::start().ask("version").starts_with("VERSION 1."));
}

#[test]
fn a_server_keeps_its_port_through_a_restart() {
    let server = Server::start();
    assert_eq!(server.cli(&["SET", "k", "v"]), "OK");
    assert_eq!(server.cli(&["GET", "k"]), "v");
    let port = server.port();
    server.kill();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    server.restart();
    assert_eq!(ping(port), "+PONG\r\n");
    assert_eq!(server.cli(&["GET", "k"]), "(nil)");
}

#[test]
fn a_paused_server_answers_when_resumed() {
    let server = Server::start();
    server.pause();
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    assert!(stream.read(&mut [0; 7]).is_err(), "an answer from a paused server");
    server.resume();
    stream.set_read_timeout(Some(super::PATIENCE)).unwrap();
    assert_eq!(stream.read(&mut [0; 7]).unwrap(), 7);
}

#[test]
fn users_and_passwords_are_asked_for() {
    let server = Server::setup().password("open").user("ada", "on >sesame ~users:* +@all").start();
    assert!(ping(server.port()).starts_with("-NOAUTH"));
    assert_eq!(server.cli(&["ACL", "WHOAMI"]), "default");
    assert!(server.cli(&["ACL", "GETUSER", "ada"]).contains("~users:*"));
    assert_eq!(server.url(), format!("redis://:open@127.0.0.1:{}/0", server.port()));
}

#[test]
fn tls_servers_speak_no_plain_text() {
    let authority = Authority::new();
    let server = Server::setup().tls(&authority).start();
    assert_ne!(ping(server.port()), "+PONG\r\n");
    let mut shell = Command::new("redis-cli");
    shell.args(["-p", &server.port().to_string(), "--tls", "--cacert"]).arg(authority.bundle()).arg("PING");
    assert_eq!(String::from_utf8(shell.output().unwrap().stdout).unwrap(), "PONG\n");
}

#[test]
fn connections_and_commands_are_told() {
    let server = Server::start();
    let mut monitor = server.monitor();
    assert_eq!(server.connections(), 0);
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    stream.write_all(b"GET k\r\n").unwrap();
    assert_eq!(stream.read(&mut [0; 5]).unwrap(), 5);
    assert_eq!((server.connections(), server.calls("get"), server.calls("set")), (1, 1, 0));
    let heard = monitor.heard(&server);
    assert!(heard.iter().any(|line| line.ends_with("\"GET\" \"k\"")), "{heard:?}");
}

#[test]
fn a_cluster_serves_without_a_lost_node() {
    let cluster = Cluster::start();
    let (own, port) = (cluster.owner("k"), cluster.owner("k").port());
    let moved = cluster.move_slot("j");
    assert_eq!(moved.cli(&["SET", "j", "v"]), "OK");
    assert!(cluster.owner("j").cli(&["GET", "j"]).starts_with("MOVED "));
    assert_eq!(own.cli(&["SET", "k", "v"]), "OK");
    let other = cluster.nodes.iter().find(|node| node.port() != port).unwrap();
    assert!(other.cli(&["GET", "k"]).starts_with("MOVED "));
    own.kill();
    wait_until("the others miss the node", || other.cli(&["CLUSTER", "INFO"]).contains("cluster_slots_fail:5"));
    assert!(other.cli(&["CLUSTER", "INFO"]).contains("cluster_state:ok"));
    own.restart();
    cluster.wait_until_whole();
}

#[test]
fn sentinels_make_the_replica_the_master() {
    let group = Sentinels::start();
    assert_eq!(group.master_port(), group.servers[0].port());
    group.servers[0].kill();
    wait_until("the sentinels name a new master", || group.master_port() == group.servers[1].port());
    wait_until("the new master takes writes", || group.servers[1].says(&["SET", "k", "v"], "OK"));
}

#[test]
fn a_proxy_hands_on_and_fails_as_told() {
    let server = Server::start();
    let proxy = Proxy::of(server.port());
    let mut stream = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    let mut ask = |patience| {
        stream.set_read_timeout(Some(patience)).unwrap();
        let _ = stream.write_all(b"PING\r\n");
        stream.read(&mut [0; 7]).unwrap_or(usize::MAX)
    };
    assert_eq!(ask(super::PATIENCE), 7);
    proxy.set(Mood::Slow(Duration::from_millis(10)));
    assert_eq!(ask(super::PATIENCE), 7);
    proxy.set(Mood::Hole);
    assert_eq!(ask(Duration::from_millis(50)), usize::MAX);
    proxy.set(Mood::Open);
    assert_eq!(ask(super::PATIENCE), 7, "what was held back");
    proxy.cut();
    stream.set_read_timeout(Some(super::PATIENCE)).unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
    assert!(stream.write_all(b"PING\r\n").is_err() || stream.read(&mut [0; 7]).unwrap_or(0) == 0);
    assert_eq!(proxy.accepted(), 1);
    proxy.set(Mood::Closed);
    let mut stream = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    assert_eq!(stream.read(&mut [0; 1]).unwrap_or(0), 0);
}

#[tokio::test]
async fn holes_swallow_what_they_promise_to() {
    let backlog = full_backlog();
    let late = TcpStream::connect_timeout(&backlog.address, Duration::from_millis(50)).unwrap_err();
    assert_eq!(late.kind(), std::io::ErrorKind::TimedOut);
    let (_listener, address) = silent();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    assert!(stream.read(&mut [0; 1]).is_err());
    assert!(TcpStream::connect(("127.0.0.1", unused())).is_err());
}

const ROLE: &str = "CACHEKIT_TEST_LEAVES_A_SERVER";

/// Started again by the test below.
#[test]
fn leaves_a_server() {
    if std::env::var(ROLE).is_err() {
        return;
    }
    let server = Server::start();
    // Not by `eprintln!`, which the test harness keeps to itself.
    std::io::stderr().write_all(format!("{} {}\n", server.port(), server.socket().display()).as_bytes()).unwrap();
    server.pause();
    loop {
        std::thread::park();
    }
}

#[test]
fn nothing_outlives_a_killed_test_run() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["servers::tests::leaves_a_server", "--exact"]).env(ROLE, "");
    let mut run = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(run.stderr.take().unwrap()), &mut line).unwrap();
    let (port, socket) = line.trim().split_once(' ').unwrap();
    let port: u16 = port.parse().unwrap();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_ok());
    run.kill().unwrap();
    run.wait().unwrap();
    wait_until("the server is gone", || TcpStream::connect(("127.0.0.1", port)).is_err());
    let root = std::path::Path::new(socket).ancestors().nth(2).unwrap();
    wait_until("the files are gone", || !root.exists());
}

/// The first line that a server on `port` answers in plain text.
fn ping(port: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    let mut line = String::new();
    let _ = std::io::BufRead::read_line(&mut std::io::BufReader::new(stream), &mut line);
    line
}
