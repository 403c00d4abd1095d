//! The faults of `Chaos`, as its buses meet them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cachekit::backends::Memory;
use cachekit::testing::{Chaos, ChaosControl, Fault, ManualClock};
use cachekit::{AnyBus, Backend, Batch, Bus, ErrorKind, Key, Operation, Position};

use harness::support::poll_once;

/// The bus of a chaos, its control, and the bus inside it.
fn bus(clock: &ManualClock) -> (AnyBus, ChaosControl, AnyBus) {
    let memory = Memory::with_clock(1 << 20, Arc::new(clock.clone()));
    let chaos = Chaos::with_clock(memory.clone(), Arc::new(clock.clone()));
    let name = Key::new("chaos", "bus").unwrap();
    (chaos.bus(&name).unwrap(), chaos.control(), memory.bus(&name).unwrap())
}

async fn heard(bus: &AnyBus, after: &Position) -> Vec<Bytes> {
    bus.receive(Some(after), Duration::MAX).await.unwrap().messages
}

async fn now(bus: &AnyBus) -> Position {
    bus.receive(None, Duration::MAX).await.unwrap().position
}

#[tokio::test]
async fn refused_and_failed_messages_are_counted() {
    let (bus, control, inner) = bus(&ManualClock::new());
    let start = now(&inner).await;
    control.inject_all(Fault::Refuse);
    assert_eq!(bus.publish("refused".into()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(bus.receive(None, Duration::MAX).await.unwrap_err().kind(), ErrorKind::Unavailable);
    control.heal();
    control.inject_all(Fault::FailAfter);
    assert_eq!(bus.publish("arrived".into()).await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(bus.receive(Some(&start), Duration::MAX).await.unwrap_err().kind(), ErrorKind::Timeout);
    control.heal();
    bus.publish("plain".into()).await.unwrap();
    assert_eq!(heard(&bus, &start).await, ["arrived", "plain"]);
    assert_eq!((control.count(Operation::Publish), control.count(Operation::Receive)), (3, 3));
    assert_eq!((control.count(Operation::Get), control.count(Operation::Set)), (0, 0));
}

#[tokio::test]
async fn faults_of_entries_do_not_affect_the_bus_nor_the_reverse() {
    let (bus, control, _) = bus(&ManualClock::new());
    let start = now(&bus).await;
    for operation in [Operation::Get, Operation::Set, Operation::Remove, Operation::Lease, Operation::Ping] {
        control.inject(operation, Fault::Refuse);
    }
    control.inject(Operation::Receive, Fault::Refuse);
    bus.publish("v".into()).await.unwrap();
    assert_eq!(bus.receive(Some(&start), Duration::MAX).await.unwrap_err().kind(), ErrorKind::Unavailable);
    control.inject(Operation::Publish, Fault::Refuse);
    control.inject_next(0, Operation::Receive, Fault::Refuse);
    assert_eq!(bus.publish("w".into()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(heard(&bus, &start).await, ["v"]);
}

#[tokio::test]
async fn lost_messages_are_never_heard_and_lost_batches_lose_no_place() {
    let (bus, control, inner) = bus(&ManualClock::new());
    let start = now(&bus).await;
    control.inject(Operation::Publish, Fault::Lose);
    bus.publish("lost".into()).await.unwrap();
    control.heal();
    inner.publish("kept".into()).await.unwrap();
    control.inject(Operation::Receive, Fault::Lose);
    let nothing = Batch { messages: Vec::new(), position: start.clone(), gap: false };
    assert_eq!(bus.receive(Some(&start), Duration::MAX).await.unwrap(), nothing);
    assert_eq!(now(&bus).await, now(&inner).await, "where it is, it is told all the same");
    control.heal();
    assert_eq!(heard(&bus, &start).await, ["kept"]);
}

#[tokio::test]
async fn hanging_slow_and_gated_messages_wait() {
    let clock = ManualClock::new();
    let (bus, control, inner) = bus(&clock);
    let start = now(&inner).await;
    control.inject_next(1, Operation::Publish, Fault::Hang);
    let mut hanging = Box::pin(bus.publish("hung".into()));
    assert!(poll_once(&mut hanging).is_pending());
    control.inject_next(1, Operation::Publish, Fault::Slow(Duration::from_secs(3)));
    let mut slow = Box::pin(bus.publish("slow".into()));
    assert!(poll_once(&mut slow).is_pending());
    let gate = control.gate(Operation::Receive);
    let mut gated = Box::pin(bus.receive(Some(&start), Duration::MAX));
    assert!(poll_once(&mut gated).is_pending());
    assert_eq!((control.hanging().waiting(), clock.sleepers(), gate.waiting()), (1, 1, 1));
    clock.advance(Duration::from_secs(3));
    slow.await.unwrap();
    assert_eq!(heard(&inner, &start).await, ["slow"]);
    control.heal();
    hanging.await.unwrap();
    assert_eq!(gated.await.unwrap().messages, ["slow", "hung"]);
}

#[tokio::test]
async fn messages_are_cut_and_flipped_like_values() {
    let (bus, control, inner) = bus(&ManualClock::new());
    let start = now(&bus).await;
    control.inject_next(1, Operation::Publish, Fault::Truncate(2));
    bus.publish("cut".into()).await.unwrap();
    bus.publish("b".into()).await.unwrap();
    control.inject_next(1, Operation::Receive, Fault::Flip(0));
    assert_eq!(heard(&bus, &start).await, ["bu", "c"]);
    assert_eq!(heard(&inner, &start).await, ["cu", "b"]);
}

#[tokio::test]
async fn a_wrong_key_changes_no_message() {
    let (bus, control, _) = bus(&ManualClock::new());
    let start = now(&bus).await;
    control.inject_all(Fault::WrongKey(Key::new("chaos", "other").unwrap()));
    bus.publish("v".into()).await.unwrap();
    assert_eq!(heard(&bus, &start).await, ["v"]);
}
