//! What reads bytes from outside, as functions of bytes: they end, and break no promise, whatever the bytes.
//!
//! `fuzz/` makes a target of cargo-fuzz of each, by `--cfg fuzzing`; the test in `smoke` runs them all on the corpora and
//! on mutations of them. Not part of the library: neither build of it that programs use has this.

use std::cell::RefCell;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};

use crate::backends::{Backend, Memory};
use crate::builder::CacheBuilder;
use crate::cache::Cache;
use crate::codec::{Checked, Codec, Compressed, Context, Encrypted, Json, Keyring, MessagePack, Postcard};
use crate::config::{ApiUrl, Environment, MemcachedSettings, RedisSettings};
use crate::frame::{self, Header};
use crate::intent;
use crate::key::Key;
use crate::ledger::{Head, Record};
use crate::message::Message;

#[cfg(test)]
mod smoke;

#[doc(hidden)]
pub use crate::backends::fuzzing::{api_answers, file_entry, memcached_answers, memcached_lease, redis_answers};

/// What is done with bytes.
pub type Target = fn(&[u8]);

/// All targets by their names.
pub const TARGETS: &[(&str, Target)] = &[
    ("api_answers", api_answers),
    ("bus_message", bus_message),
    ("cache_entry", cache_entry),
    ("checked", checked),
    ("compressed", compressed),
    ("encrypted", encrypted),
    ("environment", environment),
    ("file_entry", file_entry),
    ("frame", frame),
    ("json", json),
    ("ledger", ledger),
    ("memcached_answers", memcached_answers),
    ("memcached_lease", memcached_lease),
    ("messagepack", messagepack),
    ("postcard", postcard),
    ("redis_answers", redis_answers),
    ("url", url),
];

/// Something of each kind that serde knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Value {
    pub number: u32,
    pub signed: i64,
    pub text: String,
    pub flags: Vec<Option<bool>>,
    pub pairs: std::collections::BTreeMap<String, Vec<(u8, char)>>,
    pub shape: Shape,
    pub sparse: Vec<Option<[[u64; 32]; 8]>>,
}

/// Recursive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Shape {
    Dot,
    Line(i32),
    Both(Box<Shape>, Box<Shape>),
    Named { name: String, inside: Vec<Shape> },
}

/// The limit of all values here: small, so that what does not hold it is found out.
const LIMIT: usize = 64 << 10;

/// A header that is read is written as the same bytes, but for a validator, which this build does not write.
pub fn frame(bytes: &[u8]) {
    let (entry, _) = frame::strip_expiry(bytes.to_vec().into());
    if let Some((header, head, body)) = Header::split(&entry) {
        let written = header.to_bytes();
        assert!(
            written == head || head.len() > written.len() && head[3] == 1 && written[4..] == head[4..written.len()]
        );
        assert_eq!(head.len() + body.len(), entry.len());
    }
}

/// A head and a record that are read are written as the same bytes.
pub fn ledger(bytes: &[u8]) {
    if let Some(head) = Head::read(bytes) {
        assert_eq!(head.to_bytes(), bytes);
    }
    let lineage = bytes.get(3..11).map_or(0, |lineage| u64::from_be_bytes(lineage.try_into().expect("eight bytes")));
    if let Some(record) = Record::read(bytes, lineage) {
        assert_eq!(record.to_bytes(), bytes);
    }
}

/// A message that is read is written as the same bytes.
pub fn bus_message(bytes: &[u8]) {
    if let Ok((source, message)) = Message::read(bytes) {
        assert_eq!(message.to_bytes(source), bytes);
    }
}

/// Reads `bytes` as a value. What is read is within the limit, and is written and read as itself.
fn decode(codec: &impl Codec, bytes: &[u8]) {
    let context = Context::new("users:42", b"header").with_max_value_size(LIMIT);
    let Ok(value) = codec.decode::<Value>(bytes, context) else { return };
    assert!(value.sparse.len() * size_of::<Option<[[u64; 32]; 8]>>() <= LIMIT);
    let mut again = Vec::new();
    codec.encode(&value, context, &mut again).expect("what was read can be written");
    assert_eq!(codec.decode::<Value>(&again, context).expect("what was written can be read"), value);
}

pub fn postcard(bytes: &[u8]) {
    decode(&Postcard, bytes);
}

pub fn messagepack(bytes: &[u8]) {
    decode(&MessagePack, bytes);
}

pub fn json(bytes: &[u8]) {
    decode(&Json, bytes);
}

pub fn compressed(bytes: &[u8]) {
    decode(&Compressed::new(Postcard).threshold(0), bytes);
}

pub fn checked(bytes: &[u8]) {
    decode(&Checked::new(Compressed::new(MessagePack)), bytes);
}

pub fn encrypted(bytes: &[u8]) {
    decode(&Encrypted::new(Compressed::new(Postcard), Keyring::from_bytes(&[7; 32]).expect("32 bytes")), bytes);
}

/// A backend that gives these bytes fails no call: entries, manifests of chunks, and whatever else they are.
pub fn cache_entry(bytes: &[u8]) {
    struct Bench {
        runtime: Runtime,
        memory: Memory,
        cache: Cache<Memory, Postcard>,
    }
    thread_local!(static BENCH: RefCell<Option<Bench>> = const { RefCell::new(None) });
    let bench = || {
        let runtime = Builder::new_current_thread().enable_all().build().expect("there is memory for it");
        let memory = Memory::new(1 << 20);
        let builder = CacheBuilder::new().intent(intent::Minimal).backend(memory.clone()).namespace("users");
        let cache = builder.l1_enabled(false).max_value_size(LIMIT as u64).build().expect("it is complete");
        Bench { runtime, memory, cache }
    };
    BENCH.with_borrow_mut(|place| {
        let Bench { runtime, memory, cache } = place.get_or_insert_with(bench);
        runtime.block_on(async {
            let key = Key::new("users", 42).expect("it is short");
            let stored = memory.set(&key, bytes.to_vec().into(), Duration::from_secs(60)).await;
            stored.expect("it fits");
            cache.get::<Value>(42).await.expect("entries are no errors");
            cache.exists(42).await.expect("entries are no errors");
        });
    });
}

/// Lines of `NAME=value`: an answer, and no secret in it.
pub fn environment(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let lines = text.lines().filter_map(|line| line.split_once('='));
    // Opened to see whether it can be read.
    let vars: Vec<_> = lines.filter(|(name, _)| !name.contains("BUNDLE")).collect();
    let environment = Environment::from_vars(vars.iter().copied());
    let shown = format!("{environment:?}");
    for (name, secret) in vars.iter().filter(|(name, secret)| name.ends_with("KEY") && secret.len() > 16) {
        assert!(!shown.contains(secret), "{name} is shown");
    }
    let _ = CacheBuilder::from_environment(environment).l1_only().build();
}

pub fn url(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = (RedisSettings::new(&text), text.parse::<ApiUrl>());
    let _ = crate::backends::Memcached::new(MemcachedSettings::new([&*text]));
}
