//! The File backend, on real directories and with real processes.
#![cfg(unix)]
#![cfg(test)]

mod bad_files;
mod caps;
mod child;
mod crashes;
mod failures;
mod layout;
mod leases;
mod life;
mod opening;
mod planted;
mod support;
