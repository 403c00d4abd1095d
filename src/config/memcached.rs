//! What the environment says about Memcached.

use std::time::Duration;

use super::address::Address;
use super::parse;
#[cfg(any(feature = "memcached", test))]
use super::problem;
use super::problem::{Fault, Problem};
use super::variables::Variables;
#[cfg(any(feature = "memcached", test))]
use crate::error::Error;

/// How to reach Memcached.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use cachekit::MemcachedSettings;
///
/// let mut settings = MemcachedSettings::new(["mc1:11211", "mc2:11211"]);
/// settings.timeout = Duration::from_millis(250);
/// assert_eq!((settings.max_pool_size, settings.max_item_size), (10, 1 << 20));
/// ```
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
    /// How many more attempts, a second apart, a server that failed gets before its keys move to the others for a
    /// minute; 0..=10. One that does not answer in time has failed once it has been silent for a second. Default 2.
    pub retry_attempts: u32,
    /// What every key begins with: at most [`MAX_PREFIX`](MemcachedSettings::MAX_PREFIX) visible ASCII characters without
    /// blanks. Default empty.
    pub key_prefix: String,
    /// The item size of the servers, which they call `-I`; 1 KiB to 1 GiB. Default 1 MiB, as is theirs. Larger values are
    /// split by the cache, so raise it only with the servers'. A larger entry is not read, nor is one above a cache's
    /// `max_value_size`, whatever length a server declares.
    pub max_item_size: usize,
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
            max_item_size: 1 << 20,
        }
    }
}

impl MemcachedSettings {
    /// The longest prefix in bytes: what a key leaves of memcached's 250.
    pub const MAX_PREFIX: usize = 60;

    /// The settings of these servers, each `host:port` or `[v6]:port`; all else has its default. They are checked by
    /// `backends::Memcached::new`.
    pub fn new<S: Into<String>>(servers: impl IntoIterator<Item = S>) -> Self {
        Self { servers: servers.into_iter().map(Into::into).collect(), ..Self::default() }
    }

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
            max_item_size: default.max_item_size,
        }
    }

    /// Checks what a program may have set: the rules of the environment hold here, too.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) that tells every problem at once.
    #[cfg(any(feature = "memcached", test))]
    pub(crate) fn check(&self) -> Result<(), Error> {
        let mut problems = Vec::new();
        let mut rule = |name: &'static str, fault: Option<Fault>| {
            problems.extend(fault.map(|fault| Problem::new(name, fault)));
        };
        rule("servers (CACHEKIT_MEMCACHED_SERVERS)", servers_fault(&self.servers));
        rule("connect_timeout (CACHEKIT_MEMCACHED_CONNECT_TIMEOUT)", time_fault(self.connect_timeout));
        rule("timeout (CACHEKIT_MEMCACHED_TIMEOUT)", time_fault(self.timeout));
        rule("max_pool_size (CACHEKIT_MEMCACHED_MAX_POOL_SIZE)", number_fault(self.max_pool_size, 1, 100));
        rule("retry_attempts (CACHEKIT_MEMCACHED_RETRY_ATTEMPTS)", number_fault(self.retry_attempts as usize, 0, 10));
        rule("key_prefix (CACHEKIT_MEMCACHED_KEY_PREFIX)", prefix(&self.key_prefix).err());
        rule("max_item_size", number_fault(self.max_item_size, 1 << 10, 1 << 30));
        if problems.is_empty() { Ok(()) } else { Err(problem::error(problems)) }
    }

    /// The servers as host, without the brackets of an IPv6 address, and port. Those that [`check`](Self::check)
    /// refuses are left out.
    #[cfg(any(feature = "memcached", test))]
    pub(crate) fn addresses(&self) -> Vec<(&str, u16)> {
        let parsed = self.servers.iter().filter_map(|server| Address::parse(server.trim()));
        parsed.filter_map(|address| Some((address.host.trim_matches(['[', ']']), address.port?))).collect()
    }
}

#[cfg(any(feature = "memcached", test))]
fn time_fault(time: Duration) -> Option<Fault> {
    let range = Duration::from_millis(100)..=Duration::from_secs(30);
    (!range.contains(&time)).then(|| Fault::new("must be from 0.1 to 30 seconds", "set it to, for example, 1 s"))
}

#[cfg(any(feature = "memcached", test))]
fn number_fault(number: usize, low: usize, high: usize) -> Option<Fault> {
    let rule = format!("must be from {low} to {high}");
    (!(low..=high).contains(&number)).then(|| Fault::new(rule, "leave it at its default"))
}

fn servers_fault(servers: &[String]) -> Option<Fault> {
    if servers.is_empty() {
        return Some(Fault::new("must name at least one server", SERVERS_FORM));
    }
    let is_server = |server: &String| Address::parse(server.trim()).is_some_and(|address| address.port.is_some());
    let index = servers.iter().position(|server| !is_server(server))?;
    Some(Fault::new(format!("server {} must be host:port or [v6]:port", index + 1), SERVERS_FORM))
}

const SERVERS_FORM: &str = r#"write ["mc1:11211", "[::1]:11211"]"#;

fn servers(text: &str) -> Result<Vec<String>, Fault> {
    let Ok(servers) = serde_json::from_str::<Vec<String>>(text) else {
        return Err(Fault::new("must be a JSON array of strings", SERVERS_FORM));
    };
    let servers: Vec<String> = servers.iter().map(|server| server.trim().to_owned()).collect();
    servers_fault(&servers).map_or(Ok(servers), Err)
}

fn prefix(text: &str) -> Result<String, Fault> {
    if text.len() <= MemcachedSettings::MAX_PREFIX && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    let rule = format!("must be at most {} visible ASCII characters without blanks", MemcachedSettings::MAX_PREFIX);
    Err(Fault::new(rule, "set it to, for example, myapp:"))
}
