//! Workers: the threads that make requests.
//!
//! A request occupies its thread from beginning to end, so there is a thread for each connection and none beyond. They
//! are started when they are first needed, and end with the backend. What waits for them is bounded; what no call waits
//! for any more is not begun.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use tokio::sync::oneshot;

use super::error;
use super::request::{Answer, Request};
use super::service::{Limits, Service};
use crate::error::Error;

/// The most requests that wait for a thread.
const MAX_WAITING: usize = 4096;

/// So many threads at most. They end when it is dropped.
pub(super) struct Workers(Arc<Shared>);

/// When to give a request up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Until {
    pub(super) deadline: Instant,
    /// Whether another attempt may follow.
    pub(super) again: bool,
}

struct Shared {
    service: Service,
    size: usize,
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    /// How many threads wait for work and were not woken.
    idle: usize,
    /// How many were woken and do not know it yet.
    woken: usize,
    threads: usize,
    ended: bool,
}

struct Job {
    request: Request,
    until: Until,
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
        until: Until,
    ) -> Result<oneshot::Receiver<Result<Answer, Error>>, Error> {
        let (answer, receiver) = oneshot::channel();
        let mut state = self.0.lock();
        if state.waiting.len() >= MAX_WAITING {
            state.waiting.retain(|job| !job.answer.is_closed());
        }
        if state.waiting.len() >= MAX_WAITING {
            return Err(error::busy(MAX_WAITING));
        }
        state.waiting.push_back(Job { request, until, answer });
        if state.waiting.len() > state.idle + state.woken && state.threads < self.0.size {
            state.threads += 1;
            drop(state);
            self.start()?;
        } else if state.idle > 0 {
            state.idle -= 1;
            state.woken += 1;
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
            let is_idle = |state: &mut State| state.woken == 0 && !state.ended;
            state = self.0.work.wait_while(state, is_idle).unwrap_or_else(PoisonError::into_inner);
            state.woken = state.woken.saturating_sub(1);
        }
    }

    fn work(&self, Job { request, until, answer }: Job) {
        let all = until.deadline.saturating_duration_since(Instant::now());
        if answer.is_closed() || all.is_zero() {
            return;
        }
        // Who asked may have gone.
        let _ = answer.send(self.0.service.ask(&request, Limits { all, again: until.again }));
    }
}

impl Drop for Worker<'_> {
    fn drop(&mut self) {
        self.0.lock().threads -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::Weak;
    use std::time::Duration;

    use super::super::request::Verb;
    use super::*;
    use crate::config::CachekitIoSettings;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// Requests to a host that takes connections and never answers.
    #[test]
    fn threads_end_with_the_backend_though_they_wait_for_a_host() {
        let mute = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}", mute.local_addr().unwrap());
        let mut settings = CachekitIoSettings::new("key").unwrap();
        (settings.url, settings.allow_custom_host) = (url.parse().unwrap(), true);
        let workers = Workers::new(Service::new(&settings).unwrap(), 3);
        let until = Until { deadline: Instant::now() + 20 * PATIENCE, again: false };
        let request = Request { verb: Verb::Get(0), path: "/".into(), is_long: Arc::default() };
        let answers: Vec<_> = (0..5).map(|_| workers.ask(request.clone(), until).unwrap()).collect();
        let connected: Vec<_> = (0..3).map(|_| mute.accept().unwrap()).collect();
        let shown = format!("{workers:?}");
        assert!(shown.contains("threads: 3, waiting: 2"), "{shown}");

        let shared: Weak<Shared> = Arc::downgrade(&workers.0);
        let start = Instant::now();
        drop(workers);
        while shared.strong_count() > 0 {
            assert!(start.elapsed() < PATIENCE, "a thread is left");
            thread::sleep(Duration::from_millis(1));
        }
        for answer in answers {
            assert!(answer.blocking_recv().map_or(true, |answer| answer.is_err()));
        }
        drop(connected);
    }
}
