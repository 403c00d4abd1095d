//! The Redis backend, against real servers.
#![cfg(unix)]
#![cfg(test)]

mod burst;
mod bus;
mod connections;
mod contract;
mod counted;
mod degraded;
mod errors;
mod failover;
mod forgetting;
mod joined;
mod lacking;
mod ledgers;
mod listening;
mod locks;
mod logins;
mod outages;
mod parts;
mod processes;
mod retries;
mod rude;
mod settings;
mod spoiled;
mod support;
mod tracking;
mod waiting;
mod wire;
mod writers;
