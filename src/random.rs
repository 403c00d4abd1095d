//! Random numbers that cannot be seeded.
//!
//! They tell processes, leases, versions and writes apart. A program may seed the generator that it shares with this
//! crate, for the sake of its tests or simulations, and a virtual machine may be started many times from one snapshot
//! of its memory; the processes in them must still differ. So nothing is drawn from memory: each number comes from the
//! operating system.

use std::hash::{BuildHasher, RandomState};
use std::time::SystemTime;

/// A number that no other call gives, here or elsewhere, but by a chance of one in 2^64.
pub(crate) fn number() -> u64 {
    getrandom::u64().unwrap_or_else(|_| without_system())
}

/// For a process that may not ask the operating system: what that gave it at its start, and the time.
#[cold]
fn without_system() -> u64 {
    RandomState::new().hash_one((std::process::id(), SystemTime::now()))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn numbers_differ_whatever_a_program_seeds() {
        for draw in [number, without_system] {
            let drawn = || {
                fastrand::seed(7);
                (0..1_000).map(|_| draw()).collect::<Vec<_>>()
            };
            let mut all = drawn();
            all.extend(std::thread::spawn(move || (0..1_000).map(|_| draw()).collect::<Vec<_>>()).join().unwrap());
            all.extend(drawn());
            assert_eq!(all.iter().collect::<HashSet<_>>().len(), 3_000);
        }
    }
}
