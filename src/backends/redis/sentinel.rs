//! Sentinels: which server is the master now.
//!
//! All sentinels are asked at once, and every address they name is tried, so that neither a lost sentinel nor one with
//! old news delays a connect. What is connected to must say itself that it is the master.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use redis::{AsyncConnectionConfig, ErrorKind as Kind, RedisError, ServerErrorKind, Value};
use tokio::task::JoinSet;

use super::accepted::Accepted;
use super::connect::{Address, RawConnection, Way};
use super::error;
use super::logins::{Logins, identity};
use super::pushes::Pushes;
use super::server::{self, connection_config};
use super::source::Source;
use crate::config::{Host, Login, RedisSettings};
use crate::error::{Error, ErrorKind};

/// Makes connections to the master.
pub(super) struct Sentinels {
    sentinels: Vec<Host>,
    known: Arc<Known>,
    place: String,
}

/// What both hops need.
struct Known {
    /// What the sentinels call the master.
    name: Box<str>,
    /// How to connect to a sentinel.
    sentinel: Way,
    /// How to connect to the master.
    master: Way,
    /// Who the master is told it is. Sentinels have the login of the URL.
    logins: Logins,
    /// How that connection behaves.
    config: AsyncConnectionConfig,
}

/// What is found on the way.
enum Step {
    Named(Host),
    Connected(RawConnection),
    Failed(Hop, Error),
}

/// Where a step fails. What is wrong with the master tells more than what is wrong with a sentinel.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Hop {
    Sentinel,
    Master,
}

impl Sentinels {
    /// Connects to nothing yet. `login` is that of the sentinels.
    pub(super) fn new(
        sentinels: &[Host],
        name: &str,
        login: Option<&Login>,
        settings: &RedisSettings,
    ) -> Result<Self, Error> {
        let first = sentinels.first().expect("a URL names at least one host");
        let master = server::way(Address::Host(first.clone()), settings)?;
        // A sentinel is asked for no entries.
        let sentinel = Way { accepted: Arc::default(), ..master.by(identity(login)) };
        let names: Vec<String> = sentinels.iter().map(Host::to_string).collect();
        let place = format!("the master {name} of the sentinels {}", names.join(","));
        let logins = Logins::new(settings.provider.clone());
        let known = Arc::new(Known { name: name.into(), sentinel, master, logins, config: connection_config() });
        Ok(Self { sentinels: sentinels.to_vec(), known, place })
    }
}

impl Sentinels {
    /// Connects to the master, whichever server that is now.
    async fn connect(&self, known: &Arc<Known>) -> Result<RawConnection, Error> {
        let mut steps = JoinSet::new();
        for sentinel in &self.sentinels {
            steps.spawn(Arc::clone(known).ask(sentinel.clone()));
        }
        let (mut tried, mut failure) = (Vec::new(), None);
        while let Some(step) = steps.join_next().await {
            match step {
                Ok(Step::Named(host)) if !tried.contains(&host) => {
                    tried.push(host.clone());
                    steps.spawn(Arc::clone(known).connect(host));
                }
                Ok(Step::Connected(connection)) => return Ok(connection),
                Ok(Step::Failed(hop, error)) => {
                    // What is wrong for good tells more than what may pass.
                    let weight = (hop, !error.is_temporary());
                    if failure.as_ref().is_none_or(|(known, _)| *known < weight) {
                        failure = Some((weight, error));
                    }
                }
                Ok(Step::Named(_)) | Err(_) => {}
            }
        }
        Err(failure.map_or_else(|| error::strange(&self.place), |(_, error)| error))
    }
}

#[async_trait]
impl Source for Sentinels {
    async fn open(&self) -> Result<RawConnection, Error> {
        self.connect(&self.known).await
    }

    async fn listen(&self, pushes: Arc<Pushes>) -> Result<RawConnection, Error> {
        let Known { name, sentinel, master, logins, .. } = &*self.known;
        let (name, sentinel, logins) = (name.clone(), sentinel.clone(), logins.clone());
        let (master, config) = (server::speaking_resp3(master), server::pushing_config(pushes));
        self.connect(&Arc::new(Known { name, sentinel, master, logins, config })).await
    }

    fn accepted(&self) -> &Accepted {
        &self.known.master.accepted
    }

    fn place(&self) -> &str {
        &self.place
    }

    fn is_tls(&self) -> bool {
        self.known.master.tls.is_some()
    }
}

impl Known {
    /// Asks one sentinel where the master is.
    async fn ask(self: Arc<Self>, sentinel: Host) -> Step {
        let place = format!("the sentinel {sentinel}");
        let failed = |error| Step::Failed(Hop::Sentinel, error);
        let mut connection = match self.sentinel.to(&sentinel).open(connection_config()).await {
            Ok(connection) => connection,
            Err(error) => return failed(of_sentinel(error::of_connect(&error, &place), &place)),
        };
        let mut question = redis::cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(&*self.name);
        match connection.client.send_packed_command(&question).await.and_then(Value::extract_error) {
            Ok(Value::Nil) => {
                let message = format!("{place} does not know a master of the name {}: see it in the URL", self.name);
                failed(Error::new(ErrorKind::Backend, message))
            }
            Ok(answer) => match host(&answer) {
                Some(host) => Step::Named(host),
                None => failed(error::strange(&place)),
            },
            Err(error) if is_unknown_command(&error) => {
                let message =
                    format!("Redis at {sentinel} is no sentinel: see the port in the URL, which is often 26379");
                failed(Error::new(ErrorKind::Backend, message))
            }
            Err(error) => failed(of_sentinel(error::of_command(&error, &place), &place)),
        }
    }

    /// Connects to what a sentinel takes for the master.
    async fn connect(self: Arc<Self>, host: Host) -> Step {
        let place = host.to_string();
        let failed = |error| Step::Failed(Hop::Master, error);
        let way = match self.logins.now(&self.master.to(&host)).await {
            Ok(way) => way,
            Err(error) => return failed(error),
        };
        let mut connection = match way.open(self.config.clone()).await {
            Ok(connection) => connection,
            Err(error) => return failed(self.logins.blame(error::of_connect(&error, &place), &place)),
        };
        match connection.client.send_packed_command(&redis::cmd("ROLE")).await.and_then(Value::extract_error) {
            Ok(answer) if is_master(&answer) => Step::Connected(connection),
            Ok(_) => {
                let message = format!(
                    "Redis at {place} is not the master {} any more, and the sentinels have not chosen another yet",
                    self.name
                );
                failed(Error::new(ErrorKind::Unavailable, message))
            }
            // A user who may not ask is believed the sentinel: a replica would refuse the first write.
            Err(error) if error.kind() == Kind::Server(ServerErrorKind::NoPerm) => Step::Connected(connection),
            Err(error) => failed(error::of_command(&error, &place)),
        }
    }
}

/// The error, in which a refused login is one of the sentinel.
fn of_sentinel(error: Error, place: &str) -> Error {
    if error.kind() != ErrorKind::Denied {
        return error;
    }
    let message = format!(
        "{place} refuses the user or the password, or what it is asked for: see sentinel_user and sentinel_pass in \
         the URL"
    );
    Error::new(ErrorKind::Denied, message)
}

fn is_unknown_command(error: &RedisError) -> bool {
    error.kind() == Kind::Server(ServerErrorKind::ResponseError)
        && error.detail().is_some_and(|detail| detail.contains("unknown command"))
}

/// The host and the port that a sentinel names.
fn host(answer: &Value) -> Option<Host> {
    let Value::Array(parts) = answer else { return None };
    let [Value::BulkString(name), Value::BulkString(port)] = parts.as_slice() else { return None };
    let text = |bytes| std::str::from_utf8(bytes).ok().filter(|text: &&str| !text.is_empty());
    let port = text(port)?.parse().ok().filter(|&port: &u16| port > 0)?;
    Some(Host { name: text(name)?.into(), port })
}

/// Whether an answer to ROLE is that of a master.
fn is_master(answer: &Value) -> bool {
    matches!(answer, Value::Array(parts) if matches!(parts.first(), Some(Value::BulkString(role)) if role == b"master"))
}

impl fmt::Debug for Sentinels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sentinels").field("place", &self.place).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn a_sentinel_names_a_host_and_a_port() {
        let named = |parts: &[&str]| host(&Value::Array(parts.iter().map(|part| text(part)).collect()));
        assert_eq!(named(&["10.0.0.1", "6380"]), Some(Host { name: "10.0.0.1".into(), port: 6380 }));
        for parts in [&["10.0.0.1"][..], &["10.0.0.1", "0"], &["10.0.0.1", "65536"], &["", "1"], &["a", "b"], &[]] {
            assert_eq!(named(parts), None, "{parts:?}");
        }
        assert_eq!(host(&Value::Nil), None);
        assert_eq!(host(&Value::Array(vec![Value::BulkString(vec![0xff]), text("1")])), None);
    }

    #[test]
    fn only_a_master_says_so() {
        assert!(is_master(&Value::Array(vec![text("master"), Value::Int(0)])));
        for answer in [Value::Array(vec![text("slave")]), Value::Array(vec![]), Value::Okay, text("master")] {
            assert!(!is_master(&answer), "{answer:?}");
        }
    }

    #[test]
    fn each_hop_has_its_login_and_none_is_shown() {
        let url = "redis-sentinel://user7:hunter2@s1/m?sentinel_user=user8&sentinel_pass=hunter3";
        let settings = RedisSettings::new(url).unwrap();
        let crate::config::Topology::Sentinel { sentinels, master, login } = &settings.target().topology else {
            panic!("the URL is one of sentinels");
        };
        let source = Sentinels::new(sentinels, master, login.as_ref(), &settings).unwrap();
        assert!(!format!("{source:?}").contains("user"), "{source:?}");
        assert_eq!(source.place(), "the master m of the sentinels s1:26379");
        let (sentinel, master) = (&source.known.sentinel.redis, &source.known.master.redis);
        assert_eq!((sentinel.username(), sentinel.password()), (Some("user8"), Some("hunter3")));
        assert_eq!((master.username(), master.password()), (Some("user7"), Some("hunter2")));
    }
}
