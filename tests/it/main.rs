//! The integration tests: one binary, one module a subject.

mod codecs;
mod conformance;
mod files;
mod keys;
