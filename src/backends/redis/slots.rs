//! Slots: connections that stay checked out and are shared.
//!
//! A multiplexed connection carries thousands of commands at once, so one is enough until it is crowded. The first slot
//! is opened at first use and waited for; every other one is opened in the background and used once it is there, so that
//! no operation ever waits or fails for the want of a further connection.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, RedisError, ServerErrorKind, Value};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::error;
use super::slot::Slot;
use super::source::{Pooled, Source};
use super::wire::{Attempt, Load, Request};
use crate::error::Error;

/// The connections to one server.
pub(super) struct Slots {
    source: Arc<dyn Source>,
    /// Always usable: no other connection can take its place in the pool.
    first: Arc<Slot>,
    /// Opened when all before are crowded.
    further: Box<[Arc<Slot>]>,
    /// For heavy requests.
    heavy: Arc<Slot>,
    /// A permit for each connection but the first.
    spare: Arc<Semaphore>,
    limits: Limits,
}

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// A command.
    pub(super) command: Duration,
    /// A connect, with its handshakes.
    pub(super) connect: Duration,
}

impl Limits {
    /// A command that has to connect first.
    pub(super) fn whole(self) -> Duration {
        self.connect.saturating_add(self.command)
    }
}

/// An open connection.
pub(super) struct Held {
    connection: MultiplexedConnection,
    /// How many commands in a row the server left unanswered.
    silent: AtomicU32,
    _object: Box<dyn Send + Sync>,
    _permit: Option<OwnedSemaphorePermit>,
}

/// A connection that one caller has for itself.
#[derive(Debug)]
pub(super) struct Dedicated(Held);

/// Commands in flight on a connection that make it crowded.
const CROWDED: usize = 512;
/// The most connections for light requests.
const MOST_LIGHT: usize = 8;
/// Commands in a row that a server may leave unanswered before the connection counts as broken. A server that was only
/// stopped answers on the old connection; a path that lost its state never does.
const MOST_SILENT: u32 = 3;

impl Slots {
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
        }
    }

    /// See [`Wire::run`](super::wire::Wire::run).
    pub(super) async fn run(
        &self,
        load: Load,
        make: impl Fn(Attempt) -> Request + Send + Sync,
    ) -> Result<Value, Error> {
        let (slot, mut held) = self.choose(load);
        let limit = match held {
            Some(_) => self.limits.command,
            None => self.limits.whole(),
        };
        let _busy = Busy::new(&slot.busy);
        let outcome = timeout(limit, self.attempts(slot, &mut held, make)).await;
        let Ok(result) = outcome else {
            if let Some(held) = held
                && held.silent.fetch_add(1, Ordering::Relaxed) + 1 >= MOST_SILENT
            {
                slot.discard(&held);
            }
            return Err(error::no_answer(self.source.place(), limit));
        };
        result
    }

    /// Sends the request until it is answered, at most twice over a fresh connection.
    async fn attempts(
        &self,
        mut slot: &Arc<Slot>,
        held: &mut Option<Arc<Held>>,
        make: impl Fn(Attempt) -> Request + Send + Sync,
    ) -> Result<Value, Error> {
        let mut attempt = Attempt::default();
        loop {
            let open = match held {
                Some(open) => open,
                None => held.insert(self.first.open(&self.source, self.limits.connect).await?),
            };
            match open.send(make(attempt)).await {
                Ok(value) => return Ok(value),
                Err(error) if error::is_no_script(&error) && !attempt.in_full => attempt.in_full = true,
                Err(error) => {
                    let broken = is_broken(&error);
                    if broken {
                        slot.discard(open);
                    }
                    if !broken || attempt.again {
                        return Err(error::of_command(&error, self.source.place()));
                    }
                    attempt.again = true;
                    slot = &self.first;
                    *held = None;
                }
            }
        }
    }

    /// The slot to use, and its connection if there is one.
    fn choose(&self, load: Load) -> (&Arc<Slot>, Option<Arc<Held>>) {
        if load == Load::Heavy
            && let Some(open) = self.open_or_begin(&self.heavy, 0)
        {
            return (&self.heavy, Some(open));
        }
        let first = self.first.current();
        if self.first.busy.load(Ordering::Relaxed) < CROWDED || first.is_none() {
            return (&self.first, first);
        }
        self.least_crowded(first)
    }

    #[cold]
    fn least_crowded(&self, first: Option<Arc<Held>>) -> (&Arc<Slot>, Option<Arc<Held>>) {
        let mut best = (&self.first, first);
        for slot in &self.further {
            // One permit is left for the heavy slot or a bus.
            let Some(open) = self.open_or_begin(slot, 1) else { break };
            let crowd = slot.busy.load(Ordering::Relaxed);
            if crowd < best.0.busy.load(Ordering::Relaxed) {
                best = (slot, Some(open));
            }
            if crowd < CROWDED {
                break;
            }
        }
        best
    }

    /// The connection of a slot that need not be there. Where there is none, one is opened in the background, if the
    /// pool has room and `left` places more.
    fn open_or_begin(&self, slot: &Arc<Slot>, left: usize) -> Option<Arc<Held>> {
        let open = slot.current();
        if open.is_none()
            && self.spare.available_permits() > left
            && let Ok(permit) = Arc::clone(&self.spare).try_acquire_owned()
        {
            slot.begin(&self.source, self.limits.connect, permit);
        }
        open
    }

    /// A connection of the caller's own, or `None` if the pool has no room.
    pub(super) async fn dedicated(&self) -> Result<Option<Dedicated>, Error> {
        let Ok(permit) = Arc::clone(&self.spare).try_acquire_owned() else { return Ok(None) };
        let held = Held::open(&*self.source, self.limits.connect, Some(permit)).await?;
        Ok(Some(Dedicated(held)))
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    pub(super) fn place(&self) -> &str {
        self.source.place()
    }
}

impl Held {
    /// Opens a connection within `limit`.
    pub(super) async fn open(
        source: &dyn Source,
        limit: Duration,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<Self, Error> {
        match timeout(limit, source.open()).await {
            Ok(Ok(Pooled { connection, object })) => {
                Ok(Self { connection, silent: AtomicU32::new(0), _object: object, _permit: permit })
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(error::no_connection(source.place(), limit)),
        }
    }

    async fn send(&self, request: Request) -> Result<Value, RedisError> {
        let mut connection = self.connection.clone();
        let value = match request {
            Request::One(command) => connection.send_packed_command(&command).await?,
            Request::All(commands) => {
                let count = commands.len();
                let mut pipeline = redis::Pipeline::with_capacity(count);
                for command in commands {
                    pipeline.add_command(command);
                }
                Value::Array(connection.send_packed_commands(&pipeline, 0, count).await?)
            }
        };
        if self.silent.load(Ordering::Relaxed) > 0 {
            self.silent.store(0, Ordering::Relaxed);
        }
        value.extract_error()
    }
}

impl Dedicated {
    /// Sends a request and waits for its answer without limit.
    pub(super) async fn send(&self, request: Request) -> Result<Value, RedisError> {
        self.0.send(request).await
    }
}

/// Whether nothing more can come of the connection. A server that has become a replica is no use either.
fn is_broken(error: &RedisError) -> bool {
    error.is_unrecoverable_error() || error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
}

/// A command in flight, counted until dropped.
struct Busy<'a>(&'a AtomicUsize);

impl<'a> Busy<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("silent", &self.silent).finish_non_exhaustive()
    }
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slots").field("place", &self.source.place()).finish_non_exhaustive()
    }
}
