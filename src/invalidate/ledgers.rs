//! The ledgers of one cache, one in each part of its backend.
//!
//! A backend whose servers fail alone has several parts, so that a lost server takes its own entries and what was noted
//! about them, and nothing else. An order goes to all parts.

use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, Semaphore};

use super::known::{Asked, Known, Learned, Unknown, Verdict};
use crate::backends::{Backend, join};
use crate::clock::{Clock, millis, within};
use crate::error::{Error, ErrorKind};
use crate::guard::Guard;
use crate::key::Key;
use crate::ledger::{Announcement, Change, Forgotten, Head, Order, Stamp};
use crate::message::Message;
use crate::order::{Belief, ForgottenBy};

/// How long a head is believed that was read.
const BELIEVED: Duration = Duration::from_secs(1);
/// How long callers wait for another one that reads or makes the head.
const PATIENCE: Duration = Duration::from_millis(100);
/// How often an entry is judged while orders go on.
const ATTEMPTS: usize = 4;

/// A future that is rare, so that the usual ones need not carry room for it, nor the compiler look into it from them.
pub(crate) type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The ledgers of all parts.
#[derive(Debug)]
pub(crate) struct Ledgers {
    root: Key,
    parts: Box<[Part]>,
    clock: Arc<dyn Clock>,
    /// The backend's own bus, by which it tells other processes of orders.
    bus: Option<Key>,
    /// For how many ticks the heads are believed after the bus was heard.
    heard_for: u64,
}

#[derive(Debug)]
struct Part {
    number: u16,
    head: Key,
    known: Mutex<Known>,
    /// Whether a caller reads or makes the head, and the end of that.
    asks: Semaphore,
    answered: Notify,
}

/// What an order has reached.
#[derive(Debug, Default)]
pub(crate) struct Reached {
    /// The time that it took in each part of the backend; of no lineage in one that has not taken it.
    pub(crate) times: Vec<Stamp>,
    /// Whether the other processes were told in the same step.
    pub(crate) announced: bool,
    /// The parts that have not taken it.
    pub(crate) left: Vec<u16>,
    /// Why they have not, unless all of them are away, and what they hold is not believed when they are back.
    pub(crate) error: Option<Error>,
}

impl Reached {
    /// Whether any part has taken it, or there is none that had to.
    pub(crate) fn is_something(&self) -> bool {
        self.left.is_empty() || self.times.iter().any(|time| time.lineage != 0)
    }
}

impl Ledgers {
    /// The ledgers beside `root` in a backend of so many parts. What is read of them is believed for a second, or for the
    /// setting `max_staleness` if that is less. It tells of orders by its `bus`, where it can do that in
    /// one step; what was heard is believed as long as L1 is.
    pub(crate) fn new(
        root: &Key,
        parts: u16,
        bus: Option<(Key, Belief)>,
        max_staleness: Option<Duration>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let believed_for = millis(max_staleness.map_or(BELIEVED, |longest| longest.min(BELIEVED)));
        let part = |number| Part {
            number,
            head: Order::head_key(root, number),
            known: Mutex::new(Known::new(believed_for)),
            asks: Semaphore::new(1),
            answered: Notify::new(),
        };
        let heard_for = bus.as_ref().map_or(0, |(_, belief)| belief.ticks());
        let (root, bus) = (root.clone(), bus.map(|(bus, _)| bus));
        Self { root, parts: (0..parts.max(1)).map(part).collect(), clock, bus, heard_for }
    }

    /// The key of the head of this part, if the next read should bring it along.
    pub(crate) fn due(&self, part: u16) -> Option<(&Key, Asked)> {
        let (part, now) = (self.part(part), self.clock.ticks());
        let known = part.lock();
        known.stamp(now).is_none().then(|| (&part.head, known.asked(now)))
    }

    /// Takes note of the head that a read brought along. Makes one if there was none.
    pub(crate) async fn learn<B: Backend>(
        &self,
        guard: &Guard<B>,
        part: u16,
        found: Option<&Bytes>,
        asked: Asked,
    ) -> Result<(), Error> {
        let part = self.part(part);
        match found.and_then(|bytes| Head::read(bytes)) {
            Some(head) => self.take_head(guard, part, head, asked).await,
            None => self.refresh(guard, part, true).await,
        }
    }

    /// The time of the ledger, for an entry whose making begins now.
    pub(crate) async fn stamp<B: Backend>(&self, guard: &Guard<B>, part: u16) -> Result<Stamp, Error> {
        if let Some(stamp) = self.known(part) {
            return Ok(stamp);
        }
        // What is stored needs a head. Where an order is one step, the one that makes a head answers with the one that is
        // there; elsewhere it takes several.
        let makes = guard.capabilities().announces && self.part(part).lock().certain().lineage == 0;
        self.refresh(guard, self.part(part), makes).await?;
        // Doubted again by now, it may be a little old, which is no harm: the entry is forgotten with more than it must.
        let certain = self.part(part).lock().certain();
        self.known(part).or(Some(certain)).filter(|stamp| stamp.lineage != 0).ok_or_else(strange)
    }

    /// The same, if it is known.
    pub(crate) fn known(&self, part: u16) -> Option<Stamp> {
        self.part(part).lock().stamp(self.clock.ticks())
    }

    /// Whether an entry with this stamp and these tags was forgotten, or has expired with everything else.
    pub(crate) async fn judge<B: Backend>(
        &self,
        guard: &Guard<B>,
        part: u16,
        stamp: Stamp,
        tags: &[u64],
    ) -> Result<Verdict, Error> {
        let part = self.part(part);
        for _ in 0..ATTEMPTS {
            let judged = part.lock().judge(stamp, tags, self.clock.ticks());
            match judged {
                Ok(verdict) => return Ok(verdict),
                Err(Unknown::Head) => self.refresh(guard, part, false).await?,
                Err(Unknown::Records(numbers)) => self.read_records(guard, part, numbers).await?,
            }
        }
        Ok(Verdict::Forgotten(ForgottenBy::All))
    }

    /// Forgets in all parts of the backend, or in those that are `left`.
    pub(crate) async fn forget<B: Backend>(
        &self,
        guard: &Guard<B>,
        change: &Change,
        source: u64,
        left: Option<&[u16]>,
    ) -> Reached {
        let message = || Message::order(change, &[Stamp::default()]).start(source).into();
        let announce = |bus: &Key| Announcement { bus: bus.clone(), message: message() };
        let announcement = self.bus.as_ref().filter(|_| self.hears()).map(announce);
        let give = async |part: &Part| {
            let order =
                Order { announcement: announcement.clone(), ..Order::new(&self.root, part.number, change.clone()) };
            let asked = part.lock().asked(self.clock.ticks());
            let answer = guard.forget(&order).await;
            (part.number, part.take(&order, answer, asked))
        };
        let given = self.parts.iter().filter(|part| left.is_none_or(|left| left.contains(&part.number)));
        let mut reached = Reached { times: vec![Stamp::default(); self.parts.len()], ..Reached::default() };
        for (number, taken) in join::all(given.map(give)).await {
            match taken {
                Ok(Some((time, announced))) => {
                    reached.times[usize::from(number)] = time;
                    reached.announced = announced;
                }
                Ok(None) => reached.left.push(number),
                Err(error) => {
                    reached.left.push(number);
                    reached.error = Some(error);
                }
            }
        }
        reached
    }

    /// Whether the backend tells of each order in the same step, so that what the bus tells is all there is.
    pub(crate) fn hears(&self) -> bool {
        self.bus.is_some() && self.parts.len() == 1
    }

    /// The backend's own bus was heard at this tick.
    pub(crate) fn heard(&self, tick: u64) {
        if self.hears() {
            self.parts.iter().for_each(|part| part.lock().believe(tick.saturating_add(self.heard_for)));
        }
    }

    /// Takes note of what the bus tells of an order, which took these times.
    pub(crate) fn note(&self, times: &[Stamp], change: &Change) {
        for (index, part) in self.parts.iter().enumerate() {
            match times.get(index).filter(|time| time.lineage != 0) {
                Some(time) => part.lock().note(*time, change, true),
                None => part.lock().distrust(),
            }
        }
    }

    /// Takes note of an order of this process that the bus tells of.
    pub(crate) fn echo(&self, times: &[Stamp]) {
        self.parts.iter().zip(times).for_each(|(part, time)| part.lock().echo(*time));
    }

    /// Reads the heads anew before anything is believed: orders may have been missed.
    pub(crate) fn distrust(&self) {
        self.parts.iter().for_each(|part| part.lock().distrust());
    }

    fn part(&self, number: u16) -> &Part {
        &self.parts[usize::from(number)]
    }

    /// Reads the head, or makes one if there is none; if it `makes` at once, without reading it before. Of several callers
    /// one does, and the others wait for it.
    fn refresh<'a, B: Backend>(
        &'a self,
        guard: &'a Guard<B>,
        part: &'a Part,
        makes: bool,
    ) -> Boxed<'a, Result<(), Error>> {
        Box::pin(self.refresh_now(guard, part, makes))
    }

    async fn refresh_now<B: Backend>(&self, guard: &Guard<B>, part: &Part, makes: bool) -> Result<(), Error> {
        let mut news = pin!(part.answered.notified());
        news.as_mut().enable();
        let permit = part.asks.try_acquire();
        if permit.is_err() {
            within(&*self.clock, PATIENCE, news).await;
            if part.lock().stamp(self.clock.ticks()).is_some() {
                return Ok(());
            }
        }
        let asked = part.lock().asked(self.clock.ticks());
        let found = if makes { None } else { guard.get(&part.head).await? };
        let answer = match found.as_deref().and_then(Head::read) {
            Some(head) => self.take_head(guard, part, head, asked).await,
            None => self.make(guard, part, None).await,
        };
        drop(permit);
        part.answered.notify_waiters();
        answer
    }

    async fn take_head<B: Backend>(
        &self,
        guard: &Guard<B>,
        part: &Part,
        head: Head,
        asked: Asked,
    ) -> Result<(), Error> {
        let lineage = head.now.lineage;
        let learned = part.lock().learn(head, asked);
        match learned {
            Learned::Yes => Ok(()),
            // An order that was acknowledged is lost, and what it was about would be valid again.
            Learned::RolledBack => Box::pin(self.make(guard, part, Some(lineage))).await,
        }
    }

    /// Makes the head, if there is none, or none but of the lineage that it `replaces`.
    async fn make<B: Backend>(&self, guard: &Guard<B>, part: &Part, replaces: Option<u64>) -> Result<(), Error> {
        let asked = part.lock().asked(self.clock.ticks());
        let order = Order { replaces, ..Order::new(&self.root, part.number, Change::Nothing) };
        match guard.forget(&order).await?.head {
            Some(head) => {
                let _ = part.lock().learn(head, asked);
                Ok(())
            }
            None => Err(strange()),
        }
    }

    fn read_records<'a, B: Backend>(
        &'a self,
        guard: &'a Guard<B>,
        part: &'a Part,
        numbers: Vec<u16>,
    ) -> Boxed<'a, Result<(), Error>> {
        Box::pin(async move {
            let key = |number: &u16| Order::record_key(&self.root, part.number, *number);
            let keys: Vec<Key> = numbers.iter().map(key).collect();
            let from = part.lock().certain();
            let found = guard.get_many(&keys).await?;
            let mut known = part.lock();
            for (number, found) in numbers.iter().zip(&found) {
                known.keep(*number, found.as_deref(), from);
            }
            Ok(())
        })
    }
}

impl Part {
    fn lock(&self) -> MutexGuard<'_, Known> {
        // Nothing between lock and unlock can panic half way through a change.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of the answer to an order: the time that it took, and whether others were told. Nothing of a part that is
    /// away.
    fn take(
        &self,
        order: &Order,
        answer: Result<Forgotten, Error>,
        asked: Asked,
    ) -> Result<Option<(Stamp, bool)>, Error> {
        let mut known = self.lock();
        match answer {
            Ok(forgotten) => match forgotten.head {
                Some(head) => {
                    let stamp = head.now;
                    known.note_own(head, &order.change, asked);
                    Ok(Some((stamp, forgotten.announced)))
                }
                None => {
                    known.distrust();
                    Ok(None)
                }
            },
            Err(error) => {
                // It may have been carried out.
                known.distrust();
                Err(error)
            }
        }
    }
}

#[cold]
fn strange() -> Error {
    Error::new(ErrorKind::Backend, "the backend does not keep what a cache notes of its invalidations")
}
