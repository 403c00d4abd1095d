//! Makes so many calls of one kind: `cachekit-calls KIND COUNT`. Without arguments it lists the kinds.
//!
//! `.ci/instructions` counts the instructions of each, by the difference between two counts of calls.
#![allow(clippy::unwrap_used, reason = "what fails here is told by its panic")]

use std::hint::black_box;
use std::pin::pin;
use std::process::ExitCode;
use std::task::{Context, Poll, Waker};

use cachekit::backends::{Backend, Memory};
use cachekit::{Cache, CacheBuilder, Codec, Intent, IntoKey};
use tokio::runtime::{Builder, Runtime};

type Never = std::convert::Infallible;

/// Text of 24 bytes that needs no escapes, and some that does.
const TEXT: &str = "user-profile-00000000042";
const ESCAPED: &str = "user:profile:00000000042";

/// Makes so many calls.
type Calls = fn(&Runtime, u64);

const KINDS: &[(&str, Calls)] = &[
    ("hit, text", |runtime, count| hits(runtime, &CacheBuilder::new().build().unwrap(), TEXT, count)),
    ("hit, text, minimal", |runtime, count| {
        hits(runtime, &CacheBuilder::new().intent(Intent::Minimal).build().unwrap(), TEXT, count);
    }),
    ("hit, text to escape", |runtime, count| hits(runtime, &CacheBuilder::new().build().unwrap(), ESCAPED, count)),
    ("hit, number", |runtime, count| hits(runtime, &CacheBuilder::new().build().unwrap(), 1_234_567u64, count)),
    ("hit, text and number", |runtime, count| {
        hits(runtime, &CacheBuilder::new().build().unwrap(), ("user", 1_234_567u64), count);
    }),
    ("hit, shared value", shared),
    ("set, L1 alone", |runtime, count| sets(runtime, &CacheBuilder::new().build().unwrap(), count)),
    ("miss, L1 alone", |runtime, count| misses(runtime, &CacheBuilder::new().build().unwrap(), count)),
    ("hit in Memory", |runtime, count| hits(runtime, &over_memory(false), TEXT, count)),
    ("set over Memory", |runtime, count| sets(runtime, &over_memory(true), count)),
    ("miss over Memory", |runtime, count| misses(runtime, &over_memory(true), count)),
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (kind, count) = (arguments.next(), arguments.next().and_then(|count| count.parse().ok()));
    let known = KINDS.iter().find(|(name, _)| Some(*name) == kind.as_deref());
    let (Some((_, make)), Some(count)) = (known, count) else {
        KINDS.iter().for_each(|(name, _)| println!("{name}"));
        return if kind.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    };
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let _inside = runtime.enter();
    make(&runtime, count);
    ExitCode::SUCCESS
}

fn over_memory(with_l1: bool) -> Cache<Memory, impl Codec> {
    CacheBuilder::new().backend(Memory::new(64 << 20)).l1_enabled(with_l1).build().unwrap()
}

/// The output of a future that is ready at once, as a hit is. It is not run by a runtime, which would be counted, too.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a call that was to be answered at once waits"),
    }
}

fn hits<B: Backend, C: Codec>(runtime: &Runtime, cache: &Cache<B, C>, key: impl IntoKey + Copy, count: u64) {
    runtime.block_on(cache.set(key, 7u64)).unwrap();
    for _ in 0..count {
        let value = ready(cache.get_or_compute(black_box(key), || async { Ok::<u64, Never>(1) }));
        assert_eq!(black_box(value.unwrap()), 7);
    }
}

fn shared(runtime: &Runtime, count: u64) {
    let cache = CacheBuilder::new().build().unwrap();
    runtime.block_on(cache.set(TEXT, "a value".to_owned())).unwrap();
    for _ in 0..count {
        let value = ready(cache.get_or_compute_arc(black_box(TEXT), || async { Ok::<String, Never>(String::new()) }));
        assert_eq!(black_box(value.unwrap()).len(), 7);
    }
}

fn sets<B: Backend, C: Codec>(runtime: &Runtime, cache: &Cache<B, C>, count: u64) {
    for value in 0..count {
        runtime.block_on(cache.set(black_box(TEXT), value)).unwrap();
    }
}

fn misses<B: Backend, C: Codec>(runtime: &Runtime, cache: &Cache<B, C>, count: u64) {
    for key in 0..count {
        let value = runtime.block_on(cache.get_or_compute(black_box(key), || async { Ok::<u64, Never>(1) }));
        assert_eq!(value.unwrap(), 1);
    }
}
