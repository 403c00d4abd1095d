//! Test doubles, and suites for implementers.
//!
//! With feature `testing`. A clock that stands still until told, a backend that fails on demand, and the checks that
//! every [`Backend`](crate::Backend), [`Bus`](crate::Bus) and [`Codec`](crate::Codec) must pass.

mod chaos;
mod clock;
pub mod conformance;
mod control;
mod simulator;

pub use self::chaos::Chaos;
pub use self::clock::ManualClock;
pub use self::control::{ChaosControl, Fault, Gate};
pub use self::simulator::{Faults, Report, SimulatedBackend, Simulation, Trouble, Violation};
