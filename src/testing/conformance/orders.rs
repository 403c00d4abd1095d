//! Orders to forget: many at once, and what others hear of them.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::{JoinSet, yield_now};

use super::concurrency::all;
use super::ledgers::{Ledger, tag, tags};
use super::{Case, Suite, shown};
use crate::backends::Backend;
use crate::bus::{AnyBus, Bus, Position};
use crate::ledger::{Announcement, Change, Order};

pub(super) async fn check<F, M, B>(suite: &mut Suite<F>)
where
    F: Fn() -> M + Send + Sync,
    M: Future<Output = B> + Send,
    B: Backend,
{
    let can = (suite.make)().await.capabilities();
    if can.leases {
        suite.case("Of many orders at once, each counts.", each_counts).await;
        suite.case("Who finds the time of an order finds what it forgot.", records_first).await;
    }
    if can.announces {
        suite.case("An order that is announced is told by the bus in the same step.", told).await;
        suite.case("The bus tells of orders in the order of their times, which have no gaps.", told_in_order).await;
    } else {
        suite.case("A backend that does not announce tells of no order.", not_told).await;
    }
}

const GIVERS: u64 = 4;
const ORDERS: u64 = 4;

/// Gives `ORDERS` orders in each of `GIVERS` tasks, each about a tag of its own in one record.
async fn give_at_once<B: Backend>(case: &Case<B>, announcement: Option<&Announcement>) {
    let mut givers = JoinSet::new();
    for giver in 0..GIVERS {
        let (case, announcement) = (case.clone(), announcement.cloned());
        givers.spawn(async move {
            let ledger = Ledger::new(&case, "ledger");
            for number in 0..ORDERS {
                let order = ledger.order(tags([tag(3, giver * ORDERS + number)]));
                ledger.carry_out(&Order { announcement: announcement.clone(), ..order }).await;
                yield_now().await;
            }
        });
    }
    all(givers).await;
}

async fn each_counts<B: Backend>(case: Case<B>) {
    let ledger = Ledger::new(&case, "ledger");
    let begun = ledger.now().await;
    give_at_once(&case, None).await;
    for number in 0..GIVERS * ORDERS {
        ledger.requires(true, begun, tag(3, number), "after an order among many").await;
    }
}

const IN_TURN: usize = 40;

async fn records_first<B: Backend>(case: Case<B>) {
    let (begun, done) = (Ledger::new(&case, "ledger").now().await, Arc::new(AtomicUsize::new(0)));
    let mut tasks = JoinSet::new();
    tasks.spawn({
        let (case, done) = (case.clone(), Arc::clone(&done));
        async move {
            let ledger = Ledger::new(&case, "ledger");
            for number in 0..IN_TURN {
                ledger.forget(tags([tag(3, number as u64)])).await;
                done.fetch_add(1, SeqCst);
                yield_now().await;
            }
        }
    });
    tasks.spawn(async move {
        let ledger = Ledger::new(&case, "ledger");
        while done.load(SeqCst) < IN_TURN {
            let Some(head) = ledger.head().await else { panic!("{}", case.complaint("the head is gone")) };
            // There is one giver, and each order takes the next time.
            if let Some(last) = head.now.time.saturating_sub(begun.time).checked_sub(1) {
                let forgets = ledger.forgets_by(&head, begun, tag(3, last)).await;
                case.require(forgets, || "a head had the time of an order before the record had its tag".into());
            }
            yield_now().await;
        }
    });
    all(tasks).await;
}

/// The bus beside a ledger, where it is before any order, and how an order is announced there.
async fn bus<B: Backend>(case: &Case<B>) -> Option<(AnyBus, Position, Announcement)> {
    let name = case.key("bus");
    let bus = case.backend.bus(&name)?;
    let start = case.done("receive", bus.receive(None, Duration::ZERO).await).position;
    Some((bus, start, Announcement { bus: name, message: "told: ".into() }))
}

/// What the bus has told since `start`, at least so many messages.
async fn heard<B: Backend>(case: &Case<B>, bus: &AnyBus, start: &Position, count: usize) -> Vec<Bytes> {
    let (mut position, mut heard) = (start.clone(), Vec::new());
    loop {
        let batch = case.done("receive", bus.receive(Some(&position), Duration::ZERO).await);
        position = batch.position;
        let is_over = batch.messages.is_empty();
        heard.extend(batch.messages);
        if is_over || heard.len() >= count {
            return heard;
        }
    }
}

async fn told<B: Backend>(case: Case<B>) {
    let Some((bus, start, announcement)) = bus(&case).await else {
        panic!("{}", case.complaint("it has no bus"));
    };
    let ledger = Ledger::new(&case, "ledger");
    let (_, announced) = ledger.carry_out(&ledger.order(tags([1]))).await;
    case.require(!announced, || "an order without announcement was announced".into());
    for change in [tags([1]), Change::Everything, Change::Expiry { at: 7 }] {
        let order = Order { announcement: Some(announcement.clone()), ..ledger.order(change) };
        let (head, announced) = ledger.carry_out(&order).await;
        case.require(announced, || "the answer does not say that it was told".into());
        let expected = [&b"told: "[..], &head.now.to_bytes()].concat();
        let heard = heard(&case, &bus, &start, usize::MAX).await;
        let last = heard.last().map(|message| &message[..]);
        case.require(last == Some(&expected), || {
            format!("the bus says {}, not {}", shown(last), shown(Some(&expected)))
        });
    }
    let heard = heard(&case, &bus, &start, usize::MAX).await.len();
    case.require(heard == 3, || format!("three orders are {heard} messages"));
}

async fn told_in_order<B: Backend>(case: Case<B>) {
    let Some((bus, start, announcement)) = bus(&case).await else {
        panic!("{}", case.complaint("it has no bus"));
    };
    let begun = Ledger::new(&case, "ledger").now().await.time;
    give_at_once(&case, Some(&announcement)).await;
    let count = (GIVERS * ORDERS) as usize;
    let heard = heard(&case, &bus, &start, count).await;
    let time = |message: &Bytes| message.last_chunk().map_or(0, |time| u64::from_be_bytes(*time));
    let times: Vec<u64> = heard.iter().map(time).collect();
    let expected: Vec<u64> = (begun + 1..).take(count).collect();
    case.require(times == expected, || format!("it tells of the times {times:?}"));
}

async fn not_told<B: Backend>(case: Case<B>) {
    let (ledger, bus) = (Ledger::new(&case, "ledger"), bus(&case).await);
    let announcement = match &bus {
        Some((.., announcement)) => announcement.clone(),
        None => Announcement { bus: case.key("bus"), message: "told: ".into() },
    };
    let order = Order { announcement: Some(announcement), ..ledger.order(tags([1])) };
    let (_, announced) = ledger.carry_out(&order).await;
    case.require(!announced, || "the answer says that it was told".into());
    if let Some((bus, start, _)) = bus {
        let heard = heard(&case, &bus, &start, 1).await;
        case.require(heard.is_empty(), || format!("the bus says {}", shown(Some(&heard[0]))));
    }
}
