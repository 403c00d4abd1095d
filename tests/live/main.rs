//! The integration tests over servers that they start, in one binary: one module a subject.
#![allow(clippy::unwrap_used, reason = "clippy's allow-unwrap-in-tests knows `#[test]` functions, not their helpers")]

mod batches;
mod blocking;
mod cachekitio;
mod cli;
mod clocks;
mod domains;
mod elsewhere;
mod examples;
mod foreign;
mod forget;
mod guard;
mod logs;
mod memcached;
mod other_keys;
mod pausing;
mod processes;
mod questions;
mod redis;
mod secure;
mod servers;
mod users;
mod vectors;
mod waiting;
mod warm;
