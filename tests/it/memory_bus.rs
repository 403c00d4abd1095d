//! The bus of a `Memory`: what it keeps, and what it says of what it does not.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cachekit::backends::Memory;
use cachekit::testing::ManualClock;
use cachekit::{AnyBus, Backend, Batch, Bus, ErrorKind, Key, Position};

use harness::support::poll_once;

fn memory() -> (Memory, ManualClock) {
    let clock = ManualClock::new();
    (Memory::with_clock(1 << 20, Arc::new(clock.clone())), clock)
}

fn bus(memory: &Memory, name: impl cachekit::IntoKey) -> AnyBus {
    memory.bus(&Key::new("bus", name).unwrap()).unwrap()
}

async fn publish(bus: &AnyBus, numbers: std::ops::Range<usize>) {
    for number in numbers {
        bus.publish(number.to_string().into()).await.unwrap();
    }
}

fn texts(numbers: std::ops::Range<usize>) -> Vec<Bytes> {
    numbers.map(|number| number.to_string().into()).collect()
}

async fn now(bus: &AnyBus) -> Position {
    bus.receive(None, Duration::MAX).await.unwrap().position
}

#[tokio::test]
async fn clones_share_their_buses_and_other_memories_do_not() {
    let (one, _) = memory();
    let (elsewhere, _) = memory();
    let [here, there, strange] = [bus(&one, "x"), bus(&one.clone(), "x"), bus(&elsewhere, "x")];
    let (start, other) = (now(&here).await, now(&strange).await);
    there.publish("news".into()).await.unwrap();
    assert_eq!(here.receive(Some(&start), Duration::MAX).await.unwrap().messages, ["news"]);
    let mut waiting = Box::pin(strange.receive(Some(&other), Duration::MAX));
    assert!(poll_once(&mut waiting).is_pending());
}

#[tokio::test]
async fn bus_keeps_the_last_10_000_messages_and_reports_lost_ones() {
    let (memory, _) = memory();
    let bus = bus(&memory, "x");
    let start = now(&bus).await;
    publish(&bus, 0..10_000).await;
    let first = bus.receive(Some(&start), Duration::MAX).await.unwrap();
    assert_eq!((first.messages, first.gap), (texts(0..1_000), false), "a batch has at most 1,000");
    publish(&bus, 10_000..10_001).await;
    let trimmed = bus.receive(Some(&start), Duration::MAX).await.unwrap();
    assert_eq!((trimmed.messages, trimmed.gap), (texts(1..1_001), true), "what is left, and that something is not");
    let on = bus.receive(Some(&trimmed.position), Duration::MAX).await.unwrap();
    assert_eq!((on.messages, on.gap), (texts(1_001..2_001), false));
    publish(&bus, 10_001..12_001).await;
    let edge = bus.receive(Some(&on.position), Duration::MAX).await.unwrap();
    assert_eq!((edge.messages, edge.gap), (texts(2_001..3_001), false), "just not trimmed");
    publish(&bus, 12_001..12_002).await;
    assert!(bus.receive(Some(&on.position), Duration::MAX).await.unwrap().gap, "just trimmed");
}

#[tokio::test]
async fn positions_are_numbers_and_others_are_a_gap() {
    let (memory, _) = memory();
    let bus = bus(&memory, "x");
    publish(&bus, 0..3).await;
    assert_eq!(now(&bus).await, Position::new("3"));
    let one = bus.receive(Some(&Position::new("1")), Duration::MAX).await.unwrap();
    assert_eq!(one, Batch { messages: texts(1..3), position: Position::new("3"), gap: false });
    for strange in ["", "-1", "4", "18446744073709551615", "18446744073709551616", "1-0", "x"] {
        let batch = bus.receive(Some(&Position::new(strange)), Duration::MAX).await.unwrap();
        assert_eq!(batch, Batch { messages: texts(0..3), position: Position::new("3"), gap: true }, "{strange:?}");
    }
}

#[tokio::test]
async fn silence_lasts_500_ms_of_the_clock_and_news_end_it() {
    let (memory, clock) = memory();
    let bus = bus(&memory, "x");
    let start = now(&bus).await;
    let mut waiting = Box::pin(bus.receive(Some(&start), Duration::MAX));
    assert!(poll_once(&mut waiting).is_pending());
    clock.advance(Duration::from_millis(499));
    assert!(poll_once(&mut waiting).is_pending());
    clock.advance(Duration::from_millis(1));
    let empty = Batch { messages: Vec::new(), position: start.clone(), gap: false };
    assert_eq!(waiting.await.unwrap(), empty);

    let mut waiting = Box::pin(bus.receive(Some(&start), Duration::MAX));
    assert!(poll_once(&mut waiting).is_pending());
    publish(&bus, 0..1).await;
    assert_eq!(waiting.await.unwrap().messages, texts(0..1));
    assert_eq!(clock.sleepers(), 0);
}

#[tokio::test]
async fn least_recent_of_more_than_1_024_buses_goes_with_a_gap() {
    let (memory, _) = memory();
    let buses: Vec<_> = (0..1_024).map(|name| bus(&memory, name)).collect();
    publish(&buses[0], 0..5).await;
    publish(&buses[1], 0..5).await;
    let [first, second] = [now(&buses[0]).await, now(&buses[1]).await];
    for bus in &buses[2..] {
        publish(bus, 0..1).await;
    }
    publish(&buses[0], 5..6).await;
    publish(&bus(&memory, "one more"), 0..1).await;
    let kept = buses[0].receive(Some(&first), Duration::MAX).await.unwrap();
    assert_eq!((kept.messages, kept.gap), (texts(5..6), false));
    // As many messages as the old log had: no position of that one must look like one of the new.
    publish(&buses[1], 10..20).await;
    let gone = buses[1].receive(Some(&second), Duration::MAX).await.unwrap();
    assert_eq!((gone.messages, gone.gap), (texts(10..20), true));
    publish(&buses[1], 20..21).await;
    let on = buses[1].receive(Some(&gone.position), Duration::MAX).await.unwrap();
    assert_eq!((on.messages, on.gap), (texts(20..21), false));
}

#[tokio::test]
async fn a_message_above_1_024_bytes_is_refused_and_not_told() {
    let (memory, _) = memory();
    let bus = bus(&memory, "secret-name");
    let start = now(&bus).await;
    let error = bus.publish("secret-text".repeat(100).into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    let told = format!("{error} {error:?} {bus:?}");
    assert!(told.contains("1100 bytes") && !told.contains("secret"), "{told}");
    publish(&bus, 0..1).await;
    assert_eq!(bus.receive(Some(&start), Duration::MAX).await.unwrap().messages, texts(0..1));
}
