//! Codecs beside the crates that they are made of.

use std::hint::black_box;
use std::io::{Read, Write};
use std::time::Duration;

use cachekit::Codec;
use cachekit::codec::{Checked, Compressed, Context, Encrypted, Json, Keyring, MessagePack, Postcard};
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

use super::redis::bytes;
use crate::Failure;
use crate::arguments::Arguments;
use crate::clock::{Stopwatch, Whose};
use crate::load::Page;
use crate::report::{Case, Report, less, more};
use crate::rounds::{Candidate, interleave};

const ABOUT: &str = "A struct of four fields, most of it text, written into a new buffer and read back: by a codec of ours, \
    and by the bare crates, which do the same work with a buffer that grows and no bound on what they read. Bare `flate2` \
    and `ring` work on what bare `postcard` writes; where ours checksums, nothing stands beside it but postcard. Up to 1 KiB \
    `Compressed` stores what it is given. The codec is called by itself: inside a cache the base codec also compares what it \
    writes with what the type reads, which is not in here.";
const TURN: Duration = Duration::from_millis(120);
const KEY: [u8; 32] = [7; 32];

pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    let mut cases = Vec::new();
    for size in [200, 16 << 10, 1 << 20] {
        let page = Page::new(7, size);
        for pair in pairs()? {
            cases.extend(pair.measure(arguments, &page, size)?);
        }
    }
    Ok(Report {
        suite: "codecs",
        about: ABOUT,
        metrics: vec![less("CPU us"), more("MB/s"), less("bytes")],
        references: vec!["bare"],
        cases,
        remarks: Vec::new(),
    })
}

type Encode = Box<dyn Fn(&Page) -> Result<Vec<u8>, Failure>>;
type Decode = Box<dyn Fn(&[u8]) -> Result<Page, Failure>>;

/// A way to write and read, ours or bare.
struct Stack {
    name: &'static str,
    encode: Encode,
    decode: Decode,
}

struct Pair {
    ours: Stack,
    bare: Stack,
}

impl Pair {
    /// Writing, then reading.
    fn measure(&self, arguments: &Arguments, page: &Page, size: usize) -> Result<[Case; 2], Failure> {
        let case = |what: &str| format!("{}, {}, {what}", self.ours.name.trim_start_matches("cachekit "), bytes(size));
        let turn = arguments.turn(TURN);
        let both = [&self.ours, &self.bare];
        let writing = both.map(|stack| {
            Candidate::new(stack.name, move || {
                let mut length = 0;
                let micros = micros(turn, || {
                    length = black_box((stack.encode)(black_box(page))?).len();
                    Ok(())
                })?;
                Ok(vec![micros, size as f64 / micros, length as f64])
            })
        });
        let reading = both.map(|stack| {
            Candidate::new(stack.name, move || {
                let stored = (stack.encode)(page)?;
                let micros = micros(turn, || {
                    black_box((stack.decode)(black_box(&stored))?);
                    Ok(())
                })?;
                Ok(vec![micros, size as f64 / micros, stored.len() as f64])
            })
        });
        let writing = interleave(&case("write"), arguments.rounds, writing.into())?;
        Ok([writing, interleave(&case("read"), arguments.rounds, reading.into())?])
    }
}

/// Microseconds of the processor for each call.
fn micros(time: Duration, mut call: impl FnMut() -> Result<(), Failure>) -> Result<f64, Failure> {
    let (watch, mut calls) = (Stopwatch::start(Whose::Thread), 0);
    while calls == 0 || !watch.has_passed(time) {
        // The clock is looked at seldom, and yet in time where a call takes long.
        for _ in 0..8 {
            call()?;
        }
        calls += 8;
    }
    Ok(watch.read().1 * 1e6 / f64::from(calls))
}

fn ours(name: &'static str, codec: impl Codec) -> Stack {
    let context = || Context::new("users:42", &[7; 52]);
    let decoder = codec.clone();
    let encode = move |page: &Page| {
        let mut out = Vec::new();
        codec.encode(page, context(), &mut out)?;
        Ok(out)
    };
    Stack { name, encode: Box::new(encode), decode: Box::new(move |bytes| Ok(decoder.decode(bytes, context())?)) }
}

fn bare(
    name: &'static str,
    encode: impl Fn(&Page) -> Result<Vec<u8>, Failure> + 'static,
    decode: impl Fn(&[u8]) -> Result<Page, Failure> + 'static,
) -> Stack {
    Stack { name, encode: Box::new(encode), decode: Box::new(decode) }
}

fn bare_postcard() -> Stack {
    bare("bare postcard", |page| Ok(postcard::to_stdvec(page)?), |bytes| Ok(postcard::from_bytes(bytes)?))
}

fn bare_flate2(level: u32) -> Stack {
    let encode = move |page: &Page| {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(level));
        encoder.write_all(&postcard::to_stdvec(page)?)?;
        Ok(encoder.finish()?)
    };
    let decode = |bytes: &[u8]| {
        let mut plain = Vec::new();
        ZlibDecoder::new(bytes).read_to_end(&mut plain)?;
        Ok(postcard::from_bytes(&plain)?)
    };
    bare("bare postcard, flate2", encode, decode)
}

/// AES-256-GCM behind a nonce by chance.
fn bare_ring() -> Result<Stack, Failure> {
    let key = || Ok::<_, Failure>(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &KEY).map_err(|_| "a key")?));
    let (sealing, opening, random) = (key()?, key()?, SystemRandom::new());
    let encode = move |page: &Page| {
        let mut nonce = [0; NONCE_LEN];
        random.fill(&mut nonce).map_err(|_| "no random numbers")?;
        let mut out = postcard::to_extend(page, nonce.to_vec())?;
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = sealing.seal_in_place_separate_tag(nonce, Aad::empty(), &mut out[NONCE_LEN..]);
        out.extend_from_slice(tag.map_err(|_| "it is not sealed")?.as_ref());
        Ok(out)
    };
    let decode = move |bytes: &[u8]| {
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN).ok_or("too short")?;
        let (nonce, mut sealed) = (Nonce::try_assume_unique_for_key(nonce).map_err(|_| "a nonce")?, sealed.to_vec());
        let plain = opening.open_in_place(nonce, Aad::empty(), &mut sealed).map_err(|_| "it is not opened")?;
        Ok(postcard::from_bytes(plain)?)
    };
    Ok(bare("bare postcard, ring", encode, decode))
}

fn pairs() -> Result<[Pair; 7], Failure> {
    let messagepack =
        bare("bare rmp-serde", |page| Ok(rmp_serde::to_vec(page)?), |bytes| Ok(rmp_serde::from_slice(bytes)?));
    let json =
        bare("bare serde_json", |page| Ok(serde_json::to_vec(page)?), |bytes| Ok(serde_json::from_slice(bytes)?));
    let compressed = |level| Compressed::new(Postcard).level(level);
    let encrypted = Encrypted::new(Postcard, Keyring::from_bytes(&KEY)?);
    Ok([
        Pair { ours: ours("cachekit Postcard", Postcard), bare: bare_postcard() },
        Pair { ours: ours("cachekit MessagePack", MessagePack), bare: messagepack },
        Pair { ours: ours("cachekit Json", Json), bare: json },
        Pair { ours: ours("cachekit Checked", Checked::new(Postcard)), bare: bare_postcard() },
        Pair { ours: ours("cachekit Compressed, level 1", compressed(1)), bare: bare_flate2(1) },
        Pair { ours: ours("cachekit Compressed, level 6", compressed(6)), bare: bare_flate2(6) },
        Pair { ours: ours("cachekit Encrypted", encrypted), bare: bare_ring()? },
    ])
}
