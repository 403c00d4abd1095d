//! Several processes over one server, and what they promise together.
//!
//! This binary starts itself again for each further process. A child answers on stderr, which the test harness leaves
//! alone, and is to end when its stdin does.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "clippy's allow-unwrap-in-tests knows `#[test]` functions, not their helpers")]

mod child;
mod namespace;
mod propagation;
mod staleness;

#[path = "../it/servers/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the integration tests use all of it")]
mod servers;
