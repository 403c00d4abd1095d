//! Calls: requests that are made again if that may help.
//!
//! One deadline covers all of a call: waiting for a thread, every attempt, and the pauses between them, which hold no
//! thread.

use std::fmt;
use std::future::Future;
use std::time::{Duration, Instant};

use super::error;
use super::request::{Again, Answer, Request};
use super::service::Service;
use super::workers::{Until, Workers};
use crate::error::{Error, ErrorKind};

/// The first pause, at most; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause, unless the service asks for a longer one.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Makes requests, within a time and so many times.
pub(super) struct Calls {
    pub(super) workers: Workers,
    pub(super) timeout: Duration,
    pub(super) retries: u32,
}

/// What one attempt came to.
enum Outcome {
    Answer(Answer),
    Failure(Error, Again),
}

impl Calls {
    pub(super) fn service(&self) -> &Service {
        self.workers.service()
    }

    /// What `work` gives, if it ends in the time of one operation. It is told when that is.
    pub(super) async fn within<T, F>(&self, work: impl FnOnce(Instant) -> F + Send) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>> + Send,
    {
        // The settings bound the timeout, so that this is a date.
        let deadline = Instant::now() + self.timeout;
        let ended = tokio::time::timeout(self.timeout, work(deadline)).await;
        ended.unwrap_or_else(|_| Err(error::no_answer(self.service().place(), self.timeout)))
    }

    /// The answer to `request`, which may be any that is no temporary failure.
    pub(super) async fn ask(&self, request: Request, deadline: Instant) -> Result<Answer, Error> {
        for attempt in 0.. {
            let until = Until { deadline, again: attempt < self.retries };
            let answer = self.workers.ask(request.clone(), until)?;
            let (failure, again) = match self.outcome(answer.await.unwrap_or_else(|_| Err(self.dropped(deadline)))) {
                Outcome::Answer(answer) => return Ok(answer),
                Outcome::Failure(failure, again) => (failure, again),
            };
            let pause = match again {
                Again::Never => return Err(failure),
                Again::After(pause) => pause,
                Again::Soon => backoff(attempt),
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if attempt >= self.retries || pause >= left {
                return Err(failure);
            }
            tokio::time::sleep(pause).await;
        }
        unreachable!("the last attempt returns")
    }

    /// Why a request was dropped: a thread begins none that is late.
    fn dropped(&self, deadline: Instant) -> Error {
        if Instant::now() < deadline { error::lost() } else { error::no_answer(self.service().place(), self.timeout) }
    }

    fn outcome(&self, result: Result<Answer, Error>) -> Outcome {
        match result {
            Ok(answer) if matches!(answer.status, 408 | 429 | 500..=599) => {
                Outcome::Failure(error::of_status(answer.status, self.service().place()), answer.again)
            }
            Ok(answer) => Outcome::Answer(answer),
            Err(failure) => {
                let may_help = matches!(failure.kind(), ErrorKind::Unavailable | ErrorKind::Timeout);
                Outcome::Failure(failure, if may_help { Again::Soon } else { Again::Never })
            }
        }
    }
}

/// How long to pause after an attempt: any time up to a limit that doubles, so that those who failed together do not
/// come back together.
fn backoff(attempt: u32) -> Duration {
    let limit = FIRST_PAUSE.saturating_mul(1 << attempt.min(16)).min(LONGEST_PAUSE);
    limit.mul_f64(fastrand::f64())
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Calls");
        out.field("workers", &self.workers).field("timeout", &self.timeout).field("retries", &self.retries).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_are_spread() {
        for (attempt, limit) in [(0, 50), (1, 100), (2, 200), (5, 1_600), (6, 2_000), (40, 2_000), (u32::MAX, 2_000)] {
            let pauses: Vec<Duration> = (0..200).map(|_| backoff(attempt)).collect();
            let limit = Duration::from_millis(limit);
            assert!(pauses.iter().all(|pause| *pause <= limit), "{attempt}");
            assert!(pauses.iter().any(|pause| *pause > limit / 2), "{attempt}");
            assert!(pauses.iter().any(|pause| *pause < limit / 2), "{attempt}");
        }
    }
}
