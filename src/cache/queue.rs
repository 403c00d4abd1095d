//! The line before the flights: what becomes of a call while as many are under way as there may be.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use super::Inner;
use super::answered::Answered;
use super::computation::Job;
use super::election::Question;
use crate::backends::Backend;
use crate::clock::within;
use crate::codec::Codec;
use crate::error::{ComputeError, Error, ErrorKind};
use crate::event::{Event, Outcome, Why};
use crate::flight::{Ending, Leader, Ticket};
use crate::key::Key;
use crate::seal::Value;
use crate::tiers::Options;

/// A flight that is ready to be spawned.
pub(super) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

impl<B: Backend, C: Codec> Inner<B, C> {
    /// The task of a flight. One that has to wait for its place takes the memory that it needs only then.
    pub(super) fn task<T: Value, E: Send + Sync + 'static>(
        self: &Arc<Self>,
        mut leader: Leader<T, E>,
        key: Key,
        options: Options,
        job: Job<T, E>,
    ) -> Task {
        let (cache, span) = (Arc::clone(self), leader.flight.span());
        match leader.ticket() {
            None => Box::pin(span.around(cache.run(leader, key, options, job))),
            Some(ticket) => Box::pin(span.around(async move {
                job.compute.step_aside();
                if cache.wait_for_place(ticket, &mut leader, &key, options).await {
                    Box::pin(cache.run(leader, key, options, job)).await;
                }
            })),
        }
    }

    /// Waits for the flight's place, at most until its deadline. Past that its callers are answered as those of a
    /// computation that is late. Returns whether the flight has its place.
    async fn wait_for_place<T: Value, E: Send + Sync + 'static>(
        &self,
        ticket: Ticket,
        leader: &mut Leader<T, E>,
        key: &Key,
        options: Options,
    ) -> bool {
        let flight = Arc::clone(&leader.flight);
        let left = Duration::from_millis(flight.deadline().saturating_sub(self.clock.ticks()));
        let place = pin!(flight.place(&ticket));
        if let Some(place) = within(&*self.clock, left, place).await {
            flight.take_place(self.clock.ticks());
            leader.take(place);
            return true;
        }
        let ending = match self.stale_in_l1(key, options).await {
            Some(Answered { value, times, tags, .. }) => {
                Ending::Value { value, source: Outcome::Stale, expires: 0, times, tags }
            }
            None => Ending::Error(ComputeError::TimedOut),
        };
        leader.leave();
        flight.give_up();
        flight.complete(ending);
        false
    }

    /// Answers a call for whose flight there is no room.
    pub(super) async fn refuse_for_room<T: Value, E>(
        &self,
        key: &Key,
        options: Options,
        is_nested: bool,
    ) -> Result<Answered<T>, ComputeError<E>> {
        match self.stale_in_l1(key, options).await {
            Some(answered) => {
                self.observers.tell(Event::Answered { key, outcome: Outcome::Stale });
                Ok(answered)
            }
            None => self.refuse(key, Error::new(ErrorKind::Overloaded, if is_nested { NESTED } else { CROWDED })),
        }
    }

    /// An older value, as it stands in for a computation that fails.
    pub(super) async fn stale_in_l1<T: Value>(&self, key: &Key, options: Options) -> Option<Answered<T>> {
        let (options, why) = (Options { skip_l2_read: true, ..options }, Why::default());
        // Boxed: rare, and as deep as a read of the backend.
        let (found, _) = Box::pin(self.consult::<T>(key, options, Question::plain(&why))).await;
        found.map(|found| Answered::new(found, Outcome::Stale))
    }
}

const CROWDED: &str = "as many flights are under way and wait as there may be: raise max_flights or max_queued_flights, \
                       lower the load, or let callers compute for themselves by the setting overload";

const NESTED: &str = "computations ask the cache for more keys than it computes within one another: ask for fewer at \
                      once, or raise max_flights";
