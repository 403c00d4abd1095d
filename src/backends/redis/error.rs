//! Errors of Redis, in our words.
//!
//! A server's own words stay out: they name users, and may quote keys and values. Its error code does not, and what the
//! operating system or TLS says of a connection does not either.

use std::time::Duration;

use redis::{ErrorKind as Kind, RedisError, ServerErrorKind};

use super::ceiling;
use super::protocol::Fault;
use super::refusal;
use super::source::Source;
use super::spoiled;
use crate::error::{Error, ErrorKind};

/// What a failed command means.
pub(super) fn of_command(error: &RedisError, place: &str) -> Error {
    if let Some(detour) = detour(error) {
        let message =
            format!("Redis at {place} is a node of a cluster that moves its keys: is the URL redis-cluster://?");
        return Error::with_source(ErrorKind::Unavailable, message, detour);
    }
    if let Some(known) = refusal::of(error, place).or_else(|| spoiled::of(error, place)) {
        return known;
    }
    if let Some(fault) = Fault::met(error) {
        return of_fault(fault, place);
    }
    match error.kind() {
        Kind::Server(ServerErrorKind::ResponseError) if error.detail().is_some_and(says_no_cluster) => {
            no_cluster(place)
        }
        Kind::Server(_) if error.detail().is_some_and(says_too_large) => ceiling::too_large(place),
        Kind::Server(_) | Kind::Extension => of_code(code(error), place),
        Kind::Io if error.is_timeout() => {
            Error::new(ErrorKind::Timeout, format!("Redis at {place} did not answer in time"))
        }
        Kind::Io => {
            let message = format!("the connection to Redis at {place} broke twice: see whether the server is up");
            Error::with_source(ErrorKind::Unavailable, message, error.clone())
        }
        Kind::Parse | Kind::UnexpectedReturnType => strange(place),
        _ => other(place),
    }
}

/// What it means that a connection was ended for what the server sent.
#[cold]
pub(super) fn of_fault(fault: Fault, place: &str) -> Error {
    if fault.is_too_long() {
        let message = format!(
            "Redis at {place} sent {fault}, so the connection was closed: remove the entry, or raise max_value_size"
        );
        return Error::with_source(ErrorKind::TooLarge, message, fault);
    }
    let message = format!(
        "Redis at {place} sent {fault}, so the connection was closed: see whether it is a Redis server, and whether a \
         proxy on the way mixes answers up"
    );
    Error::with_source(ErrorKind::Unavailable, message, fault)
}

/// What it means that a connection was ended twice for what others asked over it.
#[cold]
pub(super) fn of_others(fault: Fault, place: &str) -> Error {
    let message = format!("Redis at {place} sent others {fault}, so the connection was closed, twice: see the events");
    Error::with_source(ErrorKind::Unavailable, message, fault)
}

/// What a failed connect means.
pub(super) fn of_connect(error: &RedisError, place: &str) -> Error {
    match error.kind() {
        Kind::AuthenticationFailed => denied(place),
        Kind::Server(ServerErrorKind::ResponseError) if error.detail().is_some_and(knows_no_hello) => too_old(place),
        Kind::Server(ServerErrorKind::ResponseError) => of_select(error.detail().unwrap_or_default(), place),
        Kind::Server(_) | Kind::Extension => of_code(error.code().unwrap_or_default(), place),
        Kind::Io if Fault::met(error).is_none() => of_stream(error, place),
        Kind::Io | Kind::Parse => {
            let message = format!(
                "{place} does not speak as Redis does: see the host and port, and whether it wants TLS (rediss://)"
            );
            Error::new(ErrorKind::Backend, message)
        }
        Kind::RESP3NotSupported => too_old(place),
        Kind::InvalidClientConfig => {
            let message = format!("the host of {place} has no address: see the name in the URL");
            Error::new(ErrorKind::Unavailable, message)
        }
        _ => other(place),
    }
}

/// The source of the error of a server that speaks RESP2 alone.
#[derive(Debug, thiserror::Error)]
#[error("the server does not speak RESP3")]
struct TooOld;

fn too_old(place: &str) -> Error {
    let message = format!("Redis at {place} is too old for protocol=3: leave that out of the URL");
    Error::with_source(ErrorKind::Backend, message, TooOld)
}

/// Newer servers quote otherwise, and may have had the command taken from them.
fn knows_no_hello(detail: &str) -> bool {
    detail.starts_with("unknown command") && detail.contains("HELLO")
}

/// Whether a connect failed because the server does not speak RESP3.
pub(super) fn is_too_old(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<TooOld>())
}

/// The caller has no tokio runtime, without which there are no timers and no tasks.
pub(super) fn no_runtime() -> Error {
    let message = "Redis needs a tokio runtime with I/O and time: run the cache within one, built with enable_all()";
    Error::new(ErrorKind::Closed, message)
}

/// What tracking and a cluster are together.
#[cfg(feature = "redis-cluster")]
pub(super) fn no_tracking_in_clusters() -> Error {
    let message = "tracking works with one server or behind sentinels, and not in a cluster, whose nodes each tell of \
                   their own keys: leave `tracking` out of the settings; the bus of the cluster still tells what \
                   caches change";
    Error::new(ErrorKind::Unsupported, message)
}

/// The server was found to refuse scripts.
pub(super) fn no_leases(place: &str) -> Error {
    refusal::unscripted("EVALSHA", place)
}

/// The server did not answer within `limit`.
#[cold]
pub(super) fn no_answer(place: &str, limit: Duration) -> Error {
    let message =
        format!("Redis at {place} did not answer within {limit:?}: see whether it hangs, or raise the timeout");
    Error::new(ErrorKind::Timeout, message)
}

/// The server could not be connected to within `limit`.
pub(super) fn no_connection(source: &dyn Source, limit: Duration) -> Error {
    let place = source.place();
    let message = match source.is_tls() {
        true => format!(
            "no TLS connection to Redis at {place} within {limit:?}: see whether the address can be reached, and whether \
             the port speaks TLS or plain text, which is redis:// without the second s"
        ),
        false => format!(
            "no connection to Redis at {place} within {limit:?}: see whether the address can be reached and the server \
             does not hang"
        ),
    };
    Error::new(ErrorKind::Timeout, message)
}

/// The server answered something that is no answer to the command.
pub(super) fn strange(place: &str) -> Error {
    let message = format!("{place} answered what Redis would not: see whether it is a Redis server");
    Error::new(ErrorKind::Backend, message)
}

/// Whether the server does not know a script by its hash.
pub(super) fn is_no_script(error: &RedisError) -> bool {
    error.kind() == Kind::Server(ServerErrorKind::NoScript)
}

/// What a node of a cluster says of a request that it cannot answer: the source of the error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Detour {
    /// Another node serves the slot: `host:port`, or `:port` on the host that says so.
    #[error("{0} serves the key")]
    Moved(String),
    /// Another node is being given the slot, and has the key already.
    #[error("{0} is being given the key")]
    Ask(String),
    /// Some of the keys are on either of two nodes.
    #[error("the key is being moved")]
    Wait,
}

#[cfg(feature = "redis-cluster")]
impl Detour {
    /// What `error` says, if a node of a cluster says it.
    pub(super) fn of(error: &Error) -> Option<&Self> {
        std::error::Error::source(error)?.downcast_ref()
    }
}

fn detour(error: &RedisError) -> Option<Detour> {
    let address = error.redirect_node().map(|(address, _)| address.to_owned());
    match (error.kind(), address) {
        (Kind::Server(ServerErrorKind::Moved), Some(address)) => Some(Detour::Moved(address)),
        (Kind::Server(ServerErrorKind::Ask), Some(address)) => Some(Detour::Ask(address)),
        (Kind::Server(ServerErrorKind::TryAgain), _) => Some(Detour::Wait),
        _ => None,
    }
}

fn says_no_cluster(detail: &str) -> bool {
    detail.contains("cluster support disabled")
}

/// The words of servers and proxies for a value that is longer than they take.
fn says_too_large(detail: &str) -> bool {
    ["size exceeded", "bulk length", "allowed size", "too large"].iter().any(|words| detail.contains(words))
}

fn no_cluster(place: &str) -> Error {
    let message = format!("Redis at {place} is no node of a cluster: write redis:// and one host in the URL");
    Error::new(ErrorKind::Backend, message)
}

/// The code of an error. Older servers quote that of a command inside of a script, and no server gives the one for what
/// the user may not do there. A transaction that can no longer be carried out at its end says why in words.
fn code(error: &RedisError) -> &str {
    let says = |words: &str| error.detail().is_some_and(|detail| detail.contains(words));
    let quoted = |code: &&str| says(&format!("-{code} "));
    match error.code() {
        Some("ERR") if says("user executing the script") => "NOPERM",
        Some("ERR") => READ_ONLY.into_iter().find(quoted).unwrap_or("ERR"),
        Some("EXECABORT") => error.detail().and_then(reason).unwrap_or("EXECABORT"),
        code => code.unwrap_or_default(),
    }
}

/// The code in what a server says of a transaction that it discards.
fn reason(detail: &str) -> Option<&str> {
    detail.split_once("because of: ")?.1.split(' ').next()
}

/// Whether the server is a replica, and takes no writes.
pub(super) fn is_of_replica(error: &RedisError) -> bool {
    code(error) == "READONLY"
}

/// The codes by which a server refuses writes alone.
const READ_ONLY: [&str; 4] = ["OOM", "READONLY", "MISCONF", "NOREPLICAS"];

fn of_code(code: &str, place: &str) -> Error {
    let temporary = |kind, what: &str| Error::new(kind, format!("Redis at {place} {what} ({code})"));
    let unavailable = |what| temporary(ErrorKind::Unavailable, what);
    let read_only = |what| temporary(ErrorKind::ReadOnly, what);
    match code {
        "WRONGPASS" | "NOAUTH" => denied(place),
        "NOPERM" => {
            let message = format!(
                "Redis at {place} does not let this user do what the cache needs (NOPERM): grant its ACL the commands \
                 and the keys"
            );
            Error::new(ErrorKind::Denied, message)
        }
        "LOADING" => unavailable("is still loading its data"),
        "READONLY" => read_only("is a replica and takes no writes: name its master, or the sentinels"),
        "MASTERDOWN" => unavailable("is a replica that lost its master"),
        "CLUSTERDOWN" => unavailable("is a node of a cluster that is down or still starting"),
        "CROSSSLOT" => {
            let message = format!("Redis at {place} is a node of a cluster: write redis-cluster:// in the URL");
            Error::new(ErrorKind::Backend, message)
        }
        "BUSY" => unavailable("is busy with a script"),
        "OOM" => read_only("is out of memory: raise its maxmemory, or let it evict with maxmemory-policy"),
        "MISCONF" => read_only("takes no writes, because it cannot save: see its log and its disk"),
        "NOREPLICAS" => read_only("takes no writes, because too few replicas follow it: see min-replicas-to-write"),
        _ => other(place),
    }
}

/// The answers to SELECT are plain errors that differ in their text only.
fn of_select(detail: &str, place: &str) -> Error {
    if detail.contains("uthentication") {
        return denied(place);
    }
    if detail.contains("permission") {
        return of_code("NOPERM", place);
    }
    if detail.contains("number of clients") {
        let message = format!("Redis at {place} has as many clients as it takes: see its maxclients");
        return Error::new(ErrorKind::Unavailable, message);
    }
    let message =
        format!("Redis at {place} refuses the database: see the number in the URL, and `databases` of the server");
    Error::new(ErrorKind::Backend, message)
}

fn denied(place: &str) -> Error {
    let message = format!(
        "Redis at {place} refuses the user or the password: see them in the URL (redis://user:password@host), and \
         whether the server wants any"
    );
    Error::new(ErrorKind::Denied, message)
}

/// The server refuses what the program gave for this connect.
pub(super) fn denied_given(place: &str) -> Error {
    let message = format!(
        "Redis at {place} refuses the user or the password that the program's `credentials` gave, or a permission that \
         connecting needs: see whether they are those of now"
    );
    Error::new(ErrorKind::Denied, message)
}

fn other(place: &str) -> Error {
    Error::new(
        ErrorKind::Backend,
        format!("Redis at {place} refused the command: see whether it is Redis 6.2 or newer"),
    )
}

/// What the operating system and TLS say holds addresses and names of hosts, and no more.
fn of_stream(error: &RedisError, place: &str) -> Error {
    let text = tls_fault(error).unwrap_or_else(|| {
        if error.is_connection_refusal() {
            return "nothing listens there: see whether the server is up, and the host and port";
        }
        if error.is_connection_dropped() {
            return "it closes connections at once: see its limit of clients, and whether it wants TLS (rediss://)";
        }
        "see whether its name resolves and a network leads there"
    });
    Error::with_source(ErrorKind::Unavailable, format!("cannot connect to Redis at {place}: {text}"), error.clone())
}

#[cfg(feature = "redis-tls")]
fn tls_fault(error: &RedisError) -> Option<&'static str> {
    use std::error::Error as _;
    use std::io;
    use std::sync::Arc;

    use rustls::{CertificateError, Error as Tls};

    let source = error.source()?.downcast_ref::<Arc<dyn std::error::Error + Send + Sync>>()?;
    let fault =
        source.downcast_ref::<io::Error>().map_or(source.downcast_ref(), |io| io.get_ref()?.downcast_ref::<Tls>());
    Some(match fault? {
        Tls::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "the authority that signed its certificate is unknown: name it in the CA bundle (CACHEKIT_CA_BUNDLE)"
        }
        Tls::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "its certificate is for another host: write the name that is in it",
        Tls::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "its certificate has expired"
        }
        Tls::InvalidCertificate(_) => "its certificate is not valid",
        Tls::InvalidMessage(_) => "it does not speak TLS: write redis:// for this port, or name the port that does",
        _ => "the TLS handshake fails",
    })
}

#[cfg(not(feature = "redis-tls"))]
fn tls_fault(_: &RedisError) -> Option<&'static str> {
    None
}

/// The client's error for what a server refuses with these words.
#[cfg(test)]
pub(super) fn refused(answer: &str) -> RedisError {
    let value = redis::parse_redis_value(format!("-{answer}\r\n").as_bytes()).expect("a simple error");
    value.extract_error().expect_err("an error")
}

#[cfg(test)]
mod tests;
