//! The handle that tells a `Chaos` what to do.
//!
//! Faults are asked for by operation; gates hold operations at their start, so that a test decides the order of things.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

use crate::event::Operation;
use crate::key::Key;

/// What goes wrong with an operation.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Fault {
    /// Fails at once with [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable), and does nothing.
    Refuse,
    /// Fails at once with [`ErrorKind::ReadOnly`](crate::ErrorKind::ReadOnly) where the operation writes, and does
    /// nothing; reads work.
    ReadOnly,
    /// Never answers, until [`ChaosControl::heal`] lets it go on or its caller drops it.
    Hang,
    /// Waits this long on the clock of the `Chaos`, then works.
    Slow(Duration),
    /// Works, then fails with [`ErrorKind::Timeout`](crate::ErrorKind::Timeout).
    FailAfter,
    /// Cuts the bytes that pass, read or written, to this many.
    Truncate(usize),
    /// Flips one bit of the bytes that pass, read or written. Bit 0 is the lowest of the first byte; counts modulo the
    /// length.
    Flip(usize),
    /// Works on this key instead of the one asked for. Does nothing to a bus.
    WrongKey(Key),
    /// Says that it worked, and does nothing: a read finds nothing, a lease is granted that the backend knows nothing
    /// of, a bus has no messages.
    Lose,
}

/// Holds operations at their start until it is opened; made by [`ChaosControl::gate`].
///
/// Clones are the same gate. Dropping every clone opens nothing.
#[derive(Clone)]
pub struct Gate(Arc<Latch>);

struct Latch {
    permits: Semaphore,
    waiting: watch::Sender<usize>,
}

impl Gate {
    fn new() -> Self {
        Self(Arc::new(Latch { permits: Semaphore::new(0), waiting: watch::Sender::new(0) }))
    }

    /// Lets everything through, now and later.
    pub fn open(&self) {
        self.0.permits.close();
    }

    /// Lets `count` operations through, those that came first before others. They may come later, too.
    pub fn admit(&self, count: usize) {
        self.0.permits.add_permits(count);
    }

    /// How many operations wait here.
    pub fn waiting(&self) -> usize {
        *self.0.waiting.borrow()
    }

    /// Waits until at least `count` operations wait here.
    pub async fn wait_for(&self, count: usize) {
        let mut waiting = self.0.waiting.subscribe();
        let told = waiting.wait_for(|held| *held >= count).await;
        debug_assert!(told.is_ok(), "the sender lives as long as this gate");
    }

    pub(super) async fn pass(&self) {
        let _waiting = Waiting::at(&self.0.waiting);
        // An error means that the gate is open.
        if let Ok(permit) = self.0.permits.acquire().await {
            permit.forget();
        }
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = self.0.permits.is_closed();
        f.debug_struct("Gate").field("open", &open).field("waiting", &self.waiting()).finish()
    }
}

/// Counts for as long as an operation waits, dropped ones included.
struct Waiting<'a>(&'a watch::Sender<usize>);

impl<'a> Waiting<'a> {
    fn at(count: &'a watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// Tells a [`Chaos`](super::Chaos) which operations go wrong, and counts them. Clones control the same one.
///
/// Storing by lease (`fill`) is an [`Operation::Set`], `ttl` an [`Operation::Get`], keeping a
/// lease (`renew`) and giving it back (`release`) an [`Operation::Lease`]. A batch is one operation, and its fault meets all of it. An
/// operation meets its gate first, then one fault: the one asked for by [`inject`](ChaosControl::inject), else a random
/// one.
#[derive(Clone)]
pub struct ChaosControl(Arc<Mutex<State>>);

struct State {
    counts: [u64; 7],
    gates: [Option<Gate>; 7],
    /// The fault of an operation, and how many more operations have it.
    faults: [Option<(Fault, u64)>; 7],
    random: Option<Random>,
    /// Where `Fault::Hang` hangs; replaced by each `heal`.
    hanging: Gate,
}

struct Random {
    source: fastrand::Rng,
    faults: Vec<(f64, Fault)>,
}

impl ChaosControl {
    /// Tells the handles of one backend from those of others.
    pub(super) fn id(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    pub(super) fn new() -> Self {
        let state = State {
            counts: [0; 7],
            gates: Default::default(),
            faults: Default::default(),
            random: None,
            hanging: Gate::new(),
        };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Every `operation` from now on meets `fault`, in place of an earlier one.
    pub fn inject(&self, operation: Operation, fault: Fault) {
        self.inject_next(u64::MAX, operation, fault);
    }

    /// The next `count` of `operation` meet `fault`, in place of an earlier one.
    pub fn inject_next(&self, count: u64, operation: Operation, fault: Fault) {
        self.state().faults[index(operation)] = (count > 0).then_some((fault, count));
    }

    /// Every operation of every kind from now on meets `fault`.
    pub fn inject_all(&self, fault: Fault) {
        self.state().faults = std::array::from_fn(|_| Some((fault.clone(), u64::MAX)));
    }

    /// From now on each operation without an injected fault draws: each of `faults` in turn happens with its
    /// probability, `0.0..=1.0`, and the first that does is met.
    ///
    /// The same seed and the same order of operations give the same faults.
    pub fn randomly(&self, seed: u64, faults: impl IntoIterator<Item = (f64, Fault)>) {
        let random = Random { source: fastrand::Rng::with_seed(seed), faults: faults.into_iter().collect() };
        self.state().random = Some(random);
    }

    /// Ends all faults, random ones too, opens all gates, and lets what hangs go on.
    pub fn heal(&self) {
        let mut state = self.state();
        state.faults = Default::default();
        state.random = None;
        std::mem::replace(&mut state.hanging, Gate::new()).open();
        for gate in std::mem::take(&mut state.gates).into_iter().flatten() {
            gate.open();
        }
    }

    /// Holds every `operation` that starts from now on at a new gate. An earlier gate keeps those it holds.
    pub fn gate(&self, operation: Operation) -> Gate {
        let gate = Gate::new();
        self.state().gates[index(operation)] = Some(gate.clone());
        gate
    }

    /// How many operations of this kind have started, those held, refused and dropped included.
    pub fn count(&self, operation: Operation) -> u64 {
        self.state().counts[index(operation)]
    }

    /// Where operations that met [`Fault::Hang`] wait, until the next [`heal`](ChaosControl::heal).
    pub fn hanging(&self) -> Gate {
        self.state().hanging.clone()
    }

    pub(super) fn arrive(&self, operation: Operation) -> Option<Gate> {
        let mut state = self.state();
        state.counts[index(operation)] += 1;
        state.gates[index(operation)].clone()
    }

    /// Whether nothing is to happen to the next operation of this kind.
    pub(super) fn is_well(&self, operation: Operation) -> bool {
        let (state, index) = (self.state(), index(operation));
        state.faults[index].is_none() && state.gates[index].is_none() && state.random.is_none()
    }

    /// The fault to meet, and the gate to hang at if it is to hang.
    pub(super) fn draw(&self, operation: Operation) -> (Option<Fault>, Gate) {
        let mut state = self.state();
        (state.draw(operation), state.hanging.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing between lock and unlock can panic half way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn draw(&mut self, operation: Operation) -> Option<Fault> {
        let slot = &mut self.faults[index(operation)];
        if let Some((fault, left)) = slot {
            let fault = fault.clone();
            // No program lives to count down from `u64::MAX`, so that means for ever.
            *left -= 1;
            if *left == 0 {
                *slot = None;
            }
            return Some(fault);
        }
        let Random { source, faults } = self.random.as_mut()?;
        faults.iter().find(|(probability, _)| source.f64() < *probability).map(|(_, fault)| fault.clone())
    }
}

impl fmt::Debug for ChaosControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("ChaosControl")
            .field("counts", &state.counts)
            .field("faults", &state.faults)
            .finish_non_exhaustive()
    }
}

const fn index(operation: Operation) -> usize {
    match operation {
        Operation::Get => 0,
        Operation::Set => 1,
        Operation::Remove => 2,
        Operation::Lease => 3,
        Operation::Ping => 4,
        Operation::Publish => 5,
        Operation::Receive => 6,
    }
}
