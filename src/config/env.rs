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
use super::redis::{RedisSettings, RedisUrl, Shared};
use super::secret::{MasterKey, Secrets};
use super::select::Selection;
use super::settings::Settings;
use super::variables::{Variables, is_own};
use crate::finding::Finding;
use crate::warnings::Told;

/// Everything the `CACHEKIT_*` variables and their few relatives say.
///
/// `CacheBuilder::from_env` reads one for itself, [`CacheBuilder::from_environment`] takes one. Read one to show a
/// program's configuration, to build several caches, or to reach the same servers with another client. A variable that
/// breaks its rule has its default here; `build` reports it. Blanks around a value do not count, nor does a pair of
/// quotes that a reader of env files left there, and an empty value is unset.
///
/// `REDIS_URL`, `LOG_LEVEL`, `REQUESTS_CA_BUNDLE` and `SSL_CERT_FILE` are other programs' variables, too, so what this
/// library cannot use in them is no error but one of the [`warnings`](Self::warnings).
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
/// The default is an environment in which no variable is set.
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
    /// Default [`LogLevel::Info`], which also stands for levels of other programs.
    pub log_level: LogLevel,
    /// A PEM file of further roots for the clients of CachekitIO and, with TLS, of Redis: `CACHEKIT_CA_BUNDLE`, else
    /// `REQUESTS_CA_BUNDLE`, else `SSL_CERT_FILE`. Default none.
    ///
    /// A file that cannot be read is an error of `build` if `CACHEKIT_CA_BUNDLE` names it, or `REQUESTS_CA_BUNDLE` and
    /// the backend speaks TLS. Such an `SSL_CERT_FILE` is passed over, as OpenSSL does.
    pub ca_bundle: Option<PathBuf>,
    /// The variables that are set, by name.
    set: Vec<&'static str>,
    /// Every rule broken, in the order of the variables' groups; `selected` is not among them.
    pub(crate) problems: Vec<Problem>,
    /// Variables that look like ours and are not, and others' variables that mean nothing here.
    pub(crate) warnings: Vec<String>,
    /// Those that a cache has told.
    pub(crate) told: Told,
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

impl Default for Environment {
    fn default() -> Self {
        Self::from_vars::<OsString, OsString>([])
    }
}

impl Environment {
    /// What the variables of this process say. Opens the CA bundle, if one is named, to see whether it can be read.
    pub fn from_env() -> Self {
        Self { told: Told::of_process(), ..Self::from_vars(std::env::vars_os()) }
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
            settings: Settings::read(&vars, &mut problems),
            secrets: secrets(&vars, &mut problems),
            log_level: vars.log_level.read(&mut problems, log_level).unwrap_or(LogLevel::Info),
            ca_bundle: ca_bundle(&vars, &mut problems),
            cachekitio: CachekitIoSettings::read(&vars, pool, &mut problems),
            file: FileSettings::read(&vars, &mut problems),
            memcached: MemcachedSettings::read(&vars, &mut problems),
            selected,
            set: vars.set(),
            problems: Vec::new(),
            warnings: lookalike::warnings(others),
            told: Told::default(),
        };
        // Others' variables follow rules of their own, so what breaks ours is told and not refused.
        let (problems, oddities) = problems.into_iter().partition(|problem| is_own(&problem.name));
        environment.problems = problems;
        environment.warnings.extend(oddities.iter().map(ignored));
        environment.redis.ca_bundle.clone_from(&environment.ca_bundle);
        environment.cachekitio.ca_bundle.clone_from(&environment.ca_bundle);
        environment
    }

    /// What deserves attention and is no error: variables that look like cachekit's and are not read, and values of
    /// other programs' variables that are not used. Each names the variable and what to do; none holds a value.
    ///
    /// The first cache built from this environment, clones of it included, tells them as
    /// [`Event::Warning`](crate::Event::Warning); a program without a subscriber or an observer shows them by this
    /// method, or by [`Cache::warnings`](crate::Cache::warnings).
    ///
    /// # Examples
    /// ```
    /// use cachekit::Environment;
    /// let environment = Environment::from_vars([("CACHE_REDIS_URL", "redis://prod"), ("LOG_LEVEL", "verbose")]);
    /// let [look_alike, level] = environment.warnings() else { panic!("there are two") };
    /// assert!(look_alike.starts_with("CACHE_REDIS_URL is ignored: CACHEKIT_REDIS_URL is likely meant"));
    /// assert!(level.starts_with("LOG_LEVEL is ignored: it must be one of TRACE, DEBUG, INFO"));
    /// ```
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The names of the variables that are set and not empty, in the order of [`table`](Self::table).
    ///
    /// # Examples
    /// ```
    /// use cachekit::Environment;
    /// let environment = Environment::from_vars([("CACHEKIT_DEFAULT_TTL", "60"), ("HOME", "/root"), ("LOG_LEVEL", "")]);
    /// assert_eq!(environment.set_variables(), ["CACHEKIT_DEFAULT_TTL"]);
    /// ```
    pub fn set_variables(&self) -> &[&'static str] {
        &self.set
    }

    /// Everything that is wrong or odd about these variables: errors for what `build` refuses, warnings for the rest.
    pub fn findings(&self) -> Vec<Finding> {
        let problems = self.problems.iter().chain(self.selected.as_ref().err());
        let errors = problems.map(|problem| {
            Finding::error(format!("{}: {}", problem.name, problem.rule), problem.fix.clone())
                .follows("no cache can be built from this environment")
        });
        let warnings = self.warnings.iter().map(|warning| Finding::of_warning(warning));
        errors.chain(warnings).collect()
    }
}

/// How an unusable value of another program's variable is told.
fn ignored(oddity: &Problem) -> String {
    format!("{} is ignored: it {}; {}", oddity.name, oddity.rule, oddity.fix)
}

/// The URL of Redis. `REDIS_URL` concerns only a cache that would connect there; one that leads to something else
/// than Redis is passed over.
fn redis_url(
    vars: &Variables,
    selected: &mut Result<Option<Selection>, Problem>,
    problems: &mut Vec<Problem>,
) -> Option<RedisUrl> {
    if vars.cachekit_redis_url.is_set() {
        return vars.cachekit_redis_url.read(problems, RedisUrl::parse);
    }
    let is_used = matches!(selected, Ok(Some(Selection::Redis)));
    match vars.redis_url.value(RedisUrl::parse_shared) {
        Ok(shared) => {
            let Shared { url, oddity } = shared?;
            if is_used && url.is_none() {
                *selected = Ok(None);
            }
            let name = if url.is_some() { "an option in REDIS_URL" } else { vars.redis_url.name };
            problems.extend(oddity.filter(|_| is_used).map(|fault| Problem::new(name, fault)));
            url
        }
        Err(problem) => {
            if is_used {
                *selected = Err(problem);
            }
            None
        }
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

fn ca_bundle(vars: &Variables, problems: &mut Vec<Problem>) -> Option<PathBuf> {
    let others = [&vars.cachekit_ca_bundle, &vars.requests_ca_bundle];
    let named = others.into_iter().find(|variable| variable.is_set()).unwrap_or(&vars.ssl_cert_file);
    let bundle = named.read(problems, readable);
    if bundle.is_none() && named.name == vars.requests_ca_bundle.name {
        // Kept for a backend that speaks TLS, which refuses it.
        return named.read(problems, |path| Ok(PathBuf::from(path)));
    }
    bundle
}

fn readable(text: &str) -> Result<PathBuf, Fault> {
    let path = PathBuf::from(text);
    // Asked before it is opened: opening a pipe waits for its writer, and a directory may open without being readable.
    if path.is_file() && File::open(&path).is_ok() {
        return Ok(path);
    }
    Err(Fault::new("must be the path of a file that can be read", "name a PEM file, or unset it"))
}
