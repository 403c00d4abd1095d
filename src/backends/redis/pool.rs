//! The pool: the connections to one server, which tasks share.
//!
//! A multiplexed connection carries thousands of commands at once, so one is enough until it is crowded. The first
//! is opened at first use and waited for; every other one is opened in the background and used once it is there, so
//! that no operation ever waits or fails for the want of a further connection.

use std::fmt;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redis::{RedisError, Value};
use tokio::runtime::{self, Handle};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::accepted::Accepted;
use super::batch::SharedConnection;
use super::ceiling;
use super::commands;
use super::connect::RawConnection;
use super::deadline::Deadline;
use super::dedicated::Dedicated;
use super::error;
use super::lazy::LazyConnection;
use super::protocol::Fault;
use super::pushes::Pushes;
use super::refusal::{Known, Lack};
use super::request::{Answer, Attempt, Limits, Request, SizeClass};
use super::source::Source;
use crate::backends::late;
use crate::error::Error;

/// The connections to one server.
pub(super) struct Pool {
    source: Arc<dyn Source>,
    /// Always usable: no other connection can take its place in the pool.
    first: Arc<LazyConnection>,
    /// Opened when all before are crowded.
    further: Box<[Arc<LazyConnection>]>,
    /// For heavy requests.
    heavy: Arc<LazyConnection>,
    /// A permit for each connection but the first.
    spare: Arc<Semaphore>,
    limits: Limits,
    /// What the server refuses, and is not asked for again.
    lacks: Known,
}

/// Requests in flight on a connection below which one more travels alone, at once.
const SPARSE: usize = 2;
/// Commands in flight on a connection that make it crowded, however short their answers are. Measured with values of
/// 200 bytes and 256 tasks: one connection carries 1.1 times what four do, because more travels together.
const CROWDED: usize = 512;
/// Bytes on their way over a connection that make it crowded. Measured with values of 16 KiB and 64 tasks: crowded by
/// 24 commands, connections carry 1.3 times what one does, because they are read at the same time.
const CROWDED_BYTES: usize = 24 * 16 * 1024;
/// The most connections for light requests.
const MOST_LIGHT: usize = 8;

impl Pool {
    /// No connection yet, and at most `pool_size` of them ever.
    pub(super) fn new(source: Arc<dyn Source>, pool_size: usize, limits: Limits) -> Self {
        let spare = pool_size.saturating_sub(1);
        Self {
            source,
            first: Arc::default(),
            further: (1..pool_size.min(MOST_LIGHT)).map(|_| Arc::default()).collect(),
            heavy: Arc::default(),
            spare: Arc::new(Semaphore::new(spare.min(Semaphore::MAX_PERMITS))),
            limits,
            lacks: Known::default(),
        }
    }

    /// See [`Router::run`](super::router::Router::run).
    pub(super) async fn run(
        &self,
        size: SizeClass,
        make: impl Fn(Attempt) -> Request + Send + Sync,
    ) -> Result<Value, Error> {
        let runtime = runtime()?;
        let (lazy, open) = self.choose(size);
        let limit = match open {
            Some(_) => self.limits.command,
            None => self.limits.whole(),
        };
        let busy = Busy::new(&lazy.busy);
        let shares = (busy.before >= SPARSE && size == SizeClass::Small).then_some(runtime);
        let deadline = Deadline::new(limit);
        let mut in_flight = InFlight::new(self, open, deadline.begun());
        let ended = deadline.limit(pin!(self.attempts(&mut in_flight, size, shares, &deadline, make))).await;
        let Some(result) = ended else { return Err(self.no_answer(&mut in_flight, limit)) };
        in_flight.end();
        result
    }

    #[cold]
    fn no_answer(&self, in_flight: &mut InFlight<'_>, limit: Duration) -> Error {
        if let Some(open) = in_flight.end()
            && open.connection.unanswered()
        {
            self.discard(&open);
        }
        error::no_answer(self.source.place(), limit)
    }

    /// Gives a connection up, wherever it is kept.
    fn discard(&self, open: &Arc<SharedConnection>) {
        for lazy in [&self.first, &self.heavy].into_iter().chain(&self.further) {
            lazy.discard(open);
        }
    }

    /// Sends the request until it is answered, at most twice over a fresh connection, and together with others of the
    /// runtime that it `shares` a connection on.
    async fn attempts(
        &self,
        in_flight: &mut InFlight<'_>,
        size: SizeClass,
        mut shares: Option<runtime::Id>,
        deadline: &Deadline,
        make: impl Fn(Attempt) -> Request + Send + Sync,
    ) -> Result<Value, Error> {
        let mut attempt = Attempt { lacks: self.lacks.get(), ..Attempt::default() };
        loop {
            let open = match &in_flight.open {
                Some(open) => open,
                None => {
                    let (lazy, permit) = self.vacancy(size);
                    let open = Box::pin(lazy.open(&self.source, self.limits, permit)).await?;
                    in_flight.put(open, Instant::now())
                }
            };
            attempt.alone = shares.is_none();
            let request = make(attempt);
            let (may_be, is_read) =
                (request.too_long(), matches!(&request, Request::One(single) if single.reads_entry()));
            let answer = match (request, shares) {
                (Request::One(single), Some(runtime)) => match open.share(single, runtime) {
                    Ok(answer) => deadline.pause(answer).await,
                    Err(single) => alone(open, Request::One(single), deadline).await,
                },
                (request, _) => alone(open, request, deadline).await,
            };
            match answer {
                Ok(value) => return Ok(value),
                Err(error) if self.does_without(&error, &mut attempt) => {
                    // Where it was the end of a transaction that is refused, the connection is still within it.
                    self.discard(open);
                    in_flight.end();
                }
                // What one of a batch may not read keeps the others from nothing.
                Err(error) if shares.is_some() && error.code() == Some("NOPERM") => shares = None,
                Err(error) if error::is_no_script(&error) && !attempt.in_full => attempt.in_full = true,
                Err(error) if error.is_timeout() => return Err(self.no_answer(in_flight, self.limits.command)),
                Err(error) => {
                    let broken = self.is_broken(open, &error, attempt);
                    if broken {
                        self.discard(open);
                    }
                    if broken && attempt.again && size == SizeClass::LargeRequest && self.answers().await {
                        return Err(ceiling::too_large(self.source.place()));
                    }
                    if let Some(end) = self.end(&error, broken && !attempt.again, may_be, is_read) {
                        return Err(end);
                    }
                    // One that met a fault together with others is asked alone.
                    shares = shares.filter(|_| Fault::met(&error).is_none());
                    attempt.again = true;
                    in_flight.end();
                }
            }
        }
    }

    /// The error of the request, if it is not sent again. `may_be` is how an answer to it may be too long.
    fn end(&self, error: &RedisError, again: bool, may_be: Option<Fault>, is_read: bool) -> Option<Error> {
        let (fault, place) = (Fault::met(error).filter(|fault| fault.is_too_long()), self.source.place());
        let is_own = fault.is_some() && fault == may_be;
        // Another attempt meets the same answer: a read of an entry asks for its length next, a reader of the bus begins a
        // new stream.
        let is_of_no_use = is_own && (is_read || fault == Some(Fault::LongMessage));
        match fault {
            _ if again && !is_of_no_use => None,
            Some(fault) if !is_own => Some(error::of_others(fault, place)),
            _ => Some(error::of_command(error, place)),
        }
    }

    /// Whether an error is the end of a connection. One that was ended for what the server sent is told of once.
    fn is_broken(&self, open: &SharedConnection, error: &RedisError, attempt: Attempt) -> bool {
        if let Some(fault) = open.connection.take_fault() {
            late::mended(|| error::of_fault(fault, self.source.place()));
        }
        // A server that has become a replica is given up for the one that took its place. A fresh connection that leads
        // to a replica again is as good as any for reads.
        let replica = error::is_of_replica(error) && !attempt.again;
        // A login that has ended is made anew with the connection.
        let logged_out = error.code() == Some("NOAUTH") && !attempt.again;
        Fault::met(error).is_some() || error.is_unrecoverable_error() || replica || logged_out
    }

    /// Whether a request can be made anew without what the server refuses.
    fn does_without(&self, error: &RedisError, attempt: &mut Attempt) -> bool {
        let Some(lack) = Lack::of(error).filter(|&lack| !attempt.lacks.has(lack)) else { return false };
        attempt.lacks = self.lacks.note(lack);
        true
    }

    /// Whether the server answers, over another connection than that of long requests.
    fn answers(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(async { self.run(SizeClass::Small, |_| Request::One(commands::ping().into())).await.is_ok() })
    }

    /// The connection that has to be opened, and its permit. A long request waits for the
    /// connection of such, if the pool has room for one.
    fn vacancy(&self, size: SizeClass) -> (&Arc<LazyConnection>, Option<OwnedSemaphorePermit>) {
        if size != SizeClass::LargeRequest {
            return (&self.first, None);
        }
        match Arc::clone(&self.spare).try_acquire_owned() {
            Ok(permit) => (&self.heavy, Some(permit)),
            Err(_) => (&self.first, None),
        }
    }

    /// The connection to use, if it is open.
    fn choose(&self, size: SizeClass) -> (&Arc<LazyConnection>, Option<Arc<SharedConnection>>) {
        if size == SizeClass::LargeRequest && (self.heavy.current().is_some() || self.spare.available_permits() > 0) {
            return (&self.heavy, self.heavy.current());
        }
        if size == SizeClass::LargeAnswer
            && let Some(open) = self.open_or_begin(&self.heavy, 0)
        {
            return (&self.heavy, Some(open));
        }
        let Some(first) = self.first.current() else { return (&self.first, None) };
        let crowded = (CROWDED_BYTES / first.average().max(1)).clamp(SPARSE, CROWDED);
        if self.first.busy.load(Ordering::Relaxed) < crowded {
            return (&self.first, Some(first));
        }
        self.least_crowded(first, crowded)
    }

    #[cold]
    fn least_crowded(
        &self,
        first: Arc<SharedConnection>,
        crowded: usize,
    ) -> (&Arc<LazyConnection>, Option<Arc<SharedConnection>>) {
        let mut best = (&self.first, Some(first));
        for lazy in &self.further {
            // One permit is left for the heavy one or a bus.
            let Some(open) = self.open_or_begin(lazy, 1) else { break };
            let crowd = lazy.busy.load(Ordering::Relaxed);
            if crowd < best.0.busy.load(Ordering::Relaxed) {
                best = (lazy, Some(open));
            }
            if crowd < crowded {
                break;
            }
        }
        best
    }

    /// A connection that callers can do without. Where it is not open, it is opened in the background, if the pool has
    /// room for it and `left` more.
    fn open_or_begin(&self, lazy: &Arc<LazyConnection>, left: usize) -> Option<Arc<SharedConnection>> {
        let open = lazy.current();
        if open.is_none()
            && self.spare.available_permits() > left
            && let Ok(permit) = Arc::clone(&self.spare).try_acquire_owned()
        {
            lazy.begin(&self.source, self.limits, permit);
        }
        open
    }

    /// A connection of the caller's own, or `None` if the pool has no room.
    pub(super) async fn dedicated(&self) -> Result<Option<Dedicated>, Error> {
        runtime()?;
        let Ok(permit) = Arc::clone(&self.spare).try_acquire_owned() else { return Ok(None) };
        Dedicated::open(Arc::clone(&self.source), self.limits, permit).await.map(Some)
    }

    /// A connection that hands on what the server pushes.
    pub(super) async fn listen(&self, pushes: &Arc<Pushes>) -> Result<RawConnection, Error> {
        runtime()?;
        match timeout(self.limits.connect, self.source.listen(Arc::clone(pushes))).await {
            Ok(opened) => opened,
            Err(_) => Err(error::no_connection(&*self.source, self.limits.connect)),
        }
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    pub(super) fn accepted(&self) -> &Accepted {
        self.source.accepted()
    }

    pub(super) fn place(&self) -> &str {
        self.source.place()
    }
}

/// Boxed: what travels alone is large, and every operation would have to carry room for it.
fn alone<'a>(
    open: &'a SharedConnection,
    request: Request,
    deadline: &'a Deadline,
) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
    Box::pin(deadline.pause(open.connection.send(request, deadline.end())))
}

/// Timers and tasks panic where there is no runtime.
fn runtime() -> Result<runtime::Id, Error> {
    Handle::try_current().map(|runtime| runtime.id()).map_err(|_| error::no_runtime())
}

/// A request, and the connection that it was sent over. Dropped before its end, it tells whether the server was silent:
/// those who do not wait for as long as a command may take could not know a dead connection otherwise.
struct InFlight<'a> {
    pool: &'a Pool,
    open: Option<Arc<SharedConnection>>,
    asked: Instant,
    /// What had been heard before.
    heard: u32,
}

/// A server that has answered no request for so long is silent, even if no task waits any longer.
const SILENCE: Duration = Duration::from_millis(50);

impl<'a> InFlight<'a> {
    fn new(pool: &'a Pool, open: Option<Arc<SharedConnection>>, asked: Instant) -> Self {
        let heard = open.as_ref().map_or(0, |open| open.connection.heard());
        Self { pool, open, asked, heard }
    }

    /// It is asked over this connection.
    fn put(&mut self, open: Arc<SharedConnection>, asked: Instant) -> &Arc<SharedConnection> {
        (self.heard, self.asked) = (open.connection.heard(), asked);
        self.open.insert(open)
    }

    /// It is asked no more.
    fn end(&mut self) -> Option<Arc<SharedConnection>> {
        self.open.take()
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if let Some(open) = self.end()
            && open.connection.heard() == self.heard
            && self.asked.elapsed() >= SILENCE
            && open.connection.unanswered()
        {
            self.pool.discard(&open);
        }
    }
}

/// A command in flight, counted until dropped.
struct Busy<'a> {
    count: &'a AtomicUsize,
    /// How many there were before.
    before: usize,
}

impl<'a> Busy<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        Self { count, before: count.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("place", &self.source.place()).finish_non_exhaustive()
    }
}
