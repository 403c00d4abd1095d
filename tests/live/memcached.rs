//! The Memcached backend, against real servers.
#![cfg(unix)]
#![cfg(test)]

mod contract;
mod degraded;
mod hostile;
mod keys;
mod leases;
mod ledgers;
mod lost;
mod settings;
mod sizes;
mod support;
mod times;
mod traps;
