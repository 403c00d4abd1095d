//! What an entry takes in memory beyond its key and its value.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::ops::Range;
use std::sync::Arc;

use allocation_counter::measure;
use cachekit::{IntoKey, Value};

use crate::arguments::Arguments;
use crate::load::text;
use crate::local::lru::Sharded;
use crate::local::{Key, Payload, Store, foyer, ours, runtime};
use crate::report::{Case, Report, Row, less};
use crate::{Failure, children};

const ABOUT: &str = "Bytes that were asked of the allocator, in a process of its own for each candidate, after a cache was \
    filled with as many entries as it is told to hold, and again after four times as many new keys. `beyond` is what is \
    there for each entry less the bytes of its key and its value. The last cases set bytes against the budget of ours: 1 is \
    the budget, above it the cache takes more than it was given.";
const MIB: usize = 1 << 20;

/// Shapes of entries: bytes of the key and of the value.
const SHAPES: [(&str, usize, usize); 3] = [("u64 to u64", 8, 8), ("text to u64", 24, 8), ("text to bytes", 24, 100)];
const PEERS: [&str; 5] = ["cachekit Minimal", "quick_cache", "moka", "foyer S3-FIFO", "lru, mutex, shards"];
const VALUES: [&str; 4] = ["u64", "text of 100 B", "text of 64 KiB", "map of 5 texts"];

pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    let counts: &[usize] = if arguments.quick { &[20_000] } else { &[100_000, 1_000_000] };
    let mut cases = Vec::new();
    for count in counts {
        for (shape, ..) in SHAPES {
            let rows = PEERS.iter().map(|name| Ok(Row { name, rounds: vec![ask(&["entries", shape, name], *count)?] }));
            let name = format!("{shape}, {count} entries");
            cases.push(Case::new(name, rows.collect::<Result<_, Failure>>()?));
        }
    }
    for value in VALUES {
        let [filled, churned] = ask(&["budget", value, "-"], 16)?[..] else { return Err("two figures".into()) };
        let rounds = vec![vec![f64::NAN, f64::NAN, filled, churned]];
        let rows = vec![Row { name: "cachekit Minimal", rounds }];
        cases.push(Case::new(format!("{value}, 16 MiB of budget"), rows));
    }
    Ok(Report {
        suite: "memory",
        about: ABOUT,
        metrics: vec![
            less("beyond, filled"),
            less("beyond, churned"),
            less("of budget, filled"),
            less("of budget, churned"),
        ],
        references: vec!["quick_cache", "moka"],
        cases,
        remarks: vec![String::from(
            "One run each: without a race between threads, what is asked of the allocator repeats.",
        )],
    })
}

fn ask(words: &[&str], count: usize) -> Result<Vec<f64>, Failure> {
    let words: Vec<&str> = ["memory"].iter().chain(words).copied().collect();
    eprintln!("  {} {count}", words[1..].join(", "));
    children::numbers(children::start(&[&words[..], &[&count.to_string()]].concat())?)
}

/// What a child measures.
pub(super) fn child(words: &[String]) -> Result<(), Failure> {
    let [kind, what, name, count] = words else { return Err("the suite memory gives its child four words".into()) };
    let (name, count) = (name.as_str(), count.parse::<usize>()?);
    if kind == "budget" {
        return budget(what, count * MIB);
    }
    let shape = SHAPES.iter().position(|shape| shape.0 == what).ok_or("the shape is not known")?;
    let id = |id: usize| id as u64;
    let text_of = |id: usize| format!("{id:0100}");
    let all = match shape {
        0 => entries::<u64, u64, _, _>(name, count, id, id, id)?,
        1 => entries::<String, str, _, _>(name, count, text, id, id)?,
        _ => entries::<String, str, _, _>(name, count, text, |id| Arc::<str>::from(text_of(id)), text_of)?,
    };
    let payload = (SHAPES[shape].1 + SHAPES[shape].2) as f64;
    println!("{} {}", all[0] - payload, all[1] - payload);
    Ok(())
}

/// Bytes for each entry of one candidate, filled and churned. Ours takes a value, the peers what they share of it.
fn entries<K, Q, V, W>(
    name: &str,
    count: usize,
    key: impl Fn(usize) -> K,
    value: impl Fn(usize) -> V,
    own: impl Fn(usize) -> W,
) -> Result<[f64; 2], Failure>
where
    K: Key + Borrow<Q> + IntoKey,
    Q: ?Sized + Eq + Hash + ToOwned<Owned = K>,
    V: Payload,
    W: Value,
{
    Ok(match name {
        "quick_cache" => peer(count, key, value, || quick_cache::sync::Cache::new(count)),
        "moka" => peer(count, key, value, || moka::sync::Cache::new(count as u64)),
        "foyer S3-FIFO" => peer(count, key, value, || foyer(count)),
        "lru, mutex, shards" => peer(count, key, value, || Sharded::new(count)),
        _ => whole(count, ours::weight(key(0), own(0))? * count, key, own)?.map(|(bytes, held)| bytes / held),
    })
}

fn peer<K: Borrow<Q>, Q: ?Sized, V, S: Store<Q, V>>(
    count: usize,
    key: impl Fn(usize) -> K,
    value: impl Fn(usize) -> V,
    make: impl FnOnce() -> S,
) -> [f64; 2] {
    let mut store = None;
    let fill = |store: &S, ids: Range<usize>| ids.for_each(|id| store.write(key(id).borrow(), value(id)));
    let first = measure(|| {
        let made = make();
        fill(&made, 0..count);
        store = Some(made);
    });
    let store = store.expect("it was made");
    let filled = first.bytes_current as f64 / store.count() as f64;
    let more = measure(|| fill(&store, count..count * 5));
    [filled, (first.bytes_current + more.bytes_current) as f64 / store.count() as f64]
}

/// Bytes and entries of a cache of ours, filled and churned.
fn whole<K: IntoKey, W: Value>(
    count: usize,
    budget: usize,
    key: impl Fn(usize) -> K,
    value: impl Fn(usize) -> W,
) -> Result<[(f64, f64); 2], Failure> {
    let (runtime, mut made) = (runtime()?, Err("the cache was not made".into()));
    let fill = |cache: &ours::Minimal, ids: Range<usize>| {
        runtime.block_on(async {
            for id in ids {
                cache.set(key(id), value(id)).await.expect("L1 takes it");
            }
        });
    };
    let first = measure(|| {
        made = ours::minimal(budget);
        made.iter().for_each(|cache| fill(cache, 0..count));
    });
    let cache = made?;
    let filled = (first.bytes_current as f64, cache.l1_len() as f64);
    let more = measure(|| fill(&cache, count..count * 5));
    Ok([filled, ((first.bytes_current + more.bytes_current) as f64, cache.l1_len() as f64)])
}

/// Prints the bytes of a cache of ours as parts of its budget.
fn budget(value: &str, bytes: usize) -> Result<(), Failure> {
    let map =
        |id: usize| (0..5).map(|n| (format!("field {n}"), format!("value {n} of {id}"))).collect::<HashMap<_, _>>();
    let all = match value {
        "u64" => whole(bytes / 200, bytes, text, |id| id as u64)?,
        "text of 100 B" => whole(bytes / 300, bytes, text, |id| format!("{id:0100}"))?,
        "text of 64 KiB" => whole(bytes / 65_536, bytes, text, |_| "v".repeat(65_536))?,
        _ => whole(bytes / 800, bytes, text, map)?,
    };
    let [filled, churned] = all.map(|(used, _)| used / bytes as f64);
    println!("{filled} {churned}");
    Ok(())
}
