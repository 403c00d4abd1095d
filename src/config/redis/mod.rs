//! How to reach Redis: where, as whom, and how patiently.

#[cfg_attr(not(feature = "redis"), allow(dead_code, reason = "what is not compiled in reads nothing"))]
mod credentials;
#[cfg_attr(
    not(all(feature = "redis", feature = "redis-cluster", feature = "redis-sentinel")),
    allow(dead_code, reason = "what is not compiled in reads nothing")
)]
mod target;
mod url;

use std::error::Error as StdError;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

#[cfg(any(feature = "redis", test))]
use self::target::Target;
use super::parse;
use super::problem::{self, Problem};
use super::variables::Variables;
use crate::error::Error;

pub use self::credentials::Credentials;
pub(crate) use self::credentials::Provider;
#[cfg(any(feature = "redis", test))]
pub(crate) use self::target::{Host, Login, Topology};
pub use self::url::RedisUrl;
pub(super) use self::url::Shared;

/// How to reach Redis.
///
/// [`RedisUrl`] has the forms of the URL.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use cachekit::{ErrorKind, RedisSettings};
///
/// let mut settings = RedisSettings::new("redis-cluster://:secret@10.0.0.1,10.0.0.2:6380")?;
/// settings.timeout = Duration::from_millis(250);
/// assert_eq!((settings.pool_size, settings.connect_timeout), (10, Duration::from_secs(1)));
///
/// let wrong = RedisSettings::new("redis:localhost").unwrap_err();
/// assert_eq!(wrong.kind(), ErrorKind::Config);
/// assert!(wrong.to_string().contains("write redis://localhost:6379/0"));
/// # Ok::<(), cachekit::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RedisSettings {
    /// Default `redis://localhost:6379/0`.
    pub url: RedisUrl,
    /// Connections at most, in a cluster to each node; 1..=10,000. Default 10.
    pub pool_size: usize,
    /// The longest one command may take, and the handshake of a connection that was accepted; above zero, at most 3,650 days. Default 1 s.
    pub timeout: Duration,
    /// The longest one connect may take; above zero, at most 3,650 days. Default 1 s.
    pub connect_timeout: Duration,
    /// A PEM file of roots trusted beside those of the system, where the URL asks for TLS. Default none; the
    /// environment names it as [`Environment::ca_bundle`](crate::Environment::ca_bundle) says.
    pub ca_bundle: Option<PathBuf>,
    /// Whether L1 also forgets what other programs write, remove or let expire, as the server itself tells by
    /// `CLIENT TRACKING`. Default false. [`Redis`](crate::backends#structs) says what that costs. Refused in a cluster.
    pub tracking: bool,
    /// Who gives the credentials, in place of those in the URL.
    pub(crate) provider: Option<Provider>,
}

impl Default for RedisSettings {
    fn default() -> Self {
        Self {
            url: RedisUrl::default(),
            pool_size: 10,
            timeout: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(1),
            ca_bundle: None,
            tracking: false,
            provider: None,
        }
    }
}

impl RedisSettings {
    /// The settings of the server, cluster or sentinels at `url`; all else has its default.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for a wrong URL. The message shows the right form, never the text.
    pub fn new(url: &str) -> Result<Self, Error> {
        match RedisUrl::parse(url) {
            Ok(url) => Ok(Self { url, ..Self::default() }),
            Err(fault) => Err(problem::error(vec![Problem::new("url", fault)])),
        }
    }

    /// Asks `provide` for the user and the password at each connect, in place of those in the URL: for tokens that expire.
    ///
    /// It is asked for every server, node of a cluster and master of sentinels; sentinels themselves keep what the URL
    /// says. A connection that is open stays as the server lets it; one that the server closes, or that is not
    /// authenticated any more, is replaced by one with new credentials. The time it takes counts as part of the
    /// connect. What it returns is kept nowhere, so keep a token in it for as long as that is good.
    ///
    /// # Errors
    /// An error of `provide` fails the connect: as [`ErrorKind::Denied`](crate::ErrorKind::Denied) if it is an [`Error`]
    /// of that kind, else as [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable), with the error as the source.
    ///
    /// # Examples
    /// ```
    /// use cachekit::{Credentials, RedisSettings};
    /// # async fn token_of_the_hour() -> std::io::Result<String> { Ok(String::from("token")) }
    ///
    /// let settings = RedisSettings::new("rediss://cache.example.org:6379")?
    ///     .credentials(|| async { Ok::<_, std::io::Error>(Credentials::new("ada", token_of_the_hour().await?)) });
    /// # Ok::<(), cachekit::Error>(())
    /// ```
    #[must_use]
    pub fn credentials<F, Fut, E>(mut self, provide: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Credentials, E>> + Send + 'static,
        E: Into<Box<dyn StdError + Send + Sync>> + 'static,
    {
        self.provider = Some(Provider::new(provide));
        self
    }

    /// All but the URL, whose variable depends on the others, and the CA bundle, which is not Redis's alone.
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
            ca_bundle: None,
            tracking: default.tracking,
            provider: None,
        }
    }

    /// Checks what a program may have set: the rules of the environment hold here, too.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) that tells every problem at once.
    #[cfg(any(feature = "redis", test))]
    pub(crate) fn check(&self) -> Result<(), Error> {
        let mut problems = Vec::new();
        if !(1..=10_000).contains(&self.pool_size) {
            let fault = problem::Fault::new("must be from 1 to 10000", "set it to, for example, 10");
            problems.push(Problem::new("pool_size (CACHEKIT_CONNECTION_POOL_SIZE)", fault));
        }
        for (name, time) in [
            ("timeout (CACHEKIT_SOCKET_TIMEOUT)", self.timeout),
            ("connect_timeout (CACHEKIT_SOCKET_CONNECT_TIMEOUT)", self.connect_timeout),
        ] {
            if !parse::lasts(time) {
                let fault =
                    problem::Fault::new("must be above zero and at most 3,650 days", "set it to, for example, 1 s");
                problems.push(Problem::new(name, fault));
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problem::error(problems)) }
    }

    /// Where the URL leads, and as whom.
    #[cfg(any(feature = "redis", test))]
    pub(crate) fn target(&self) -> &Target {
        self.url.target()
    }
}
