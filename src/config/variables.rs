//! The variables, by name.
//!
//! `envy` fetches the texts and nothing else: it stops at its first error and repeats values in it, so that no rule is
//! left to it. Every field it sees is optional text, which it cannot refuse.

use std::collections::BTreeMap;
use std::ffi::OsString;

use serde::Deserialize;

use super::problem::{Fault, Problem};

/// What the names of the library's own variables begin with.
pub(super) const PREFIX: &str = "CACHEKIT_";

/// One variable: its name, and its text if it is set.
#[derive(Clone)]
pub(super) struct Variable {
    pub(super) name: &'static str,
    text: Option<String>,
}

impl Variable {
    pub(super) fn is_set(&self) -> bool {
        self.text.is_some()
    }

    /// The value, `None` if unset.
    pub(super) fn value<T>(&self, parse: impl FnOnce(&str) -> Result<T, Fault>) -> Result<Option<T>, Problem> {
        let Some(text) = &self.text else { return Ok(None) };
        parse(text).map(Some).map_err(|fault| Problem::new(self.name, fault))
    }

    /// The value, `None` if unset or wrong; what is wrong joins `problems`.
    pub(super) fn read<T>(
        &self,
        problems: &mut Vec<Problem>,
        parse: impl FnOnce(&str) -> Result<T, Fault>,
    ) -> Option<T> {
        self.value(parse).unwrap_or_else(|problem| {
            problems.push(problem);
            None
        })
    }
}

macro_rules! variables {
    ($(
        $(#[doc = $doc:literal])*
        $field:ident: $name:literal takes $values:literal $(, default $default:literal $(, $secret:ident)?)?;
    )*) => {
        #[derive(Deserialize)]
        struct Texts { $($field: Option<String>,)* }

        /// Every variable the library reads.
        pub(super) struct Variables { $(pub(super) $field: Variable,)* }

        /// The names of [`Variables`].
        pub(super) const NAMES: &[&str] = &[$($name),*];

        /// What is known of each, in the same order.
        pub(super) const KNOWN: &[Known] = &[$(Known {
            name: $name,
            values: $values,
            doc: concat!($($doc, "\n",)*),
            default: &[$($default)?],
            is_secret: false$($(|| stringify!($secret).len() > 0)?)?,
        }),*];

        impl From<Texts> for Variables {
            fn from(texts: Texts) -> Self {
                Self { $($field: Variable { name: $name, text: texts.$field },)* }
            }
        }

        impl Variables {
            /// The names of those that are set.
            pub(super) fn set(&self) -> Vec<&'static str> {
                [$(&self.$field),*].into_iter().filter(|variable| variable.is_set()).map(|variable| variable.name).collect()
            }
        }
    };
}

// A field is its name in lower case, which is what `envy` looks for. What sets a setting has its doc and default there.
variables! {
    /// Where Redis is, as [`RedisUrl`](crate::RedisUrl) lists the forms: a server, a cluster, sentinels, a socket;
    /// `rediss` for TLS. Selects Redis.
    cachekit_redis_url: "CACHEKIT_REDIS_URL" takes "a URL of Redis", default "redis://localhost:6379/0", secret;
    /// The same, where `CACHEKIT_REDIS_URL` and the other selectors are not set. Many programs read it.
    redis_url: "REDIS_URL" takes "a URL of Redis", default "redis://localhost:6379/0", secret;
    /// How many connections are open at most, to Redis (in a cluster: to each node) or to CachekitIO.
    cachekit_connection_pool_size: "CACHEKIT_CONNECTION_POOL_SIZE" takes "a whole number, 1..=10000", default "10";
    /// The longest a command of Redis may take.
    cachekit_socket_timeout: "CACHEKIT_SOCKET_TIMEOUT" takes "seconds above 0", default "1.0";
    /// The longest a connect to Redis may take.
    cachekit_socket_connect_timeout: "CACHEKIT_SOCKET_CONNECT_TIMEOUT" takes "seconds above 0", default "1.0";
    cachekit_default_ttl: "CACHEKIT_DEFAULT_TTL" takes "seconds above 0";
    cachekit_max_chunk_size_mb: "CACHEKIT_MAX_CHUNK_SIZE_MB" takes "MB above 0";
    cachekit_max_value_size: "CACHEKIT_MAX_VALUE_SIZE" takes "bytes, 1 or more";
    cachekit_enable_compression: "CACHEKIT_ENABLE_COMPRESSION" takes "true or false";
    cachekit_compression_level: "CACHEKIT_COMPRESSION_LEVEL" takes "a whole number, 1..=9";
    /// The key of `Intent::Secure`. It is a source, not a switch: alone it encrypts nothing.
    cachekit_master_key: "CACHEKIT_MASTER_KEY" takes "hex digits, 64 or more", default "none", secret;
    /// Keys that decrypt what was written before a rotation, and encrypt nothing.
    cachekit_previous_master_keys: "CACHEKIT_PREVIOUS_MASTER_KEYS" takes "up to three keys, separated by commas", default "none", secret;
    cachekit_encryption_fail_closed: "CACHEKIT_ENCRYPTION_FAIL_CLOSED" takes "true or false";
    cachekit_l1_enabled: "CACHEKIT_L1_ENABLED" takes "true or false";
    cachekit_l1_max_size_mb: "CACHEKIT_L1_MAX_SIZE_MB" takes "MB, 1 or more";
    cachekit_l1_ttl: "CACHEKIT_L1_TTL" takes "seconds above 0";
    cachekit_warm_keys: "CACHEKIT_WARM_KEYS" takes "a whole number, 0..=100000";
    cachekit_paused: "CACHEKIT_PAUSED" takes "true or false";
    cachekit_l1_paused: "CACHEKIT_L1_PAUSED" takes "true or false";
    cachekit_l2_paused: "CACHEKIT_L2_PAUSED" takes "true or false";
    /// How much the command `cachekit` and the examples log. The library itself installs no subscriber.
    log_level: "LOG_LEVEL" takes "TRACE, DEBUG, INFO, WARN, ERROR or OFF", default "INFO";
    /// Further roots for TLS to Redis and CachekitIO.
    cachekit_ca_bundle: "CACHEKIT_CA_BUNDLE" takes "the path of a PEM file", default "none";
    /// The same, where `CACHEKIT_CA_BUNDLE` is not set. Many programs read it.
    requests_ca_bundle: "REQUESTS_CA_BUNDLE" takes "the path of a PEM file", default "none";
    /// The same, where neither of these is set. Many programs read it.
    ssl_cert_file: "SSL_CERT_FILE" takes "the path of a PEM file", default "none";
    /// Authenticates with CachekitIO. Selects it, unless another selector is set; `Intent::Io` needs it.
    cachekit_api_key: "CACHEKIT_API_KEY" takes "characters of a token", default "none", secret;
    /// Where CachekitIO is.
    cachekit_api_url: "CACHEKIT_API_URL" takes "a URL of https", default "https://api.cachekit.io";
    /// The longest an operation of CachekitIO may take, its retries included.
    cachekit_timeout: "CACHEKIT_TIMEOUT" takes "seconds above 0", default "5.0";
    /// How often an operation of CachekitIO is tried again after a failure that may pass.
    cachekit_max_retries: "CACHEKIT_MAX_RETRIES" takes "a whole number, 0 or more", default "3";
    /// Whether `CACHEKIT_API_URL` may name another host than those of the service.
    cachekit_allow_custom_host: "CACHEKIT_ALLOW_CUSTOM_HOST" takes "true or false", default "false";
    /// Where the File backend keeps entries. Selects File.
    cachekit_file_cache_dir: "CACHEKIT_FILE_CACHE_DIR" takes "the path of a directory", default "`cachekit` in the directory for temporary files";
    /// What all files take together at most.
    cachekit_file_max_size_mb: "CACHEKIT_FILE_MAX_SIZE_MB" takes "a whole number of MB, 1..=1000000", default "1024";
    /// The largest file; at most half of `CACHEKIT_FILE_MAX_SIZE_MB`, so 512 where that has its default.
    cachekit_file_max_value_mb: "CACHEKIT_FILE_MAX_VALUE_MB" takes "a whole number of MB, 1..=512", default "100";
    /// How many files there are at most.
    cachekit_file_max_entry_count: "CACHEKIT_FILE_MAX_ENTRY_COUNT" takes "a whole number, 100..=1000000", default "10000";
    /// How long a write waits for writers of other processes.
    cachekit_file_lock_timeout_seconds: "CACHEKIT_FILE_LOCK_TIMEOUT_SECONDS" takes "seconds, 0.5..=30", default "5.0";
    /// The servers of memcached. Selects Memcached.
    cachekit_memcached_servers: "CACHEKIT_MEMCACHED_SERVERS" takes "a JSON array of host:port", default "[\"127.0.0.1:11211\"]";
    /// The longest a connect to memcached may take.
    cachekit_memcached_connect_timeout: "CACHEKIT_MEMCACHED_CONNECT_TIMEOUT" takes "seconds, 0.1..=30", default "2.0";
    /// The longest an operation of memcached may take.
    cachekit_memcached_timeout: "CACHEKIT_MEMCACHED_TIMEOUT" takes "seconds, 0.1..=30", default "1.0";
    /// How many connections to each server of memcached are open at most.
    cachekit_memcached_max_pool_size: "CACHEKIT_MEMCACHED_MAX_POOL_SIZE" takes "a whole number, 1..=100", default "10";
    /// How many more attempts, a second apart, a server of memcached that failed gets before its keys move to the
    /// others.
    cachekit_memcached_retry_attempts: "CACHEKIT_MEMCACHED_RETRY_ATTEMPTS" takes "a whole number, 0..=10", default "2";
    /// What the names of all items in memcached begin with.
    cachekit_memcached_key_prefix: "CACHEKIT_MEMCACHED_KEY_PREFIX" takes "up to 60 visible ASCII characters", default "none";
}

/// What a variable is for. One that sets a setting says the rest there.
pub(super) struct Known {
    pub(super) name: &'static str,
    pub(super) values: &'static str,
    pub(super) doc: &'static str,
    /// At most one.
    pub(super) default: &'static [&'static str],
    pub(super) is_secret: bool,
}

/// The name of the variable of a field.
pub(super) fn name_of(field: &str) -> Option<&'static str> {
    NAMES.iter().copied().find(|name| name.eq_ignore_ascii_case(field))
}

impl Variables {
    /// Picks the known variables, trimmed and without quotes, empty ones unset; returns the names of all others beside them.
    ///
    /// Where a name comes twice the first counts, as it does for `getenv`.
    pub(super) fn pick(
        vars: impl IntoIterator<Item = (OsString, OsString)>,
        problems: &mut Vec<Problem>,
    ) -> (Self, Vec<String>) {
        let mut found: BTreeMap<&'static str, OsString> = BTreeMap::new();
        let mut others = Vec::new();
        for (name, value) in vars {
            let Ok(name) = name.into_string() else { continue };
            match NAMES.iter().find(|known| **known == name) {
                Some(known) => drop(found.entry(known).or_insert(value)),
                None => others.push(name),
            }
        }
        let mut texts = Vec::new();
        for (name, value) in found {
            match value.to_str().map(bare) {
                Some("") => {}
                Some(text) => texts.push((name.to_owned(), text.to_owned())),
                None => {
                    problems.push(Problem::new(name, Fault::new("must be UTF-8 text", "set it again, or unset it")))
                }
            }
        }
        let Ok(texts) = envy::from_iter::<_, Texts>(texts) else {
            unreachable!("each field is optional text, and no name comes twice");
        };
        (texts.into(), others)
    }
}

/// A text without blanks around it, and without the pair of quotes that some readers of env files leave there.
fn bare(text: &str) -> &str {
    let text = text.trim();
    let quoted = ['"', '\''].into_iter().find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote));
    quoted.map_or(text, str::trim)
}

/// Whether a variable is this library's alone, and not the platform's or of other programs, too.
pub(super) fn is_own(name: &str) -> bool {
    name.starts_with(PREFIX)
}
