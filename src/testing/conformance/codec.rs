//! What codecs promise.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::shapes::{Rich, Shape, Tree};
use crate::codec::{Codec, Context};
use crate::error::{Error, ErrorKind};

/// What [`codec`] cannot ask the codec itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct CodecOptions {
    binds: bool,
}

impl CodecOptions {
    /// For codecs that neither check nor authenticate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says that the codec binds its bytes to their [`Context`]: another context, a changed bit and a cut are refused.
    #[must_use]
    pub fn binds_context(mut self) -> Self {
        self.binds = true;
        self
    }
}

/// Checks that `codec` keeps the contract of [`Codec`], and returns the sentences checked.
///
/// Hand it a codec that is ready for use. What [`CodecOptions`] and [`Codec::CONFIDENTIAL`] exclude is not checked.
///
/// # Panics
/// At the first sentence the codec breaks. The message has the codec's name, the sentence, and what happened instead.
///
/// # Examples
/// ```
/// use cachekit::codec::Json;
/// use cachekit::testing::conformance::{CodecOptions, codec};
/// assert!(codec(&Json, CodecOptions::new()).contains(&"`decode` reads all of `bytes`."));
/// ```
pub fn codec<C: Codec>(codec: &C, options: CodecOptions) -> Vec<&'static str> {
    let mut kept = Vec::new();
    let mut case = |sentence: &'static str, check: &dyn Fn(Case<'_, C>)| {
        check(Case { codec, sentence });
        kept.push(sentence);
    };
    case("`decode` of what `encode` wrote gives an equal value.", &round_trips);
    case("`encode` appends to `out`, and leaves what was there.", &appends);
    case("`decode` reads all of `bytes`.", &reads_all);
    case("`decode` never panics, whatever the bytes.", &never_panics);
    case("An error of `decode` does not tell the value.", &tells_nothing);
    case("`decode` builds no value larger than its context allows.", &holds_the_limit);
    if options.binds {
        case("A codec that binds its context refuses bytes written under another.", &binds);
        case("A codec that binds its context refuses changed bytes.", &refuses_changes);
    }
    if C::CONFIDENTIAL {
        case("The bytes of a confidential codec hide the value.", &hides);
    }
    kept
}

const HOME: (&str, &[u8]) = ("conformance:1", b"header");

fn home() -> Context<'static> {
    Context::new(HOME.0, HOME.1)
}

struct Case<'a, C> {
    codec: &'a C,
    sentence: &'static str,
}

impl<C: Codec> Case<'_, C> {
    fn fail(&self, what: &str) -> ! {
        panic!("codec `{}` breaks its contract: \"{}\": {what}", self.codec.name(), self.sentence)
    }

    fn encode<T: Serialize>(&self, value: &T) -> Vec<u8> {
        let mut out = Vec::new();
        match self.codec.encode(value, home(), &mut out) {
            Ok(()) => out,
            Err(error) => self.fail(&format!("encode failed: {error:?}")),
        }
    }

    fn decode<T: DeserializeOwned>(&self, bytes: &[u8], context: Context<'_>) -> Result<T, Error> {
        let ended = catch_unwind(AssertUnwindSafe(|| self.codec.decode(bytes, context)));
        ended.unwrap_or_else(|_| self.fail(&format!("decode of {} panicked", super::shown(Some(bytes)))))
    }

    fn round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug>(&self, value: T) {
        let bytes = self.encode(&value);
        for _ in 0..2 {
            match self.decode::<T>(&bytes, home()) {
                Ok(read) if read == value => {}
                other => self.fail(&shortened(&format!("decode answered {other:?}, not {value:?}"))),
            }
        }
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(400).collect()
}

fn round_trips<C: Codec>(case: Case<'_, C>) {
    case.round_trip(());
    case.round_trip((true, false, 'x', '\u{10ffff}'));
    case.round_trip((u8::MAX, u16::MAX, u32::MAX, u64::MAX));
    case.round_trip((i8::MIN, i16::MIN, i32::MIN, i64::MIN));
    case.round_trip((0.5_f32, -2.25_f64, 0.0_f64));
    case.round_trip([None, Some(0_u32), Some(u32::MAX)]);
    case.round_trip(["", "plain", "\0 \" \\ \u{1}\r\n", "é🦀\u{feff}"].map(String::from));
    case.round_trip((0..=255).collect::<Vec<u8>>());
    case.round_trip(Vec::<Vec<String>>::new());
    case.round_trip(Shape::all());
    case.round_trip(Rich::example());
    case.round_trip(Tree::of_depth(20));
    case.round_trip("compressible ".repeat(100_000));
    let mut noise = fastrand::Rng::with_seed(7);
    case.round_trip(std::iter::repeat_with(|| noise.u8(..)).take(100_000).collect::<Vec<u8>>());
}

fn appends<C: Codec>(case: Case<'_, C>) {
    let value = Rich::example();
    for before in [&b"x"[..], b"before, and longer than one would think"] {
        let mut out = before.to_vec();
        if let Err(error) = case.codec.encode(&value, home(), &mut out) {
            case.fail(&format!("encode failed: {error:?}"));
        }
        let Some(appended) = out.strip_prefix(before) else { case.fail("what was in `out` has changed") };
        match case.decode::<Rich>(appended, home()) {
            Ok(read) if read == value => {}
            other => case.fail(&shortened(&format!("decode of what was appended answered {other:?}"))),
        }
    }
}

fn reads_all<C: Codec>(case: Case<'_, C>) {
    fn refuses<C: Codec, T: DeserializeOwned + Serialize>(case: &Case<'_, C>, value: T) {
        let bytes = case.encode(&value);
        for extra in [&[0][..], &[0xC1], &[0xFF, 0xFF], &bytes] {
            let longer = [&bytes, extra].concat();
            if case.decode::<T>(&longer, home()).is_ok() {
                case.fail(&format!("{} of {} bytes too many were accepted", std::any::type_name::<T>(), extra.len()));
            }
        }
    }
    refuses(&case, (7_u64, false));
    refuses(&case, String::from("text"));
    refuses(&case, Rich::example());
    refuses(&case, "compressible ".repeat(1_000));
}

/// Decodes as types of every kind. Whether it succeeds does not matter, only that it ends without a panic.
fn survives<C: Codec>(case: &Case<'_, C>, bytes: &[u8]) {
    let _ = case.decode::<()>(bytes, home());
    let _ = case.decode::<u64>(bytes, home());
    let _ = case.decode::<String>(bytes, home());
    let _ = case.decode::<Vec<u8>>(bytes, home());
    let _ = case.decode::<Vec<[u64; 4]>>(bytes, home());
    let _ = case.decode::<Vec<()>>(bytes, home());
    let _ = case.decode::<Vec<Shape>>(bytes, home());
    let _ = case.decode::<Rich>(bytes, home());
    let _ = case.decode::<Tree>(bytes, home());
}

fn never_panics<C: Codec>(case: Case<'_, C>) {
    survives(&case, &[]);
    for good in [case.encode(&Rich::example()), case.encode(&"compressible ".repeat(300)), case.encode(&7_u64)] {
        let step = good.len() / 256 + 1;
        for at in (0..good.len()).step_by(step) {
            survives(&case, &good[..at]);
            let mut changed = good.clone();
            changed[at] = !changed[at];
            survives(&case, &changed);
            changed[at] = 0xFF;
            survives(&case, &changed);
        }
    }
    for byte in 0..=255 {
        survives(&case, &[byte]);
        // Claims of vast lengths: a big number in the notation of most formats.
        survives(&case, &[byte, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]);
        survives(&case, &[byte, 0x7F, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0]);
    }
    for nest in [&[1][..], b"[", b"{\"children\":[", &[0x91], &[0x81], &[0xFF]] {
        survives(&case, &nest.repeat(100_000));
    }
    let mut noise = fastrand::Rng::with_seed(11);
    for length in 0..512 {
        let bytes: Vec<u8> = std::iter::repeat_with(|| noise.u8(..)).take(length).collect();
        survives(&case, &bytes);
    }
}

fn tells_nothing<C: Codec>(case: Case<'_, C>) {
    let bytes = case.encode(&("telltale", "telltale"));
    let errors = [
        case.decode::<(u64, u64)>(&bytes, home()).err(),
        case.decode::<Shape>(&bytes, home()).err(),
        case.decode::<Rich>(&bytes, home()).err(),
        case.decode::<(String, String)>(&[&bytes, &b"telltale"[..]].concat(), home()).err(),
        case.decode::<(String, String)>(&bytes[..bytes.len() - 1], home()).err(),
    ];
    for error in errors.into_iter().flatten() {
        let told = format!("{error} {error:?}");
        if told.contains("telltale") {
            case.fail(&format!("the message is {told}"));
        }
    }
}

fn holds_the_limit<C: Codec>(case: Case<'_, C>) {
    const LIMIT: usize = 10_000;
    let context = home().with_max_value_size(LIMIT);
    let (text, numbers) = ("a".repeat(10 * LIMIT), vec![7u64; LIMIT / 2]);
    let read = [
        ("text", case.decode::<String>(&case.encode(&text), context).err()),
        ("numbers", case.decode::<Vec<u64>>(&case.encode(&numbers), context).err()),
    ];
    for (what, error) in read {
        match error.map(|error| error.kind()) {
            Some(ErrorKind::TooLarge) => {}
            other => case.fail(&format!("for {what} larger than the limit, decode answered {other:?}, not `TooLarge`")),
        }
    }
}

fn binds<C: Codec>(case: Case<'_, C>) {
    let bytes = case.encode(&Rich::example());
    let (key, header) = HOME;
    let moved = [
        ("another key", Context::new("conformance:2", header)),
        ("another header", Context::new(key, b"Header")),
        ("no header", Context::new(key, b"")),
        ("a byte moved from the header to the key", Context::new("conformance:1h", b"eader")),
        ("a byte moved from the key to the header", Context::new("conformance:", b"1header")),
    ];
    for (name, context) in moved {
        match case.decode::<Rich>(&bytes, context) {
            Err(error) if error.kind() == ErrorKind::Unauthentic => {}
            other => case.fail(&shortened(&format!("under {name}, decode answered {other:?}, not Unauthentic"))),
        }
    }
}

fn refuses_changes<C: Codec>(case: Case<'_, C>) {
    let bytes = case.encode(&Rich::example());
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        if case.decode::<Rich>(&changed, home()).is_ok() {
            case.fail(&format!("bit {bit} of {} was flipped, and decode accepted it", bytes.len() * 8));
        }
    }
    for length in 0..bytes.len() {
        if case.decode::<Rich>(&bytes[..length], home()).is_ok() {
            case.fail(&format!("the first {length} of {} bytes were accepted", bytes.len()));
        }
    }
}

fn hides<C: Codec>(case: Case<'_, C>) {
    let bytes = case.encode(&"telltale");
    if bytes.windows(4).any(|window| window == b"tell" || window == b"tale") {
        case.fail("the value's text is among the bytes");
    }
}
