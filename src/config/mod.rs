//! Configuration: what was asked, what was decided.

mod address;
mod cachekitio;
mod decide;
mod env;
mod file;
mod lookalike;
mod memcached;
mod parse;
mod policy;
mod problem;
mod redis;
mod secret;
mod select;
mod settings;
#[cfg(test)]
mod tests;
mod variables;

pub(crate) use self::env::Environment;
pub use self::file::FileLimits;
pub use self::policy::{AdaptiveTimeout, Backpressure, Breaker, Grace, Leases, Policy, Tracing};
pub(crate) use self::problem::{Fault, Problem, error};
pub(crate) use self::secret::Secrets;
pub(crate) use self::select::Selection;
pub use self::settings::Settings;
