//! What goes wrong with one request.

use std::io;

use crate::error::Error;

#[derive(Debug)]
pub(super) enum Fault {
    Io(io::Error),
    /// The certificate, or the protocol of TLS.
    Tls(rustls::Error),
    /// The answer is none that the service gives.
    Strange,
    /// The answer is longer than so many bytes.
    TooLong(usize),
    /// It has been told already, in our words.
    Told(Error),
}

impl Fault {
    pub(super) fn late() -> Self {
        Self::Io(io::ErrorKind::TimedOut.into())
    }

    /// Whether the addresses that were connected to may be at fault.
    pub(super) fn is_of_connection(&self) -> bool {
        matches!(self, Self::Io(_))
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Told(error)
    }
}
