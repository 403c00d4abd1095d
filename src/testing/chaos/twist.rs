//! How a fault meets an operation.
//!
//! Apart from the backend, because its buses meet faults in the same way.

use std::sync::Arc;

use bytes::Bytes;

use crate::clock::Clock;
use crate::error::{Error, ErrorKind};
use crate::event::Operation;
use crate::key::Key;
use crate::testing::control::{ChaosControl, Fault};

/// What a `Chaos` and its buses share.
#[derive(Debug, Clone)]
pub(super) struct Mischief {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) control: ChaosControl,
}

impl Mischief {
    /// Counts an operation, holds it at its gate, and meets the faults that strike before it works.
    pub(super) async fn begin(&self, operation: Operation) -> Result<Twist, Error> {
        if let Some(gate) = self.control.arrive(operation) {
            gate.pass().await;
        }
        let (fault, hanging) = self.control.draw(operation);
        match fault {
            Some(Fault::Refuse) => Err(Error::new(ErrorKind::Unavailable, "chaos: the operation was refused")),
            Some(Fault::ReadOnly) if writes(operation) => {
                Err(Error::new(ErrorKind::ReadOnly, "chaos: the operation writes, and writes are refused"))
            }
            Some(Fault::Hang) => {
                hanging.pass().await;
                Ok(Twist(None))
            }
            Some(Fault::Slow(duration)) => {
                self.clock.sleep(duration).await;
                Ok(Twist(None))
            }
            fault => Ok(Twist(fault)),
        }
    }
}

fn writes(operation: Operation) -> bool {
    matches!(operation, Operation::Set | Operation::Remove | Operation::Lease | Operation::Publish)
}

/// A fault that changes how an operation works.
pub(super) struct Twist(Option<Fault>);

impl Twist {
    pub(super) fn loses(&self) -> bool {
        matches!(self.0, Some(Fault::Lose))
    }

    pub(super) fn key<'a>(&'a self, asked: &'a Key) -> &'a Key {
        match &self.0 {
            Some(Fault::WrongKey(other)) => other,
            _ => asked,
        }
    }

    pub(super) fn keys(&self, asked: &[Key]) -> Vec<Key> {
        asked.iter().map(|key| self.key(key).clone()).collect()
    }

    pub(super) fn bytes(&self, bytes: Bytes) -> Bytes {
        match self.0 {
            Some(Fault::Truncate(length)) => bytes.slice(..length.min(bytes.len())),
            Some(Fault::Flip(bit)) if !bytes.is_empty() => {
                let bit = bit % (bytes.len() * 8);
                let mut bytes = Vec::from(bytes);
                bytes[bit / 8] ^= 1 << (bit % 8);
                bytes.into()
            }
            _ => bytes,
        }
    }

    pub(super) fn end<T>(&self, answer: Result<T, Error>) -> Result<T, Error> {
        match self.0 {
            Some(Fault::FailAfter) => {
                Err(Error::new(ErrorKind::Timeout, "chaos: the operation ended without an answer"))
            }
            _ => answer,
        }
    }
}
