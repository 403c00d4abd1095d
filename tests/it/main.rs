//! The integration tests: one binary, one module a subject.
#![allow(clippy::unwrap_used, reason = "clippy's allow-unwrap-in-tests knows `#[test]` functions, not their helpers")]

mod accounting;
mod bad_input;
mod bounds;
mod cachekitio;
mod chunks;
mod codecs;
mod compile_fail;
mod conformance;
mod elsewhere;
mod encryption;
mod errors;
mod evolution;
mod files;
mod forget;
mod freshness;
mod guard;
mod intents;
mod invalidation;
mod keys;
mod laws;
mod leases;
mod lifecycle;
mod memcached;
mod memory_bus;
mod processes;
mod quickstart;
mod races;
mod redis;
mod sealed;
mod servers;
mod settings;
mod sharing;
mod simulator;
mod storm;
mod support;
