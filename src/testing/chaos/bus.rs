//! A bus that fails on demand.
//!
//! Under the control of its `Chaos`, so that one test breaks entries and messages together.

use std::time::Duration;

use bytes::Bytes;
use tokio::task::yield_now;

use super::twist::Mischief;
use crate::bus::{AnyBus, Batch, Bus, Position};
use crate::error::Error;
use crate::event::Operation;

/// The bus of the backend inside a `Chaos`, with the faults of that.
#[derive(Debug)]
pub(super) struct ChaosBus {
    pub(super) inner: AnyBus,
    pub(super) mischief: Mischief,
}

impl Bus for ChaosBus {
    async fn publish(&self, message: Bytes) -> Result<(), Error> {
        let twist = self.mischief.begin(Operation::Publish).await?;
        if twist.loses() {
            return Ok(());
        }
        twist.end(self.inner.publish(twist.bytes(message)).await)
    }

    async fn receive(&self, after: Option<&Position>, wait: Duration) -> Result<Batch, Error> {
        let twist = self.mischief.begin(Operation::Receive).await?;
        if let Some(position) = after.filter(|_| twist.loses()) {
            // Who receives in a loop must not keep others from running.
            yield_now().await;
            return Ok(Batch { messages: Vec::new(), position: position.clone(), gap: false });
        }
        let answer = self.inner.receive(after, wait).await;
        twist.end(answer.map(|batch| Batch {
            messages: batch.messages.into_iter().map(|message| twist.bytes(message)).collect(),
            ..batch
        }))
    }

    fn is_quiet(&self, after: &Position) -> bool {
        self.mischief.control.is_well(Operation::Receive) && self.inner.is_quiet(after)
    }

    fn rest(&self) {
        self.inner.rest();
    }
}
