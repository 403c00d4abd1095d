//! Random numbers that nobody can seed.
//!
//! They tell processes, leases, versions and writes apart. A program may seed the generator that it shares with this
//! crate, for the sake of its tests or simulations, and two processes that do so alike must still differ.

use std::hash::{BuildHasher, RandomState};

/// A number that no other call gives, here or elsewhere, but by a chance of one in 2^64.
pub(crate) fn number() -> u64 {
    // The keys of the hasher come from the operating system; a forked process inherits them.
    RandomState::new().hash_one(std::process::id())
}
