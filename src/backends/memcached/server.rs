//! One server: its connections, and what they carry.
//!
//! Connections are made when they are needed, by the name as it resolves then, and belong to the runtime that made them.
//! A connection whose answer was not read to its end is dropped, so no later operation takes its answer. What is given up while it
//! is under way is read to its end all the same, if that comes soon.

use std::fmt;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use memcache::exp::{Get, Op, OpResult, SetMode};
use tokio::net::lookup_host;
use tokio::runtime::{Handle, Id};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::connection::{Connection, Fault, Single};
use super::error::{Failure, Trouble, no_slot, too_late};
use super::pool::Pool;
use super::rest::Lasting;
use crate::backends::late::{self, LONG};
use crate::config::MemcachedSettings;
use crate::error::{Error, ErrorKind};

/// The way to one server.
pub(super) struct Server {
    place: String,
    limits: Limits,
    slots: Arc<Semaphore>,
    /// The last is the newest.
    pools: Mutex<Vec<(Id, Arc<Pool>)>>,
}

/// How patient to be, and how much to take.
#[derive(Debug, Clone, Copy)]
struct Limits {
    connect: Duration,
    exchange: Duration,
    connections: usize,
    /// Of one value, in bytes.
    value: usize,
}

/// A place among the operations under way. An exchange keeps it that outlasts its caller.
type Slot = Arc<OwnedSemaphorePermit>;

/// The most runtimes whose connections are kept.
const RUNTIMES: usize = 4;

impl Server {
    /// The server at `host` and `port`. Connects to nothing.
    pub(super) fn new(host: &str, port: u16, settings: &MemcachedSettings) -> Self {
        let place = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let limits = Limits {
            connect: settings.connect_timeout,
            exchange: settings.timeout,
            connections: settings.max_pool_size,
            value: settings.max_item_size,
        };
        Self { place, limits, slots: Arc::new(Semaphore::new(limits.connections)), pools: Mutex::default() }
    }

    /// `host:port`, as it is connected to.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Carries out one operation, as [`run_all`](Self::run_all) does.
    pub(super) async fn run<O: Single>(
        &self,
        make: impl Fn() -> O + Send + Sync,
        sent: &OnceLock<Instant>,
    ) -> Result<O::Answer, Failure> {
        self.single::<O>(self.run_all(|| vec![make().into()], sent).await)
    }

    /// Carries out several operations in one round trip, in their order, and once more over a fresh connection if theirs
    /// broke or was out of step. They must do no harm twice. Succeeds if all do. Notes when they were `sent`.
    pub(super) async fn run_all(
        &self,
        make: impl Fn() -> Vec<Op> + Send + Sync,
        sent: &OnceLock<Instant>,
    ) -> Result<Vec<OpResult>, Failure> {
        let runtime = runtime()?;
        let slot = self.slot(sent).await?;
        let failure = match self.once(runtime, &slot, make()).await {
            Err(failure) if failure.trouble.is_of_connection() => failure,
            result => return result,
        };
        let again = self.in_time(sent, self.once(runtime, &slot, make())).await;
        if again.is_ok() && failure.trouble == Trouble::OutOfStep {
            // Told, unlike a broken connection, which every restart of a server leaves: the server or a proxy is at fault.
            late::mended(|| failure.error);
        }
        again
    }

    /// Like [`run`](Self::run), of one that must not be done twice.
    pub(super) async fn run_once<O: Single>(
        &self,
        operation: O,
        sent: &OnceLock<Instant>,
    ) -> Result<O::Answer, Failure> {
        self.single::<O>(self.run_all_once(vec![operation.into()], sent).await)
    }

    /// Like [`run_all`](Self::run_all), of some that must not be done twice.
    pub(super) async fn run_all_once(
        &self,
        operations: Vec<Op>,
        sent: &OnceLock<Instant>,
    ) -> Result<Vec<OpResult>, Failure> {
        let runtime = runtime()?;
        let slot = self.slot(sent).await?;
        self.once(runtime, &slot, operations).await.map_err(Failure::unproven)
    }

    fn single<O: Single>(&self, answers: Result<Vec<OpResult>, Failure>) -> Result<O::Answer, Failure> {
        answers?.pop().and_then(O::answer).ok_or_else(|| Failure::of(Fault::OutOfStep, false, &self.place))
    }

    /// Checks that the server answers, by looking for an entry of this name.
    pub(super) async fn ping(&self, name: &str) -> Result<(), Error> {
        let looked = self.run(|| Get::new(name).without_value().no_lru_bump(), &OnceLock::new()).await;
        looked.map(drop).map_err(|failure| failure.error)
    }

    /// Whether an operation would not have to wait for a place.
    pub(super) fn has_room(&self) -> bool {
        self.slots.available_permits() > 0
    }

    /// Forgets the connections and what the name resolved to.
    pub(super) fn forget(&self) {
        self.lock().clear();
    }

    /// A second attempt of what was sent: together they take no longer than one may.
    async fn in_time<T>(
        &self,
        sent: &OnceLock<Instant>,
        again: impl Future<Output = Result<T, Failure>> + Send,
    ) -> Result<T, Failure> {
        let limit = self.limits.connect.saturating_add(self.limits.exchange);
        let again = timeout(limit.saturating_sub(sent.get().map_or(Duration::ZERO, Instant::elapsed)), again).await;
        again.unwrap_or_else(|_| Err(too_late(&self.place, limit)))
    }

    async fn once(&self, runtime: Id, slot: &Slot, operations: Vec<Op>) -> Result<Vec<OpResult>, Failure> {
        let (pool, slot, mut limits) = (self.pool(runtime).await?, Arc::clone(slot), self.limits);
        limits.value = late::accepted().map_or(limits.value, |entry| entry.max(LONG).min(limits.value));
        let lasts = !operations.iter().any(overwrites);
        let changes = operations.iter().any(changes);
        let exchange = Lasting::new(runtime, lasts, async move {
            let _slot = slot;
            exchange(&pool, &operations, limits).await
        });
        exchange.await.map_err(|(fault, sent)| self.failure(fault, sent && changes))
    }

    fn failure(&self, fault: Fault, ambiguous: bool) -> Failure {
        let failure = Failure::of(fault, ambiguous, &self.place);
        if failure.trouble == Trouble::Away || failure.trouble.is_of_connection() {
            self.forget();
        }
        failure
    }

    /// A place among the operations under way. From then on the server is waited for.
    async fn slot(&self, sent: &OnceLock<Instant>) -> Result<Slot, Failure> {
        let slot = match Arc::clone(&self.slots).try_acquire_owned() {
            Ok(slot) => slot,
            Err(_) => match timeout(self.limits.exchange, Arc::clone(&self.slots).acquire_owned()).await {
                Ok(Ok(slot)) => slot,
                _ => return Err(no_slot(&self.place, self.limits.exchange)),
            },
        };
        let _ = sent.set(Instant::now());
        Ok(Arc::new(slot))
    }

    /// The connections of this runtime. The first task that asks for them resolves the name.
    async fn pool(&self, runtime: Id) -> Result<Arc<Pool>, Failure> {
        let known = |pools: &[(Id, Arc<Pool>)]| {
            let found = pools.iter().rfind(|(id, _)| *id == runtime);
            found.map(|(_, pool)| Arc::clone(pool))
        };
        if let Some(pool) = known(&self.lock()) {
            return Ok(pool);
        }
        let resolved = timeout(self.limits.connect, lookup_host(self.place.as_str())).await;
        let resolved = resolved.map_err(|_| too_late(&self.place, self.limits.connect))?;
        let addresses = resolved.map_err(|error| self.failure(error.into(), false))?.collect();
        let mut pools = self.lock();
        if let Some(pool) = known(&pools) {
            return Ok(pool);
        }
        if pools.len() == RUNTIMES {
            pools.remove(0);
        }
        let pool = Arc::new(Pool::new(addresses));
        pools.push((runtime, Arc::clone(&pool)));
        Ok(pool)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Id, Arc<Pool>)>> {
        // Nothing between lock and unlock can panic half way through a change.
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Carries out operations over a connection of the pool, or a new one. With a fault comes whether they may have been
/// sent; the connection is closed then.
async fn exchange(pool: &Pool, operations: &[Op], limits: Limits) -> Result<Vec<OpResult>, (Fault, bool)> {
    let late = |_| Fault::from(io::ErrorKind::TimedOut);
    let mut connection = match pool.take() {
        Some(connection) => connection,
        None => match timeout(limits.connect, Connection::open(&pool.addresses)).await {
            Ok(opened) => opened.map_err(|error| (error.into(), false))?,
            Err(elapsed) => return Err((late(elapsed), false)),
        },
    };
    let answers = timeout(limits.exchange, connection.exchange(operations, limits.value)).await;
    let answers = answers.map_err(late).flatten().map_err(|fault| (fault, true))?;
    pool.put(connection);
    Ok(answers)
}

/// Whether it changes anything at the server.
fn changes(operation: &Op) -> bool {
    !matches!(operation, Op::Get(_))
}

/// Whether it replaces whatever is there: begun late, it could undo what its caller did after it had given up.
fn overwrites(operation: &Op) -> bool {
    matches!(operation, Op::Set(set) if set.mode == SetMode::Set && set.compare_cas.is_none())
}

/// The runtime of the caller, whose timers and sockets are needed.
fn runtime() -> Result<Id, Failure> {
    Handle::try_current().map(|handle| handle.id()).map_err(|_| {
        let message = "there is no tokio runtime to reach memcached from: call it from within one";
        Failure { error: Error::new(ErrorKind::Closed, message), trouble: Trouble::None }
    })
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("place", &self.place).field("limits", &self.limits).finish_non_exhaustive()
    }
}
