//! The reader of the bus: this cache's side of the bus.
//!
//! One task reads on from where it stopped, whatever happens in between. Where the bus cannot vouch for everything
//! since then, this process believes nothing it holds. While nothing is heard, because the bus fails or the task is not
//! driven, what L1 holds is believed for a short time only.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::SetOnce;
use tokio::task::yield_now;

use super::ledgers::Ledgers;
use super::local::Local;
use super::reader_state::ReaderState;
use crate::bus::{AnyBus, Batch, Bus, Position};
use crate::clock::{Clock, within};
use crate::error::{Error, ErrorKind};
use crate::event::{Effect, Event, Observers, Operation, Origin, Scope, Unreadable};
use crate::key::Key;
use crate::ledger::Change;
use crate::message::{Message, Refusal};
use crate::random;

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long the first operations wait for the bus at most: what is read before this process listens is not believed
/// later.
const PATIENCE: Duration = Duration::from_millis(250);
/// How often the reader gives a sign of life while it waits.
const BEAT: Duration = Duration::from_secs(1);
/// The shortest wait for messages where answers are slow.
const SHORTEST_WAIT: Duration = Duration::from_millis(50);

/// What is told of a reader that was taken over.
const UNDRIVEN: &str = "the runtime that read the bus is not driven, so what other processes change was not heard: another \
                        runtime reads now; keep driving the one on which a cache is used first";

pub(crate) struct BusReader {
    bus: AnyBus,
    name: Key,
    /// How long one answer of the bus may take, its way included.
    wait: Duration,
    namespace: Key,
    /// Tells this cache's own messages apart.
    source: u64,
    local: Arc<Local>,
    ledgers: Option<Arc<Ledgers>>,
    clock: Arc<dyn Clock>,
    observers: Observers,
    state: ReaderState,
    /// Set once the first attempt to listen has ended, either way, or a caller has waited long enough.
    tried: SetOnce<()>,
}

impl BusReader {
    pub(crate) fn new(
        bus: AnyBus,
        [name, namespace]: [Key; 2],
        wait: Duration,
        local: Arc<Local>,
        ledgers: Option<Arc<Ledgers>>,
        clock: Arc<dyn Clock>,
        observers: Observers,
    ) -> Arc<Self> {
        let bus_reader = Arc::new(Self {
            bus,
            name,
            wait,
            namespace,
            source: random::number(),
            local,
            ledgers,
            clock,
            observers,
            state: ReaderState::default(),
            tried: SetOnce::new(),
        });
        bus_reader.vouch();
        bus_reader
    }

    /// Lets L1 be believed on where the bus knows at once that there is nothing to hear.
    fn vouch(self: &Arc<Self>) {
        let bus_reader = Arc::downgrade(self);
        self.local.orders.vouched_by(move || bus_reader.upgrade().is_some_and(|bus_reader| bus_reader.is_quiet()));
    }

    pub(crate) fn bus(&self) -> &AnyBus {
        &self.bus
    }

    /// Who this cache is on the bus.
    pub(crate) fn source(&self) -> u64 {
        self.source
    }

    /// Whether the bus is being heard, as far as is known.
    pub(crate) fn hears(&self) -> bool {
        self.state.is_alive(self.clock.ticks()) && self.state.is_well()
    }

    /// Sees to it that a task listens. Waits for that the first time, because what is read before is not covered.
    #[inline]
    pub(crate) async fn listen(self: &Arc<Self>) {
        if self.tried.get().is_some() && self.state.is_alive(self.clock.ticks()) {
            return;
        }
        let runtime = Handle::try_current().ok().filter(|_| self.clock.can_sleep());
        let Some(runtime) = runtime else { return self.state.be_deaf() };
        self.start(&runtime);
        if self.tried.get().is_none() && within(&*self.clock, PATIENCE, self.tried.wait()).await.is_none() {
            self.state.be_deaf();
            let _ = self.tried.set(());
        }
    }

    fn start(self: &Arc<Self>, runtime: &Handle) {
        let Some(turn) = self.state.begin(runtime, self.clock.ticks()) else { return };
        if turn.takes_over {
            self.observers.tell(Event::Warning { message: UNDRIVEN });
        }
        // Made here, so that it is dropped however the task ends, even before it began.
        let running = Running { bus_reader: Arc::clone(self), turn: turn.number };
        let task = runtime.spawn(async move { running.bus_reader.read(running.turn).await });
        self.state.attach(turn.number, task.abort_handle());
    }

    /// Reads until the turn is over.
    async fn read(&self, turn: u64) {
        let (mut pause, mut wait) = (FIRST_PAUSE, self.wait);
        while let Some(position) = self.state.position(turn) {
            if self.local.switches.are_both_paused() {
                self.rest().await;
                continue;
            }
            let asked = self.clock.ticks();
            match self.receive(position.as_ref(), wait).await {
                Ok(batch) => {
                    if !self.take(batch, turn) {
                        return;
                    }
                    self.local.orders.heard(asked);
                    if let Some(ledgers) = &self.ledgers {
                        ledgers.heard(asked);
                    }
                    // What the way to the bus takes is taken off the wait, so that the next answer is there in time.
                    let way = Duration::from_millis(self.clock.ticks().saturating_sub(asked)).saturating_sub(wait);
                    wait = self.wait.saturating_sub(way).max(SHORTEST_WAIT.min(self.wait));
                    pause = FIRST_PAUSE;
                    // A bus that never waits must not keep others from running.
                    yield_now().await;
                }
                Err(error) => {
                    self.tell_failed(&error);
                    let _ = self.tried.set(());
                    self.clock.sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Asks nothing while both tiers are paused. Gives signs of life meanwhile.
    async fn rest(&self) {
        self.bus.rest();
        self.state.live(self.clock.ticks());
        within(&*self.clock, BEAT, self.local.switches.resumed()).await;
    }

    /// What the bus answers. Gives signs of life meanwhile.
    async fn receive(&self, after: Option<&Position>, wait: Duration) -> Result<Batch, Error> {
        let mut answer = pin!(self.bus.receive(after, wait));
        loop {
            self.state.live(self.clock.ticks());
            if let Some(answer) = within(&*self.clock, BEAT, answer.as_mut()).await {
                return answer;
            }
        }
    }

    fn tell_failed(&self, error: &Error) {
        // A bus that does less than it was asked to is none that fails.
        if error.kind() == ErrorKind::Unsupported {
            return self.observers.tell(Event::Warning { message: &error.to_string() });
        }
        self.observers.tell(Event::BackendFailed { key: &self.name, operation: Operation::Receive, error });
        let warning =
            format!("what other processes change is not heard, so L1 is read anew every few seconds: {error}");
        if self.state.fail(self.clock.ticks(), error.is_temporary(), &warning) {
            self.observers.tell(Event::Warning { message: &warning });
        }
    }

    /// Takes what was heard. Returns whether the turn goes on.
    fn take(&self, batch: Batch, turn: u64) -> bool {
        if self.state.position(turn).is_none() {
            return false;
        }
        let before = self.local.orders.latest();
        let mut gap = batch.gap;
        for message in &batch.messages {
            match Message::read(message) {
                Ok((source, message)) if source == self.source => self.echo(&message),
                Ok((_, message)) => self.apply(&message),
                Err(Refusal::Unknown) => {}
                // Whatever it was to say is lost.
                Err(Refusal::Malformed) => {
                    self.observers.tell(Event::Unreadable { key: &self.name, reason: Unreadable::Foreign });
                    gap = true;
                }
            }
        }
        if self.local.orders.latest() != before {
            self.local.reclaim();
        }
        if gap {
            self.miss();
            self.observers.tell(Event::Gap { name: &self.name });
        }
        let heard = self.state.advance(turn, batch.position);
        if heard.as_ref().is_some_and(|heard| heard.was_deaf) {
            self.miss();
        }
        if let Some(warning) = heard.as_ref().and_then(|heard| heard.well.as_deref()) {
            self.observers.withdraw(warning);
        }
        let _ = self.tried.set(());
        heard.is_some()
    }

    /// Takes note of a message of its own.
    fn echo(&self, message: &Message<'_>) {
        if let (Message::Order(_, times), Some(ledgers)) = (message, &self.ledgers) {
            ledgers.echo(times);
        }
    }

    fn apply(&self, message: &Message<'_>) {
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
            Message::LeaseEnded(text) => self.local.wake(&Key::from_text(text)),
            Message::Order(change, times) => {
                // First: what is read from the backend in between must not be judged by what was known before.
                if let Some(ledgers) = &self.ledgers {
                    ledgers.note(times, change);
                }
                self.obey(change);
            }
        }
    }

    fn obey(&self, change: &Change) {
        match change {
            Change::Nothing | Change::Everything => {
                self.local.forget_all();
                self.tell(Scope::Namespace, Effect::Invalidated);
            }
            Change::Expiry { .. } => {
                self.local.expire_all(self.clock.ticks());
                self.tell(Scope::Namespace, Effect::Expired);
            }
            Change::Tags(tags) => {
                for fingerprint in tags.iter().copied() {
                    self.local.forget_tag(fingerprint);
                    self.tell(Scope::Tag { name: None, fingerprint }, Effect::Invalidated);
                }
            }
        }
    }

    fn tell(&self, scope: Scope<'_>, effect: Effect) {
        let namespace = &self.namespace;
        self.observers.tell(Event::Invalidated { namespace, scope, effect, origin: Origin::Elsewhere });
    }

    /// Believes nothing that is held here, because some message may be lost.
    pub(crate) fn miss(&self) {
        self.distrust_ledgers();
        self.local.miss();
    }

    /// Whether nothing was published since this cache heard the last of it, if the bus knows that at once.
    fn is_quiet(&self) -> bool {
        self.state.place().is_some_and(|position| self.bus.is_quiet(&position))
    }

    fn distrust_ledgers(&self) {
        if let Some(ledgers) = &self.ledgers {
            ledgers.distrust();
        }
    }

    /// Ends listening for good. What this process holds is not believed afterwards.
    pub(crate) fn stop(&self) {
        self.state.stop();
        let _ = self.tried.set(());
        self.local.shut();
        self.miss();
    }
}

impl fmt::Debug for BusReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listening = self.state.is_alive(self.clock.ticks());
        f.debug_struct("BusReader").field("bus", &self.bus).field("listening", &listening).finish_non_exhaustive()
    }
}

/// The reading task; where it ends with its runtime, the next operation on another starts a new one.
struct Running {
    bus_reader: Arc<BusReader>,
    turn: u64,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.bus_reader.state.end(self.turn);
    }
}

/// Listens as long as it lives.
#[derive(Debug)]
pub(crate) struct Subscription(pub(crate) Arc<BusReader>);

impl Drop for Subscription {
    fn drop(&mut self) {
        self.0.stop();
    }
}
