//! The CachekitIO backend, against a server of its API.
#![cfg(unix)]
#![cfg(test)]

mod answers;
mod bounds;
mod caches;
mod contract;
mod hostile;
mod raw;
mod retries;
mod security;
mod settings;
mod support;
