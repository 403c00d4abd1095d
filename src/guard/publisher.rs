//! The publisher: the way to a bus.
//!
//! A bus fails for reasons of its own, also that of the backend: its stream is spoiled, or an ACL leaves out what it
//! needs. So it has an executor of its own: a failure of the bus never opens the circuit breaker of the entries, and what the
//! entries suffer keeps no change from being told.

use std::sync::Arc;

use bytes::Bytes;

use super::condition::Conditions;
use super::executor::Executor;
use super::limits::Attempt;
use crate::bus::{AnyBus, Bus};
use crate::clock::Clock;
use crate::config::Policy;
use crate::error::Error;
use crate::event::{Observers, Operation};
use crate::key::Key;

/// The way to one bus.
#[derive(Debug)]
pub(crate) struct BusPublisher(Executor);

impl BusPublisher {
    /// Circuit breaker and bounds are as the policy has them for the backend.
    pub(crate) fn new(policy: &Policy, clock: Arc<dyn Clock>, observers: Observers) -> Self {
        let conditions = Arc::new(Conditions::new(policy, 1, clock));
        Self(Executor::new(("bus", conditions, 0), policy.max_value_size, None, observers, None))
    }

    /// Tells other processes of a change of `key`.
    pub(crate) async fn publish(&self, key: &Key, bus: &AnyBus, message: Bytes) -> Result<(), Error> {
        self.0.run(key, Operation::Publish, Attempt::ONCE, || bus.publish(message.clone())).await
    }
}
