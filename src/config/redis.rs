//! What the environment says about Redis.

use std::time::Duration;

use super::address::Address;
use super::parse;
use super::problem::{Fault, Problem};
use super::secret::Secret;
use super::variables::Variables;

/// How to reach Redis.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RedisSettings {
    /// Default `redis://localhost:6379/0`.
    pub url: RedisUrl,
    /// Connections at most, 1..=10,000. Default 10.
    pub pool_size: usize,
    /// The longest one command may take. Default 1 s.
    pub timeout: Duration,
    /// The longest one connect may take. Default 1 s.
    pub connect_timeout: Duration,
}

impl Default for RedisSettings {
    fn default() -> Self {
        Self {
            url: RedisUrl { text: Secret::new("redis://localhost:6379/0"), tls: false },
            pool_size: 10,
            timeout: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(1),
        }
    }
}

impl RedisSettings {
    /// All but the URL, whose variable depends on the others.
    pub(super) fn read(
        vars: &Variables,
        url: Option<RedisUrl>,
        pool_size: Option<usize>,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let default = Self::default();
        let timeout = vars.cachekit_socket_timeout.read(problems, parse::seconds("1.0"));
        let connect_timeout = vars.cachekit_socket_connect_timeout.read(problems, parse::seconds("1.0"));
        Self {
            url: url.unwrap_or(default.url),
            pool_size: pool_size.unwrap_or(default.pool_size),
            timeout: timeout.unwrap_or(default.timeout),
            connect_timeout: connect_timeout.unwrap_or(default.connect_timeout),
        }
    }
}

/// The URL of a Redis server, checked. It may hold a password, so nothing shows it.
#[derive(Debug, Clone)]
pub struct RedisUrl {
    text: Secret<str>,
    tls: bool,
}

const TCP_FORM: &str = "write redis://localhost:6379/0, or rediss://user:password@host:6379/0 for TLS";
const PASSWORD_FORM: &str = "percent-encode / ? # @ % in the user and password: redis://user:p%40ss@host:6379/0";
const UNIX_FORM: &str = "write redis+unix:///run/redis.sock?db=0&user=name&pass=password, or unix:///run/redis.sock";

impl RedisUrl {
    /// The longest database number a server takes.
    const MAX_DB: u32 = i32::MAX as u32;

    /// Checks a URL of scheme `redis`, `rediss`, `redis+unix` or `unix`.
    ///
    /// # Errors
    /// The fault shows the right form, never the text.
    pub(crate) fn parse(text: &str) -> Result<Self, Fault> {
        if text.chars().any(|char| char.is_whitespace() || char.is_control()) {
            return Err(Fault::new("must be a URL without blanks or control characters", TCP_FORM));
        }
        let (scheme, rest) = text.split_once("://").unwrap_or_default();
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "redis" => false,
            "rediss" => true,
            "redis+unix" | "unix" => {
                check_unix(rest)?;
                return Ok(Self { text: Secret::new(text), tls: false });
            }
            _ => {
                let rule = "must be a URL that begins with redis://, rediss://, redis+unix:// or unix://";
                return Err(Fault::new(rule, TCP_FORM));
            }
        };
        check_tcp(rest)?;
        Ok(Self { text: Secret::new(text), tls })
    }

    /// The URL, for the client that connects.
    pub fn expose(&self) -> &str {
        self.text.expose()
    }

    /// Whether the URL asks for TLS, which a build without it must refuse and never replace by plain text.
    pub fn is_tls(&self) -> bool {
        self.tls
    }
}

/// Checks `[user:password@]host[:port][/db][?protocol=..]`.
fn check_tcp(rest: &str) -> Result<(), Fault> {
    if rest.contains('#') {
        return Err(Fault::new("must have no # (certificates are always verified)", PASSWORD_FORM));
    }
    let (before_query, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = before_query.split_once('/').unwrap_or((before_query, ""));
    let (user, address) = authority.rsplit_once('@').unwrap_or(("", authority));
    if path.contains('@') || query.contains('@') || user.contains('@') || !is_encoded(user) {
        return Err(Fault::new("must have a percent-encoded user and password", PASSWORD_FORM));
    }
    if Address::parse(address).is_none() {
        return Err(Fault::new("must name a host, and a port from 1 to 65535 if any", TCP_FORM));
    }
    if !path.is_empty() && !is_db(path) {
        return Err(Fault::new("must have nothing but the number of a database behind the host", TCP_FORM));
    }
    check_query(query, &["protocol"], "must have no option but protocol=2 or protocol=3", TCP_FORM)
}

/// Checks `/path[?db=..&user=..&pass=..&protocol=..]`.
fn check_unix(rest: &str) -> Result<(), Fault> {
    if cfg!(not(unix)) {
        return Err(Fault::new("must not name a unix socket, which this platform lacks", TCP_FORM));
    }
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    if path.len() < 2 || !path.starts_with('/') || rest.contains('#') || !is_encoded(path) {
        return Err(Fault::new("must hold the absolute path of a socket after unix://", UNIX_FORM));
    }
    let rule = "must have no options but db (a number), user, pass and protocol (2 or 3)";
    check_query(query, &["db", "user", "pass", "protocol"], rule, UNIX_FORM)
}

/// Checks that a query has only these options, each once and with a value the client accepts.
fn check_query(query: &str, known: &[&str], rule: &'static str, fix: &'static str) -> Result<(), Fault> {
    let mut seen = Vec::new();
    for option in query.split('&').filter(|_| !query.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let valid = match name {
            "db" => is_db(value),
            "protocol" => matches!(value, "2" | "3" | "resp2" | "resp3"),
            _ => !value.is_empty() && is_encoded(value),
        };
        if !valid || !known.contains(&name) || seen.contains(&name) {
            return Err(Fault::new(rule, fix));
        }
        seen.push(name);
    }
    Ok(())
}

fn is_db(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse().is_ok_and(|db: u32| db <= RedisUrl::MAX_DB)
}

/// Whether every `%` begins two hex digits and the bytes they stand for are UTF-8.
fn is_encoded(text: &str) -> bool {
    let mut bytes = text.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else { return false };
        decoded.push((high << 4 | low) as u8);
    }
    std::str::from_utf8(&decoded).is_ok()
}
