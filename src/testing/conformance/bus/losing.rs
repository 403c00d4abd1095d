//! Nothing is lost unnoticed.

use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::{JoinSet, yield_now};

use super::{BusSuite, Case, messages, told};
use crate::bus::Bus;
use crate::key::Key;
use crate::testing::conformance::concurrency::{all, dropped_after};

pub(super) async fn check<F, M>(suite: &mut BusSuite<F>)
where
    F: Fn(Key) -> M + Send + Sync,
    M: Future<Output: Bus> + Send,
{
    suite.case("A dropped `receive` loses nothing.", dropped_receive).await;
    suite.case("A dropped `publish` leaves the bus usable.", dropped_publish).await;
    suite.case("No message is forgotten silently.", flood).await;
}

/// How many polls an operation gets before it is dropped, at most.
const POLLS: usize = 16;

async fn dropped_receive(case: Case) {
    let start = case.now(&case.one).await;
    for polls in 0..POLLS {
        // One that waits, then one that has something to give.
        let at = case.now(&case.one).await;
        dropped_while_waiting(polls, case.one.receive(Some(&at), Duration::MAX)).await;
        let text = Bytes::from(format!("message {polls}"));
        case.publish(&case.two, text.clone()).await;
        dropped_after(polls, case.one.receive(Some(&at), Duration::MAX)).await;
        case.hears(&case.one, &at, &[text], &format!("after one was dropped at poll {polls}")).await;
    }
    let texts: Vec<_> = (0..POLLS).map(|polls| Bytes::from(format!("message {polls}"))).collect();
    case.hears(&case.one, &start, &texts, "of all messages").await;
}

/// Polls `future` up to `polls` times, whether or not there is news for it, and drops it.
async fn dropped_while_waiting<T>(polls: usize, future: impl Future<Output = T> + Send) {
    let mut future = pin!(future);
    for _ in 0..polls {
        if poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await {
            return;
        }
        yield_now().await;
    }
}

async fn dropped_publish(case: Case) {
    let mut at = case.now(&case.one).await;
    let (mut tried, mut heard) = (BTreeSet::new(), BTreeSet::new());
    for polls in 0..POLLS {
        let text = Bytes::from(format!("dropped at poll {polls}"));
        let done = dropped_after(polls, case.one.publish(text.clone())).await;
        tried.insert(text.clone());
        let next = Bytes::from(format!("next after poll {polls}"));
        case.publish(&case.one, next.clone()).await;
        while !heard.contains(&next) {
            let batch = case.receive_or_silence(&case.two, &at).await;
            let some = !batch.messages.is_empty() && !batch.gap;
            case.require(some, || format!("after {} messages, receive gave {}", heard.len(), told(&batch)));
            for message in batch.messages {
                let known = message == next || tried.contains(&message);
                let first = known && heard.insert(message);
                case.require(first, || format!("a publish dropped at poll {polls} left half a message, or two"));
            }
            at = batch.position;
        }
        if let Some(answer) = done {
            case.done("publish", answer);
            case.require(heard.contains(&text), || "what was published is not there".into());
            return;
        }
    }
}

/// How many messages are more than a bus need keep.
const FLOOD: usize = 12_000;

async fn flood(case: Case) {
    let mut at = case.now(&case.one).await;
    let mut tasks = JoinSet::new();
    for publisher in 0..16 {
        let case = case.clone();
        tasks.spawn(async move {
            for number in (publisher..FLOOD).step_by(16) {
                case.publish(&case.two, number.to_string()).await;
            }
        });
    }
    all(tasks).await;
    case.publish(&case.two, "end").await;
    let (mut heard, mut count, mut gap, mut ended) = (BTreeSet::new(), 0, false, false);
    while !ended {
        let batch = case.receive_or_silence(&case.one, &at).await;
        gap |= batch.gap;
        case.require(!batch.messages.is_empty() || batch.gap, || {
            format!("receive gave nothing after {count} messages")
        });
        ended = batch.messages.last().is_some_and(|last| last == "end");
        count += batch.messages.len();
        heard.extend(batch.messages);
        at = batch.position;
    }
    case.require(heard.len() == count, || "a message came twice".into());
    case.require(gap || count == FLOOD + 1, || format!("{count} of {} messages came, without a gap", FLOOD + 1));
    case.publish(&case.one, "next").await;
    case.hears(&case.one, &at, &messages(["next"]), "behind the flood").await;
}
