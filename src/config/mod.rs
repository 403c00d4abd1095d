//! Configuration: what was asked, what was decided.

mod decide;
mod file;
mod parse;
mod policy;
mod problem;
mod settings;

pub use self::file::FileLimits;
pub use self::policy::{AdaptiveTimeout, Backpressure, Breaker, Grace, Leases, Policy, Tracing};
pub(crate) use self::problem::{Problem, error};
pub use self::settings::Settings;
