//! How to reach CachekitIO: where, as whom, how patiently.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::address::{Address, is_forbidden};
use super::parse;
use super::problem::{self, Fault, Problem};
use super::secret::Secret;
use super::variables::Variables;
use crate::error::Error;

/// How to reach CachekitIO.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use cachekit::{CachekitIoSettings, ErrorKind};
///
/// let mut settings = CachekitIoSettings::new("ck_live_42")?;
/// settings.timeout = Duration::from_secs(2);
/// settings.url = "https://api.staging.cachekit.io".parse()?;
/// assert_eq!((settings.max_retries, settings.pool_size), (3, 10));
///
/// let wrong = CachekitIoSettings::new("two words").unwrap_err();
/// assert_eq!(wrong.kind(), ErrorKind::Config);
/// # Ok::<(), cachekit::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CachekitIoSettings {
    /// Authenticates; without one there is no such backend.
    pub api_key: Option<Secret<str>>,
    /// Default `https://api.cachekit.io`.
    pub url: ApiUrl,
    /// The longest one operation may take, its retries included; above zero, at most 3,650 days. Default 5 s.
    pub timeout: Duration,
    /// Attempts after the first for temporary failures. Default 3.
    pub max_retries: u32,
    /// Connections at most, and threads, 1..=10,000. Default 10.
    pub pool_size: usize,
    /// Whether any host but the service's own is let through, and any address that is not link-local and serves no
    /// metadata of a cloud machine. Default false.
    pub allow_custom_host: bool,
    /// A PEM file of roots trusted beside those of Mozilla, which are built in. Default none; the environment names it
    /// as [`Environment::ca_bundle`](crate::Environment::ca_bundle) says.
    pub ca_bundle: Option<PathBuf>,
}

impl Default for CachekitIoSettings {
    fn default() -> Self {
        Self {
            api_key: None,
            url: ApiUrl("https://api.cachekit.io".to_owned()),
            timeout: Duration::from_secs(5),
            max_retries: 3,
            pool_size: 10,
            allow_custom_host: false,
            ca_bundle: None,
        }
    }
}

impl CachekitIoSettings {
    /// The settings of who has `api_key`; all else has its default.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for characters that no key has. The message never shows the key.
    pub fn new(api_key: &str) -> Result<Self, Error> {
        match self::api_key(api_key) {
            Ok(api_key) => Ok(Self { api_key: Some(api_key), ..Self::default() }),
            Err(fault) => Err(problem::error(vec![Problem::new("api_key", fault)])),
        }
    }

    /// All but the CA bundle, which is not CachekitIO's alone.
    pub(super) fn read(vars: &Variables, pool_size: Option<usize>, problems: &mut Vec<Problem>) -> Self {
        let default = Self::default();
        let api_key = vars.cachekit_api_key.read(problems, api_key);
        let allow = vars.cachekit_allow_custom_host.read(problems, parse::boolean);
        let allow_custom_host = allow.unwrap_or(default.allow_custom_host);
        let url = vars.cachekit_api_url.read(problems, |text| ApiUrl::parse(text, allow_custom_host));
        let timeout = vars.cachekit_timeout.read(problems, parse::seconds("5.0"));
        let max_retries = vars.cachekit_max_retries.read(problems, parse::whole(0..=u64::from(u32::MAX), 3));
        Self {
            api_key,
            url: url.unwrap_or(default.url),
            timeout: timeout.unwrap_or(default.timeout),
            max_retries: max_retries.unwrap_or(default.max_retries),
            pool_size: pool_size.unwrap_or(default.pool_size),
            allow_custom_host,
            ca_bundle: None,
        }
    }

    /// Checks what a program may have set: the rules of the environment hold here, too.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) that tells every problem at once.
    #[cfg(any(feature = "cachekitio", test))]
    pub(crate) fn check(&self) -> Result<(), Error> {
        let mut problems = Vec::new();
        let mut refuse = |name, fault| problems.push(Problem::new(name, fault));
        if self.api_key.is_none() {
            refuse("api_key (CACHEKIT_API_KEY)", Fault::new("must be set", "make one at cachekit.io, and set it"));
        }
        if let Err(fault) = ApiUrl::parse(self.url.as_str(), self.allow_custom_host) {
            refuse("url (CACHEKIT_API_URL)", fault);
        }
        if !(1..=10_000).contains(&self.pool_size) {
            let fault = Fault::new("must be from 1 to 10000", "set it to, for example, 10");
            refuse("pool_size (CACHEKIT_CONNECTION_POOL_SIZE)", fault);
        }
        if !parse::lasts(self.timeout) {
            let fault = Fault::new("must be above zero and at most 3,650 days", "set it to, for example, 5 s");
            refuse("timeout (CACHEKIT_TIMEOUT)", fault);
        }
        if problems.is_empty() { Ok(()) } else { Err(problem::error(problems)) }
    }
}

/// The characters a bearer token may have (RFC 6750), so that a key cannot end its header.
fn api_key(text: &str) -> Result<Secret<str>, Fault> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_token) {
        return Ok(Secret::new(text));
    }
    let rule = "must be letters, digits and - . _ ~ + / = only";
    Err(Fault::new(rule, "copy the key again; it looks like ck_live_..."))
}

/// The base URL of the API: `https://host[:port][/path]`, without a slash at its end. It holds no secret.
///
/// Parsing one checks its form, and refuses addresses that no setting lets through: link-local ones, and those that
/// serve the metadata of a cloud machine. Which hosts are let through is checked when a backend is made.
///
/// # Examples
/// ```
/// use cachekit::ApiUrl;
/// let url: ApiUrl = "https://cache.example:8443/".parse()?;
/// assert_eq!(url.as_str(), "https://cache.example:8443");
/// assert!("http://cache.example".parse::<ApiUrl>().is_err());
/// assert!("https://169.254.169.254".parse::<ApiUrl>().is_err());
/// # Ok::<(), cachekit::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ApiUrl(String);

const HOSTS: [&str; 2] = ["api.cachekit.io", "api.staging.cachekit.io"];
const URL_FORM: &str = "write https://api.cachekit.io";
const METADATA_HOSTS: [&str; 2] = ["metadata.google.internal", "metadata"];

impl ApiUrl {
    /// Checks `https://host[:port][/path]`.
    ///
    /// A name may still resolve to an address [`is_forbidden`] refuses: the client asks again when it connects.
    ///
    /// # Errors
    /// The fault names the rule, never the text, which may hold a password.
    pub(crate) fn parse(text: &str, allow_custom_host: bool) -> Result<Self, Fault> {
        let (scheme, rest) = text.split_once("://").unwrap_or_default();
        if scheme.eq_ignore_ascii_case("http") {
            return Err(Fault::new("must use https; http would send the API key in the clear", URL_FORM));
        }
        if !scheme.eq_ignore_ascii_case("https") {
            return Err(Fault::new("must be a URL that begins with https://", URL_FORM));
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if authority.contains('@') {
            return Err(Fault::new(
                "must have no user or password",
                "remove what precedes the @; use CACHEKIT_API_KEY",
            ));
        }
        let Some(address) = Address::parse(authority) else {
            return Err(Fault::new("must name a host, and a port from 1 to 65535 if any", URL_FORM));
        };
        let path = path.trim_end_matches('/');
        if !path.is_empty() && !path.split('/').all(is_segment) {
            return Err(Fault::new("must have a plain path, if any, and no ? or #", URL_FORM));
        }
        check_host(address, allow_custom_host)?;
        let slash = if path.is_empty() { "" } else { "/" };
        Ok(Self(format!("https://{authority}{slash}{path}")))
    }

    /// The URL, without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ApiUrl {
    type Err = Error;

    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config); the message shows the right form, never the text.
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text, true).map_err(|fault| problem::error(vec![Problem::new("url", fault)]))
    }
}

impl fmt::Debug for ApiUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn is_segment(segment: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    !matches!(segment, "" | "." | "..") && segment.bytes().all(is_plain)
}

fn check_host(address: Address<'_>, allow_custom_host: bool) -> Result<(), Fault> {
    let host = address.host.to_ascii_lowercase();
    let bare = host.strip_suffix('.').unwrap_or(&host);
    if address.ip().is_some_and(is_forbidden) || METADATA_HOSTS.contains(&bare) {
        return Err(Fault::new("must not name a link-local or metadata address, whatever else is allowed", URL_FORM));
    }
    if allow_custom_host || HOSTS.contains(&host.as_str()) {
        return Ok(());
    }
    let rule = "must name api.cachekit.io or api.staging.cachekit.io";
    Err(Fault::new(rule, "correct the host, or set CACHEKIT_ALLOW_CUSTOM_HOST=true for a private test server"))
}
