//! Configuration: what was asked, what was decided.

mod policy;

pub use self::policy::{AdaptiveTimeout, Backpressure, Breaker, Grace, Leases, Policy, Tracing};
