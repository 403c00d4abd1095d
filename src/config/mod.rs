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
mod report;
mod rows;
mod rules;
mod secret;
mod select;
mod settings;
mod setup;
mod table;
#[cfg(test)]
mod tests;
mod variables;

#[cfg(feature = "cachekitio")]
pub(crate) use self::address::{is_forbidden, is_public};
pub use self::cachekitio::{ApiUrl, CachekitIoSettings};
pub use self::env::{Environment, LogLevel};
pub use self::file::{FileLimits, FileSettings};
pub use self::memcached::MemcachedSettings;
pub(crate) use self::parse::LONGEST;
pub use self::policy::{AdaptiveTimeout, Backpressure, Breaker, Grace, Leases, Overload, Policy, Tracing};
pub(crate) use self::problem::{Fault, Problem, error};
pub use self::redis::{Credentials, RedisSettings, RedisUrl};
#[cfg(any(feature = "redis", test))]
pub(crate) use self::redis::{Host, Login, Provider, Topology};
pub use self::report::{Report, ReportRow, Source};
pub(crate) use self::rows::Decided;
pub use self::rows::{SettingRow, VariableRow};
pub(crate) use self::rules::share;
#[cfg(feature = "encryption")]
pub(crate) use self::secret::MasterKey;
pub use self::secret::Secret;
pub(crate) use self::secret::Secrets;
pub(crate) use self::select::Selection;
pub use self::settings::Settings;
pub(crate) use self::setup::{Alarm, Setup};
pub(crate) use self::table::each_setting;
