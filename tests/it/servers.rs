//! The servers that `tests/run.sh` starts.
//!
//! A missing server is a failure, never a test that is silently not run.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

/// The first line a server answers to `request`; `variable` says where it listens.
fn answer(variable: &str, request: &str) -> String {
    let address = std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: run ./tests/run.sh"));
    let mut stream = TcpStream::connect(&address).unwrap_or_else(|error| panic!("no server at {address}: {error}"));
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line
}

#[test]
fn redis_answers() {
    assert_eq!(answer("TEST_REDIS", "PING\r\n"), "+PONG\r\n");
}

#[test]
fn memcached_answers() {
    assert!(answer("TEST_MEMCACHED", "version\r\n").starts_with("VERSION 1."));
}
