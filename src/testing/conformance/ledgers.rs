//! Ledgers: what an order to forget leaves behind.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;

use super::concurrency::dropped_after;
use super::{Case, Suite};
use crate::backends::Backend;
use crate::key::{Key, Namespace};
use crate::ledger::{Change, Forgotten, Head, MAX_TAGS, Order, Record, Stamp, record_of};

pub(super) async fn check<F, M, B>(suite: &mut Suite<F>)
where
    F: Fn() -> M + Send + Sync,
    M: Future<Output = B> + Send,
    B: Backend,
{
    suite.case("`part` names the part of a key and of each ledger, below the number of parts.", parts).await;
    suite.case("`forget` makes a ledger where there is none, and keeps one that there is.", made_once).await;
    suite.case("The answer to an order is the head that readers find.", answered).await;
    suite.case("What an order forgets stays forgotten, and what begins after it is not.", forgotten).await;
    suite.case("A ledger that was lost is made anew with another lineage.", lost).await;
    suite.case("A ledger that is not believed any more is made anew, once.", replaced).await;
    suite.case("A dropped order leaves the ledger usable.", dropped).await;
    if !(suite.make)().await.capabilities().leases {
        return;
    }
    suite.case("An order forgets nothing but what it is about.", nothing_else).await;
    suite.case("A tag for which a record has no room left stays forgotten.", no_room).await;
    suite.case("What a record knew that was lost counts as forgotten.", lost_record).await;
}

/// A tag that is noted in this record.
pub(super) const fn tag(record: u64, number: u64) -> u64 {
    record << 52 | number
}

pub(super) fn tags(numbers: impl IntoIterator<Item = u64>) -> Change {
    Change::Tags(numbers.into_iter().collect())
}

/// The ledger of a namespace of its own, in one part of the backend.
pub(super) struct Ledger<'a, B> {
    pub(super) case: &'a Case<B>,
    root: Key,
    part: u16,
}

impl<'a, B: Backend> Ledger<'a, B> {
    pub(super) fn new(case: &'a Case<B>, root: &str) -> Self {
        let space = Namespace::new(&format!("{}-{root}", case.space)).expect("the suite's names are not empty");
        Self { case, root: space.root(), part: 0 }
    }

    pub(super) fn order(&self, change: Change) -> Order {
        Order::new(&self.root, self.part, change)
    }

    /// Gives an order. The head that is the answer, and whether the answer says that others were told.
    pub(super) async fn carry_out(&self, order: &Order) -> (Head, bool) {
        let answer = self.case.backend.forget(order).await;
        let forgotten = self.case.done("forget", answer);
        let Forgotten { head: Some(head), announced } = forgotten else {
            panic!("{}", self.case.complaint("forget said that the part is away"));
        };
        (head, announced)
    }

    pub(super) async fn forget(&self, change: Change) -> Head {
        self.carry_out(&self.order(change)).await.0
    }

    /// The moment of now.
    pub(super) async fn now(&self) -> Stamp {
        self.forget(Change::Nothing).await.now
    }

    /// The moment of now, once what a dropped order left has ended. In real time an order itself waits for that.
    async fn usable(&self) -> Stamp {
        for _ in 0..ATTEMPTS {
            let answer = self.case.backend.forget(&self.order(tags([A, B]))).await;
            match answer {
                Err(error) if error.is_temporary() => self.case.advance(HELD).await,
                answer => return self.case.done("forget", answer).head.map(|head| head.now).unwrap_or_default(),
            }
        }
        self.now().await
    }

    fn head_key(&self) -> Key {
        Order::head_key(&self.root, self.part)
    }

    fn record_key(&self, tag: u64) -> Key {
        Order::record_key(&self.root, self.part, record_of(tag))
    }

    pub(super) async fn head(&self) -> Option<Head> {
        Head::read(&self.case.get(&self.head_key()).await?)
    }

    /// Whether what has this tag, and began at this moment, is forgotten by the head, which was read before.
    pub(super) async fn forgets_by(&self, head: &Head, begun: Stamp, tag: u64) -> bool {
        if head.now.lineage != begun.lineage || head.forgot_all > begun.time {
            return true;
        }
        let record = self.case.get(&self.record_key(tag)).await;
        let record = record.and_then(|bytes: Bytes| Record::read(&bytes, begun.lineage));
        let lost = if head.has(record_of(tag)) { head.now.time } else { 0 };
        record.map_or(lost, |record| record.forgotten_at(tag)) > begun.time
    }

    /// Fails the check unless readers take what has this tag, and began at this moment, for forgotten, or for not.
    pub(super) async fn requires(&self, expected: bool, begun: Stamp, tag: u64, when: &str) {
        let head = self.head().await;
        let forgets = match &head {
            Some(head) => self.forgets_by(head, begun, tag).await,
            None => true,
        };
        self.case.require(forgets == expected, || {
            let what = if expected { "is not forgotten" } else { "is forgotten" };
            format!("what began at the time {} of the ledger {what} {when}", begun.time)
        });
    }
}

const A: u64 = tag(1, 1);
const NEIGHBOUR: u64 = tag(1, 2);
const B: u64 = tag(4_095, 3);

async fn parts<B: Backend>(case: Case<B>) {
    let parts = case.backend.capabilities().parts;
    case.require(parts > 0, || "there is none".into());
    for number in 0..100 {
        let part = case.backend.part(&case.key(number));
        case.require(part < parts, || format!("part answered {part} of {parts}"));
    }
    let mut heads = Vec::new();
    for number in 0..parts {
        let ledger = Ledger { part: number, ..Ledger::new(&case, "ledger") };
        for key in [ledger.head_key(), ledger.record_key(A)] {
            let part = case.backend.part(&key);
            case.require(part == number, || format!("a key of the ledger of part {number} is in part {part}"));
        }
        heads.push(ledger.forget(Change::Everything).await);
    }
    for (head, number) in heads.iter().zip(0..) {
        let ledger = Ledger { part: number, ..Ledger::new(&case, "ledger") };
        let found = ledger.head().await;
        case.require(found.as_ref() == Some(head), || format!("an order to another part changed part {number}"));
    }
}

async fn made_once<B: Backend>(case: Case<B>) {
    let ledger = Ledger::new(&case, "ledger");
    case.lacks(&ledger.head_key(), "before the first order").await;
    let made = ledger.forget(Change::Nothing).await;
    let again = ledger.forget(Change::Nothing).await;
    case.require(again == made, || "the second order to forget nothing changed the head".into());
    let other = Ledger::new(&case, "other").forget(Change::Nothing).await;
    case.require(other.now.lineage != made.now.lineage, || "two ledgers have one lineage".into());
}

async fn answered<B: Backend>(case: Case<B>) {
    let ledger = Ledger::new(&case, "ledger");
    for change in [Change::Nothing, tags([A]), Change::Everything, Change::Expiry { at: 7 }, tags([A, B])] {
        let head = ledger.forget(change).await;
        case.holds(&ledger.head_key(), &head.to_bytes(), "of the head after an order").await;
    }
}

async fn forgotten<B: Backend>(case: Case<B>) {
    let ledger = Ledger::new(&case, "ledger");
    let begun = ledger.now().await;
    let tagged = ledger.forget(tags([A, B])).await.now;
    for tag in [A, B] {
        ledger.requires(true, begun, tag, "after an order about its tag").await;
        ledger.requires(false, tagged, tag, "by an order of before").await;
    }
    let all = ledger.forget(Change::Everything).await.now;
    ledger.requires(true, tagged, NEIGHBOUR, "after an order about everything").await;
    ledger.requires(false, all, A, "by an order of before").await;
    let expired = ledger.forget(Change::Expiry { at: 7 }).await;
    let kept = expired.now.lineage != all.lineage || expired.expired_all == (expired.now.time, 7);
    case.require(kept, || "the head does not say that everything expired".into());
    let again = ledger.forget(tags([A])).await.now;
    ledger.requires(true, expired.now, A, "after a second order about its tag").await;
    ledger.requires(false, again, A, "by an order of before").await;
    for begun in [begun, tagged] {
        ledger.requires(true, begun, A, "after orders about other things").await;
    }
    let times = [begun, tagged, all, expired.now, again];
    let rise = times.windows(2).all(|pair| pair[0].lineage != pair[1].lineage || pair[0].time < pair[1].time);
    case.require(rise, || format!("the times of five orders are {:?}", times.map(|stamp| stamp.time)));
}

async fn lost<B: Backend>(case: Case<B>) {
    let ledger = Ledger::new(&case, "ledger");
    let mut lineages = vec![ledger.forget(tags([A])).await.now.lineage];
    for change in [Change::Nothing, tags([B]), Change::Everything] {
        case.remove(&ledger.head_key()).await;
        let lineage = ledger.forget(change).await.now.lineage;
        case.require(!lineages.contains(&lineage), || "the ledger of before came back".into());
        lineages.push(lineage);
    }
}

async fn replaced<B: Backend>(case: Case<B>) {
    let ledger = Ledger::new(&case, "ledger");
    let doubted = ledger.forget(Change::Everything).await.now.lineage;
    let order = Order { replaces: Some(doubted), ..ledger.order(Change::Nothing) };
    let made = ledger.carry_out(&order).await.0;
    case.require(made.now.lineage != doubted, || "the ledger that was not believed is still there".into());
    let again = Order { replaces: Some(doubted), ..ledger.order(Change::Nothing) };
    let again = ledger.carry_out(&again).await.0;
    case.require(again == made, || "the second order made it anew once more".into());
}

/// How many polls an order gets before it is dropped, at most.
const POLLS: usize = 16;
/// Longer than an order that is carried out by leases has one.
const HELD: Duration = Duration::from_secs(4);
/// How often an order is given again after one that was dropped.
const ATTEMPTS: usize = 3;

async fn dropped<B: Backend>(case: Case<B>) {
    let ledger = Ledger::new(&case, "ledger");
    for polls in 0..POLLS {
        let ended = dropped_after(polls, case.backend.forget(&ledger.order(tags([A])))).await;
        let begun = ledger.usable().await;
        ledger.forget(tags([A, B])).await;
        for tag in [A, B] {
            ledger.requires(true, begun, tag, "after an order that followed one that was dropped").await;
        }
        if ended.is_some() {
            return;
        }
    }
}

async fn nothing_else<B: Backend>(case: Case<B>) {
    let (ledger, other) = (Ledger::new(&case, "ledger"), Ledger::new(&case, "other"));
    let elsewhere = other.forget(Change::Everything).await;
    let begun = ledger.forget(tags([A])).await.now;
    ledger.forget(tags([B])).await;
    ledger.requires(false, begun, A, "after an order about another tag").await;
    ledger.requires(false, begun, NEIGHBOUR, "after an order about another tag").await;
    ledger.forget(tags([NEIGHBOUR])).await;
    ledger.requires(false, begun, A, "after an order about another tag of its record").await;
    let begun = ledger.forget(Change::Everything).await.now;
    ledger.requires(false, begun, A, "by an order about everything before it").await;
    case.require(other.head().await.as_ref() == Some(&elsewhere), || "another ledger was changed".into());
}

async fn no_room<B: Backend>(case: Case<B>) {
    let ledger = Ledger::new(&case, "ledger");
    let begun = ledger.now().await;
    let all: Vec<u64> = (0..4 * MAX_TAGS as u64).map(|number| tag(2, number)).collect();
    for some in all.chunks(MAX_TAGS) {
        ledger.forget(tags(some.iter().copied())).await;
    }
    let length = case.get(&ledger.record_key(all[0])).await.map_or(0, |bytes| bytes.len());
    case.require(length <= 4_115, || format!("a record has {length} bytes"));
    ledger.forget(tags([all[1]])).await;
    for tag in [all[0], all[1], all[MAX_TAGS], all[all.len() - 1]] {
        ledger.requires(true, begun, tag, "after orders about more tags than a record names").await;
    }
}

async fn lost_record<B: Backend>(case: Case<B>) {
    let ledger = Ledger::new(&case, "ledger");
    let begun = ledger.now().await;
    ledger.forget(tags([A])).await;
    case.remove(&ledger.record_key(A)).await;
    ledger.requires(true, begun, A, "once its record is lost").await;
    ledger.forget(tags([NEIGHBOUR])).await;
    ledger.requires(true, begun, A, "once its record was lost and made anew").await;
}
