//! Everybody hears everything, in one order.

use std::future::Future;

use bytes::Bytes;
use tokio::task::{JoinSet, yield_now};

use super::{BusSuite, Case, messages, told};
use crate::bus::Bus;
use crate::key::Key;
use crate::testing::conformance::concurrency::all;

pub(super) async fn check<F, M>(suite: &mut BusSuite<F>)
where
    F: Fn(Key) -> M + Send + Sync,
    M: Future<Output: Bus> + Send,
{
    let sentence = "Without a position `receive` answers at once, with no messages and the position of now.";
    suite.case(sentence, position_of_now).await;
    suite.case("A `receive` that waits gets what is published meanwhile.", meanwhile).await;
    suite.case("If nothing comes, `receive` answers with an empty batch in a time of its own.", silence).await;
    suite.case("What was published behind a position is received, in order.", in_order).await;
    suite.case("Every subscriber receives every message, its own included.", everybody).await;
    suite.case("All subscribers see one order.", one_order).await;
    suite.case("Messages of up to 1,024 bytes of any kind pass unchanged.", unchanged).await;
    suite.case("Those who use other names are not heard.", other_names).await;
}

async fn position_of_now(case: Case) {
    case.now(&case.one).await;
    case.publish(&case.one, "before").await;
    let [one, two] = [case.now(&case.one).await, case.now(&case.two).await];
    case.publish(&case.one, "behind").await;
    let behind = messages(["behind"]);
    case.hears(&case.one, &one, &behind, "behind the position of now").await;
    case.hears(&case.two, &two, &behind, "behind the position of now").await;
    case.hears(&case.two, &one, &behind, "behind the position another subscriber got").await;
}

async fn meanwhile(case: Case) {
    let at = case.now(&case.one).await;
    let waiting = {
        let (case, at) = (case.clone(), at.clone());
        async move {
            let mut at = at;
            loop {
                // No time is made pass here: news end the wait.
                let batch = case.receive(&case.one, &at).await;
                if !batch.messages.is_empty() || batch.gap {
                    return batch;
                }
                at = batch.position;
            }
        }
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(waiting);
    for _ in 0..20 {
        yield_now().await;
    }
    case.publish(&case.two, "news").await;
    for batch in all(tasks).await {
        let heard = batch.messages == messages(["news"]) && !batch.gap;
        case.require(heard, || format!("the receive that waited gave {}", told(&batch)));
    }
}

async fn silence(case: Case) {
    case.publish(&case.one, "before").await;
    let mut at = case.now(&case.one).await;
    for _ in 0..2 {
        let batch = case.receive_or_silence(&case.one, &at).await;
        case.require(batch.messages.is_empty() && !batch.gap, || format!("receive gave {}", told(&batch)));
        at = batch.position;
    }
    case.publish(&case.two, "behind").await;
    case.hears(&case.one, &at, &messages(["behind"]), "behind the position of an empty batch").await;
}

async fn in_order(case: Case) {
    let start = case.now(&case.one).await;
    let texts = messages(["1st", "2nd", "3rd", "4th", "5th", "6th"]);
    for text in &texts[..3] {
        case.publish(&case.one, text.clone()).await;
    }
    let middle = case.hears(&case.one, &start, &texts[..3], "of three messages").await;
    for text in &texts[3..] {
        case.publish(&case.one, text.clone()).await;
    }
    case.hears(&case.one, &middle, &texts[3..], "of the next three messages").await;
    case.hears(&case.one, &start, &texts, "from an earlier position once more").await;
}

async fn everybody(case: Case) {
    let [one, two] = [case.now(&case.one).await, case.now(&case.two).await];
    let texts = messages(["1st", "2nd", "3rd", "4th"]);
    for pair in texts.chunks(2) {
        case.publish(&case.one, pair[0].clone()).await;
        case.publish(&case.two, pair[1].clone()).await;
    }
    case.hears(&case.one, &one, &texts, "of the first subscriber").await;
    case.hears(&case.two, &two, &texts, "of the second subscriber").await;
}

const PUBLISHERS: usize = 4;
const EACH: usize = 25;

async fn one_order(case: Case) {
    let start = case.now(&case.one).await;
    let mut tasks = JoinSet::new();
    for publisher in 0..PUBLISHERS {
        let case = case.clone();
        tasks.spawn(async move {
            for number in 0..EACH {
                let bus = if publisher % 2 == 0 { &case.one } else { &case.two };
                case.publish(bus, format!("{publisher} {number:02}")).await;
                yield_now().await;
            }
        });
    }
    all(tasks).await;
    let mut heard = Vec::new();
    let mut at = start.clone();
    while heard.len() < PUBLISHERS * EACH {
        let batch = case.receive_or_silence(&case.one, &at).await;
        let some = !batch.messages.is_empty() && !batch.gap;
        case.require(some, || format!("after {} messages, receive gave {}", heard.len(), told(&batch)));
        heard.extend(batch.messages);
        at = batch.position;
    }
    for publisher in 0..PUBLISHERS {
        let prefix = format!("{publisher} ");
        let its: Vec<_> = heard.iter().filter(|message| message.starts_with(prefix.as_bytes())).collect();
        let ordered = its.len() == EACH && its.is_sorted();
        case.require(ordered, || "the messages of one publisher came in another order".into());
    }
    case.hears(&case.two, &start, &heard, "of another subscriber").await;
}

async fn unchanged(case: Case) {
    let start = case.now(&case.one).await;
    let every_byte: Vec<u8> = (0..=255).collect();
    let longest: Vec<u8> = (0..1_024).map(|i| (i * 7 % 251) as u8).collect();
    let texts = [&b""[..], b"\0", b"\r\n", b"a\0b", b"\xFF\xFE", &every_byte, &longest, &[0xC1; 1_024]];
    let texts = texts.map(Bytes::copy_from_slice);
    for text in &texts {
        case.publish(&case.one, text.clone()).await;
    }
    case.hears(&case.two, &start, &texts, "of messages of any kind").await;
}

async fn other_names(case: Case) {
    let [one, other] = [case.now(&case.one).await, case.now(&case.other).await];
    case.publish(&case.other, "elsewhere").await;
    case.publish(&case.one, "here").await;
    case.hears(&case.one, &one, &messages(["here"]), "of one name").await;
    case.hears(&case.other, &other, &messages(["elsewhere"]), "of another name").await;
}
