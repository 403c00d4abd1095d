//! What watching costs: the codec as a cache uses it against the bare format.
//!
//! Both write the same values into the same kind of buffer, and read the same bytes, in turns. `cargo bench -p cachekit-benches
//! --bench codec`; with `-- count KIND WAY` (`bare`, `watched`, `read-bare` or `read-watched`) it writes or reads one kind of value 1,000
//! times and ends, for tools that count instructions.

use std::hint::black_box;

use cachekit::backends::Memory;
use cachekit::codec::{Context, Postcard};
use cachekit::{CacheBuilder, Codec, Error, Intent, Policy, Value};
use cachekit_benches::pair;
use postcard::ser_flavors::Flavor;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
struct User {
    id: u64,
    name: String,
    email: String,
    street: String,
    age: u32,
    active: bool,
}

#[derive(Clone, Serialize, Deserialize)]
enum Shape {
    Dot,
    Circle(f64),
    Rect { w: u32, h: Option<i64> },
    Named(String),
}

#[derive(Clone, Serialize, Deserialize)]
struct Order {
    id: u64,
    buyer: User,
    lines: Vec<Line>,
    note: Option<String>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Line {
    article: String,
    count: u32,
    price: (u64, u8),
}

fn user() -> User {
    User {
        id: 42,
        name: "Ada Lovelace".into(),
        email: "ada@example.org".into(),
        street: "12 St James's Square, Westminster, London SW1".into(),
        age: 36,
        active: true,
    }
}

fn order() -> Order {
    let line = |n: u32| Line { article: format!("article {n}"), count: n, price: (u64::from(n) * 1_999, 2) };
    Order { id: 7, buyer: user(), lines: (0..20).map(line).collect(), note: Some("leave at the door".into()) }
}

fn shapes() -> Vec<Shape> {
    let shape = |n: u32| match n % 4 {
        0 => Shape::Dot,
        1 => Shape::Circle(f64::from(n)),
        2 => Shape::Rect { w: n, h: Some(-1) },
        _ => Shape::Named("triangle".into()),
    };
    (0..100).map(shape).collect()
}

fn main() {
    let arguments: Vec<String> = std::env::args().filter(|argument| argument != "--bench").collect();
    let way = match &arguments[1..] {
        [count, kind, way] if count == "count" => Way::Count(kind.clone(), way.clone()),
        _ => Way::Compare,
    };
    if way == Way::Compare {
        println!("{:>12} {:>5} {:>7} {:>12} {:>12} {:>7}", "kind", "", "bytes", "watched ns", "bare ns", "ratio");
    }
    run(&way, "struct", user());
    run(&way, "nested", order());
    run(&way, "enums", shapes());
    run(&way, "numbers", (0..1_000).map(|n| n * 1_000).collect::<Vec<u64>>());
    run(&way, "bytes", vec![7u8; 4_096]);
    run(&way, "texts", (0..100).map(|n| format!("text number {n}")).collect::<Vec<String>>());
}

/// Has a cache write the value: only a cache tells the codec which type it is read as.
fn run<T: Value>(way: &Way, kind: &'static str, value: T) {
    let codec = Timed { way: way.clone(), kind };
    let cache = CacheBuilder::new().intent(Intent::Minimal).codec(codec).backend(Memory::new(1 << 20)).build();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(cache.expect("it is complete").set("key", value)).expect("it is stored");
}

#[derive(Debug, Clone, PartialEq)]
enum Way {
    Compare,
    Count(String, String),
}

/// Postcard, which shows how long it takes.
#[derive(Debug, Clone)]
struct Timed {
    way: Way,
    kind: &'static str,
}

impl Codec for Timed {
    const CONFIDENTIAL: bool = false;

    fn name(&self) -> String {
        "timed".into()
    }

    fn configure(&mut self, _: &Policy) -> Result<(), Error> {
        Ok(())
    }

    fn encode<T: Serialize>(&self, value: &T, context: Context<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
        let start = out.len();
        Postcard.encode(value, context, out)?;
        let size = out.len() - start;
        let (mut ours, mut theirs) = (Vec::with_capacity(size), Vec::with_capacity(size));
        let mut watched = || {
            ours.clear();
            Postcard.encode(black_box(value), context, &mut ours).expect("it is written");
            black_box(&ours);
        };
        let mut bare = || {
            theirs.clear();
            postcard::serialize_with_flavor(black_box(value), Append(&mut theirs)).expect("it is written");
            black_box(&theirs);
        };
        self.show("", size, &mut watched, &mut bare);
        Ok(())
    }

    /// The cache reads the first value of each type back.
    fn decode<T: DeserializeOwned>(&self, bytes: &[u8], context: Context<'_>) -> Result<T, Error> {
        let mut watched = || {
            black_box(Postcard.decode::<T>(black_box(bytes), context).expect("it is read"));
        };
        let mut bare = || {
            black_box(postcard::from_bytes::<T>(black_box(bytes)).expect("it is read"));
        };
        self.show("read-", bytes.len(), &mut watched, &mut bare);
        Postcard.decode(bytes, context)
    }
}

impl Timed {
    /// Compares two ways to do the same, or does it one way.
    fn show(&self, deed: &str, size: usize, watched: &mut impl FnMut(), bare: &mut impl FnMut()) {
        let is = |asked: &str, way: &str| asked.strip_prefix(deed) == Some(way);
        match &self.way {
            Way::Count(kind, _) if kind != self.kind => {}
            Way::Count(_, way) if is(way, "watched") => (0..1_000).for_each(|_| watched()),
            Way::Count(_, way) if is(way, "bare") => (0..1_000).for_each(|_| bare()),
            Way::Count(..) => {}
            Way::Compare => {
                let (ours, theirs) = pair(watched, bare);
                let (kind, ratio) = (self.kind, ours / theirs);
                println!("{kind:>12} {deed:>5} {size:>7} {ours:>12.0} {theirs:>12.0} {ratio:>7.3}");
            }
        }
    }
}

/// Writes behind what is there, as the codec does.
struct Append<'a>(&'a mut Vec<u8>);

impl Flavor for Append<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend(bytes.iter().copied());
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}
