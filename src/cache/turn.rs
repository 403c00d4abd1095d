//! Turns: processes agree on who computes.
//!
//! The lease of the process that computes is short, so that other processes learn soon if it dies, and is renewed while
//! the computation runs. It is given back early if the flight becomes void: no process is to wait for a value that will
//! not be kept.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;

use super::options::Options;
use super::orphans::Unneeded;
use super::tiers::Found;
use super::{Inner, Shared};
use crate::backends::{Backend, Lease, LeaseToken};
use crate::clock::{Clock, millis, within};
use crate::codec::Codec;
use crate::config::Leases;
use crate::epochs::Epochs;
use crate::event::Complaint;
use crate::flight::{Flight, Standing};
use crate::guard::Unleased;
use crate::key::Key;
use crate::memory::Age;
use crate::seal::Value;

/// Whether and how this process computes.
pub(super) enum Turn<T, B: Backend> {
    /// `to_l2` is false where another process holds the lease, or the backend fails: the result is for this process.
    Compute { lease: Option<Leased<B>>, to_l2: bool },
    /// Another process delivered.
    Found(Found<T>, Option<Leased<B>>),
}

/// A lease that this process holds for a flight, and renews until this is dropped.
///
/// The flight knows the token, so that the first task that finds the flight void can give the lease back.
pub(super) struct Leased<B: Backend> {
    shared: Arc<Shared<B>>,
    key: Key,
    flight: Arc<dyn Standing>,
    term: Arc<Term>,
    keeper: Option<tokio::task::AbortHandle>,
}

/// For how long a lease holds.
struct Term {
    /// The tick at which it runs out; never, once another process is known to have ended it.
    ends: AtomicU64,
    /// Held while the lease is renewed, or ended.
    turn: AsyncMutex<()>,
}

/// The shortest pause between two looks at what another process does.
const SHORTEST: Duration = Duration::from_millis(10);

impl<B: Backend, C: Codec> Inner<B, C> {
    /// Agrees with other processes on who computes, where the backend has leases.
    pub(super) async fn take_turn<T: Value, E: Send + Sync + 'static>(
        &self,
        key: &Key,
        options: Options,
        (flight, complaint): (&Arc<Flight<T, E>>, &Complaint),
        read_failed: bool,
    ) -> Turn<T, B> {
        let (Some(guard), Some(leases)) = (&self.guard, self.policy.leases) else {
            return Turn::Compute { lease: None, to_l2: true };
        };
        if options.skip_l2_write || !guard.capabilities().leases {
            return Turn::Compute { lease: None, to_l2: true };
        }
        if read_failed {
            // Without a lease nothing tells a newer value in the backend from an older one.
            return Turn::Compute { lease: None, to_l2: false };
        }
        if let Some(token) = flight.inherited() {
            // What cannot be given back ends by itself.
            let _ = guard.release(key, token).await;
        }
        let begun = self.clock.ticks();
        loop {
            let asked = self.clock.ticks();
            let (token, hold) = (LeaseToken::random(), guard.hold(leases.hold));
            let lease = match guard.lease(key, hold, token).await {
                Ok(Lease::Granted) => Some(self.hold(key, flight, token, asked, (hold, leases))),
                Ok(Lease::Held) => None,
                Err(Unleased { perhaps_granted, .. }) => {
                    if perhaps_granted {
                        self.shared.give_back(&self.clock, key, Unneeded { token, hold, times: 2 });
                    }
                    return Turn::Compute { lease: None, to_l2: !guard.capabilities().leases };
                }
            };
            if lease.is_none() {
                let waited = self.clock.ticks().saturating_sub(begun);
                let left = millis(leases.wait).saturating_sub(waited);
                if left == 0 {
                    return Turn::Compute { lease: None, to_l2: false };
                }
                self.clock.sleep(pause(waited).min(Duration::from_millis(left))).await;
            }
            // The holder before may have stored its value since this flight looked.
            if !options.skip_l2_read
                && let Ok(Some(found)) =
                    self.read::<T>(key, options, None, (&flight.fence, complaint), || flight.may_store()).await
                && found.age == Age::Fresh
                && !flight.is_void()
            {
                return Turn::Found(found, lease);
            }
            if lease.is_some() {
                return Turn::Compute { lease, to_l2: true };
            }
        }
    }

    fn hold<T: Value, E: Send + Sync + 'static>(
        &self,
        key: &Key,
        flight: &Arc<Flight<T, E>>,
        token: LeaseToken,
        asked: u64,
        (hold, leases): (Duration, Leases),
    ) -> Leased<B> {
        flight.hold(token);
        let ends = AtomicU64::new(asked.saturating_add(millis(hold)));
        let term = Arc::new(Term { ends, turn: AsyncMutex::new(()) });
        let flight: Arc<dyn Standing> = Arc::clone(flight) as _;
        let keeper = Keeper {
            shared: Arc::clone(&self.shared),
            clock: Arc::clone(&self.clock),
            epochs: Arc::clone(&self.local.epochs),
            key: key.clone(),
            flight: Arc::downgrade(&flight),
            term: Arc::clone(&term),
            least: leases.hold,
        };
        // A cache that was closed meanwhile renews nothing: the lease then holds for as long as it was asked for.
        let keeper = self.tasks.spawn_beside(keeper.keep(asked, hold));
        Leased { shared: Arc::clone(&self.shared), key: key.clone(), flight, term, keeper }
    }
}

/// How long to wait before the next look, after so many ticks: a waiter lags by at most a tenth of its time. A little
/// less at random, so that many waiters do not look at the same moment.
fn pause(waited: u64) -> Duration {
    Duration::from_millis(waited / 10).max(SHORTEST).mul_f64(0.8 + 0.2 * fastrand::f64())
}

impl<B: Backend> Leased<B> {
    /// Ends the renewals, one under way included. The token, unless the lease was given back for its flight.
    pub(super) async fn settle(&self) -> Option<LeaseToken> {
        let _turn = self.term.turn.lock().await;
        self.stop();
        self.flight.lease()
    }

    /// The value is stored, and the lease has ended with that.
    pub(super) fn filled(self) {
        self.flight.take_lease();
    }

    /// Gives the lease back.
    pub(super) async fn release(self) {
        let turn = self.term.turn.lock().await;
        self.stop();
        if let (Some(guard), Some(token)) = (&self.shared.guard, self.flight.lease()) {
            // A lease that cannot be given back ends by itself.
            let _ = guard.release(&self.key, token).await;
            self.flight.take_lease();
        }
        drop(turn);
    }

    /// Whether the lease cannot have run out by the tick `now`. If it has ended all the same, another process ended it.
    pub(super) fn lasts(&self, now: u64) -> bool {
        now < self.term.ends.load(SeqCst)
    }

    fn stop(&self) {
        if let Some(keeper) = &self.keeper {
            keeper.abort();
        }
    }
}

impl<B: Backend> Drop for Leased<B> {
    /// A flight whose task is dropped, such as by the end of its runtime, has its lease given back.
    fn drop(&mut self) {
        self.stop();
        if let Some(token) = self.flight.take_lease() {
            self.shared.abandon(self.key.clone(), token);
        }
    }
}

/// Renews the lease of one flight.
struct Keeper<B: Backend> {
    shared: Arc<Shared<B>>,
    clock: Arc<dyn Clock>,
    epochs: Arc<Epochs>,
    key: Key,
    /// Not kept alive: what the flight keeps is gone once its own task and its callers are.
    flight: Weak<dyn Standing>,
    term: Arc<Term>,
    /// The shortest time that is asked for.
    least: Duration,
}

impl<B: Backend> Keeper<B> {
    /// Until the lease has ended, which was asked for at the tick `asked`, to hold that long. Gives it back as soon as
    /// the flight is void.
    async fn keep(self, asked: u64, mut hold: Duration) {
        let third = |hold: Duration| millis(hold / 3).max(1);
        // From when it was asked for: over a long way a part of the time is gone by now.
        let mut due = asked.saturating_add(third(hold));
        loop {
            // Made before the look, so that nothing that is forgotten falls between.
            let forgot = self.epochs.changed();
            if self.gives_back(hold) {
                return;
            }
            let left = Duration::from_millis(due.saturating_sub(self.clock.ticks()));
            if within(&*self.clock, left, forgot).await.is_some() {
                continue;
            }
            let asked = self.clock.ticks();
            let Some(renewed) = self.renew(asked, hold).await else { return };
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
        let token = self.flight.upgrade()?.lease()?;
        let guard = self.shared.guard.as_ref()?;
        let hold = guard.hold(self.least);
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
