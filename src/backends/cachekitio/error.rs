//! Errors of CachekitIO, in our words.
//!
//! What a server says stays out, and so does what the client says of a request: both may quote keys and values. What
//! the operating system says of a connection does not.

use std::io;
use std::time::Duration;

use crate::error::{Error, ErrorKind};

/// What a status means that is no answer to the request.
#[cold]
pub(super) fn of_status(status: u16, place: &str) -> Error {
    let (kind, what) = match status {
        300..=399 => (ErrorKind::Backend, "which leads elsewhere and is not followed: see CACHEKIT_API_URL"),
        401 => (ErrorKind::Denied, "it does not know the API key: see CACHEKIT_API_KEY"),
        403 => (ErrorKind::Denied, "the API key may not do this: see its permissions"),
        404 | 405 => (ErrorKind::Backend, "there is no such API there: see CACHEKIT_API_URL"),
        408 | 504 => (ErrorKind::Timeout, "it gave up waiting"),
        413 => (ErrorKind::TooLarge, "the value is too large for it"),
        507 => (ErrorKind::ReadOnly, "it has no room left and takes no writes"),
        429 => (ErrorKind::Unavailable, "there were too many requests, or the quota is used up"),
        500..=599 => (ErrorKind::Unavailable, "it cannot work at the moment"),
        _ => (ErrorKind::Backend, "it refuses the request"),
    };
    Error::new(kind, format!("CachekitIO at {place} answered with status {status}: {what}"))
}

/// What a failed request means.
#[cold]
pub(super) fn of_request(failure: ureq::Error, place: &str) -> Error {
    let unavailable = |what: &str, source: io::Error| {
        let message = format!("{what} CachekitIO at {place}: see whether it can be reached");
        Error::with_source(ErrorKind::Unavailable, message, source)
    };
    match failure {
        ureq::Error::Timeout(_) => {
            Error::new(ErrorKind::Timeout, format!("CachekitIO at {place} did not answer in time"))
        }
        ureq::Error::Io(source) => match source.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
                Error::new(ErrorKind::Timeout, format!("CachekitIO at {place} did not answer in time"))
            }
            io::ErrorKind::InvalidData => untrusted(place, source),
            io::ErrorKind::ConnectionRefused | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                unavailable("no connection to", source)
            }
            _ => unavailable("a broken connection to", source),
        },
        ureq::Error::Rustls(source) => untrusted(place, io::Error::other(source)),
        ureq::Error::Other(source) => match source.downcast::<Error>() {
            Ok(error) => *error,
            Err(_) => strange(place),
        },
        ureq::Error::BodyExceedsLimit(limit) => {
            let message = format!("CachekitIO at {place} answered with more than {limit} bytes: no value is as large");
            Error::new(ErrorKind::TooLarge, message)
        }
        _ => strange(place),
    }
}

/// TLS failed.
fn untrusted(place: &str, source: io::Error) -> Error {
    let message = format!(
        "TLS with {place} failed: see whether its certificate is of a trusted root (CACHEKIT_CA_BUNDLE adds some) \
         and for this host"
    );
    Error::with_source(ErrorKind::Backend, message, source)
}

/// The answer is none that the service gives.
#[cold]
pub(super) fn strange(place: &str) -> Error {
    let message = format!("{place} answered what CachekitIO would not: see CACHEKIT_API_URL");
    Error::new(ErrorKind::Backend, message)
}

/// No answer within `limit`, retries included.
#[cold]
pub(super) fn no_answer(place: &str, limit: Duration) -> Error {
    let message = format!("CachekitIO at {place} did not answer within {limit:?}: see whether it can be reached");
    Error::new(ErrorKind::Timeout, message)
}

/// All threads are busy, and enough requests wait for them.
#[cold]
pub(super) fn busy(waiting: usize) -> Error {
    let message = format!(
        "{waiting} requests to CachekitIO wait for a connection, and no more may: raise CACHEKIT_CONNECTION_POOL_SIZE"
    );
    Error::new(ErrorKind::Unavailable, message)
}

/// A thread could not be started.
#[cold]
pub(super) fn no_thread(source: &io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("no thread for requests to CachekitIO ({})", source.kind()))
}

/// The request was lost with the thread that made it.
#[cold]
pub(super) fn lost() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "a request to CachekitIO was given up: the backend is gone, or its thread failed",
    )
}

/// The host has no address.
#[cold]
pub(super) fn no_address(host: &str, source: io::Error) -> Error {
    let message = format!("{host} has no address: see CACHEKIT_API_URL, and whether names can be looked up");
    Error::with_source(ErrorKind::Unavailable, message, source)
}

/// The host leads where a client must not go.
#[cold]
pub(super) fn refused_address(host: &str, private: bool) -> Error {
    let message = match private {
        true => format!("{host} leads to link-local or metadata addresses alone, to which nothing may connect"),
        false => format!(
            "{host} leads to no public address, and only CACHEKIT_ALLOW_CUSTOM_HOST=true allows others: see whether \
             names are looked up where they should be"
        ),
    };
    Error::new(ErrorKind::Backend, message)
}

/// The value is larger than the service takes.
#[cold]
pub(super) fn too_large(length: usize, limit: usize) -> Error {
    let message = format!("a value of {length} bytes does not fit: CachekitIO takes up to {limit}");
    Error::new(ErrorKind::TooLarge, message)
}

/// The TTL is longer than the service keeps.
#[cold]
pub(super) fn too_long(limit: Duration) -> Error {
    let message = format!("CachekitIO keeps entries for at most {} s: shorten the ttl", limit.as_secs());
    Error::new(ErrorKind::Argument, message)
}

/// The service has no conditional write.
#[cold]
pub(super) fn no_leases() -> Error {
    let message = "CachekitIO has no leases: a value cannot be stored there on a condition";
    Error::new(ErrorKind::Unsupported, message)
}
