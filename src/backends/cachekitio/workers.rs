//! Workers: the threads that make requests.
//!
//! A request occupies its thread from beginning to end, so there is a thread for each connection and none beyond. They
//! are started when they are first needed, and end with the backend. What waits for them is bounded; what nobody waits
//! for any more is not begun.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use tokio::sync::oneshot;

use super::error;
use super::request::{Answer, Request};
use super::service::Service;
use crate::error::Error;

/// The most requests that wait for a thread.
const MAX_WAITING: usize = 4096;

/// So many threads at most. They end when it is dropped.
pub(super) struct Workers(Arc<Shared>);

struct Shared {
    service: Service,
    size: usize,
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    /// How many threads wait for work.
    idle: usize,
    threads: usize,
    ended: bool,
}

struct Job {
    request: Request,
    deadline: Instant,
    answer: oneshot::Sender<Result<Answer, Error>>,
}

impl Workers {
    pub(super) fn new(service: Service, size: usize) -> Self {
        Self(Arc::new(Shared { service, size, state: Mutex::default(), work: Condvar::new() }))
    }

    pub(super) fn service(&self) -> &Service {
        &self.0.service
    }

    /// Makes a request as soon as a thread is free. Does not block; dropping what it returns takes the request back, if
    /// it was not begun.
    ///
    /// # Errors
    /// A temporary one if too many requests wait.
    pub(super) fn ask(
        &self,
        request: Request,
        deadline: Instant,
    ) -> Result<oneshot::Receiver<Result<Answer, Error>>, Error> {
        let (answer, receiver) = oneshot::channel();
        let mut state = self.0.lock();
        if state.waiting.len() >= MAX_WAITING {
            state.waiting.retain(|job| !job.answer.is_closed());
        }
        if state.waiting.len() >= MAX_WAITING {
            return Err(error::busy(MAX_WAITING));
        }
        state.waiting.push_back(Job { request, deadline, answer });
        if state.waiting.len() > state.idle && state.threads < self.0.size {
            state.threads += 1;
            drop(state);
            self.start()?;
        } else if state.idle > 0 {
            drop(state);
            self.0.work.notify_one();
        }
        Ok(receiver)
    }

    /// Starts a thread that was counted already. It is missed only if there is no other.
    fn start(&self) -> Result<(), Error> {
        let shared = Arc::clone(&self.0);
        let started = thread::Builder::new().name("cachekitio".into()).spawn(move || Worker(&shared).run());
        let Err(failure) = started else { return Ok(()) };
        let mut state = self.0.lock();
        state.threads -= 1;
        if state.threads > 0 { Ok(()) } else { Err(error::no_thread(&failure)) }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.ended = true;
        state.waiting.clear();
        drop(state);
        self.0.work.notify_all();
        self.0.service.stop();
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.lock();
        let mut out = f.debug_struct("Workers");
        out.field("service", &self.0.service).field("size", &self.0.size).field("threads", &state.threads);
        out.field("waiting", &state.waiting.len()).finish()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing between lock and unlock can panic half way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One thread, counted until it ends, however that is.
struct Worker<'a>(&'a Shared);

impl Worker<'_> {
    fn run(self) {
        while let Some(job) = self.next() {
            self.work(job);
        }
    }

    fn next(&self) -> Option<Job> {
        let mut state = self.0.lock();
        loop {
            if state.ended {
                return None;
            }
            if let Some(job) = state.waiting.pop_front() {
                return Some(job);
            }
            state.idle += 1;
            state = self.0.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    fn work(&self, Job { request, deadline, answer }: Job) {
        let left = deadline.saturating_duration_since(Instant::now());
        if answer.is_closed() || left.is_zero() {
            return;
        }
        // Who asked may have gone.
        let _ = answer.send(self.0.service.ask(&request, left));
    }
}

impl Drop for Worker<'_> {
    fn drop(&mut self) {
        self.0.lock().threads -= 1;
    }
}
