//! Codecs: what they promise for good bytes and for bad ones.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::time::Duration;

use cachekit::codec::{Checked, Compressed, Context, Json, MessagePack, Postcard, Standard};
use cachekit::{Codec, Error, ErrorKind};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

fn context() -> Context<'static> {
    Context::new("users:42", b"header")
}

fn encode<T: Serialize + ?Sized>(codec: &impl Codec, value: &T) -> Vec<u8> {
    let mut out = b"prefix".to_vec();
    codec.encode(&value, context(), &mut out).unwrap();
    assert_eq!(&out[..6], b"prefix", "encode appends");
    out.split_off(6)
}

fn decode<T: DeserializeOwned>(codec: &impl Codec, bytes: &[u8]) -> Result<T, Error> {
    codec.decode(bytes, context())
}

fn kind<T: Debug>(result: Result<T, Error>) -> ErrorKind {
    result.unwrap_err().kind()
}

/// Runs a body for every base codec and every kind of stack around it.
macro_rules! for_each_codec {
    (|$codec:ident| $body:block) => {{
        for_each_codec!(@ $codec $body: Postcard, MessagePack, Json);
    }};
    (@ $codec:ident $body:block: $($base:expr),*) => {$(
        { let $codec = $base; $body }
        { let $codec = Checked::new($base); $body }
        { let $codec = Compressed::new($base).threshold(0); $body }
        { let $codec = Checked::new(Compressed::new($base).threshold(16)); $body }
        { let $codec = Compressed::new(Checked::new($base)).threshold(16).level(9); $body }
    )*};
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Shape {
    Dot,
    Circle(f64),
    Rect { w: u32, h: Option<i64> },
    Pair(char, Box<Shape>),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Rich {
    id: u64,
    small: i8,
    flag: bool,
    name: String,
    letter: char,
    score: f64,
    data: Vec<u8>,
    maybe: Option<Option<u16>>,
    pairs: BTreeMap<String, (u8, i32)>,
    shapes: Vec<Shape>,
    unit: (),
    result: Result<u32, String>,
    pause: Duration,
    text: Cow<'static, str>,
}

fn shape() -> impl Strategy<Value = Shape> {
    let leaf = prop_oneof![
        Just(Shape::Dot),
        (-1e9..1e9).prop_map(Shape::Circle),
        (any::<u32>(), any::<Option<i64>>()).prop_map(|(w, h)| Shape::Rect { w, h }),
    ];
    leaf.prop_recursive(4, 8, 1, |inner| (any::<char>(), inner).prop_map(|(c, shape)| Shape::Pair(c, Box::new(shape))))
}

fn rich() -> impl Strategy<Value = Rich> {
    let scalars = (any::<u64>(), any::<i8>(), any::<bool>(), ".*", any::<char>(), -1e300..1e300);
    let parts = (
        vec(any::<u8>(), 0..200),
        // `Some(None)` is `None` in JSON and MessagePack.
        any::<Option<u16>>().prop_map(|maybe| maybe.map(Some)),
        btree_map(".{0,8}", any::<(u8, i32)>(), 0..8),
        vec(shape(), 0..8),
        any::<Result<u32, String>>(),
        any::<Duration>(),
        ".{0,40}",
    );
    (scalars, parts).prop_map(|((id, small, flag, name, letter, score), (data, maybe, pairs, shapes, result, pause, text))| {
        Rich { id, small, flag, name, letter, score, data, maybe, pairs, shapes, unit: (), result, pause, text: text.into() }
    })
}

fn sample() -> Rich {
    Rich {
        id: 1 << 40,
        small: -3,
        flag: true,
        name: "ada lovelace, ada lovelace, ada lovelace, ada lovelace".into(),
        letter: 'é',
        score: 0.5,
        data: vec![0, 255, 7],
        maybe: Some(Some(300)),
        pairs: BTreeMap::from([("x".into(), (1, -1)), ("y".into(), (2, -2))]),
        shapes: vec![Shape::Dot, Shape::Pair('a', Box::new(Shape::Rect { w: 1, h: Some(-2) }))],
        unit: (),
        result: Err("no".into()),
        pause: Duration::from_millis(1500),
        text: "text".into(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_value_comes_back(value in rich()) {
        for_each_codec!(|codec| {
            prop_assert_eq!(&decode::<Rich>(&codec, &encode(&codec, &value)).unwrap(), &value);
        });
    }

    #[test]
    fn numbers_of_every_width_come_back(value: (u8, u16, u32, u64, i8, i16, i32, i64, f32)) {
        prop_assume!(value.8.is_finite());
        for_each_codec!(|codec| {
            prop_assert_eq!(decode::<(u8, u16, u32, u64, i8, i16, i32, i64, f32)>(&codec, &encode(&codec, &value)).unwrap(), value);
        });
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..300)) {
        for_each_codec!(|codec| {
            let _ = decode::<Rich>(&codec, &bytes);
            let _ = decode::<Vec<Shape>>(&codec, &bytes);
            let _ = decode::<HashMap<String, Vec<()>>>(&codec, &bytes);
            let _ = decode::<serde_json::Value>(&codec, &bytes);
            let _ = decode::<Option<String>>(&codec, &bytes);
        });
    }

    #[test]
    fn damaged_bytes_never_panic(value in rich(), at: prop::sample::Index, with: u8) {
        for_each_codec!(|codec| {
            let mut bytes = encode(&codec, &value);
            let at = at.index(bytes.len());
            bytes[at] ^= with;
            let _ = decode::<Rich>(&codec, &bytes);
        });
    }

    #[test]
    fn arbitrary_zlib_heads_never_panic(claim: u32, stream in vec(any::<u8>(), 0..64)) {
        let bytes = [&[1][..], &claim.to_be_bytes(), &stream].concat();
        prop_assert!(decode::<String>(&Compressed::new(Postcard), &bytes).is_err());
    }
}

#[test]
fn unusual_values_come_back() {
    for_each_codec!(|codec| {
        assert_eq!(decode::<(u128, i128)>(&codec, &encode(&codec, &(u128::MAX, i128::MIN))).unwrap(), (u128::MAX, i128::MIN));
        assert_eq!(decode::<String>(&codec, &encode(&codec, "")).unwrap(), "");
        decode::<()>(&codec, &encode(&codec, &())).unwrap();
        assert_eq!(decode::<Vec<()>>(&codec, &encode(&codec, &vec![(); 1000])).unwrap().len(), 1000);
        let long = "word ".repeat(100_000);
        assert_eq!(decode::<String>(&codec, &encode(&codec, &long)).unwrap(), long);
    });
}

#[test]
fn a_trailing_byte_is_refused() {
    for_each_codec!(|codec| {
        // 0x91, 0xC0 and 0x81 start values that the end cuts short: they must not pass for an end.
        for extra in [0, 1, b'x', 0x91, 0xC0, 0xC1, 0x81, 0xFF] {
            let mut bytes = encode(&codec, &sample());
            bytes.push(extra);
            decode::<Rich>(&codec, &bytes).unwrap_err();
            let mut bytes = encode(&codec, &7u8);
            bytes.push(extra);
            decode::<u8>(&codec, &bytes).unwrap_err();
        }
    });
}

#[test]
fn a_cut_at_any_length_is_refused() {
    for_each_codec!(|codec| {
        let bytes = encode(&codec, &sample());
        for length in 0..bytes.len() {
            assert!(decode::<Rich>(&codec, &bytes[..length]).is_err(), "{} cut to {length}", codec.name());
        }
    });
}

/// Every stack with a checksum outside, with plain and with compressed contents.
fn assert_checked(codec: &impl Codec) {
    for value in [sample(), Rich { name: "long ".repeat(400), ..sample() }] {
        let bytes = encode(codec, &value);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(kind(decode::<Rich>(codec, &flipped)), ErrorKind::Unauthentic, "{} bit {bit}", codec.name());
        }
        for length in 0..bytes.len() {
            assert_eq!(kind(decode::<Rich>(codec, &bytes[..length])), ErrorKind::Unauthentic);
        }
        assert_eq!(kind(decode::<Rich>(codec, &[&bytes[..], b"\0"].concat())), ErrorKind::Unauthentic);
    }
}

#[test]
fn checked_refuses_every_flipped_bit_and_every_cut() {
    assert_checked(&Checked::new(Postcard));
    assert_checked(&Checked::new(MessagePack));
    assert_checked(&Checked::new(Json));
    assert_checked(&Standard::default());
    assert_checked(&Checked::new(Compressed::new(Json).threshold(16)));
}

#[test]
fn checked_binds_key_and_header() {
    let codec = Standard::default();
    let context = Context::new("users:42", b"header");
    let mut bytes = Vec::new();
    codec.encode(&"ada", context, &mut bytes).unwrap();
    let with = |key, header: &[u8]| codec.decode::<String>(&bytes, Context::new(key, header));
    assert_eq!(with("users:42", b"header").unwrap(), "ada");
    for (key, header) in [
        ("users:43", &b"header"[..]),
        ("users:42", b"Header"),
        ("users:42", b""),
        ("", b"header"),
        ("users:42h", b"eader"),
        ("users:4", b"2header"),
        ("users:42header", b""),
        ("", b"users:42header"),
    ] {
        let error = with(key, header).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthentic);
        assert!(!format!("{error} {error:?}").contains("users:4"), "the error does not name the key");
    }
}

#[test]
fn checked_refuses_bytes_moved_between_header_and_body() {
    let codec = Checked::new(Postcard);
    let mut bytes = Vec::new();
    codec.encode(&(b'r', 1u8), Context::new("n:k", b"heade"), &mut bytes).unwrap();
    codec.decode::<(u8, u8)>(&bytes, Context::new("n:k", b"heade")).unwrap();
    assert_eq!(kind(codec.decode::<u8>(&bytes[1..], Context::new("n:k", b"header"))), ErrorKind::Unauthentic);
}

#[test]
fn names_tell_the_stack() {
    assert_eq!(Standard::default().name(), "checked(compressed(postcard))");
    assert_eq!(Compressed::new(Checked::new(MessagePack)).name(), "compressed(checked(messagepack))");
    assert_eq!(Json.name(), "json");
    const { assert!(!Standard::CONFIDENTIAL) };
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u32),
    Text { text: String },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    Number { number: u32 },
    Nothing,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Sparse {
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<u32>,
    last: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Flat {
    id: u32,
    #[serde(flatten)]
    rest: BTreeMap<String, u32>,
}

#[test]
fn postcard_cannot_read_what_is_not_described_and_the_others_can() {
    assert_eq!(kind(decode::<Untagged>(&Postcard, &encode(&Postcard, &Untagged::Number(7)))), ErrorKind::Decode);
    assert_eq!(kind(decode::<Tagged>(&Postcard, &encode(&Postcard, &Tagged::Nothing))), ErrorKind::Decode);
    let sparse = Sparse { first: None, last: "x".into() };
    assert_eq!(kind(decode::<Sparse>(&Postcard, &encode(&Postcard, &sparse))), ErrorKind::Decode);
    let flat = Flat { id: 1, rest: BTreeMap::from([("a".into(), 2)]) };
    assert_eq!(kind(Postcard.encode(&flat, context(), &mut Vec::new())), ErrorKind::Encode);

    fn comes_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
        assert_eq!(&decode::<T>(&MessagePack, &encode(&MessagePack, value)).unwrap(), value);
        assert_eq!(&decode::<T>(&Json, &encode(&Json, value)).unwrap(), value);
    }
    comes_back(&Untagged::Number(7));
    comes_back(&Untagged::Text { text: "x".into() });
    comes_back(&Tagged::Number { number: 7 });
    comes_back(&Tagged::Nothing);
    comes_back(&sparse);
    comes_back(&flat);
}

#[test]
fn errors_do_not_quote_values() {
    for_each_codec!(|codec| {
        let bytes = encode(&codec, &("hunter2", "hunter2"));
        for error in [
            decode::<(u32, u32)>(&codec, &bytes).unwrap_err(),
            decode::<Vec<Shape>>(&codec, &bytes).unwrap_err(),
            decode::<(std::net::IpAddr, char)>(&codec, &bytes).unwrap_err(),
        ] {
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
    });
}

#[derive(Debug, Serialize, Deserialize)]
struct List {
    value: u32,
    next: Option<Box<List>>,
}

fn list(nodes: u32) -> List {
    (1..nodes).fold(List { value: 0, next: None }, |next, value| List { value, next: Some(Box::new(next)) })
}

#[test]
fn deep_nesting_is_an_error_not_a_stack_overflow() {
    for_each_codec!(|codec| {
        decode::<List>(&codec, &encode(&codec, &list(100))).unwrap();
        assert_eq!(kind(decode::<List>(&codec, &encode(&codec, &list(150)))), ErrorKind::Decode);
    });
    // value 0, then Some, over and over.
    let deep = [0, 1].repeat(1_000_000);
    let error = decode::<List>(&Postcard, &deep).unwrap_err();
    assert_eq!(error.to_string(), "the bytes nest more than 256 levels deep");
    assert_eq!(kind(decode::<serde_json::Value>(&Json, "[".repeat(1_000_000).as_bytes())), ErrorKind::Decode);
    assert_eq!(kind(decode::<serde_json::Value>(&MessagePack, &[0x91].repeat(1_000_000))), ErrorKind::Decode);
    #[derive(Debug, Deserialize)]
    struct Wrap(#[allow(dead_code, reason = "only read into")] Option<Box<Wrap>>);
    assert_eq!(kind(decode::<Wrap>(&Postcard, &[1].repeat(1_000_000))), ErrorKind::Decode);
    assert_eq!(kind(decode::<Wrap>(&MessagePack, &[7])), ErrorKind::Decode, "an option costs no byte here");
    assert_eq!(kind(decode::<Wrap>(&Json, b"7")), ErrorKind::Decode);
}

#[test]
fn claimed_lengths_are_not_believed() {
    let huge = encode(&Postcard, &u64::MAX);
    for claim in [encode(&Postcard, &(1u64 << 30)), huge] {
        assert_eq!(kind(decode::<Vec<()>>(&Postcard, &claim)), ErrorKind::Decode);
        assert_eq!(kind(decode::<Vec<[(); 4]>>(&Postcard, &claim)), ErrorKind::Decode);
        assert_eq!(kind(decode::<HashMap<(), ()>>(&Postcard, &claim)), ErrorKind::Decode);
        assert_eq!(kind(decode::<Vec<u8>>(&Postcard, &claim)), ErrorKind::Decode);
        assert_eq!(kind(decode::<String>(&Postcard, &claim)), ErrorKind::Decode);
        assert_eq!(kind(decode::<Vec<[u64; 32]>>(&Postcard, &claim)), ErrorKind::Decode);
        assert_eq!(kind(decode::<HashMap<u64, [u64; 32]>>(&Postcard, &claim)), ErrorKind::Decode);
    }
    assert_eq!(decode::<Vec<()>>(&Postcard, &encode(&Postcard, &vec![(); 65_536])).unwrap().len(), 65_536);
    assert_eq!(kind(decode::<Vec<()>>(&Postcard, &encode(&Postcard, &vec![(); 65_540]))), ErrorKind::Decode);
    // Arrays, maps, strings and binaries that claim four billion elements.
    for marker in [0xDD, 0xDF, 0xDB, 0xC6] {
        let claim = [marker, 0xFF, 0xFF, 0xFF, 0xFF];
        assert_eq!(kind(decode::<Vec<u64>>(&MessagePack, &claim)), ErrorKind::Decode);
        assert_eq!(kind(decode::<Vec<()>>(&MessagePack, &claim)), ErrorKind::Decode);
        assert_eq!(kind(decode::<HashMap<String, [u64; 32]>>(&MessagePack, &claim)), ErrorKind::Decode);
        assert_eq!(kind(decode::<String>(&MessagePack, &claim)), ErrorKind::Decode);
        assert_eq!(kind(decode::<serde_json::Value>(&MessagePack, &claim)), ErrorKind::Decode);
    }
}

#[test]
fn claimed_lengths_do_not_allocate() {
    // A megabyte is what serde itself reserves for a claimed length.
    let most = |work: &dyn Fn()| allocation_counter::measure(work).bytes_max;
    let claim = [encode(&Postcard, &(1u64 << 40)), vec![0; 100]].concat();
    assert!(most(&|| drop(decode::<Vec<[u64; 32]>>(&Postcard, &claim))) < 2 << 20);
    assert!(most(&|| drop(decode::<HashMap<u64, Vec<u64>>>(&Postcard, &claim))) < 2 << 20);
    let claim = [0xDD, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0];
    assert!(most(&|| drop(decode::<Vec<[u64; 32]>>(&MessagePack, &claim))) < 2 << 20);
    // One byte plain for each byte of stream is what these damaged streams give before they end.
    let stream = encode(&Compressed::new(Postcard), &"x".repeat(100_000));
    let mut bomb = stream[..stream.len() / 2].to_vec();
    bomb[1..5].copy_from_slice(&(40_000u32).to_be_bytes());
    assert!(most(&|| drop(decode::<String>(&Compressed::new(Postcard), &bomb))) < 1 << 20);
}

fn text() -> String {
    (0..2000u32).map(|n| format!("{{\"id\":{n},\"name\":\"user {}\"}}", n.wrapping_mul(2_654_435_761) % 977)).collect()
}

/// Bytes without any pattern.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u64;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect()
}

#[test]
fn the_level_decides_the_size() {
    let size = |level| encode(&Compressed::new(Json).level(level), &text()).len();
    let plain = encode(&Json, &text()).len();
    assert!(size(9) <= size(6) && size(6) < size(1) && size(1) < plain / 2, "{} {} {}", size(9), size(6), size(1));
    assert_eq!(encode(&Compressed::new(Json), &text()).len(), size(6), "6 is the default");
}

#[test]
fn small_values_stay_plain_up_to_the_threshold() {
    let plain = |codec: &Compressed<Postcard>, len| encode(codec, &vec![7u8; len])[0] == 0;
    let codec = Compressed::new(Postcard);
    // Two bytes are the length.
    assert!(plain(&codec, Compressed::<Postcard>::THRESHOLD - 2));
    assert!(!plain(&codec, Compressed::<Postcard>::THRESHOLD - 1));
    assert!(plain(&codec.threshold(100_000), 50_000));
    assert!(!plain(&codec.threshold(64), 100));
}

#[test]
fn disabled_writes_plain_and_still_reads_both() {
    let (on, off) = (Compressed::new(Postcard), Compressed::new(Postcard).enabled(false));
    let written = encode(&off, &text());
    assert_eq!(written[1..], encode(&Postcard, &text()));
    assert_eq!(decode::<String>(&off, &encode(&on, &text())).unwrap(), text());
    assert_eq!(decode::<String>(&on, &written).unwrap(), text());
}

#[test]
fn what_does_not_shrink_stays_plain() {
    let codec = Compressed::new(Postcard);
    let bytes = encode(&codec, &noise(10_000));
    assert_eq!(bytes.len(), 1 + 2 + 10_000);
    assert_eq!(decode::<Vec<u8>>(&codec, &bytes).unwrap(), noise(10_000));
    for len in 0..40 {
        let bytes = encode(&codec.threshold(0), &noise(len));
        assert!(bytes.len() <= len + 2, "never more than one byte is added");
    }
}

#[test]
fn what_shrinks_too_much_stays_plain_and_reads() {
    let codec = Compressed::new(Postcard);
    let zeros = "\0".repeat(4 << 20);
    assert_eq!(decode::<String>(&codec, &encode(&codec, &zeros)).unwrap(), zeros);
    assert_eq!(decode::<String>(&codec.level(9), &encode(&codec.level(9), &zeros)).unwrap(), zeros);
}

#[test]
fn the_bytes_do_not_depend_on_what_ran_before() {
    let codec = Checked::new(Compressed::new(Postcard));
    let first = encode(&codec, &text());
    let _ = encode(&codec, &"other ".repeat(50_000));
    let _ = encode(&Compressed::new(Postcard).level(1), &text());
    let _ = encode(&codec, &noise(100_000));
    let _ = decode::<String>(&Compressed::new(Postcard), &[1, 0, 0, 1, 0, 0x78, 0x9C, 3]);
    assert_eq!(encode(&codec, &text()), first);
    assert_eq!(std::thread::spawn(move || encode(&codec, &text())).join().unwrap(), first);
}

/// A compressed entry with another claimed length.
fn claiming(bytes: &[u8], length: u32) -> Vec<u8> {
    [&bytes[..1], &length.to_be_bytes(), &bytes[5..]].concat()
}

#[test]
fn bombs_and_lies_are_refused() {
    let codec = Compressed::new(Postcard);
    let good = encode(&codec, &text());
    assert_eq!(good[0], 1);
    let length = u32::from_be_bytes(good[1..5].try_into().unwrap());
    assert_eq!(decode::<String>(&codec, &claiming(&good, length)).unwrap(), text());
    let limit = u32::try_from(Compressed::<Postcard>::MAX_PLAIN).unwrap();
    let ratio = u32::try_from((good.len() - 5) * Compressed::<Postcard>::MAX_RATIO).unwrap();
    for claim in [0, 1, length - 1, length + 1, length * 2, ratio, ratio + 1, limit, limit + 1, u32::MAX] {
        assert_eq!(kind(decode::<String>(&codec, &claiming(&good, claim))), ErrorKind::Decode, "claims {claim}");
    }
    let error = decode::<String>(&codec, &claiming(&good, ratio + 1)).unwrap_err();
    assert!(error.to_string().contains("larger than compression allows"));
    assert_eq!(kind(decode::<String>(&codec, &[&good[..], b"x"].concat())), ErrorKind::Decode, "bytes after the stream");
    assert_eq!(kind(decode::<String>(&codec, &[2, 0, 0])), ErrorKind::Decode, "an unknown way to compress");
    assert_eq!(kind(decode::<String>(&codec, &[])), ErrorKind::Decode);
}

#[test]
fn a_claim_of_64_mib_of_zeros_is_refused_before_it_is_inflated() {
    // 64 MiB of zeros are 65 KiB of zlib: more than 1,000 to one.
    let zeros = vec![0u8; 64 << 20];
    let mut state = flate2::Compress::new(flate2::Compression::new(9), true);
    let mut stream = Vec::with_capacity(1 << 20);
    state.compress_vec(&zeros, &mut stream, flate2::FlushCompress::Finish).unwrap();
    let bomb = [&[1][..], &(64u32 << 20).to_be_bytes(), &stream].concat();
    let info = allocation_counter::measure(|| {
        assert_eq!(kind(decode::<Vec<u8>>(&Compressed::new(Postcard), &bomb)), ErrorKind::Decode);
    });
    assert!(info.bytes_max < 64 << 10, "{} bytes", info.bytes_max);
    let modest = [&[1][..], &1000u32.to_be_bytes(), &stream].concat();
    let info = allocation_counter::measure(|| {
        assert_eq!(kind(decode::<Vec<u8>>(&Compressed::new(Postcard), &modest)), ErrorKind::Decode);
    });
    assert!(info.bytes_max < 64 << 10, "what is inflated is bounded by the claim: {} bytes", info.bytes_max);
}

#[derive(Serialize)]
struct Golden {
    id: u32,
    name: &'static str,
    shape: Shape,
    tags: [Option<i8>; 2],
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn golden_bytes() {
    let value = Golden { id: 300, name: "ada", shape: Shape::Rect { w: 1, h: Some(-2) }, tags: [None, Some(-1)] };
    assert_eq!(hex(&encode(&Postcard, &value)), "");
    assert_eq!(hex(&encode(&MessagePack, &value)), "");
    assert_eq!(encode(&Json, &value), br#"{"id":300,"name":"ada","shape":{"Rect":{"w":1,"h":-2}},"tags":[null,-1]}"#);
    assert_eq!(hex(&encode(&Checked::new(Postcard), &value)), "");
    assert_eq!(hex(&encode(&Standard::default(), &value)), "");
    assert_eq!(hex(&encode(&Compressed::new(Postcard).level(1), &"ab".repeat(600))), "");
}
