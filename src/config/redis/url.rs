//! The URLs of Redis: forms and faults.

use std::fmt;

use super::target::{Host, Login, Target, Topology};
use crate::config::address::Address;
use crate::config::problem::Fault;
use crate::config::secret::Secret;

/// The URL of a Redis server, of a cluster, or of sentinels, checked. It may hold a password, so nothing shows it.
///
/// | form | leads to |
/// |---|---|
/// | `redis://[user:password@]host[:6379][/db]` | a server |
/// | `redis+unix:///path[?db=..&user=..&pass=..]`, `unix:///path` | a server's socket |
/// | `redis://host1,host2[:6379]`, `redis-cluster://host1[,host2]` | a cluster, by any of its nodes (feature `redis-cluster`) |
/// | `redis-sentinel://host1[:26379][,host2]/master[/db][?sentinel_user=..&sentinel_pass=..]` | the master of that name, by any of its sentinels (feature `redis-sentinel`) |
///
/// `rediss`, `rediss-cluster` and `rediss-sentinel` encrypt every connection (feature `redis-tls`). One user and
/// password, percent-encoded, stand before the first host and serve all servers; `sentinel_user` and `sentinel_pass`
/// are those of the sentinels. A user without a password is one that needs none (`nopass`); a password needs no user. Every form takes `?protocol=2` or `3`, the
/// version of the wire protocol; the default is 2.
#[derive(Clone)]
pub struct RedisUrl {
    text: Secret<str>,
    target: Target,
}

/// What a URL that other programs read, too, says to this library.
pub(in crate::config) struct Shared {
    /// `None` if it leads to something else than Redis.
    pub(in crate::config) url: Option<RedisUrl>,
    /// What is left out of account.
    pub(in crate::config) oddity: Option<Fault>,
}

const DEFAULT: &str = "redis://localhost:6379/0";
const PASSWORD_FORM: &str = "percent-encode / ? # @ % in the user and password: redis://user:p%40ss@host:6379/0";

/// What a scheme leads to.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Server,
    Socket,
    Cluster,
    Sentinel,
}

impl Form {
    /// The form of a scheme, and whether it encrypts.
    fn of(scheme: &str) -> Option<(Self, bool)> {
        match scheme.to_ascii_lowercase().as_str() {
            "redis" => Some((Self::Server, false)),
            "rediss" => Some((Self::Server, true)),
            "redis+unix" | "unix" => Some((Self::Socket, false)),
            "redis-cluster" => Some((Self::Cluster, false)),
            "rediss-cluster" => Some((Self::Cluster, true)),
            "redis-sentinel" => Some((Self::Sentinel, false)),
            "rediss-sentinel" => Some((Self::Sentinel, true)),
            _ => None,
        }
    }

    /// What to write.
    fn fix(self) -> &'static str {
        match self {
            Self::Server => "write redis://localhost:6379/0, or rediss://user:password@host:6379/0 for TLS",
            Self::Socket => {
                "write redis+unix:///run/redis.sock?db=0&user=name&pass=password, or unix:///run/redis.sock"
            }
            Self::Cluster => "write redis-cluster://user:password@host1:6379,host2:6379, or rediss-cluster:// for TLS",
            Self::Sentinel => {
                "write redis-sentinel://user:password@host1:26379,host2:26379/mymaster/0, or rediss-sentinel:// for TLS"
            }
        }
    }

    fn fault(self, rule: &'static str) -> Fault {
        Fault::new(rule, self.fix())
    }
}

impl RedisUrl {
    /// The longest database number a server takes.
    const MAX_DB: u32 = i32::MAX as u32;

    /// Checks a URL of one of the forms above.
    ///
    /// # Errors
    /// The fault shows the right form, never the text.
    pub(crate) fn parse(text: &str) -> Result<Self, Fault> {
        // The word before the first `:` or `/` is the scheme, or what was meant to be one.
        let word = text.split([':', '/']).next().unwrap_or_default();
        let (form, tls) = Form::of(word).unwrap_or((Form::Server, false));
        if text.chars().any(|char| char.is_whitespace() || char.is_control()) {
            return Err(form.fault("must be a URL without blanks or control characters"));
        }
        let (scheme, rest) = text.split_once("://").unwrap_or_default();
        if Form::of(scheme).is_none() {
            let rule = "must be a URL that begins with redis://, redis+unix://, unix://, redis-cluster:// or \
                        redis-sentinel://, or for TLS with rediss in place of redis";
            return Err(form.fault(rule));
        }
        let target = match form {
            Form::Server | Form::Cluster => servers(form, tls, rest),
            Form::Sentinel => sentinels(tls, rest),
            Form::Socket => socket(rest),
        };
        Ok(Self { text: Secret::new(text), target: target? })
    }

    /// Reads a URL that other programs read, too, as they do: options of theirs are left out, and a URL of something
    /// else is not one of Redis.
    ///
    /// # Errors
    /// If it is a URL of Redis with another fault.
    pub(in crate::config) fn parse_shared(text: &str) -> Result<Shared, Fault> {
        let fault = match Self::parse(text) {
            Ok(url) => return Ok(Shared { url: Some(url), oddity: None }),
            Err(fault) => fault,
        };
        if Form::of(text.split([':', '/']).next().unwrap_or_default()).is_none() {
            return Ok(Shared { url: None, oddity: Some(fault) });
        }
        let Some(url) = Self::without_options_of_others(text) else { return Err(fault) };
        Ok(Shared { url: Some(url), oddity: Some(fault) })
    }

    fn without_options_of_others(text: &str) -> Option<Self> {
        // Behind the `?` or `#` of a password comes the `@` of its host.
        let (url, options) = text.split_once(['?', '#']).filter(|(_, options)| !options.contains('@'))?;
        let is_ours = |option: &&str| Self::parse(&format!("{url}?{option}")).is_ok();
        let kept: Vec<&str> = options.split(['&', '#']).filter(is_ours).collect();
        let query = if kept.is_empty() { "" } else { "?" };
        Self::parse(&format!("{url}{query}{}", kept.join("&"))).ok()
    }

    /// The URL, for a client that connects.
    pub fn expose(&self) -> &str {
        self.text.expose()
    }

    /// Whether the URL asks for TLS, which a build without it must refuse and never replace by plain text.
    pub fn is_tls(&self) -> bool {
        self.target.tls
    }

    #[cfg(any(feature = "redis", test))]
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }
}

impl Default for RedisUrl {
    /// `redis://localhost:6379/0`.
    fn default() -> Self {
        let topology = Topology::Server(Host { name: "localhost".into(), port: 6379 });
        Self { text: Secret::new(DEFAULT), target: Target { topology, tls: false, login: None, db: 0, resp3: false } }
    }
}

impl fmt::Debug for RedisUrl {
    /// Shows no more than whether there is TLS: a password may stand where a host belongs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisUrl").field("text", &self.text).field("tls", &self.target.tls).finish_non_exhaustive()
    }
}

/// `[user:password@]host[:port][,..][/db][?protocol=..]`.
fn servers(form: Form, tls: bool, rest: &str) -> Result<Target, Fault> {
    let parts = Parts::of(rest)?;
    let hosts = parts.hosts(form, 6379)?;
    let options = Options::of(parts.query, &["protocol"], || form.fault("must have no option but protocol=2 or 3"))?;
    let target = |topology, db| Target { topology, tls, login: parts.login, db, resp3: options.resp3 };
    match <[Host; 1]>::try_from(hosts) {
        Ok([host]) if form == Form::Server => {
            let db = database(parts.path);
            let rule = "must have nothing but the number of a database behind the host";
            Ok(target(Topology::Server(host), db.ok_or_else(|| form.fault(rule))?))
        }
        Ok([host]) => only_database(parts.path).map(|()| target(Topology::Cluster(vec![host]), 0)),
        Err(hosts) => only_database(parts.path).map(|()| target(Topology::Cluster(hosts), 0)),
    }
}

/// Checks that a path names no database a cluster has not.
fn only_database(path: &str) -> Result<(), Fault> {
    let rule = "must name no database but 0, for several hosts are a cluster, and a cluster has no other";
    if database(path) == Some(0) { Ok(()) } else { Err(Form::Cluster.fault(rule)) }
}

/// `[user:password@]host[:port][,..]/master[/db][?sentinel_user=..&sentinel_pass=..&protocol=..]`.
fn sentinels(tls: bool, rest: &str) -> Result<Target, Fault> {
    let fault = |rule| Form::Sentinel.fault(rule);
    let parts = Parts::of(rest)?;
    let sentinels = parts.hosts(Form::Sentinel, 26379)?;
    let (name, db) = parts.path.split_once('/').unwrap_or((parts.path, ""));
    // A number alone is a database whose master was forgotten. A master of such a name is written with a `%3`.
    let master = decode(name).filter(|_| !name.is_empty() && !is_digits(name));
    let master = master.ok_or_else(|| fault("must name the master behind the hosts, as the sentinels call it"))?;
    let db = database(db).ok_or_else(|| fault("must have nothing but the number of a database behind the master"))?;
    let known = ["protocol", "sentinel_user", "sentinel_pass"];
    let rule = "must have no options but sentinel_user, sentinel_pass and protocol (2 or 3)";
    let options = Options::of(parts.query, &known, || fault(rule))?;
    let topology = Topology::Sentinel { sentinels, master: master.into(), login: options.login };
    Ok(Target { topology, tls, login: parts.login, db, resp3: options.resp3 })
}

/// `/path[?db=..&user=..&pass=..&protocol=..]`.
fn socket(rest: &str) -> Result<Target, Fault> {
    if cfg!(not(unix)) {
        return Err(Form::Server.fault("must not name a unix socket, which this platform lacks"));
    }
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let file = decode(path).filter(|file| file.len() > 1 && file.starts_with('/') && !file.contains('\0'));
    let Some(file) = file.filter(|_| !rest.contains('#')) else {
        return Err(Form::Socket.fault("must hold the absolute path of a socket after unix://"));
    };
    let rule = "must have no options but db (a number), user, pass and protocol (2 or 3)";
    let options = Options::of(query, &["db", "user", "pass", "protocol"], || Form::Socket.fault(rule))?;
    let topology = Topology::Socket(file.into());
    Ok(Target { topology, tls: false, login: options.login, db: options.db, resp3: options.resp3 })
}

/// `[login@]hosts[/path][?query]`.
struct Parts<'a> {
    login: Option<Login>,
    hosts: &'a str,
    path: &'a str,
    query: &'a str,
}

impl<'a> Parts<'a> {
    fn of(rest: &'a str) -> Result<Self, Fault> {
        if rest.contains('#') {
            return Err(Fault::new("must have no # (certificates are always verified)", PASSWORD_FORM));
        }
        let (before_query, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = before_query.split_once('/').unwrap_or((before_query, ""));
        let (login, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let stray = path.contains('@') || query.contains('@') || login.contains('@');
        let (Some(user), Some(password), false) = (decode(user), decode(password), stray) else {
            let rule = "must have one percent-encoded user and password, in front of the first host";
            return Err(Fault::new(rule, PASSWORD_FORM));
        };
        Ok(Self { login: login_of(user, password), hosts, path, query })
    }

    fn hosts(&self, form: Form, default_port: u16) -> Result<Vec<Host>, Fault> {
        let host = |text| {
            let Address { host, port } = Address::parse(text)?;
            Some(Host { name: host.trim_matches(['[', ']']).into(), port: port.unwrap_or(default_port) })
        };
        let (form, rule) = match self.hosts.contains(',') {
            true if form == Form::Server => {
                (Form::Cluster, "must name a host between any two commas, with a port from 1 to 65535 if any")
            }
            _ => (form, "must name a host, and a port from 1 to 65535 if any"),
        };
        self.hosts.split(',').map(host).collect::<Option<_>>().ok_or_else(|| form.fault(rule))
    }
}

/// A login, if there is a user or a password. A user that needs no password takes any, so also an empty one.
fn login_of(user: String, password: String) -> Option<Login> {
    let user = (!user.is_empty()).then(|| Secret::new(user));
    (user.is_some() || !password.is_empty()).then(|| Login { user, password: Secret::new(password) })
}

/// What a query may say.
#[derive(Default)]
struct Options {
    db: u32,
    login: Option<Login>,
    resp3: bool,
}

impl Options {
    /// Reads a query that has only these options, each once and with a value that makes sense; else there is `fault`.
    fn of(query: &str, known: &[&str], fault: impl Fn() -> Fault) -> Result<Self, Fault> {
        let mut options = Self::default();
        let (mut user, mut password) = (String::new(), String::new());
        let mut seen = Vec::new();
        for option in query.split('&').filter(|_| !query.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            if value.is_empty() || !known.contains(&name) || seen.contains(&name) {
                return Err(fault());
            }
            match name {
                "db" => options.db = database(value).ok_or_else(&fault)?,
                "protocol" => options.resp3 = resp3(value).ok_or_else(&fault)?,
                "user" | "sentinel_user" => user = decode(value).ok_or_else(&fault)?,
                _ => password = decode(value).ok_or_else(&fault)?,
            }
            seen.push(name);
        }
        options.login = login_of(user, password);
        Ok(options)
    }
}

fn resp3(text: &str) -> Option<bool> {
    match text {
        "2" | "resp2" => Some(false),
        "3" | "resp3" => Some(true),
        _ => None,
    }
}

/// The number of a database; 0 if there is none.
fn database(text: &str) -> Option<u32> {
    match text {
        "" => Some(0),
        _ => text.parse().ok().filter(|&db| is_digits(text) && db <= RedisUrl::MAX_DB),
    }
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// What a percent-encoded text stands for, if every `%` begins two hex digits and the whole is UTF-8.
fn decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
        let (high, low) = (digit()?, digit()?);
        decoded.push((high << 4 | low) as u8);
    }
    String::from_utf8(decoded).ok()
}
