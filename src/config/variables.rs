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
    ($($field:ident: $name:literal,)*) => {
        #[derive(Deserialize)]
        struct Texts { $($field: Option<String>,)* }

        /// Every variable the library reads.
        pub(super) struct Variables { $(pub(super) $field: Variable,)* }

        /// The names of [`Variables`].
        pub(super) const NAMES: &[&str] = &[$($name),*];

        impl From<Texts> for Variables {
            fn from(texts: Texts) -> Self {
                Self { $($field: Variable { name: $name, text: texts.$field },)* }
            }
        }
    };
}

// A field is its name in lower case, which is what `envy` looks for.
variables! {
    cachekit_redis_url: "CACHEKIT_REDIS_URL",
    redis_url: "REDIS_URL",
    cachekit_connection_pool_size: "CACHEKIT_CONNECTION_POOL_SIZE",
    cachekit_socket_timeout: "CACHEKIT_SOCKET_TIMEOUT",
    cachekit_socket_connect_timeout: "CACHEKIT_SOCKET_CONNECT_TIMEOUT",
    cachekit_default_ttl: "CACHEKIT_DEFAULT_TTL",
    cachekit_max_chunk_size_mb: "CACHEKIT_MAX_CHUNK_SIZE_MB",
    cachekit_max_value_size: "CACHEKIT_MAX_VALUE_SIZE",
    cachekit_enable_compression: "CACHEKIT_ENABLE_COMPRESSION",
    cachekit_compression_level: "CACHEKIT_COMPRESSION_LEVEL",
    cachekit_master_key: "CACHEKIT_MASTER_KEY",
    cachekit_previous_master_keys: "CACHEKIT_PREVIOUS_MASTER_KEYS",
    cachekit_encryption_fail_closed: "CACHEKIT_ENCRYPTION_FAIL_CLOSED",
    cachekit_l1_enabled: "CACHEKIT_L1_ENABLED",
    cachekit_l1_max_size_mb: "CACHEKIT_L1_MAX_SIZE_MB",
    cachekit_l1_ttl: "CACHEKIT_L1_TTL",
    cachekit_warm_keys: "CACHEKIT_WARM_KEYS",
    cachekit_paused: "CACHEKIT_PAUSED",
    cachekit_l1_paused: "CACHEKIT_L1_PAUSED",
    cachekit_l2_paused: "CACHEKIT_L2_PAUSED",
    log_level: "LOG_LEVEL",
    cachekit_ca_bundle: "CACHEKIT_CA_BUNDLE",
    requests_ca_bundle: "REQUESTS_CA_BUNDLE",
    ssl_cert_file: "SSL_CERT_FILE",
    cachekit_api_key: "CACHEKIT_API_KEY",
    cachekit_api_url: "CACHEKIT_API_URL",
    cachekit_timeout: "CACHEKIT_TIMEOUT",
    cachekit_max_retries: "CACHEKIT_MAX_RETRIES",
    cachekit_allow_custom_host: "CACHEKIT_ALLOW_CUSTOM_HOST",
    cachekit_file_cache_dir: "CACHEKIT_FILE_CACHE_DIR",
    cachekit_file_max_size_mb: "CACHEKIT_FILE_MAX_SIZE_MB",
    cachekit_file_max_value_mb: "CACHEKIT_FILE_MAX_VALUE_MB",
    cachekit_file_max_entry_count: "CACHEKIT_FILE_MAX_ENTRY_COUNT",
    cachekit_file_lock_timeout_seconds: "CACHEKIT_FILE_LOCK_TIMEOUT_SECONDS",
    cachekit_memcached_servers: "CACHEKIT_MEMCACHED_SERVERS",
    cachekit_memcached_connect_timeout: "CACHEKIT_MEMCACHED_CONNECT_TIMEOUT",
    cachekit_memcached_timeout: "CACHEKIT_MEMCACHED_TIMEOUT",
    cachekit_memcached_max_pool_size: "CACHEKIT_MEMCACHED_MAX_POOL_SIZE",
    cachekit_memcached_retry_attempts: "CACHEKIT_MEMCACHED_RETRY_ATTEMPTS",
    cachekit_memcached_key_prefix: "CACHEKIT_MEMCACHED_KEY_PREFIX",
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
