//! Several processes over one server, and what they promise together.
//!
//! This binary starts itself again for each further process. A child answers on stderr, which the test harness leaves
//! alone, and is to end when its stdin does.
#![cfg(target_os = "linux")]
#![cfg(test)]

mod child;
mod namespace;
mod propagation;
mod staleness;

pub(crate) use self::child::{Child, say};
