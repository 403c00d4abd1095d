//! Encryption against the bare cipher.
//!
//! Both do the same work in one run: write postcard behind a nonce and seal it there; copy what is sealed, open it
//! there and read it. Ends with how much of the bare cipher's speed is left. `cargo bench -p cachekit-benches --bench sealing`.

use std::hint::black_box;

use cachekit::codec::{Context, Encrypted, Keyring, Postcard};
use cachekit::{Cache, CacheBuilder, Codec, Intent, backends::NoBackend};
use cachekit_benches::pair;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

/// Text of a length, which serde moves in one piece.
#[derive(Clone, Serialize, Deserialize)]
struct Blob(String);

#[derive(Clone, Serialize, Deserialize)]
struct User {
    id: u64,
    name: String,
    email: String,
    street: String,
    age: u32,
    active: bool,
}

const HEADER: &[u8] = &[7; 52];
const KEY: &str = "users:42";

fn main() {
    let bare = Bare::new();
    let codec = Encrypted::new(Postcard, Keyring::from_bytes(&[7; 32]).expect("32 bytes are a key"));
    println!(
        "{:>10} {:>12} {:>12} {:>7} {:>12} {:>12} {:>7}",
        "bytes", "seal ns", "bare", "ratio", "open ns", "bare", "ratio"
    );
    for size in [1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20] {
        let value = Blob("x".repeat(size));
        let context = Context::new(KEY, HEADER);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        codec.encode(&value, context, &mut ours).expect("it is sealed");
        bare.seal(&value, &mut theirs);
        let sealing = pair(
            || {
                let mut out = Vec::with_capacity(256);
                codec.encode(black_box(&value), context, &mut out).expect("it is sealed");
                black_box(out);
            },
            || {
                let mut out = Vec::with_capacity(256);
                bare.seal(black_box(&value), &mut out);
                black_box(out);
            },
        );
        let opening = pair(
            || drop(black_box(codec.decode::<Blob>(black_box(&ours), context).expect("it is opened"))),
            || drop(black_box(bare.open::<Blob>(black_box(&theirs)))),
        );
        println!(
            "{size:>10} {:>12.0} {:>12.0} {:>7.2} {:>12.0} {:>12.0} {:>7.2}",
            sealing.0,
            sealing.1,
            sealing.1 / sealing.0,
            opening.0,
            opening.1,
            opening.1 / opening.0
        );
    }
    hit(&bare);
}

/// A hit of a small struct in a secure L1, whole call, against nothing but opening and reading it.
fn hit(bare: &Bare) {
    let user = User {
        id: 42,
        name: "Ada Lovelace".into(),
        email: "ada@example.org".into(),
        street: "12 St James's Square, Westminster, London SW1".into(),
        age: 36,
        active: true,
    };
    let mut sealed = Vec::new();
    bare.seal(&user, &mut sealed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let keyring = Keyring::from_bytes(&[7; 32]).expect("32 bytes are a key");
    let cache: Cache<NoBackend, Encrypted<Postcard>> =
        CacheBuilder::new().intent(Intent::Secure).keyring(keyring).namespace("users").build().expect("it is complete");
    runtime.block_on(async {
        cache.set(42u64, user.clone()).await.expect("it is stored");
        let load = || async { Err::<User, _>(std::io::Error::other("not asked for")) };
        let mut waker = std::task::Context::from_waker(std::task::Waker::noop());
        let (ours, theirs) = pair(
            || {
                let mut call = std::pin::pin!(cache.get_or_compute(black_box(42u64), load));
                black_box(call.as_mut().poll(&mut waker).is_ready());
            },
            || drop(black_box(bare.open::<User>(black_box(&sealed)))),
        );
        println!(
            "hit of {} bytes: {ours:.0} ns, bare open {theirs:.0} ns, {:.2} times",
            sealed.len() - 28,
            ours / theirs
        );
    });
}

/// What one writes with the cipher alone.
struct Bare(LessSafeKey);

impl Bare {
    fn new() -> Self {
        Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).expect("32 bytes are a key")))
    }

    fn seal<T: Serialize>(&self, value: &T, out: &mut Vec<u8>) {
        let mut nonce = [0; 12];
        SystemRandom::new().fill(&mut nonce).expect("there are random bytes");
        out.extend_from_slice(&nonce);
        Postcard.encode(value, Context::new(KEY, HEADER), out).expect("it is written");
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(HEADER), &mut out[12..]).expect("it is sealed");
        out.extend_from_slice(tag.as_ref());
    }

    fn open<T: serde::de::DeserializeOwned>(&self, sealed: &[u8]) -> T {
        let (nonce, sealed) = sealed.split_first_chunk().expect("there is a nonce");
        let mut bytes = sealed.to_vec();
        let plain = self.0.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(HEADER), &mut bytes);
        Postcard.decode(plain.expect("it is opened"), Context::new(KEY, HEADER)).expect("it is read")
    }
}
