//! The election: processes agree on which of them computes.
//!
//! A flight that may compute asks the backend for the value and for the lease in one question. It is answered with the
//! value, or it may compute, or it learns that another process does: then it repeats the question until the value of
//! that process is the answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Inner;
use super::lease::HeldLease;
use super::orphans::Unneeded;
use crate::backends::{Backend, Lease, LeaseToken};
use crate::clock::{millis, within};
use crate::codec::Codec;
use crate::error::{Error, ErrorKind};
use crate::event::Why;
use crate::flight::LeaseHolder;
use crate::guard::{Guard, Unleased};
use crate::invalidate::Subscription;
use crate::key::Key;
use crate::ledger::Stamp;
use crate::tiers::Options;

/// Whether and how this process computes, as far as it is known.
pub(super) struct Election<B: Backend> {
    flight: Arc<dyn LeaseHolder>,
    /// The time of the ledger before the first question for the lease.
    stamp: Option<Stamp>,
    /// What the backend has under the key. It was the answer before, and was of no use.
    seen: Option<Bytes>,
    /// Whether the first question is a plain read.
    pub(super) reads_first: bool,
    /// When the first question for the lease was asked.
    begun: Option<u64>,
    /// How often other processes had told of the key before the last question for the lease.
    signals: u64,
    /// Whether there is something to wait for before the next question.
    pub(super) waits: bool,
    /// That of the flight, once it was granted.
    pub(super) lease: Option<HeldLease<B>>,
    /// Whether no lease is asked for, or no more.
    is_over: bool,
    /// Whether what is computed goes to the backend. False where another process holds the lease, or the backend fails:
    /// the result is for this process.
    to_l2: bool,
}

/// What an election has decided when the computation begins.
pub(super) struct Elected<B: Backend> {
    pub(super) stamp: Option<Stamp>,
    pub(super) lease: Option<HeldLease<B>>,
    /// Whether what is computed goes to the backend.
    pub(super) to_l2: bool,
}

/// How an entry is asked for.
pub(super) struct Question<'a, B: Backend> {
    pub(super) why: &'a Why,
    /// That of the flight, if the question is one for the lease, too. Without one, it is a plain read.
    pub(super) election: Option<&'a mut Election<B>>,
}

impl<'a, B: Backend> Question<'a, B> {
    pub(super) fn plain(why: &'a Why) -> Self {
        Self { why, election: None }
    }

    /// What was answered is overtaken, and is asked for anew.
    pub(super) async fn anew(&mut self) {
        let Some(election) = &mut self.election else { return };
        release(election.lease.take()).await;
        (election.seen, election.stamp) = (None, None);
    }
}

/// The shortest pause between two questions about what another process does.
const SHORTEST: Duration = Duration::from_millis(10);

impl<B: Backend> Election<B> {
    /// Whether nothing more is to be asked before the computation.
    pub(super) fn is_settled(&self) -> bool {
        self.is_over || self.lease.is_some() || self.flight.is_void()
    }

    /// Notes what a plain read has found.
    pub(super) fn saw(&mut self, bytes: Option<&Bytes>) {
        self.seen = bytes.cloned();
    }

    /// Nothing more is asked before the computation: what the backend has need not be remembered.
    pub(super) fn end(self) -> Elected<B> {
        Elected { stamp: self.stamp, lease: self.lease, to_l2: self.to_l2 }
    }

    /// Asks for no lease any more, if one was to be asked for.
    pub(super) fn forgo(&mut self, to_l2: bool) {
        if !std::mem::replace(&mut self.is_over, true) {
            self.to_l2 = to_l2;
        }
    }
}

impl<B: Backend, C: Codec> Inner<B, C> {
    /// The election of a flight that has asked for nothing yet.
    pub(super) fn election(&self, options: Options, flight: Arc<dyn LeaseHolder>) -> Election<B> {
        let has_leases = self.policy().leases.is_some() && self.tiers.l2.guard.as_ref().is_some_and(has_leases);
        let is_over = options.skip_l2_write || !has_leases;
        let (stamp, seen, begun, lease) = (None, None, None, None);
        Election {
            flight,
            stamp,
            seen,
            reads_first: false,
            begun,
            signals: 0,
            waits: false,
            lease,
            is_over,
            to_l2: true,
        }
    }

    /// Whether the time of the ledger is known, with which a value that is computed is stored. Asks, if it was not asked
    /// before.
    pub(super) async fn is_stamped(&self, key: &Key, election: &mut Election<B>) -> bool {
        if election.stamp.is_none() {
            election.stamp = self.tiers.stamp(key).await.ok();
        }
        election.stamp.is_some()
    }

    /// Whether the first question of a flight is the one for the lease. It would be in vain where nothing may be computed
    /// or stored, or where a value is likely to be there.
    pub(super) fn begins_with_lease(&self, key: &Key, options: Options) -> bool {
        let is_idle = self.shared.throttle.holds(key, self.clock.ticks());
        !is_idle
            && (options.was_read || !self.tiers.l2.is_mostly_found())
            && self.tiers.l2.guard.as_ref().is_some_and(|guard| !guard.doubts_writes(key))
    }

    /// The value under `key`, joined if it was split, by the question for the lease.
    pub(super) async fn ask_whole(
        &self,
        key: &Key,
        election: &mut Election<B>,
        why: &Why,
    ) -> Result<Option<Bytes>, Error> {
        let Some(guard) = &self.tiers.l2.guard else { return Ok(None) };
        let found = match self.ask(key, election).await {
            Ok(found) => guard.whole(key, found, why).await?,
            Err(error) if is_of_writes(&error) => return self.tiers.fetch(key, why).await,
            Err(error) => return Err(error),
        };
        self.tiers.l2.note_found(found.is_some());
        Ok(found)
    }

    /// Asks for the lease. What the backend has under the key, if that is another than was seen.
    pub(super) async fn ask(&self, key: &Key, election: &mut Election<B>) -> Result<Option<Bytes>, Error> {
        let Some(guard) = &self.tiers.l2.guard else { return Ok(None) };
        let answer = self.question(guard, key, election).await;
        if answer.is_err() {
            // Without a lease nothing tells a newer value in the backend from an older one, unless it has none.
            election.forgo(!guard.capabilities().leases);
        }
        answer
    }

    async fn question(&self, guard: &Guard<B>, key: &Key, election: &mut Election<B>) -> Result<Option<Bytes>, Error> {
        let Some(leases) = self.policy().leases else { return Ok(None) };
        if election.stamp.is_none() {
            election.stamp = Some(self.tiers.stamp(key).await?);
        }
        if !has_leases(guard) {
            return Err(Error::new(ErrorKind::Unsupported, "the backend was found to have no leases"));
        }
        if let Some(token) = election.flight.inherited() {
            // What cannot be given back ends by itself.
            let _ = guard.release(key, token).await;
        }
        let asked = self.clock.ticks();
        election.begun.get_or_insert(asked);
        election.signals = election.flight.fence().signals();
        let (token, hold) = (LeaseToken::random(), self.shared.hold_for(key, leases.hold));
        match guard.lease(key, hold, token, election.seen.as_ref()).await {
            Ok(Lease::Granted) => {
                election.lease = Some(self.hold(key, &election.flight, (token, asked), (hold, leases)));
                Ok(None)
            }
            Ok(Lease::Held) => {
                election.waits = true;
                Ok(None)
            }
            Ok(Lease::Found(bytes)) => {
                // The first that is of no use is asked about at once.
                election.waits = election.seen.replace(bytes.clone()).is_some();
                Ok(Some(bytes))
            }
            Err(Unleased { perhaps_granted, error }) => {
                if perhaps_granted {
                    self.shared.give_back(&self.clock, key, Unneeded { token, hold, times: 2 });
                }
                Err(error)
            }
        }
    }

    /// Waits until the question may be asked again, if there is something to wait for: until another process tells that
    /// it has changed the key or ended its lease, or for a while. False if it has been asked for long enough.
    pub(super) async fn pause(&self, election: &mut Election<B>) -> bool {
        let (Some(begun), Some(leases), true) = (election.begun, self.policy().leases, election.waits) else {
            return true;
        };
        let waited = self.clock.ticks().saturating_sub(begun);
        let left = millis(leases.wait).saturating_sub(waited);
        if left == 0 {
            return false;
        }
        let pause = if self.hears_of_leases() { long_pause(waited, leases.hold) } else { pause(waited) };
        let signal = election.flight.fence().signalled(election.signals);
        within(&*self.clock, pause.min(Duration::from_millis(left)), signal).await;
        if let Some(meters) = self.observers.meters() {
            meters.waited(Duration::from_millis(self.clock.ticks().saturating_sub(begun + waited)));
        }
        true
    }

    /// Whether the holder of a lease learns that others wait for it, and can tell them of its end.
    fn hears_of_leases(&self) -> bool {
        let hears = self.shared.subscription.as_ref().is_some_and(|Subscription(bus_reader)| bus_reader.hears());
        hears && self.tiers.l2.guard.as_ref().is_some_and(Guard::notes_waiters)
    }
}

/// How long to wait before the next question, after so many ticks: a waiter lags by at most a tenth of its time. A
/// little less at random, so that many waiters do not ask at the same moment.
fn pause(waited: u64) -> Duration {
    Duration::from_millis(waited / 10).max(SHORTEST).mul_f64(0.8 + 0.2 * fastrand::f64())
}

/// The same where a word of the other process ends the pause: that may be lost, or its process may have died. The mark
/// that says that this process waits lasts for a hold.
fn long_pause(waited: u64, hold: Duration) -> Duration {
    let pause = Duration::from_millis(waited / 2).clamp(5 * SHORTEST, 50 * SHORTEST).min(hold / 3).max(SHORTEST);
    pause.mul_f64(0.8 + 0.2 * fastrand::f64())
}

fn has_leases<B: Backend>(guard: &Guard<B>) -> bool {
    guard.capabilities().leases
}

/// Whether a failure says that the backend grants no lease, and nothing of whether it answers reads.
fn is_of_writes(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::ReadOnly | ErrorKind::Denied | ErrorKind::Unsupported | ErrorKind::Backend)
}

/// Gives a lease back, if there is one.
pub(super) async fn release<B: Backend>(lease: Option<HeldLease<B>>) {
    if let Some(lease) = lease {
        // Boxed: a flight without a lease needs no room for it.
        Box::pin(lease.release()).await;
    }
}
