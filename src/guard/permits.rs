//! Permits: so many at once, first come, first served, in two lines.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// So many permits, and two lines before them.
#[derive(Debug)]
pub(super) struct Permits(Mutex<State>);

#[derive(Debug)]
struct State {
    free: usize,
    /// How many were given back so far.
    returned: u64,
    first: Line,
    second: Line,
}

/// Those who wait, and some who have left.
type Line = VecDeque<oneshot::Sender<()>>;

/// A permit, given back when dropped.
#[derive(Debug)]
pub(super) struct Permit<'a>(&'a Permits);

/// One who waits in a line.
struct Waiter<'a> {
    permits: &'a Permits,
    called: oneshot::Receiver<()>,
}

impl Permits {
    pub(super) fn new(count: usize) -> Self {
        let (first, second) = (Line::new(), Line::new());
        Self(Mutex::new(State { free: count, returned: 0, first, second }))
    }

    /// A permit, if one is free.
    pub(super) fn try_take(&self) -> Option<Permit<'_>> {
        self.state().take().then(|| Permit(self))
    }

    /// A permit, after all who wait in the same line; those of the first line go before those of the second.
    pub(super) async fn take(&self, is_first: bool) -> Permit<'_> {
        let mut waiter = {
            let mut state = self.state();
            if state.take() {
                return Permit(self);
            }
            let line = if is_first { &mut state.first } else { &mut state.second };
            if line.len() == line.capacity() {
                line.retain(|waiter| !waiter.is_closed());
            }
            let (call, called) = oneshot::channel();
            line.push_back(call);
            Waiter { permits: self, called }
        };
        let called = (&mut waiter.called).await;
        debug_assert!(called.is_ok(), "a line keeps all who wait");
        Permit(self)
    }

    /// How many permits are free.
    #[cfg(feature = "metrics")]
    pub(super) fn free(&self) -> usize {
        self.state().free
    }

    /// How many permits were given back so far.
    pub(super) fn returned(&self) -> u64 {
        self.state().returned
    }

    fn give_back(&self) {
        let mut state = self.state();
        state.returned += 1;
        while let Some(next) = state.first.pop_front().or_else(|| state.second.pop_front()) {
            if next.send(()).is_ok() {
                return;
            }
        }
        state.free += 1;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock panics half way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A waiter is called before a permit is free.
    fn take(&mut self) -> bool {
        let is_free = self.free > 0;
        self.free -= usize::from(is_free);
        is_free
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.give_back();
    }
}

impl Drop for Waiter<'_> {
    /// One who was called and leaves before it has heard it gives its permit back.
    fn drop(&mut self) {
        self.called.close();
        if self.called.try_recv().is_ok() {
            self.permits.give_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn the_first_line_goes_first_and_each_in_its_order() {
        let permits = Permits::new(1);
        let held = permits.try_take().unwrap();
        assert!(permits.try_take().is_none());
        let mut waiting = [false, true, false, true].map(|is_first| Box::pin(permits.take(is_first)));
        assert!(waiting.iter_mut().all(|waiter| poll(waiter.as_mut()).is_pending()));
        drop(held);
        for next in [1, 3, 0, 2] {
            let ready: Vec<_> = (0..4).filter(|other| *other != next).collect();
            let Poll::Ready(permit) = poll(waiting[next].as_mut()) else { panic!("{next} has waited longest") };
            waiting[next] = Box::pin(permits.take(false));
            assert!(ready.iter().all(|other| *other == next || poll(waiting[*other].as_mut()).is_pending()));
            drop(permit);
        }
    }

    #[test]
    fn one_who_leaves_keeps_no_place_whether_it_was_called_or_not() {
        let permits = Permits::new(1);
        let held = permits.try_take().unwrap();
        {
            let mut gone = pin!(permits.take(true));
            assert!(poll(gone.as_mut()).is_pending());
        }
        let mut called = Box::pin(permits.take(true));
        let mut next = pin!(permits.take(false));
        assert!(poll(called.as_mut()).is_pending() && poll(next.as_mut()).is_pending());
        drop(held);
        drop(called);
        let Poll::Ready(permit) = poll(next.as_mut()) else { panic!("the permit went on") };
        drop(permit);
        assert!(permits.try_take().is_some());
    }

    #[test]
    fn those_who_left_take_no_room() {
        let permits = Permits::new(0);
        for _ in 0..10_000 {
            let mut gone = pin!(permits.take(false));
            assert!(poll(gone.as_mut()).is_pending());
        }
        assert!(permits.state().second.capacity() < 64);
    }
}
