//! Entries that would become larger than `max_value_size`: a miss, told of, and no more memory than the limit allows.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cachekit::backends::Memory;
use cachekit::codec::{Checked, Compressed, Context, Json, MessagePack, Postcard};
use cachekit::{
    Backend, Cache, CacheBuilder, Codec, Error, ErrorKind, Intent, Key, Policy, Storable, Unreadable, Value,
};
use serde::de::{DeserializeOwned, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use harness::support::{Broken, Journal, Note};

const LIMIT: usize = 1 << 20;

/// 2 KiB in memory, and one byte where there is none.
type Sparse = Vec<Option<[[u64; 32]; 8]>>;

fn cache<C: Codec>(memory: &Memory, codec: C, limit: usize, journal: &Arc<Journal>) -> Cache<Memory, C> {
    let builder = CacheBuilder::new().intent(Intent::Minimal).backend(memory.clone()).codec(codec);
    builder
        .l1_enabled(false)
        .wait_for_write(true)
        .max_value_size(limit as u64)
        .observer(Arc::clone(journal) as _)
        .build()
        .unwrap()
}

/// Why entries were not read so far.
fn unread(journal: &Journal) -> Vec<Unreadable> {
    let reason = |note| if let Note::Unreadable(reason) = note { Some(reason) } else { None };
    journal.notes().into_iter().filter_map(reason).collect()
}

/// What one cache stores another of the same namespace, which takes less, does not read: a miss and an event, in each
/// operation that reads.
async fn is_a_miss<T, C>(codec: C, value: T, stored: usize)
where
    T: Value + Clone + Storable<C, Form: Clone>,
    C: Codec + Clone,
{
    let (memory, journal) = (Memory::new(1 << 30), Arc::new(Journal::default()));
    let (large, small) = (cache(&memory, codec.clone(), 1 << 30, &journal), cache(&memory, codec, LIMIT, &journal));
    large.set("key", value).await.unwrap();
    let bytes = memory.get(&Key::new("default", "key").unwrap()).await.unwrap().unwrap().len();
    assert!(bytes <= stored, "{bytes} bytes stored");
    assert!(large.get::<T>("key").await.unwrap().is_some());
    assert!(small.get::<T>("key").await.unwrap().is_none());
    assert_eq!(unread(&journal), [Unreadable::TooLarge]);
}

#[tokio::test]
async fn value_that_decodes_beyond_the_limit_is_a_reported_miss() {
    is_a_miss(Compressed::new(Postcard), "ab".repeat(4 << 20), LIMIT / 16).await;
    is_a_miss(Checked::new(Compressed::new(Json)), "ab".repeat(4 << 20), LIMIT / 16).await;
    is_a_miss(Postcard, sparse(), LIMIT).await;
    is_a_miss(MessagePack, sparse(), LIMIT).await;
    is_a_miss(Json, sparse(), LIMIT).await;
    is_a_miss(Compressed::new(Postcard), sparse(), LIMIT / 64).await;
    is_a_miss(Postcard, vec![0u8; LIMIT + 1], 2 * LIMIT).await;
}

fn sparse() -> Sparse {
    vec![None; 100_000]
}

#[tokio::test]
async fn value_too_large_to_read_is_computed_and_reported_unstored() {
    let (memory, journal) = (Memory::new(1 << 30), Arc::new(Journal::default()));
    cache(&memory, Postcard, 1 << 30, &journal).set("key", sparse()).await.unwrap();
    let small = cache(&memory, Postcard, LIMIT, &journal);
    for _ in 0..2 {
        let computed = small.get_or_compute("key", || async { Ok::<Sparse, Broken>(sparse()) }).await;
        assert_eq!(computed.unwrap().len(), 100_000);
    }
    let refused = journal.count(|note| matches!(note, Note::NotStored(ErrorKind::TooLarge, _)));
    assert_eq!((refused, unread(&journal)), (2, vec![Unreadable::TooLarge; 2]));
    assert_eq!(small.set("key", sparse()).await.unwrap_err().kind(), ErrorKind::TooLarge);
    small.set("key", sparse()[..400].to_vec()).await.unwrap();
    assert_eq!(small.get::<Sparse>("key").await.unwrap().unwrap().len(), 400);
}

#[tokio::test]
async fn an_entry_longer_than_the_limit_is_not_even_looked_at() {
    let (memory, journal) = (Memory::new(1 << 30), Arc::new(Journal::default()));
    let small = cache(&memory, Postcard, LIMIT, &journal);
    let key = Key::new("default", "key").unwrap();
    for (length, reason) in [(LIMIT, Unreadable::Foreign), (LIMIT + 11, Unreadable::TooLarge)] {
        memory.set(&key, Bytes::from(vec![7; length]), Duration::from_secs(60)).await.unwrap();
        assert_eq!(small.get::<Vec<u8>>("key").await.unwrap(), None);
        assert_eq!(unread(&journal).last(), Some(&reason));
    }
}

/// The most bytes asked for while a codec refuses `bytes` as a `T` of at most [`LIMIT`] bytes.
fn peak<T: DeserializeOwned, C: Codec>(codec: &C, bytes: &[u8], kind: ErrorKind) -> usize {
    let context = Context::new("default:key", b"header").with_max_value_size(LIMIT);
    let info = allocation_counter::measure(|| {
        assert_eq!(codec.decode::<T>(bytes, context).err().map(|error| error.kind()), Some(kind));
    });
    usize::try_from(info.bytes_max).unwrap()
}

fn written<T: Serialize, C: Codec>(codec: &C, value: &T) -> Vec<u8> {
    let (context, mut out) = (Context::new("default:key", b"header").with_max_value_size(usize::MAX), Vec::new());
    codec.encode(value, context, &mut out).unwrap();
    out
}

#[test]
fn refusing_takes_no_more_memory_than_four_times_the_limit() {
    let no_more = |what: &str, peak: usize| assert!(peak <= 4 * LIMIT, "{what}: {peak} bytes");
    let (large, codec) = (ErrorKind::TooLarge, Compressed::new(Postcard));
    // Near a thousand bytes for each.
    let pattern = written(&codec, &"ab".repeat(4 << 20));
    assert!(pattern.len() < LIMIT / 16);
    no_more("a bomb", peak::<String, _>(&codec, &pattern, large));
    // The same that claims less than it is.
    let modest = [&pattern[..1], &(LIMIT as u32 - 1).to_be_bytes(), &pattern[5..]].concat();
    no_more("a bomb that lies", peak::<String, _>(&codec, &modest, ErrorKind::Decode));
    let none = vec![None; 200_000];
    no_more("postcard", peak::<Sparse, _>(&Postcard, &written::<Sparse, _>(&Postcard, &none), large));
    no_more("messagepack", peak::<Sparse, _>(&MessagePack, &written::<Sparse, _>(&MessagePack, &none), large));
    no_more("json", peak::<Sparse, _>(&Json, &written::<Sparse, _>(&Json, &none), large));
    no_more("own", peak::<Sparse, _>(&Own, &written::<Sparse, _>(&Own, &none), large));
    let map: HashMap<u32, Option<[[u64; 32]; 8]>> = (0..200_000).map(|key| (key, None)).collect();
    no_more("a map", peak::<HashMap<u32, Option<[[u64; 32]; 8]>>, _>(&Postcard, &written(&Postcard, &map), large));
    let skipped = vec![Skipped::default(); 60_000];
    no_more("skipped fields", peak::<Vec<Skipped>, _>(&Postcard, &written(&Postcard, &skipped), large));
}

/// Takes no byte, and 800 in memory.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Skipped {
    #[serde(skip)]
    _numbers: [[u64; 10]; 10],
}

/// Each leaf lies behind a pointer: one byte, and 2 KiB in memory.
#[derive(Debug, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "that is what is tried")]
enum Tree {
    Leaf,
    Large([[u64; 32]; 8]),
    Fork(Box<Tree>, Box<Tree>),
}

fn fork(depth: u32) -> Tree {
    if depth == 0 { Tree::Leaf } else { Tree::Fork(Box::new(fork(depth - 1)), Box::new(fork(depth - 1))) }
}

#[test]
fn what_lies_behind_pointers_counts() {
    let bytes = written(&Postcard, &fork(14));
    assert!(bytes.len() < LIMIT / 16);
    let peak = peak::<Tree, _>(&Postcard, &bytes, ErrorKind::TooLarge);
    assert!(peak <= 2 * LIMIT, "{peak} bytes");
    let context = Context::new("default:key", b"header").with_max_value_size(LIMIT);
    Postcard.decode::<Tree>(&written(&Postcard, &fork(7)), context).unwrap();
}

#[derive(Debug, Deserialize)]
struct Nested(#[expect(dead_code, reason = "only read into")] Vec<Nested>);

/// Takes the memory for as many elements as it is told of, as many collections outside of std do.
struct Trusting;

impl<'de> Deserialize<'de> for Trusting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Trusting;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("numbers")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Trusting, A::Error> {
                let mut all: Vec<[u64; 32]> = Vec::with_capacity(elements.size_hint().unwrap_or(0));
                while let Some(element) = elements.next_element()? {
                    all.push(element);
                }
                Ok(Trusting)
            }
        }
        deserializer.deserialize_seq(Reader)
    }
}

#[test]
fn claimed_lengths_allocate_no_memory_ahead_of_their_bytes() {
    // A sequence in a sequence in a sequence: each claims as many elements as there are bytes, and each first element
    // is the next sequence.
    let claim = written(&Postcard, &30_000u32).repeat(10_000);
    let nested = peak::<Nested, _>(&Postcard, &claim, ErrorKind::Decode);
    assert!(nested <= LIMIT, "{nested} bytes");
    let packed = [0xDC, 0x75, 0x30].repeat(10_000);
    let nested = peak::<Nested, _>(&MessagePack, &packed, ErrorKind::Decode);
    assert!(nested <= LIMIT, "{nested} bytes");
    let claim = [written(&Postcard, &200_000u32), vec![0xFF; 200_000]].concat();
    let trusting = peak::<Trusting, _>(&Postcard, &claim, ErrorKind::Decode);
    assert!(trusting <= LIMIT, "{trusting} bytes");
}

/// JSON as a user of the library would write a codec of it.
#[derive(Debug, Clone)]
struct Own;

impl Codec for Own {
    const CONFIDENTIAL: bool = false;

    fn name(&self) -> String {
        "own".into()
    }

    fn configure(&mut self, _: &Policy) -> Result<(), Error> {
        Ok(())
    }

    fn encode<T: Serialize>(&self, value: &T, _: Context<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
        serde_json::to_writer(out, value).map_err(|_| Error::new(ErrorKind::Encode, "it is no JSON"))
    }

    fn decode<T: DeserializeOwned>(&self, bytes: &[u8], context: Context<'_>) -> Result<T, Error> {
        let mut format = serde_json::Deserializer::from_slice(bytes);
        let value = context.read(bytes, &mut format)?;
        format.end().map(|()| value).map_err(|_| Error::new(ErrorKind::Decode, "bytes are left over"))
    }
}

#[tokio::test]
async fn custom_codec_is_bounded_where_it_reads_through_its_context() {
    is_a_miss(Own, sparse(), LIMIT).await;
    let error = Context::new("default:key", b"").read::<u8, _>(b"300", &mut serde_json::Deserializer::from_str("300"));
    let error = error.unwrap_err();
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::Decode, "the bytes are not a `u8`".to_owned()));
    assert!(std::error::Error::source(&error).is_none(), "what serde says may quote the value");
}

#[test]
fn what_is_within_the_limit_is_read_to_the_last_byte() {
    let context = Context::new("default:key", b"header");
    let words: Vec<String> = (0..1_000).map(|n| format!("word {n}")).collect();
    let map: HashMap<String, Vec<(u8, u64)>> = words.iter().map(|word| (word.clone(), vec![(1, 2)])).collect();
    // Of each word its place; of each entry its name, its sequence, and the pair in it.
    for (bytes, most) in [(written(&Postcard, &words), 24_000), (written(&Postcard, &map), 64_000)] {
        let read = |limit| {
            let context = context.with_max_value_size(limit);
            match most {
                24_000 => Postcard.decode::<Vec<String>>(&bytes, context).map(|read| assert_eq!(read, words)),
                _ => Postcard
                    .decode::<HashMap<String, Vec<(u8, u64)>>>(&bytes, context)
                    .map(|read| assert_eq!(read, map)),
            }
        };
        read(most).unwrap();
        assert_eq!(read(most - 1).unwrap_err().kind(), ErrorKind::TooLarge);
    }
}

/// Takes nothing for what it cannot read.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Lenient {
    #[serde(deserialize_with = "or_nothing")]
    elements: Sparse,
}

fn or_nothing<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Sparse, D::Error> {
    Ok(Sparse::deserialize(deserializer).unwrap_or_default())
}

#[test]
fn oversized_field_is_an_error_though_its_type_defaults() {
    let bytes = written(&Postcard, &Lenient { elements: sparse() });
    assert!(peak::<Lenient, _>(&Postcard, &bytes, ErrorKind::TooLarge) <= 4 * LIMIT);
}
