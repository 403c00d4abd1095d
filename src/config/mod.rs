//! Configuration: what was asked, what was decided.

mod file;
mod policy;
mod settings;

pub use self::file::FileLimits;
pub use self::policy::{AdaptiveTimeout, Backpressure, Breaker, Grace, Leases, Policy, Tracing};
pub use self::settings::Settings;
