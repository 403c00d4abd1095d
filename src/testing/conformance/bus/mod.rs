//! What buses promise.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;

use super::{BackendOptions, in_time, shown};
use crate::bus::{AnyBus, Batch, Bus, Position};
use crate::error::Error;
use crate::key::Key;
use crate::random;

mod hearing;
mod losing;

/// Checks that the buses `make` gives keep the contract of [`Bus`], and returns the sentences checked.
///
/// `make` is called several times in each check. Buses of one name must share a log, as those of two processes do.
/// Names are fresh in each run. Of `options` the time and the patience count. Call it on a `tokio` runtime; several
/// threads make the checks of concurrency sharper. It publishes 12,000 messages under one name.
///
/// # Panics
/// At the first sentence a bus breaks. The message has the sentence, and what happened instead.
///
/// # Examples
/// ```
/// use cachekit::testing::{ManualClock, conformance};
/// use cachekit::{Backend, backends::Memory};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let clock = ManualClock::new();
/// let memory = Memory::with_clock(1 << 20, std::sync::Arc::new(clock.clone()));
/// let make = async |name| memory.bus(&name).unwrap();
/// let kept = conformance::bus(make, conformance::BackendOptions::manual(clock)).await;
/// assert!(kept.contains(&"A dropped `receive` loses nothing."));
/// # });
/// ```
pub async fn bus<M>(make: impl Fn(Key) -> M + Send + Sync, options: BackendOptions) -> Vec<&'static str>
where
    M: Future<Output: Bus> + Send,
{
    let mut suite = BusSuite { make, options, kept: Vec::new() };
    hearing::check(&mut suite).await;
    losing::check(&mut suite).await;
    suite.kept
}

struct BusSuite<F> {
    make: F,
    options: BackendOptions,
    kept: Vec<&'static str>,
}

impl<F, M> BusSuite<F>
where
    F: Fn(Key) -> M + Send + Sync,
    M: Future<Output: Bus> + Send,
{
    /// Checks one sentence of the contract on a log of its own, with two subscribers to it and one to another.
    async fn case<R>(&mut self, sentence: &'static str, check: impl FnOnce(Case) -> R + Send)
    where
        R: Future<Output = ()> + Send,
    {
        let space = format!("conformance-{:016x}", random::number());
        let name = |name| Key::new(&space, name).expect("the suite's names are neither empty nor too long");
        let one = AnyBus::new((self.make)(name("log")).await);
        let two = AnyBus::new((self.make)(name("log")).await);
        let other = AnyBus::new((self.make)(name("other log")).await);
        let case = Case { one, two, other, sentence, options: self.options.clone() };
        let complaint = case.complaint(&format!("no end after {:?}", self.options.patience));
        let check = pin!(check(case));
        assert!(in_time(self.options.patience, check).await, "{complaint}");
        self.kept.push(sentence);
    }
}

/// A bus under one check.
#[derive(Clone)]
struct Case {
    one: AnyBus,
    /// The bus of the same name, as another process has it.
    two: AnyBus,
    /// A bus of another name.
    other: AnyBus,
    sentence: &'static str,
    options: BackendOptions,
}

/// How much time passes between two looks at a `receive` that is to end by itself.
const STEP: Duration = Duration::from_millis(100);

impl Case {
    fn complaint(&self, what: &str) -> String {
        format!("the bus breaks its contract: \"{}\": {what}", self.sentence)
    }

    fn require(&self, kept: bool, what: impl FnOnce() -> String) {
        assert!(kept, "{}", self.complaint(&what()));
    }

    fn done<T>(&self, call: &str, answer: Result<T, Error>) -> T {
        answer.unwrap_or_else(|error| panic!("{}", self.complaint(&format!("{call} failed: {error:?}"))))
    }

    async fn publish(&self, bus: &AnyBus, message: impl Into<Bytes>) {
        let answer = bus.publish(message.into()).await;
        self.done("publish", answer);
    }

    async fn now(&self, bus: &AnyBus) -> Position {
        let answer = bus.receive(None, Duration::MAX).await;
        let batch = self.done("receive", answer);
        let plain = batch.messages.is_empty() && !batch.gap;
        self.require(plain, || format!("receive without a position gave {}", told(&batch)));
        batch.position
    }

    async fn receive(&self, bus: &AnyBus, after: &Position) -> Batch {
        let answer = bus.receive(Some(after), Duration::MAX).await;
        self.done("receive", answer)
    }

    /// Receives while time passes.
    async fn receive_or_silence(&self, bus: &AnyBus, after: &Position) -> Batch {
        let mut receive = pin!(self.receive(bus, after));
        let mut pause = (self.options.advance)(STEP);
        poll_fn(|context| {
            if let Poll::Ready(batch) = receive.as_mut().poll(context) {
                return Poll::Ready(batch);
            }
            if pause.as_mut().poll(context).is_ready() {
                pause = (self.options.advance)(STEP);
                context.waker().wake_by_ref();
            }
            Poll::Pending
        })
        .await
    }

    /// Receives exactly these messages behind `after`, and nothing else. Returns where they end.
    async fn hears(&self, bus: &AnyBus, after: &Position, expected: &[Bytes], when: &str) -> Position {
        let mut at = after.clone();
        let mut left = expected;
        while !left.is_empty() {
            let batch = self.receive_or_silence(bus, &at).await;
            let as_expected = !batch.messages.is_empty() && left.starts_with(&batch.messages) && !batch.gap;
            self.require(as_expected, || {
                let heard = expected.len() - left.len();
                format!("after {heard} of {} messages, receive {when} gave {}", expected.len(), told(&batch))
            });
            left = &left[batch.messages.len()..];
            at = batch.position;
        }
        at
    }
}

/// A batch as a message shows it.
fn told(batch: &Batch) -> String {
    let first = shown(batch.messages.first().map(|message| &message[..]));
    format!("{} messages, first {first}, gap: {}", batch.messages.len(), batch.gap)
}

fn messages<const N: usize>(texts: [&'static str; N]) -> [Bytes; N] {
    texts.map(Bytes::from)
}
