//! Faults: why what a server sends is no answer.

use std::io;
use std::sync::Arc;

use redis::RedisError;

/// Why a connection is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[repr(u8)]
pub(in super::super) enum Fault {
    #[error("an answer that nobody asked for")]
    Unasked = 1,
    #[error("an answer of another kind than was asked for")]
    Kind,
    #[error("an answer that is longer than the cache takes")]
    TooLong,
    #[error("an answer that does not keep the protocol")]
    Malformed,
    #[error("a message of the bus that is longer than any of a cache")]
    LongMessage,
}

impl Fault {
    pub(super) fn of(number: u8) -> Option<Self> {
        let all = [Self::Unasked, Self::Kind, Self::TooLong, Self::Malformed, Self::LongMessage];
        all.into_iter().find(|fault| *fault as u8 == number)
    }

    /// Whether the answer was what was asked for, and too much of it.
    pub(in super::super) fn is_too_long(self) -> bool {
        matches!(self, Self::TooLong | Self::LongMessage)
    }

    /// The fault for which a connection was ended, if the request with this error met it.
    pub(in super::super) fn met(error: &RedisError) -> Option<Self> {
        let source = std::error::Error::source(error)?.downcast_ref::<Arc<dyn std::error::Error + Send + Sync>>()?;
        source.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref().copied()
    }
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        Self::new(io::ErrorKind::InvalidData, fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_found_again_in_the_error_of_the_client() {
        for fault in [Fault::Unasked, Fault::Kind, Fault::TooLong, Fault::Malformed, Fault::LongMessage] {
            assert_eq!(Fault::met(&io::Error::from(fault).into()), Some(fault));
            assert_eq!(Fault::of(fault as u8), Some(fault));
        }
        assert_eq!(Fault::met(&io::Error::from(io::ErrorKind::BrokenPipe).into()), None);
        assert_eq!(Fault::of(0), None);
    }
}
