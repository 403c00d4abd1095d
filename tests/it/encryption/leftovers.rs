//! What is left of a value in memory and on disk, once the program has let go of it.
//!
//! A child does the work, and its parent reads its memory, so that the search finds nothing of its own. The value is
//! random, and the parent knows it only behind a mask.

use std::fs;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write, stderr, stdin};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, fmt};

use cachekit::backends::File;
use cachekit::{Cache, CacheBuilder, Codec, FileLimits, Intent};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeSeq, Serializer};

use super::{contains, keyring};

/// Longer than anything here takes, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(30);

const ROLE: &str = "CACHEKIT_TEST_LEFTOVERS";
const DIR: &str = "CACHEKIT_TEST_DIR";
const TEST: &str = "encryption::leftovers::plays_its_role";
const MASK: u8 = 0x5A;
const LENGTH: usize = 64;
/// A piece of the value that cannot be there by chance.
const PIECE: usize = 16;

/// Bytes that are wiped when they are dropped, as a program does that cares.
#[derive(Clone)]
struct Wiped(Vec<u8>);

impl Drop for Wiped {
    fn drop(&mut self) {
        self.0.fill(0);
        std::hint::black_box(&mut self.0);
    }
}

/// In pieces, so that the buffer it is written to grows while there is something in it.
impl Serialize for Wiped {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Piece<'a>(&'a [u8]);
        impl Serialize for Piece<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_bytes(self.0)
            }
        }
        let mut pieces = serializer.serialize_seq(Some(self.0.len() / PIECE))?;
        self.0.chunks(PIECE).try_for_each(|piece| pieces.serialize_element(&Piece(piece)))?;
        pieces.end()
    }
}

impl<'de> Deserialize<'de> for Wiped {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pieces;
        impl<'de> Visitor<'de> for Pieces {
            type Value = Wiped;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("pieces")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut pieces: A) -> Result<Wiped, A::Error> {
                // As large as the largest from the start, so that the test's own vector leaves nothing behind.
                let mut wiped = Wiped(Vec::with_capacity(LENGTH * 4_000));
                while pieces.next_element_seed(Piece(&mut wiped.0))?.is_some() {}
                Ok(wiped)
            }
        }
        deserializer.deserialize_seq(Pieces)
    }
}

/// Where the next piece goes.
struct Piece<'a>(&'a mut Vec<u8>);

impl<'de> DeserializeSeed<'de> for Piece<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl Visitor<'_> for Piece<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }
    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<(), E> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// Does nothing unless started by [`left_of`].
#[tokio::test]
async fn plays_its_role() {
    let Ok(role) = env::var(ROLE) else { return };
    let mut limits = FileLimits::default();
    limits.lock_timeout = PATIENCE;
    let files = File::open(env::var(DIR).unwrap(), limits).unwrap();
    let masked: [u8; LENGTH] = std::array::from_fn(|_| fastrand::u8(..));
    let builder = CacheBuilder::new().backend(files).namespace("leftovers");
    let builder = builder.adaptive_timeout_enabled(false).operation_timeout(2 * PATIENCE);
    match role.as_str() {
        "secure" => {
            let cache = builder.intent(Intent::Secure).keyring(keyring(1)).build().unwrap();
            work(&cache, &masked).await;
            work(&cache.tenant("acme").unwrap(), &masked).await;
            wait(&masked, &cache).await;
        }
        "plain" => {
            let cache = builder.intent(Intent::Production).build().unwrap();
            work(&cache, &masked).await;
            wait(&masked, &cache).await;
        }
        _ => panic!("no such role: {role}"),
    }
}

/// Stores and reads, in every way, and lets go of every value it had.
async fn work<C: Codec>(cache: &Cache<File, C>, masked: &[u8; LENGTH]) {
    for (key, times) in [("large", 4_000), ("middling", 400), ("modest", 40), ("little", 10), ("small", 1)] {
        let mask = *masked;
        let value = move || {
            let mut bytes = Vec::with_capacity(LENGTH * times);
            for _ in 0..times {
                bytes.extend(mask.iter().map(|byte| byte ^ MASK));
            }
            Wiped(bytes)
        };
        cache.get_or_compute(key, move || async move { Ok::<_, std::io::Error>(value()) }).await.unwrap();
        cache.set((key, "set"), value()).await.unwrap();
        for key in [(key, "set"), (key, "absent")] {
            for _ in 0..3 {
                let read = cache.entry(key).get_or_compute(move || async move { Ok::<_, std::io::Error>(value()) });
                assert_eq!(read.await.unwrap().0.len(), LENGTH * times);
                drop(cache.entry(key).skip_l1_read().get::<Wiped>().await.unwrap());
            }
        }
    }
}

async fn wait<C: Codec>(masked: &[u8; LENGTH], cache: &Cache<File, C>) {
    while cache.pending() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(cache.l1_len() > 3, "L1 holds the entries");
    let hex: String = masked.iter().map(|byte| format!("{byte:02x}")).collect();
    stderr().write_all(format!("{hex}\n").as_bytes()).unwrap();
    stdin().read_line(&mut String::new()).unwrap();
}

/// How many pieces of the value are in the memory, and in the files, of a process in this role.
fn left_of(role: &str) -> (usize, usize) {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(env::current_exe().unwrap())
        .args([TEST, "--exact", "--nocapture"])
        .env(ROLE, role)
        .env(DIR, dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    let digits = line.trim().as_bytes();
    assert_eq!(digits.len(), 2 * LENGTH, "{line}");
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap() ^ MASK;
    let value: Vec<u8> = digits.chunks(2).map(byte).collect();
    let found = (in_memory(&child, &value), in_files(dir.path(), &value));
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    found
}

fn pieces(bytes: &[u8], value: &[u8]) -> usize {
    value.chunks(PIECE).filter(|piece| contains(bytes, piece)).count()
}

fn in_memory(child: &Child, value: &[u8]) -> usize {
    let maps = fs::read_to_string(format!("/proc/{}/maps", child.id())).unwrap();
    let mut memory = fs::File::open(format!("/proc/{}/mem", child.id())).unwrap();
    let (mut found, mut searched) = (0, 0);
    for map in maps.lines() {
        let mut words = map.split(' ');
        let (range, rights) = (words.next().unwrap(), words.next().unwrap());
        if !rights.starts_with("rw") || map.ends_with("[vvar]") {
            continue;
        }
        let (from, to) = range.split_once('-').unwrap();
        let bound = |text| u64::from_str_radix(text, 16).unwrap();
        memory.seek(SeekFrom::Start(bound(from))).unwrap();
        let mut bytes = Vec::new();
        // What cannot be read was never touched.
        let _ = Read::take(&memory, bound(to) - bound(from)).read_to_end(&mut bytes);
        searched += bytes.len();
        found += pieces(&bytes, value);
    }
    assert!(searched > 1 << 20, "{searched} bytes were searched");
    found
}

fn in_files(dir: &Path, value: &[u8]) -> usize {
    let files: Vec<Vec<u8>> = fs::read_dir(dir).unwrap().map(|file| fs::read(file.unwrap().path()).unwrap()).collect();
    assert!(files.iter().filter(|bytes| bytes.len() > 64).count() >= 4, "the entries are on disk");
    files.iter().map(|bytes| pieces(bytes, value)).sum()
}

#[test]
fn an_encrypting_cache_leaves_nothing_in_memory_or_files() {
    assert_eq!(left_of("secure"), (0, 0));
}

#[test]
fn the_search_finds_what_a_plain_cache_leaves() {
    let (memory, files) = left_of("plain");
    assert!(memory >= 4 && files >= 4, "{memory} pieces in memory, {files} in files");
}
