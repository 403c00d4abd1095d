//! The integration tests: one binary, one module a subject.

mod freshness;
mod laws;
mod leases;
mod support;
