//! Other processes: hearing them, and telling them.

use std::sync::Arc;

use super::{Inner, Shared};
use crate::backends::{Backend, LeaseToken};
use crate::codec::Codec;
use crate::error::Error;
use crate::invalidate::{Reached, Subscription};
use crate::key::Key;
use crate::ledger::{Announcement, Change};
use crate::message::Message;

impl<B: Backend, C: Codec> Inner<B, C> {
    /// Whether no other process can be affected by a change: there is no backend, and no bus.
    pub(super) fn is_alone(&self) -> bool {
        self.tiers.l2.guard.is_none() && self.shared.subscription.is_none()
    }

    /// Sees to it that this process hears of what others change, before it reads or keeps what they may.
    #[inline]
    pub(super) async fn listen(&self) {
        if self.tiers.local.switches.are_both_paused() {
            return;
        }
        self.shared.listen().await;
    }
}

impl<B: Backend> Shared<B> {
    /// The same, whatever is paused.
    #[inline]
    pub(super) async fn listen(&self) {
        if let Some(Subscription(bus_reader)) = &self.subscription {
            bus_reader.listen().await;
        }
    }

    /// Forgets in the backend, if there is one, or in the parts of it that are `left`, and takes note of when that was.
    pub(super) async fn forget_in_backend(&self, change: &Change, left: Option<&[u16]>) -> Reached {
        let (Some(guard), Some(ledgers)) = (&self.l2.guard, &self.l2.ledgers) else { return Reached::default() };
        let source = self.subscription.as_ref().map_or(0, |Subscription(bus_reader)| bus_reader.source());
        ledgers.forget(guard, change, source, left).await
    }

    /// Tells other processes of an order, unless the backend has told them.
    pub(super) async fn publish_order(&self, root: &Key, change: &Change, reached: &Reached) -> Result<(), Error> {
        if reached.announced {
            return Ok(());
        }
        self.publish(root, &Message::order(change, &reached.times)).await
    }

    /// What the backend is to tell other processes of a change in the step that makes it. `None` where it cannot, or has
    /// not the bus that is used.
    pub(super) fn announcement(&self, what: &Message<'_>) -> Option<Announcement> {
        let (Subscription(bus_reader), bus) = (self.subscription.as_ref()?, self.own_bus.clone()?);
        Some(Announcement { bus, message: what.to_bytes(bus_reader.source()) })
    }

    /// Tells other processes that a lease of `key` has ended, because some wait for it. On a task: no caller waits for that.
    /// It is a hint: who does not hear it asks again after a while.
    pub(super) fn tell_waiters(self: &Arc<Self>, key: &Key) {
        if self.publisher.is_none() {
            return;
        }
        let Ok(place) = Arc::clone(&self.returns).try_acquire_owned() else { return };
        let (shared, key) = (Arc::clone(self), key.clone());
        // Of a cache that was closed, others hear no more.
        let _ = self.tasks.spawn(async move {
            let _place = place;
            let _ = shared.publish(&key, &Message::LeaseEnded(key.as_str())).await;
        });
    }

    /// Gives a lease back, and tells those who wait for it.
    pub(super) async fn release(self: &Arc<Self>, key: &Key, token: LeaseToken) -> Result<(), Error> {
        let Some(guard) = &self.l2.guard else { return Ok(()) };
        if guard.release(key, token).await? {
            self.tell_waiters(key);
        }
        Ok(())
    }

    /// Tells other processes what to forget. The backend has forgotten it by then, so they cannot read it again.
    pub(super) async fn publish(&self, key: &Key, what: &Message<'_>) -> Result<(), Error> {
        let (Some(Subscription(bus_reader)), Some(publisher)) = (&self.subscription, &self.publisher) else {
            return Ok(());
        };
        publisher.publish(key, bus_reader.bus(), what.to_bytes(bus_reader.source())).await
    }
}
