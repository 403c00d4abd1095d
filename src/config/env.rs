//! The environment, read once and checked whole.
//!
//! Reading never fails: what is wrong is collected, so that `build` can tell everything at once, and what is merely odd
//! becomes a warning.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::path::PathBuf;

use super::cachekitio::CachekitIoSettings;
use super::file::FileSettings;
use super::lookalike;
use super::memcached::MemcachedSettings;
use super::parse;
use super::problem::{Fault, Problem};
use super::redis::{RedisSettings, RedisUrl};
use super::secret::{MasterKey, Secrets};
use super::select::Selection;
use super::settings::Settings;
use super::variables::{Variable, Variables};

/// Everything the `CACHEKIT_*` variables and their few relatives say.
///
/// `CacheBuilder::from_env` reads one for itself, [`CacheBuilder::from_environment`] takes one. Read one to show a
/// program's configuration, to build several caches, or to reach the same servers with another client. A variable that
/// breaks its rule has its default here; `build` reports it. Blanks around a value do not count, and an empty one is
/// unset.
///
/// `Debug` shows no secret: no key, no API key, no URL of Redis.
///
/// [`CacheBuilder::from_environment`]: crate::CacheBuilder::from_environment
///
/// # Examples
/// ```
/// use cachekit::{CacheBuilder, Environment};
/// let environment = Environment::from_env();
/// println!("log level {}, {} connections", environment.log_level, environment.redis.pool_size);
/// let users = CacheBuilder::from_environment(environment.clone()).namespace("users");
/// let pages = CacheBuilder::from_environment(environment).namespace("pages");
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Environment {
    /// The settings that variables name; the others are `None`.
    pub settings: Settings,
    /// The backend selected; `Ok(None)` if none is, which means Redis at its default URL.
    ///
    /// An error matters only to a cache that leaves the choice to the environment.
    pub(crate) selected: Result<Option<Selection>, Problem>,
    /// How to reach Redis.
    pub redis: RedisSettings,
    /// How to reach Memcached.
    pub memcached: MemcachedSettings,
    /// Where files go, and how many.
    pub file: FileSettings,
    /// How to reach CachekitIO.
    pub cachekitio: CachekitIoSettings,
    pub(crate) secrets: Secrets,
    /// Default [`LogLevel::Info`].
    pub log_level: LogLevel,
    /// A PEM file of further roots for the clients of CachekitIO and, with TLS, of Redis: `CACHEKIT_CA_BUNDLE`, else
    /// `REQUESTS_CA_BUNDLE`, else `SSL_CERT_FILE`. Default none.
    pub ca_bundle: Option<PathBuf>,
    /// Every rule broken, in the order of the variables' groups; `selected` is not among them.
    pub(crate) problems: Vec<Problem>,
    /// Variables that look like ours and are not.
    pub(crate) warnings: Vec<String>,
}

/// How much a program that uses the library logs, by `LOG_LEVEL`; the library itself installs no subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// Errors.
    Error,
    /// Warnings, too: backend failures, values not stored.
    Warn,
    /// What an operator wants to know.
    Info,
    /// Every outcome of every call.
    Debug,
    /// Everything.
    Trace,
}

impl fmt::Display for LogLevel {
    /// In lower case, as `tracing` parses its levels.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        })
    }
}

impl Environment {
    /// What the variables of this process say. Opens the CA bundle, if one is named, to see whether it can be read.
    pub fn from_env() -> Self {
        Self::from_vars(std::env::vars_os())
    }

    /// Like [`from_env`](Self::from_env), with variables of the caller's. The first of a name counts.
    pub fn from_vars<K: Into<OsString>, V: Into<OsString>>(vars: impl IntoIterator<Item = (K, V)>) -> Self {
        let mut problems = Vec::new();
        let vars = vars.into_iter().map(|(name, value)| (name.into(), value.into()));
        let (vars, others) = Variables::pick(vars, &mut problems);
        let mut selected = Selection::of(&vars);
        let url = redis_url(&vars, &mut selected, &mut problems);
        let pool = vars.cachekit_connection_pool_size.read(&mut problems, parse::whole(1..=10_000, 10));
        let mut environment = Self {
            redis: RedisSettings::read(&vars, url, pool, &mut problems),
            settings: settings(&vars, &mut problems),
            secrets: secrets(&vars, &mut problems),
            log_level: vars.log_level.read(&mut problems, log_level).unwrap_or(LogLevel::Info),
            ca_bundle: ca_bundle(&vars).read(&mut problems, readable),
            cachekitio: CachekitIoSettings::read(&vars, pool, &mut problems),
            file: FileSettings::read(&vars, &mut problems),
            memcached: MemcachedSettings::read(&vars, &mut problems),
            selected,
            problems,
            warnings: lookalike::warnings(others),
        };
        environment.redis.ca_bundle.clone_from(&environment.ca_bundle);
        environment.cachekitio.ca_bundle.clone_from(&environment.ca_bundle);
        environment
    }
}

/// The URL of Redis. A wrong `REDIS_URL` concerns nobody but a cache that would connect there.
fn redis_url(
    vars: &Variables,
    selected: &mut Result<Option<Selection>, Problem>,
    problems: &mut Vec<Problem>,
) -> Option<RedisUrl> {
    if vars.cachekit_redis_url.is_set() {
        return vars.cachekit_redis_url.read(problems, RedisUrl::parse);
    }
    vars.redis_url.value(RedisUrl::parse).unwrap_or_else(|problem| {
        if matches!(selected, Ok(Some(Selection::Redis))) {
            *selected = Err(problem);
        }
        None
    })
}

fn settings(vars: &Variables, problems: &mut Vec<Problem>) -> Settings {
    let levels = u64::from(*parse::LEVELS.start())..=u64::from(*parse::LEVELS.end());
    Settings {
        ttl: vars.cachekit_default_ttl.read(problems, parse::seconds("3600")),
        max_chunk_size_mb: vars.cachekit_max_chunk_size_mb.read(problems, parse::megabytes),
        max_value_size: vars.cachekit_max_value_size.read(problems, parse::whole(1..=u64::MAX, 104_857_600)),
        compression_enabled: vars.cachekit_enable_compression.read(problems, parse::boolean),
        compression_level: vars.cachekit_compression_level.read(problems, parse::whole(levels, 6)),
        fail_closed: vars.cachekit_encryption_fail_closed.read(problems, parse::boolean),
        l1_enabled: vars.cachekit_l1_enabled.read(problems, parse::boolean),
        l1_max_size_mb: vars.cachekit_l1_max_size_mb.read(problems, parse::megabytes_from_one),
        ..Settings::default()
    }
}

fn secrets(vars: &Variables, problems: &mut Vec<Problem>) -> Secrets {
    let master = vars.cachekit_master_key.read(problems, MasterKey::from_hex);
    let previous = vars.cachekit_previous_master_keys.read(problems, previous_keys).unwrap_or_default();
    let secrets = Secrets { master, previous };
    secrets.check(vars.cachekit_previous_master_keys.name, problems);
    secrets
}

fn previous_keys(text: &str) -> Result<Vec<MasterKey>, Fault> {
    let keys = text.split(',').map(str::trim).enumerate();
    keys.map(|(index, key)| {
        let place = index + 1;
        MasterKey::from_hex(key).map_err(|fault| Fault::new(format!("key {place} {}", fault.rule), fault.fix))
    })
    .collect()
}

fn log_level(text: &str) -> Result<LogLevel, Fault> {
    match text.to_ascii_uppercase().as_str() {
        "OFF" => Ok(LogLevel::Off),
        "ERROR" | "CRITICAL" => Ok(LogLevel::Error),
        "WARN" | "WARNING" => Ok(LogLevel::Warn),
        "INFO" => Ok(LogLevel::Info),
        "DEBUG" => Ok(LogLevel::Debug),
        "TRACE" => Ok(LogLevel::Trace),
        _ => Err(Fault::new("must be one of TRACE, DEBUG, INFO, WARN, ERROR, OFF", "set it to INFO, or unset it")),
    }
}

fn ca_bundle(vars: &Variables) -> &Variable {
    let others = [&vars.cachekit_ca_bundle, &vars.requests_ca_bundle];
    others.into_iter().find(|variable| variable.is_set()).unwrap_or(&vars.ssl_cert_file)
}

fn readable(text: &str) -> Result<PathBuf, Fault> {
    let path = PathBuf::from(text);
    // Asked before it is opened: opening a pipe waits for its writer, and a directory may open without being readable.
    if path.is_file() && File::open(&path).is_ok() {
        return Ok(path);
    }
    Err(Fault::new("must be the path of a file that can be read", "name a PEM file, or unset it"))
}
