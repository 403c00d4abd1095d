//! Errors of memcached, in our words.
//!
//! The client's own errors quote keys and a server's words may quote anything, so neither becomes a source. What the
//! operating system says of a connection does.

use std::io;
use std::time::Duration;

use memcache::exp;

use super::connection::Fault;
use crate::error::{Error, ErrorKind};

/// What a failed exchange means.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: Error,
    pub(super) trouble: Trouble,
}

/// What a failure says of the server and the connections to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Nothing: it refused this operation, or was not asked.
    None,
    /// It did not answer in time.
    Silent,
    /// It cannot be connected to.
    Away,
    /// A connection broke, as all do when a server starts anew.
    Broken,
    /// A connection gave an answer that belongs to no command of its own.
    OutOfStep,
}

impl Trouble {
    /// Whether a fresh connection may do better.
    pub(super) fn is_of_connection(self) -> bool {
        matches!(self, Self::Broken | Self::OutOfStep)
    }
}

impl Failure {
    /// What a fault of the server at `place` means. An `ambiguous` change may have been made.
    pub(super) fn of(fault: Fault, ambiguous: bool, place: &str) -> Self {
        match fault {
            Fault::Io(error) => Self::of_stream(error, place, ambiguous),
            Fault::Refused(exp::Error::Server(text)) => Self::refused(&text, place),
            Fault::Refused(_) => Self { error: strange(place), trouble: Trouble::None },
            Fault::OutOfStep => Self { error: strange(place), trouble: Trouble::OutOfStep },
            Fault::TooLong(length) => Self { error: too_long(place, length), trouble: Trouble::None },
        }
    }

    pub(super) fn silent(place: &str, ambiguous: bool) -> Self {
        let message = format!("memcached at {place} did not answer in time{}", doubt(ambiguous));
        Self { error: Error::new(ErrorKind::Timeout, message), trouble: Trouble::Silent }
    }

    /// The same of an operation that is not tried again: a connection that broke or is out of step says nothing of the server until a
    /// fresh one has failed.
    pub(super) fn unproven(self) -> Self {
        let trouble = if self.trouble.is_of_connection() { Trouble::None } else { self.trouble };
        Self { trouble, ..self }
    }

    fn of_stream(error: io::Error, place: &str, ambiguous: bool) -> Self {
        use io::ErrorKind as Kind;
        let (what, trouble) = match error.kind() {
            Kind::TimedOut => return Self::silent(place, ambiguous),
            Kind::UnexpectedEof
            | Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::BrokenPipe
            | Kind::NotConnected
            | Kind::WriteZero => ("broke the connection", Trouble::Broken),
            _ => ("cannot be connected to", Trouble::Away),
        };
        let message = format!("memcached at {place} {what}{}: see whether the server is up", doubt(ambiguous));
        Self { error: Error::with_source(ErrorKind::Unavailable, message, error), trouble }
    }

    fn refused(text: &str, place: &str) -> Self {
        let error = if text.contains("too large") {
            let message = format!("the value is too large for memcached at {place}: see its -I and max_item_size");
            Error::new(ErrorKind::TooLarge, message)
        } else if text.contains("out of memory") {
            let message = format!("memcached at {place} is out of memory and takes no writes: raise its -m");
            Error::new(ErrorKind::ReadOnly, message)
        } else {
            let message = format!("memcached at {place} has no room or no time for the operation: see its -m and -c");
            Error::new(ErrorKind::Unavailable, message)
        };
        Self { error, trouble: Trouble::None }
    }
}

fn doubt(ambiguous: bool) -> &'static str {
    if ambiguous { "; the change may have been made or not" } else { "" }
}

/// The whole of an operation, connecting included, did not end within `limit`.
pub(super) fn too_late(place: &str, limit: Duration) -> Failure {
    let message = format!(
        "memcached at {place} was not reached within {limit:?}: see whether the address can be reached, or raise the \
         timeouts"
    );
    Failure { error: Error::new(ErrorKind::Timeout, message), trouble: Trouble::Silent }
}

/// No connection came free within `limit`.
pub(super) fn no_slot(place: &str, limit: Duration) -> Failure {
    let message = format!("all connections to memcached at {place} were in use for {limit:?}: raise max_pool_size");
    Failure { error: Error::new(ErrorKind::Timeout, message), trouble: Trouble::None }
}

/// The server failed lately, and is left alone for so many milliseconds.
pub(super) fn left_alone(place: &str, millis: u64) -> Error {
    let message = format!("memcached at {place} failed and is tried again in {millis} ms");
    Error::new(ErrorKind::Unavailable, message)
}

/// An entry is longer than the largest item of these servers.
fn too_long(place: &str, length: usize) -> Error {
    let message = format!(
        "memcached at {place} has an entry of {length} bytes, which is not read: remove it, or raise max_item_size or \
         max_value_size"
    );
    Error::new(ErrorKind::TooLarge, message)
}

/// The server answered something that is no answer to the command.
pub(super) fn strange(place: &str) -> Error {
    let message = format!(
        "{place} does not answer as memcached does: see whether it is one, 1.6 or newer, that does not ask for a login \
         or TLS"
    );
    Error::new(ErrorKind::Backend, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_has_its_kind_and_none_tells_what_the_server_said() {
        let refused = |text: &str| Fault::Refused(exp::Error::Server(text.into()));
        for (fault, ambiguous, kind, trouble) in [
            (io::ErrorKind::TimedOut.into(), false, ErrorKind::Timeout, Trouble::Silent),
            (io::ErrorKind::TimedOut.into(), true, ErrorKind::Timeout, Trouble::Silent),
            (io::ErrorKind::ConnectionRefused.into(), false, ErrorKind::Unavailable, Trouble::Away),
            (io::ErrorKind::ConnectionReset.into(), true, ErrorKind::Unavailable, Trouble::Broken),
            (refused("object too large for cache"), false, ErrorKind::TooLarge, Trouble::None),
            (refused("out of memory, secret"), false, ErrorKind::ReadOnly, Trouble::None),
            (refused("temporary failure, secret"), false, ErrorKind::Unavailable, Trouble::None),
            (exp::Error::Rejected("secret".into()).into(), false, ErrorKind::Backend, Trouble::None),
            (exp::Error::Protocol("secret".into()).into(), false, ErrorKind::Backend, Trouble::OutOfStep),
            (Fault::TooLong(1 << 29), false, ErrorKind::TooLarge, Trouble::None),
        ] {
            let was = format!("{fault:?}");
            let failure = Failure::of(fault, ambiguous, "mc1:11211");
            assert_eq!((failure.error.kind(), failure.trouble), (kind, trouble), "{was}");
            let told = format!("{0} {0:?}", failure.error);
            assert!(told.contains("mc1:11211") && !told.contains("secret"), "{told}");
            assert!(!ambiguous || told.contains("may have been made"), "{told}");
        }
    }
}
