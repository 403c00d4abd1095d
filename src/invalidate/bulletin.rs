//! The bulletin: this cache's side of the bus.
//!
//! One task reads on from where it stopped, whatever happens in between. Where the bus cannot vouch for everything
//! since then, this process believes nothing it holds.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::SetOnce;
use tokio::task::{AbortHandle, yield_now};

use super::local::Local;
use super::versions::Versions;
use crate::bus::{AnyBus, Batch, Bus, Position};
use crate::clock::{Clock, within};
use crate::error::{Error, ErrorKind};
use crate::event::{Effect, Event, Observers, Operation, Origin, Scope, Unreadable};
use crate::key::Key;
use crate::message::{Message, Refusal};
use crate::random;

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long the first operations wait for the bus at most: what is read before this process listens is not believed
/// later.
const PATIENCE: Duration = Duration::from_millis(250);

pub(crate) struct Bulletin {
    bus: AnyBus,
    name: Key,
    /// How long one answer of the bus may take.
    wait: Duration,
    namespace: Key,
    /// Tells this cache's own messages apart.
    source: u64,
    local: Arc<Local>,
    versions: Option<Arc<Versions>>,
    clock: Arc<dyn Clock>,
    observers: Observers,
    reader: Mutex<Reader>,
    listening: AtomicBool,
    /// Set once the first attempt to listen has ended, either way, or somebody has waited long enough.
    tried: SetOnce<()>,
}

#[derive(Default)]
struct Reader {
    position: Option<Position>,
    task: Option<AbortHandle>,
    stopped: bool,
    /// Whether this process may hold what it read before it listened.
    was_deaf: bool,
}

impl Bulletin {
    pub(crate) fn new(
        bus: AnyBus,
        [name, namespace]: [Key; 2],
        wait: Duration,
        local: Arc<Local>,
        versions: Option<Arc<Versions>>,
        clock: Arc<dyn Clock>,
        observers: Observers,
    ) -> Arc<Self> {
        Arc::new(Self {
            bus,
            name,
            wait,
            namespace,
            source: random::number(),
            local,
            versions,
            clock,
            observers,
            reader: Mutex::default(),
            listening: AtomicBool::new(false),
            tried: SetOnce::new(),
        })
    }

    pub(crate) fn bus(&self) -> &AnyBus {
        &self.bus
    }

    /// Who this cache is on the bus.
    pub(crate) fn source(&self) -> u64 {
        self.source
    }

    /// Sees to it that somebody listens. Waits for that the first time, because what is read before is not covered.
    #[inline]
    pub(crate) async fn listen(self: &Arc<Self>) {
        if self.tried.get().is_some() && self.listening.load(SeqCst) {
            return;
        }
        let Ok(runtime) = Handle::try_current() else {
            self.reader().was_deaf = true;
            return;
        };
        self.start(&runtime);
        if self.tried.get().is_none() && within(&*self.clock, PATIENCE, self.tried.wait()).await.is_none() {
            self.reader().was_deaf = true;
            let _ = self.tried.set(());
        }
    }

    fn start(self: &Arc<Self>, runtime: &Handle) {
        let mut reader = self.reader();
        if reader.stopped || self.listening.swap(true, SeqCst) {
            return;
        }
        // Made here, so that it is dropped however the task ends, even before it began.
        let running = Running(Arc::clone(self));
        reader.task = Some(runtime.spawn(async move { running.0.read().await }).abort_handle());
    }

    async fn read(&self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let position = self.reader().position.clone();
            let asked = self.clock.ticks();
            match self.bus.receive(position.as_ref(), self.wait).await {
                Ok(batch) => {
                    pause = FIRST_PAUSE;
                    self.take(batch);
                    self.local.epochs.heard(asked);
                    // A bus that never waits must not keep others from running.
                    yield_now().await;
                }
                Err(error) => {
                    self.reader().was_deaf |= position.is_none();
                    self.tell_failed(&error);
                    let _ = self.tried.set(());
                    self.clock.sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    fn tell_failed(&self, error: &Error) {
        // A bus that does less than it was asked to is none that fails.
        if error.kind() == ErrorKind::Unsupported {
            return self.observers.tell(Event::Warning { message: &error.to_string() });
        }
        self.observers.tell(Event::BackendFailed { key: &self.name, operation: Operation::Receive, error });
    }

    fn take(&self, batch: Batch) {
        if batch.gap {
            self.forget_all();
            self.observers.tell(Event::Gap { name: &self.name });
        }
        for message in &batch.messages {
            match Message::read(message) {
                Ok((source, _)) if source == self.source => {}
                Ok((_, message)) => self.apply(message),
                Err(Refusal::Unknown) => {}
                Err(Refusal::Malformed) => {
                    self.observers.tell(Event::Unreadable { key: &self.name, reason: Unreadable::Foreign });
                }
            }
        }
        let mut reader = self.reader();
        reader.position = Some(batch.position);
        let was_deaf = std::mem::take(&mut reader.was_deaf);
        drop(reader);
        if was_deaf {
            self.forget_all();
        }
        let _ = self.tried.set(());
    }

    fn apply(&self, message: Message<'_>) {
        match message {
            Message::Key(text) => {
                let key = Key::from_text(text);
                self.local.forget(&key);
                self.tell(Scope::Key(&key), Effect::Invalidated);
            }
            Message::ExpiredKey(text) => {
                let key = Key::from_text(text);
                self.local.hear_expiry(&key, self.clock.ticks());
                self.tell(Scope::Key(&key), Effect::Expired);
            }
            Message::Namespace => {
                self.forget_all();
                self.tell(Scope::Namespace, Effect::Invalidated);
            }
            Message::ExpiredNamespace => {
                self.forget_versions();
                self.local.expire_all(self.clock.ticks());
                self.tell(Scope::Namespace, Effect::Expired);
            }
            Message::Tag(fingerprint) => {
                // First: what is read from the backend in between must not be judged by the versions of before.
                self.forget_versions();
                self.local.forget_tag(fingerprint);
                self.tell(Scope::Tag { name: None, fingerprint }, Effect::Invalidated);
            }
        }
    }

    fn tell(&self, scope: Scope<'_>, effect: Effect) {
        let namespace = &self.namespace;
        self.observers.tell(Event::Invalidated { namespace, scope, effect, origin: Origin::Elsewhere });
    }

    fn forget_all(&self) {
        self.forget_versions();
        self.local.forget_all();
    }

    fn forget_versions(&self) {
        if let Some(versions) = &self.versions {
            versions.distrust();
        }
    }

    /// Ends listening for good. What this process holds is not believed afterwards.
    pub(crate) fn stop(&self) {
        let mut reader = self.reader();
        reader.stopped = true;
        if let Some(task) = reader.task.take() {
            task.abort();
        }
        drop(reader);
        let _ = self.tried.set(());
        self.forget_all();
    }

    /// Whether this process listens no more.
    pub(crate) fn is_stopped(&self) -> bool {
        self.reader().stopped
    }

    fn reader(&self) -> MutexGuard<'_, Reader> {
        // Nothing between lock and unlock can panic half way through a change.
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Bulletin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listening = self.listening.load(SeqCst);
        f.debug_struct("Bulletin").field("bus", &self.bus).field("listening", &listening).finish_non_exhaustive()
    }
}

/// The reading task; where it ends with its runtime, the next operation on another starts a new one.
struct Running(Arc<Bulletin>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.listening.store(false, SeqCst);
    }
}

/// Listens as long as it lives.
#[derive(Debug)]
pub(crate) struct Subscription(pub(crate) Arc<Bulletin>);

impl Drop for Subscription {
    fn drop(&mut self) {
        self.0.stop();
    }
}
