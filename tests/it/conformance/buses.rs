//! The bus suite over the library's buses, and over broken ones.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use cachekit::backends::{AnyBackend, Memory};
use cachekit::testing::conformance::{BackendOptions, bus};
use cachekit::testing::{Chaos, ManualClock};
use cachekit::{AnyBus, Backend, Batch, Bus, Clock, Error, Key, Position};
use tokio::task::yield_now;

use Defect as D;

/// The sentences that the buses of `backend` keep.
async fn kept(backend: impl Backend, options: BackendOptions) -> Vec<&'static str> {
    let make = async |name| backend.bus(&name).unwrap();
    bus(make, options).await
}

fn memory(clock: &ManualClock) -> Memory {
    Memory::with_clock(1 << 20, Arc::new(clock.clone()))
}

#[tokio::test]
async fn the_bus_of_a_memory_keeps_the_contract() {
    let clock = ManualClock::new();
    assert_eq!(kept(memory(&clock), BackendOptions::manual(clock)).await.len(), 11);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_bus_of_a_memory_keeps_the_contract_on_many_threads() {
    let clock = ManualClock::new();
    assert_eq!(kept(memory(&clock), BackendOptions::manual(clock)).await.len(), 11);
}

#[tokio::test]
async fn the_bus_of_a_memory_keeps_the_contract_in_real_time() {
    assert_eq!(kept(Memory::new(1 << 20), BackendOptions::real()).await.len(), 11);
}

#[tokio::test]
async fn the_bus_of_a_wrapped_memory_keeps_the_contract() {
    let clock = ManualClock::new();
    let wrapped = AnyBackend::new(Chaos::new(AnyBackend::new(memory(&clock))));
    assert_eq!(kept(wrapped, BackendOptions::manual(clock)).await.len(), 11);
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Defect {
    None,
    StartsAtTheBeginning,
    WaitsWithoutPosition,
    SleepsThroughNews,
    WaitsForEver,
    LosesItsPlace,
    TurnsAround,
    DeliversOnce,
    CriesWolf,
    HidesItsOwn,
    SortsForOne,
    ReadsText,
    CutsTheLongest,
    HearsAll,
    LosesWhatIsUnderway,
    PublishesByHalves,
    HidesTheGap,
}

const POSITION: &str = "Without a position `receive` answers at once, with no messages and the position of now.";
const SILENCE: &str = "If nothing comes, `receive` answers with an empty batch in a time of its own.";

const DEFECTS: &[(Defect, &str)] = &[
    (D::StartsAtTheBeginning, POSITION),
    (D::WaitsWithoutPosition, POSITION),
    (D::SleepsThroughNews, "A `receive` that waits gets what is published meanwhile."),
    (D::WaitsForEver, SILENCE),
    (D::LosesItsPlace, SILENCE),
    (D::TurnsAround, "What was published behind a position is received, in order."),
    (D::DeliversOnce, "What was published behind a position is received, in order."),
    (D::CriesWolf, "What was published behind a position is received, in order."),
    (D::HidesItsOwn, "Every subscriber receives every message, its own included."),
    (D::SortsForOne, "All subscribers see one order."),
    (D::ReadsText, "Messages of up to 1,024 bytes of any kind pass unchanged."),
    (D::CutsTheLongest, "Messages of up to 1,024 bytes of any kind pass unchanged."),
    (D::HearsAll, "Those who use other names are not heard."),
    (D::LosesWhatIsUnderway, "A dropped `receive` loses nothing."),
    (D::PublishesByHalves, "A dropped `publish` leaves the bus usable."),
    (D::HidesTheGap, "No message is forgotten silently."),
];

#[test]
fn every_defect_is_found() {
    for (defect, sentence) in DEFECTS {
        let complaint = run(*defect).expect_err(&format!("{defect:?} was not found"));
        let expected = format!("the bus breaks its contract: \"{sentence}\"");
        assert!(complaint.starts_with(&expected), "{defect:?} gave: {complaint}");
    }
}

#[test]
fn every_sentence_finds_a_defect() {
    let kept = run(D::None).unwrap();
    assert_eq!(kept.len(), 11);
    assert!(kept.iter().all(|sentence| DEFECTS.iter().any(|(_, found_by)| found_by == sentence)), "{kept:?}");
}

/// The sentences kept, or the message of the panic.
fn run(defect: Defect) -> Result<Vec<&'static str>, String> {
    let suite = std::thread::spawn(move || {
        let clock = ManualClock::new();
        let mut options = BackendOptions::manual(clock.clone());
        if matches!(defect, D::WaitsWithoutPosition | D::SleepsThroughNews | D::WaitsForEver) {
            // What comes before ends within a few polls, however slow the machine is.
            options = options.patience(Duration::from_secs(1));
        }
        let memory = memory(&clock);
        let buses = AtomicU64::new(0);
        let make = |name: Key| {
            let name = if defect == D::HearsAll { Key::new("bus", "all").unwrap() } else { name };
            let inner = memory.bus(&name).unwrap();
            let number = buses.fetch_add(1, SeqCst);
            let bus =
                Broken { defect, clock: clock.clone(), inner, number, taken: Mutex::default(), sleepy: true.into() };
            std::future::ready(bus)
        };
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(bus(make, options))
    });
    suite.join().map_err(|panic| *panic.downcast::<String>().unwrap())
}

/// The bus of a memory, with one defect.
#[derive(Debug)]
struct Broken {
    defect: Defect,
    clock: ManualClock,
    inner: AnyBus,
    /// Which of the buses made this is. Three are made for each sentence, the first two of one name.
    number: u64,
    /// Behind which position nothing is left.
    taken: Mutex<Option<Position>>,
    sleepy: AtomicBool,
}

impl Broken {
    async fn wait(&self) {
        self.clock.sleep(Duration::from_millis(500)).await;
    }

    fn number(position: &Position) -> u64 {
        position.as_str().parse().unwrap()
    }

    /// The later of the position asked for and that up to which messages were taken.
    fn untaken(&self, after: &Position) -> Position {
        let taken = self.taken.lock().unwrap().clone();
        taken.filter(|taken| Self::number(taken) > Self::number(after)).unwrap_or_else(|| after.clone())
    }

    fn change(&self, mut batch: Batch) -> Batch {
        match self.defect {
            D::LosesItsPlace if batch.messages.is_empty() => batch.position = Position::new("0"),
            D::TurnsAround => batch.messages.reverse(),
            D::DeliversOnce if batch.messages.len() > 1 => *self.taken.lock().unwrap() = Some(batch.position.clone()),
            D::CriesWolf => batch.gap = batch.messages.len() > 1,
            D::SortsForOne if self.number % 3 == 1 => batch.messages.sort(),
            D::HidesTheGap => batch.gap = false,
            D::ReadsText | D::CutsTheLongest => {
                batch.messages.iter_mut().for_each(|message| *message = self.read(message));
            }
            D::HidesItsOwn => {
                let own = format!("{} ", self.number);
                let hides = |message: &Bytes| self.number % 3 == 1 && message.starts_with(own.as_bytes());
                let theirs = |message: &Bytes| (!hides(message)).then(|| unsigned(message));
                batch.messages = batch.messages.iter().filter_map(theirs).collect();
            }
            _ => {}
        }
        batch
    }

    fn read(&self, message: &Bytes) -> Bytes {
        match self.defect {
            D::ReadsText => Bytes::from(String::from_utf8_lossy(message).into_owned()),
            _ => message.slice(..message.len().min(1_023)),
        }
    }
}

fn unsigned(message: &Bytes) -> Bytes {
    let end = message.iter().position(|byte| *byte == b' ').unwrap();
    message.slice(end + 1..)
}

impl Bus for Broken {
    async fn publish(&self, message: Bytes) -> Result<(), Error> {
        if self.defect == D::HidesItsOwn {
            return self.inner.publish([format!("{} ", self.number).as_bytes(), &message].concat().into()).await;
        }
        if self.defect == D::PublishesByHalves && message.starts_with(b"dropped") {
            self.inner.publish(message.slice(..4)).await?;
            yield_now().await;
        }
        self.inner.publish(message).await
    }

    async fn receive(&self, after: Option<&Position>, wait: Duration) -> Result<Batch, Error> {
        let Some(after) = after else {
            match self.defect {
                D::WaitsWithoutPosition => self.wait().await,
                D::StartsAtTheBeginning => {
                    return Ok(Batch { messages: Vec::new(), position: Position::new("0"), gap: false });
                }
                _ => {}
            }
            return self.inner.receive(None, wait).await;
        };
        let after = &self.untaken(after);
        if self.defect == D::SleepsThroughNews && self.sleepy.swap(false, SeqCst) {
            self.wait().await;
        }
        let batch = self.inner.receive(Some(after), wait).await?;
        match self.defect {
            D::WaitsForEver if batch.messages.is_empty() => std::future::pending::<()>().await,
            D::LosesWhatIsUnderway => {
                *self.taken.lock().unwrap() = Some(batch.position.clone());
                yield_now().await;
                *self.taken.lock().unwrap() = None;
            }
            _ => {}
        }
        Ok(self.change(batch))
    }
}
