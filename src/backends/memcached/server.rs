//! One server: its connections, and what they carry.
//!
//! Connections are made when they are needed, by the name as it resolves then, and belong to the runtime that made them.
//! A connection whose answer was not read to its end is dropped, so no later operation takes its answer. What is given up while it
//! is under way is read to its end all the same, if that comes soon.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use memcache::exp::{AsyncMetaClient, Op, OpResult, Operation, SetMode};
use tokio::runtime::{Handle, Id};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::error::{Failure, Trouble, no_slot, too_late};
use super::rest::Lasting;
use crate::config::MemcachedSettings;
use crate::error::{Error, ErrorKind};

/// The way to one server.
pub(super) struct Server {
    place: String,
    limits: Limits,
    /// The client's own bound cannot be told from a silent server.
    slots: Arc<Semaphore>,
    /// The last is the newest.
    clients: Mutex<Vec<(Id, AsyncMetaClient)>>,
}

/// How patient to be.
#[derive(Debug, Clone, Copy)]
struct Limits {
    connect: Duration,
    exchange: Duration,
    connections: usize,
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
        };
        Self { place, limits, slots: Arc::new(Semaphore::new(limits.connections)), clients: Mutex::default() }
    }

    /// `host:port`, as it is connected to.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Carries out one operation, and once more if its connection broke. It must do no harm twice. Notes when it was
    /// `sent`.
    pub(super) async fn run<O: Operation<Output: Send> + Send + Sync + 'static>(
        &self,
        make: impl Fn() -> O + Send + Sync,
        sent: &OnceLock<Instant>,
    ) -> Result<O::Output, Failure> {
        let runtime = runtime()?;
        let slot = self.slot(sent).await?;
        match self.once(runtime, &slot, make()).await {
            Err(failure) if failure.trouble == Trouble::Broken => {
                self.in_time(sent, self.once(runtime, &slot, make())).await
            }
            result => result,
        }
    }

    /// Carries out several operations in one round trip, in their order, and once more if their connection broke.
    /// Succeeds if all do.
    pub(super) async fn run_all(
        &self,
        make: impl Fn() -> Vec<Op> + Send + Sync,
        sent: &OnceLock<Instant>,
    ) -> Result<Vec<OpResult>, Failure> {
        let runtime = runtime()?;
        let slot = self.slot(sent).await?;
        match self.all_once(runtime, &slot, make()).await {
            Err(failure) if failure.trouble == Trouble::Broken => {
                self.in_time(sent, self.all_once(runtime, &slot, make())).await
            }
            result => result,
        }
    }

    /// Like [`run`](Self::run), of one that must not be done twice.
    pub(super) async fn run_once<O: Operation<Output: Send> + Send + Sync + 'static>(
        &self,
        operation: O,
        sent: &OnceLock<Instant>,
    ) -> Result<O::Output, Failure> {
        let runtime = runtime()?;
        let slot = self.slot(sent).await?;
        self.once(runtime, &slot, operation).await.map_err(Failure::unproven)
    }

    /// Like [`run_all`](Self::run_all), of some that must not be done twice.
    pub(super) async fn run_all_once(
        &self,
        operations: Vec<Op>,
        sent: &OnceLock<Instant>,
    ) -> Result<Vec<OpResult>, Failure> {
        let runtime = runtime()?;
        let slot = self.slot(sent).await?;
        self.all_once(runtime, &slot, operations).await.map_err(Failure::unproven)
    }

    /// Checks that the server answers.
    pub(super) async fn ping(&self) -> Result<(), Error> {
        let tried = async {
            let runtime = runtime()?;
            let _slot = self.slot(&OnceLock::new()).await?;
            let client = self.client(runtime).await?;
            client.noop().await.map_err(|error| self.failure(error))
        };
        tried.await.map_err(|failure: Failure| failure.error)
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

    async fn once<O: Operation<Output: Send> + Send + Sync + 'static>(
        &self,
        runtime: Id,
        slot: &Slot,
        operation: O,
    ) -> Result<O::Output, Failure> {
        let (client, slot) = (self.client(runtime).await?, Arc::clone(slot));
        let exchange = Lasting::new(runtime, true, async move {
            let _slot = slot;
            client.run(operation).await
        });
        exchange.await.map_err(|error| self.failure(error))
    }

    async fn all_once(&self, runtime: Id, slot: &Slot, operations: Vec<Op>) -> Result<Vec<OpResult>, Failure> {
        let (client, slot) = (self.client(runtime).await?, Arc::clone(slot));
        let lasts = !operations.iter().any(overwrites);
        let exchange = Lasting::new(runtime, lasts, async move {
            let _slot = slot;
            client.run_batch(operations).await
        });
        let answers = exchange.await.map_err(|error| self.failure(error))?;
        answers.into_iter().collect::<Result<_, _>>().map_err(|error| self.failure(error))
    }

    fn failure(&self, error: memcache::exp::Error) -> Failure {
        let failure = Failure::of(error, &self.place);
        if matches!(failure.trouble, Trouble::Broken | Trouble::Away) {
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

    /// The client of this runtime. Whoever is the first resolves the name.
    async fn client(&self, runtime: Id) -> Result<AsyncMetaClient, Failure> {
        if let Some((_, client)) = self.lock().iter().rfind(|(id, _)| *id == runtime) {
            return Ok(client.clone());
        }
        let builder = AsyncMetaClient::builder()
            .max_idle(self.limits.connections)
            .max_connections(None)
            .connect_timeout(Some(self.limits.connect))
            .io_timeout(Some(self.limits.exchange));
        // This resolves the name and connects to nothing.
        let client = timeout(self.limits.connect, builder.connect_async(self.place.as_str())).await;
        let client = client.map_err(|_| too_late(&self.place, self.limits.connect))?;
        let client = client.map_err(|error| self.failure(error))?;
        let mut clients = self.lock();
        if let Some((_, known)) = clients.iter().rfind(|(id, _)| *id == runtime) {
            return Ok(known.clone());
        }
        if clients.len() == RUNTIMES {
            clients.remove(0);
        }
        clients.push((runtime, client.clone()));
        Ok(client)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Id, AsyncMetaClient)>> {
        // Nothing between lock and unlock can panic half way through a change.
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
