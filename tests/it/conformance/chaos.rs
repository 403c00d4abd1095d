//! The faults of `Chaos`, one by one.

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use cachekit::backends::{LeaseToken, Memory};
use cachekit::testing::{Chaos, ChaosControl, Fault, ManualClock};
use cachekit::{Backend, Error, ErrorKind, Key, Operation};
use harness::support::leased;

const LONG: Duration = Duration::from_secs(60);

const OPERATIONS: [Operation; 5] =
    [Operation::Get, Operation::Set, Operation::Remove, Operation::Lease, Operation::Ping];

/// A chaos, its control, and the backend inside it.
fn chaos() -> (Chaos<Memory>, ChaosControl, Memory) {
    let memory = Memory::new(1 << 20);
    let chaos = Chaos::new(memory.clone());
    let control = chaos.control();
    (chaos, control, memory)
}

fn key(name: &str) -> Key {
    Key::new("chaos", name).unwrap()
}

fn poll<T>(future: std::pin::Pin<&mut (impl Future<Output = T> + ?Sized)>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

async fn text(backend: &impl Backend, name: &str) -> Option<String> {
    let found = backend.get(&key(name)).await.unwrap();
    found.map(|bytes| String::from_utf8(bytes.into()).unwrap())
}

fn kind<T: std::fmt::Debug>(answer: Result<T, Error>) -> ErrorKind {
    answer.unwrap_err().kind()
}

/// The kinds of the errors of get, set, remove, lease, fill, release and ping.
async fn kinds(chaos: &Chaos<Memory>, token: LeaseToken) -> [Option<ErrorKind>; 7] {
    let k = key("k");
    [
        chaos.get(&k).await.err(),
        chaos.set(&k, "new".into(), LONG).await.err(),
        chaos.remove(&k).await.err(),
        leased(chaos, &k, LONG).await.err(),
        chaos.fill(&k, "filled".into(), LONG, token).await.err(),
        chaos.release(&k, token).await.err(),
        chaos.ping().await.err(),
    ]
    .map(|error| error.map(|error| error.kind()))
}

async fn granted(backend: &impl Backend, name: &str) -> LeaseToken {
    match leased(backend, &key(name), LONG).await.unwrap() {
        Some(token) => token,
        None => panic!("the lease is held"),
    }
}

#[tokio::test]
async fn refuse_fails_at_once_and_does_nothing() {
    let (chaos, control, memory) = chaos();
    memory.set(&key("k"), "old".into(), LONG).await.unwrap();
    let token = granted(&memory, "k").await;
    control.inject_all(Fault::Refuse);
    assert_eq!(kinds(&chaos, token).await, [Some(ErrorKind::Unavailable); 7]);
    assert_eq!(text(&memory, "k").await.as_deref(), Some("old"));
    assert!(memory.fill(&key("k"), "v".into(), LONG, token).await.unwrap(), "the lease is untouched");
    control.heal();
    assert_eq!(text(&chaos, "k").await.as_deref(), Some("v"));
}

#[tokio::test]
async fn faults_strike_the_chosen_operation_only() {
    let (chaos, control, _) = chaos();
    for operation in OPERATIONS {
        control.heal();
        control.inject(operation, Fault::Refuse);
        let expected = [
            Operation::Get,
            Operation::Set,
            Operation::Remove,
            Operation::Lease,
            Operation::Set,
            Operation::Lease,
            Operation::Ping,
        ]
        .map(|of| (of == operation).then_some(ErrorKind::Unavailable));
        assert_eq!(kinds(&chaos, LeaseToken::random()).await, expected, "{operation:?}");
    }
}

#[tokio::test]
async fn the_next_few_fail_and_no_more() {
    let (chaos, control, _) = chaos();
    control.inject_next(2, Operation::Get, Fault::Refuse);
    assert_eq!(kind(chaos.get(&key("k")).await), ErrorKind::Unavailable);
    assert_eq!(kind(chaos.get(&key("k")).await), ErrorKind::Unavailable);
    assert_eq!(chaos.get(&key("k")).await.unwrap(), None);
    control.inject_next(0, Operation::Get, Fault::Refuse);
    assert_eq!(chaos.get(&key("k")).await.unwrap(), None);
}

#[tokio::test]
async fn fail_after_works_and_then_fails() {
    let (chaos, control, memory) = chaos();
    control.inject_all(Fault::FailAfter);
    assert_eq!(kind(chaos.set(&key("k"), "v".into(), LONG).await), ErrorKind::Timeout);
    assert_eq!(text(&memory, "k").await.as_deref(), Some("v"));
    assert_eq!(kind(chaos.get(&key("k")).await), ErrorKind::Timeout);
    assert_eq!(kind(chaos.remove(&key("k")).await), ErrorKind::Timeout);
    assert_eq!(text(&memory, "k").await, None);
    assert_eq!(kind(leased(&chaos, &key("k"), LONG).await), ErrorKind::Timeout);
    assert!(leased(&memory, &key("k"), LONG).await.unwrap().is_none());
    let token = granted(&memory, "other").await;
    assert_eq!(kind(chaos.fill(&key("other"), "v".into(), LONG, token).await), ErrorKind::Timeout);
    assert_eq!(text(&memory, "other").await.as_deref(), Some("v"));
    let token = granted(&memory, "other").await;
    assert_eq!(kind(chaos.release(&key("other"), token).await), ErrorKind::Timeout);
    granted(&memory, "other").await;
    assert_eq!(kind(chaos.ping().await), ErrorKind::Timeout);
}

#[tokio::test]
async fn hang_never_answers_until_healed() {
    let (chaos, control, memory) = chaos();
    memory.set(&key("k"), "v".into(), LONG).await.unwrap();
    control.inject(Operation::Get, Fault::Hang);
    let k = key("k");
    let mut first = Box::pin(chaos.get(&k));
    let mut second = Box::pin(chaos.get(&k));
    assert!(poll(first.as_mut()).is_pending() && poll(second.as_mut()).is_pending());
    control.hanging().wait_for(2).await;
    drop(second);
    assert_eq!(control.hanging().waiting(), 1);
    assert!(poll(first.as_mut()).is_pending());
    control.heal();
    assert_eq!(first.await.unwrap(), Some(Bytes::from("v")));
    assert_eq!(text(&chaos, "k").await.as_deref(), Some("v"), "later ones do not hang");
    control.inject(Operation::Get, Fault::Hang);
    assert!(poll(Box::pin(chaos.get(&k)).as_mut()).is_pending(), "it hangs again when asked again");
}

#[tokio::test]
async fn a_hanging_write_that_is_dropped_did_nothing() {
    let (chaos, control, memory) = chaos();
    control.inject(Operation::Set, Fault::Hang);
    let k = key("k");
    let mut set = Box::pin(chaos.set(&k, "v".into(), LONG));
    assert!(poll(set.as_mut()).is_pending());
    drop(set);
    control.heal();
    assert_eq!(memory.get(&k).await.unwrap(), None);
}

#[tokio::test]
async fn slow_waits_on_the_given_clock() {
    let clock = ManualClock::new();
    let chaos = Chaos::with_clock(Memory::new(1 << 20), Arc::new(clock.clone()));
    chaos.set(&key("k"), "v".into(), LONG).await.unwrap();
    chaos.control().inject(Operation::Get, Fault::Slow(Duration::from_secs(3)));
    let k = key("k");
    let mut get = Box::pin(chaos.get(&k));
    assert!(poll(get.as_mut()).is_pending());
    clock.advance(Duration::from_millis(2_999));
    assert!(poll(get.as_mut()).is_pending());
    clock.advance(Duration::from_millis(1));
    assert_eq!(get.await.unwrap(), Some(Bytes::from("v")));
}

#[tokio::test]
async fn truncate_cuts_what_passes() {
    let (chaos, control, memory) = chaos();
    memory.set(&key("k"), "value".into(), LONG).await.unwrap();
    for (length, expected) in [(0, ""), (3, "val"), (5, "value"), (99, "value")] {
        control.inject(Operation::Get, Fault::Truncate(length));
        assert_eq!(text(&chaos, "k").await.as_deref(), Some(expected));
    }
    assert_eq!(text(&chaos, "absent").await, None);
    control.inject(Operation::Set, Fault::Truncate(2));
    chaos.set(&key("k"), "stored".into(), LONG).await.unwrap();
    assert_eq!(text(&memory, "k").await.as_deref(), Some("st"));
    let token = granted(&memory, "k").await;
    assert!(chaos.fill(&key("k"), "filled".into(), LONG, token).await.unwrap());
    assert_eq!(text(&memory, "k").await.as_deref(), Some("fi"));
}

#[tokio::test]
async fn flip_changes_one_bit() {
    let (chaos, control, memory) = chaos();
    memory.set(&key("k"), Bytes::from_static(&[0, 0xFF]), LONG).await.unwrap();
    memory.set(&key("empty"), Bytes::new(), LONG).await.unwrap();
    for (bit, expected) in [(0, [1, 0xFF]), (7, [0x80, 0xFF]), (8, [0, 0xFE]), (15, [0, 0x7F]), (16, [1, 0xFF])] {
        control.inject(Operation::Get, Fault::Flip(bit));
        assert_eq!(chaos.get(&key("k")).await.unwrap().unwrap()[..], expected, "bit {bit}");
    }
    assert_eq!(chaos.get(&key("empty")).await.unwrap(), Some(Bytes::new()));
    assert_eq!(memory.get(&key("k")).await.unwrap().unwrap()[..], [0, 0xFF], "what is stored stays");
    control.inject(Operation::Set, Fault::Flip(0));
    chaos.set(&key("k"), Bytes::from_static(&[2]), LONG).await.unwrap();
    assert_eq!(memory.get(&key("k")).await.unwrap().unwrap()[..], [3]);
}

#[tokio::test]
async fn wrong_key_works_on_another_key() {
    let (chaos, control, memory) = chaos();
    for name in ["a", "b"] {
        memory.set(&key(name), name.into(), LONG).await.unwrap();
    }
    control.inject_all(Fault::WrongKey(key("b")));
    assert_eq!(text(&chaos, "a").await.as_deref(), Some("b"));
    chaos.set(&key("a"), "new".into(), LONG).await.unwrap();
    assert_eq!(text(&memory, "a").await.as_deref(), Some("a"));
    assert_eq!(text(&memory, "b").await.as_deref(), Some("new"));
    chaos.remove(&key("a")).await.unwrap();
    assert_eq!(text(&memory, "b").await, None);
    assert_eq!(text(&memory, "a").await.as_deref(), Some("a"));
}

#[tokio::test]
async fn lose_says_yes_and_does_nothing() {
    let (chaos, control, memory) = chaos();
    memory.set(&key("k"), "old".into(), LONG).await.unwrap();
    let token = granted(&memory, "k").await;
    control.inject_all(Fault::Lose);
    chaos.set(&key("k"), "new".into(), LONG).await.unwrap();
    assert_eq!(chaos.get(&key("k")).await.unwrap(), None);
    chaos.remove(&key("k")).await.unwrap();
    assert!(chaos.fill(&key("k"), "filled".into(), LONG, token).await.unwrap());
    chaos.release(&key("k"), token).await.unwrap();
    assert!(leased(&chaos, &key("k"), LONG).await.unwrap().is_some(), "granted, though another holds it");
    chaos.ping().await.unwrap();
    assert_eq!(text(&memory, "k").await.as_deref(), Some("old"));
    assert!(leased(&memory, &key("k"), LONG).await.unwrap().is_none());
}

#[tokio::test]
async fn operations_are_counted_by_kind() {
    let (chaos, control, _) = chaos();
    let counts = |control: &ChaosControl| OPERATIONS.map(|operation| control.count(operation));
    assert_eq!(counts(&control), [0; 5]);
    kinds(&chaos, LeaseToken::random()).await;
    assert_eq!(counts(&control), [1, 2, 1, 2, 1]);
    control.inject_all(Fault::Refuse);
    kinds(&chaos.clone(), LeaseToken::random()).await;
    assert_eq!(counts(&control), [2, 4, 2, 4, 2], "refused ones and those of clones count, too");
    let k = key("k");
    drop(chaos.get(&k));
    assert_eq!(control.count(Operation::Get), 2, "one never polled did not start");
}

#[tokio::test]
async fn a_gate_holds_operations_at_their_start() {
    let (chaos, control, memory) = chaos();
    let gate = control.gate(Operation::Set);
    let tasks: Vec<_> = ["a", "b", "c"]
        .map(|name| {
            let chaos = chaos.clone();
            tokio::spawn(async move { chaos.set(&key(name), name.into(), LONG).await })
        })
        .into();
    gate.wait_for(3).await;
    assert_eq!((gate.waiting(), memory.len(), control.count(Operation::Set)), (3, 0, 3));
    assert_eq!(text(&chaos, "a").await, None, "other operations pass");
    gate.open();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!((gate.waiting(), memory.len()), (0, 3));
    chaos.set(&key("d"), "d".into(), LONG).await.unwrap();
    assert_eq!(text(&memory, "d").await.as_deref(), Some("d"), "an open gate holds nothing");
}

#[tokio::test]
async fn a_gate_admits_one_at_a_time_in_order() {
    let (chaos, control, memory) = chaos();
    let gate = control.gate(Operation::Set);
    let k = key("k");
    let mut first = Box::pin(chaos.set(&k, "first".into(), LONG));
    let mut second = Box::pin(chaos.set(&k, "second".into(), LONG));
    assert!(poll(first.as_mut()).is_pending() && poll(second.as_mut()).is_pending());
    gate.admit(1);
    assert!(poll(second.as_mut()).is_pending());
    first.await.unwrap();
    assert_eq!(text(&memory, "k").await.as_deref(), Some("first"));
    assert!(poll(second.as_mut()).is_pending(), "one was admitted");
    drop(second);
    assert_eq!(gate.waiting(), 0, "who walks away no longer waits");
    gate.admit(1);
    chaos.set(&k, "third".into(), LONG).await.unwrap();
    assert_eq!(text(&memory, "k").await.as_deref(), Some("third"));
}

#[tokio::test]
async fn faults_are_met_behind_the_gate_and_heal_opens_it() {
    let (chaos, control, _) = chaos();
    control.gate(Operation::Get);
    control.inject(Operation::Get, Fault::Refuse);
    let k = key("k");
    let mut get = Box::pin(chaos.get(&k));
    assert!(poll(get.as_mut()).is_pending());
    control.heal();
    assert_eq!(get.await.unwrap(), None, "healed before it met the fault");
    let gate = control.gate(Operation::Get);
    let mut get = Box::pin(chaos.get(&k));
    assert!(poll(get.as_mut()).is_pending());
    control.inject(Operation::Get, Fault::Refuse);
    gate.open();
    assert_eq!(kind(get.await), ErrorKind::Unavailable);
}

#[tokio::test]
async fn random_faults_follow_their_seed_and_probability() {
    async fn failures(seed: u64, probability: f64) -> Vec<bool> {
        let (chaos, control, _) = chaos();
        control.randomly(seed, [(probability, Fault::Refuse)]);
        let mut failures = Vec::new();
        for _ in 0..1_000 {
            failures.push(chaos.ping().await.is_err());
        }
        failures
    }
    let count = |failures: &[bool]| failures.iter().filter(|failed| **failed).count();
    let seven = failures(7, 0.3).await;
    assert_eq!(seven, failures(7, 0.3).await);
    assert_ne!(seven, failures(8, 0.3).await);
    assert!((200..400).contains(&count(&seven)), "{}", count(&seven));
    assert_eq!(count(&failures(7, 0.0).await), 0);
    assert_eq!(count(&failures(7, 1.0).await), 1_000);
}

#[tokio::test]
async fn random_faults_are_drawn_in_turn_after_injected_ones() {
    let (chaos, control, _) = chaos();
    control.randomly(1, [(0.0, Fault::Refuse), (1.0, Fault::FailAfter), (1.0, Fault::Refuse)]);
    assert_eq!(kind(chaos.ping().await), ErrorKind::Timeout);
    control.inject_next(1, Operation::Ping, Fault::Refuse);
    assert_eq!(kind(chaos.ping().await), ErrorKind::Unavailable);
    assert_eq!(kind(chaos.ping().await), ErrorKind::Timeout);
    control.heal();
    chaos.ping().await.unwrap();
}

#[test]
fn capabilities_are_those_of_the_backend_inside() {
    let (chaos, control, memory) = chaos();
    control.inject_all(Fault::Refuse);
    // But for the store: what fails here says nothing of the one inside.
    let [mut outside, mut inside] = [chaos.capabilities(), memory.capabilities()];
    assert_ne!(outside.store.take(), inside.store.take());
    assert_eq!(outside, inside);
}
