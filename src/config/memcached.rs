//! What the environment says about Memcached.

use std::time::Duration;

use super::address::Address;
use super::parse;
use super::problem::{Fault, Problem};
use super::variables::Variables;

/// How to reach Memcached.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemcachedSettings {
    /// `host:port` or `[v6]:port`, at least one. Default `127.0.0.1:11211`.
    pub servers: Vec<String>,
    /// The longest one connect may take, 0.1 to 30 s. Default 2 s.
    pub connect_timeout: Duration,
    /// The longest one operation may take, 0.1 to 30 s. Default 1 s.
    pub timeout: Duration,
    /// Connections per server, 1..=100. Default 10.
    pub max_pool_size: usize,
    /// Attempts after the first, 0..=10. Default 2.
    pub retry_attempts: u32,
    /// What every key begins with. Default empty.
    pub key_prefix: String,
}

impl Default for MemcachedSettings {
    fn default() -> Self {
        Self {
            servers: vec!["127.0.0.1:11211".to_owned()],
            connect_timeout: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            max_pool_size: 10,
            retry_attempts: 2,
            key_prefix: String::new(),
        }
    }
}

impl MemcachedSettings {
    /// The longest prefix in bytes: what a key leaves of memcached's 250.
    pub const MAX_PREFIX: usize = 60;

    pub(super) fn read(vars: &Variables, problems: &mut Vec<Problem>) -> Self {
        let default = Self::default();
        let servers = vars.cachekit_memcached_servers.read(problems, servers);
        let connect = vars.cachekit_memcached_connect_timeout.read(problems, parse::seconds_of(0.1..=30.0, "2.0"));
        let timeout = vars.cachekit_memcached_timeout.read(problems, parse::seconds_of(0.1..=30.0, "1.0"));
        let pool = vars.cachekit_memcached_max_pool_size.read(problems, parse::whole(1..=100, 10));
        let retries = vars.cachekit_memcached_retry_attempts.read(problems, parse::whole(0..=10, 2));
        let prefix = vars.cachekit_memcached_key_prefix.read(problems, prefix);
        Self {
            servers: servers.unwrap_or(default.servers),
            connect_timeout: connect.unwrap_or(default.connect_timeout),
            timeout: timeout.unwrap_or(default.timeout),
            max_pool_size: pool.unwrap_or(default.max_pool_size),
            retry_attempts: retries.unwrap_or(default.retry_attempts),
            key_prefix: prefix.unwrap_or(default.key_prefix),
        }
    }
}

const SERVERS_FORM: &str = r#"write ["mc1:11211", "[::1]:11211"]"#;

fn servers(text: &str) -> Result<Vec<String>, Fault> {
    let Ok(servers) = serde_json::from_str::<Vec<String>>(text) else {
        return Err(Fault::new("must be a JSON array of strings", SERVERS_FORM));
    };
    if servers.is_empty() {
        return Err(Fault::new("must name at least one server", SERVERS_FORM));
    }
    let is_server = |server: &str| Address::parse(server).is_some_and(|address| address.port.is_some());
    let servers: Vec<String> = servers.iter().map(|server| server.trim().to_owned()).collect();
    match servers.iter().position(|server| !is_server(server)) {
        Some(index) => Err(Fault::new(format!("server {} must be host:port or [v6]:port", index + 1), SERVERS_FORM)),
        None => Ok(servers),
    }
}

fn prefix(text: &str) -> Result<String, Fault> {
    if text.len() <= MemcachedSettings::MAX_PREFIX && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    let rule = format!("must be at most {} visible ASCII characters without blanks", MemcachedSettings::MAX_PREFIX);
    Err(Fault::new(rule, "set it to, for example, myapp:"))
}
