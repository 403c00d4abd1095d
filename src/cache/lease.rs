//! Leases: what a flight holds of the backend while it computes.
//!
//! The lease is short, so that other processes learn soon if this one dies, and is renewed while the computation runs.
//! It is given back early if the flight becomes void: no process is to wait for a value that will not be kept.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;

use super::orphans::Unneeded;
use super::{Inner, Shared};
use crate::backends::{Backend, LeaseToken};
use crate::clock::{Clock, millis, within};
use crate::codec::Codec;
use crate::config::Leases;
use crate::event::Tier;
use crate::flight::LeaseHolder;
use crate::invalidate::Local;
use crate::key::Key;

/// The longest hold that many computations are the reason for: so long others wait for a process that died.
const LONGEST: Duration = Duration::from_secs(30);

/// A lease that this process holds for a flight, and renews until this is dropped.
///
/// The flight knows the token, so that the first task that finds the flight void can give the lease back.
pub(super) struct HeldLease<B: Backend> {
    shared: Arc<Shared<B>>,
    key: Key,
    flight: Arc<dyn LeaseHolder>,
    term: Arc<Term>,
    renewer: Option<tokio::task::AbortHandle>,
}

/// For how long a lease holds.
struct Term {
    /// The tick at which it runs out; never, once another process is known to have ended it.
    ends: AtomicU64,
    /// Held while the lease is renewed, or ended.
    turn: AsyncMutex<()>,
}

impl<B: Backend, C: Codec> Inner<B, C> {
    /// Holds a lease for a flight that was granted under `token`, and asked for at the tick `asked`.
    pub(super) fn hold(
        &self,
        key: &Key,
        flight: &Arc<dyn LeaseHolder>,
        (token, asked): (LeaseToken, u64),
        (hold, leases): (Duration, Leases),
    ) -> HeldLease<B> {
        flight.hold(token);
        let ends = AtomicU64::new(asked.saturating_add(millis(hold)));
        let term = Arc::new(Term { ends, turn: AsyncMutex::new(()) });
        let renewer = Renewer {
            shared: Arc::clone(&self.shared),
            clock: Arc::clone(&self.clock),
            local: Arc::clone(&self.tiers.local),
            key: key.clone(),
            flight: Arc::downgrade(flight),
            term: Arc::clone(&term),
            least: leases.hold,
        };
        // A cache that was closed meanwhile renews nothing: the lease then holds for as long as it was asked for.
        // One that was asked for longer than the way needs, as it turns out, is shortened by its first renewal.
        let renewer =
            self.shared.tasks.spawn_beside(renewer.keep(asked, hold.min(self.shared.hold_for(key, leases.hold))));
        HeldLease { shared: Arc::clone(&self.shared), key: key.clone(), flight: Arc::clone(flight), term, renewer }
    }
}

impl<B: Backend> Shared<B> {
    /// For how long a lease of `key` is asked for that is to hold `least`: longer where the way to the backend is long,
    /// and where many computations are under way. A lease is renewed each third of its time, so with a millisecond for
    /// each computation the process renews 3,000 a second at most.
    pub(super) fn hold_for(&self, key: &Key, least: Duration) -> Duration {
        let hold = least.max(Duration::from_millis(self.flights.len() as u64).min(LONGEST));
        self.l2.guard.as_ref().map_or(hold, |guard| guard.hold(key, hold))
    }
}

impl<B: Backend> HeldLease<B> {
    /// Ends the renewals, one under way included. The token, unless the lease was given back for its flight.
    pub(super) async fn settle(&self) -> Option<LeaseToken> {
        let _turn = self.term.turn.lock().await;
        self.stop();
        self.flight.lease()
    }

    /// The value is stored, and the lease has ended with that. Others may wait to hear of it.
    pub(super) fn filled(self, is_awaited: bool) {
        self.flight.take_lease();
        if is_awaited {
            self.shared.tell_waiters(&self.key);
        }
    }

    /// Gives the lease back.
    pub(super) async fn release(self) {
        let turn = self.term.turn.lock().await;
        self.stop();
        if let Some(token) = self.flight.lease() {
            // A lease that cannot be given back ends by itself.
            let _ = self.shared.release(&self.key, token).await;
            self.flight.take_lease();
        }
        drop(turn);
    }

    /// Whether the lease cannot have run out by the tick `now`. If it has ended all the same, another process ended it.
    pub(super) fn lasts(&self, now: u64) -> bool {
        now < self.term.ends.load(SeqCst)
    }

    fn stop(&self) {
        if let Some(renewer) = &self.renewer {
            renewer.abort();
        }
    }
}

impl<B: Backend> Drop for HeldLease<B> {
    /// A flight whose task is dropped, such as by the end of its runtime, has its lease given back.
    fn drop(&mut self) {
        self.stop();
        if let Some(token) = self.flight.take_lease() {
            self.shared.abandon(self.key.clone(), token);
        }
    }
}

/// Renews the lease of one flight.
struct Renewer<B: Backend> {
    shared: Arc<Shared<B>>,
    clock: Arc<dyn Clock>,
    local: Arc<Local>,
    key: Key,
    /// Not kept alive: what the flight keeps is gone once its own task and its callers are.
    flight: Weak<dyn LeaseHolder>,
    term: Arc<Term>,
    /// The shortest time that is asked for.
    least: Duration,
}

impl<B: Backend> Renewer<B> {
    /// Until the lease has ended, which was asked for at the tick `asked`, to hold that long. Gives it back as soon as
    /// the flight is void.
    async fn keep(self, asked: u64, mut hold: Duration) {
        let third = |hold: Duration| millis(hold / 3).max(1);
        // From when it was asked for: over a long way a part of the time is gone by now.
        let mut due = asked.saturating_add(third(hold));
        loop {
            // Made before the look, so that nothing that is forgotten falls between.
            let forgot = self.local.orders.changed();
            if self.gives_back(hold) {
                return;
            }
            let left = Duration::from_millis(due.saturating_sub(self.clock.ticks()));
            if within(&*self.clock, left, forgot).await.is_some() {
                continue;
            }
            let asked = self.clock.ticks();
            if let Some(guard) = &self.shared.l2.guard {
                guard.note_delay(&self.key, asked.saturating_sub(due));
            }
            // Boxed: most leases end before this, and every one would have to carry room for it.
            let Some(renewed) = Box::pin(self.renew(asked, hold)).await else { return };
            hold = renewed;
            due = asked.saturating_add(third(hold));
        }
    }

    /// Whether there is nothing to keep: the flight is over, or void.
    fn gives_back(&self, hold: Duration) -> bool {
        let Some(flight) = self.flight.upgrade() else { return true };
        if !flight.is_void() {
            return false;
        }
        if let Some(token) = flight.take_lease() {
            self.shared.give_back(&self.clock, &self.key, Unneeded { token, hold, times: 1 });
        }
        true
    }

    /// Asks for the lease once more. For how long it holds from then on, or as `before`, if it may still hold.
    async fn renew(&self, asked: u64, before: Duration) -> Option<Duration> {
        let _turn = self.term.turn.lock().await;
        if self.local.switches.is_paused(Tier::L2) {
            return None;
        }
        let token = self.flight.upgrade()?.lease()?;
        let guard = self.shared.l2.guard.as_ref()?;
        let hold = self.shared.hold_for(&self.key, self.least);
        match guard.renew(&self.key, hold, token).await {
            Ok(true) => {
                self.term.ends.store(asked.saturating_add(millis(hold)), SeqCst);
                Some(hold)
            }
            Ok(false) => {
                if self.clock.ticks() < self.term.ends.load(SeqCst) {
                    self.term.ends.store(u64::MAX, SeqCst);
                }
                None
            }
            // The next may succeed in time.
            Err(_) => Some(before),
        }
    }
}
