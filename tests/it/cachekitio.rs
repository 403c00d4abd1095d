//! The CachekitIO backend, against a server of its API.
#![cfg(all(unix, feature = "cachekitio"))]
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
