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

mod compressed;
mod hostile;
mod refused;

fn context() -> Context<'static> {
    Context::new("users:42", b"header")
}

fn encode<T: Serialize + ?Sized>(codec: &impl Codec, value: &T) -> Vec<u8> {
    let mut out = b"prefix".to_vec();
    codec.encode(&value, context(), &mut out).expect("the value can be written");
    assert_eq!(&out[..6], b"prefix", "encode appends");
    out.split_off(6)
}

fn decode<T: DeserializeOwned>(codec: &impl Codec, bytes: &[u8]) -> Result<T, Error> {
    codec.decode(bytes, context())
}

fn kind<T: Debug>(result: Result<T, Error>) -> ErrorKind {
    result.expect_err("the bytes are refused").kind()
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

use for_each_codec;

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
    (scalars, parts).prop_map(
        |((id, small, flag, name, letter, score), (data, maybe, pairs, shapes, result, pause, text))| Rich {
            id,
            small,
            flag,
            name,
            letter,
            score,
            data,
            maybe,
            pairs,
            shapes,
            unit: (),
            result,
            pause,
            text: text.into(),
        },
    )
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
        assert_eq!(
            decode::<(u128, i128)>(&codec, &encode(&codec, &(u128::MAX, i128::MIN))).unwrap(),
            (u128::MAX, i128::MIN)
        );
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

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct MaybeFlat {
    id: u32,
    #[serde(flatten)]
    more: Option<Sparse>,
}

#[test]
fn untagged_and_flattened_types_fail_in_postcard_only() {
    assert_eq!(kind(decode::<Untagged>(&Postcard, &encode(&Postcard, &Untagged::Number(7)))), ErrorKind::Decode);
    assert_eq!(kind(decode::<Tagged>(&Postcard, &encode(&Postcard, &Tagged::Nothing))), ErrorKind::Decode);
    let sparse = Sparse { first: None, last: "x".into() };
    assert_eq!(kind(Postcard.encode(&sparse, context(), &mut Vec::new())), ErrorKind::Encode);
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
    comes_back(&MaybeFlat { id: 1, more: None });
    comes_back(&MaybeFlat { id: 1, more: Some(Sparse { first: Some(2), last: "x".into() }) });
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
