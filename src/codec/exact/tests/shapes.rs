//! Types of every kind that serde can make, each with random values of it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::{NonZeroI16, NonZeroU64, Wrapping};
use std::ops::{Bound, Range};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use fastrand::Rng;
use serde::ser::{SerializeMap, SerializeStruct};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A type with random values.
pub(super) trait Random: Sized {
    fn random(rng: &mut Rng) -> Self;
}

macro_rules! random {
    ($($type:ty = |$rng:ident| $value:expr;)*) => {$(
        impl Random for $type {
            fn random($rng: &mut Rng) -> Self {
                $value
            }
        }
    )*};
}

random! {
    () = |_rng| ();
    bool = |rng| rng.bool();
    char = |rng| rng.char(..);
    i8 = |rng| rng.i8(..);
    i16 = |rng| rng.i16(..);
    i32 = |rng| rng.i32(..) >> rng.u8(..32);
    i64 = |rng| rng.i64(..) >> rng.u8(..64);
    i128 = |rng| rng.i128(..) >> rng.u8(..128);
    u8 = |rng| rng.u8(..);
    u16 = |rng| rng.u16(..);
    u32 = |rng| rng.u32(..) >> rng.u8(..32);
    u64 = |rng| rng.u64(..) >> rng.u8(..64);
    u128 = |rng| rng.u128(..) >> rng.u8(..128);
    usize = |rng| rng.usize(..);
    f32 = |rng| if rng.u8(..4) == 0 { f32::INFINITY } else { rng.f32() * 1e9 - 5e8 };
    f64 = |rng| if rng.u8(..4) == 0 { f64::NAN } else { f64::from_bits(rng.u64(..)) };
    String = |rng| (0..rng.usize(..6)).map(|_| rng.char(..)).collect();
    Cow<'static, str> = |rng| String::random(rng).into();
    Box<str> = |rng| String::random(rng).into();
    PathBuf = |rng| String::random(rng).into();
    Duration = |rng| Duration::new(rng.u64(..), rng.u32(..1_000_000_000));
    SystemTime = |rng| SystemTime::UNIX_EPOCH + Duration::from_nanos(rng.u64(..));
    Ipv4Addr = |rng| rng.u32(..).into();
    Ipv6Addr = |rng| rng.u128(..).into();
    IpAddr = |rng| if rng.bool() { Ipv4Addr::random(rng).into() } else { Ipv6Addr::random(rng).into() };
    SocketAddr = |rng| (IpAddr::random(rng), rng.u16(..)).into();
    NonZeroU64 = |rng| NonZeroU64::new(rng.u64(1..)).expect("it is not zero");
    NonZeroI16 = |rng| NonZeroI16::new(rng.i16(1..)).expect("it is not zero");
    Wrapping<u32> = |rng| Wrapping(rng.u32(..));
    Range<i32> = |rng| rng.i32(..)..rng.i32(..);
    Bound<u8> = |rng| [Bound::Included(rng.u8(..)), Bound::Excluded(rng.u8(..)), Bound::Unbounded][rng.usize(..3)];
    serde_json::Value = |rng| match rng.u8(..8) {
        0 => serde_json::Value::Null,
        1 => rng.bool().into(),
        2 => rng.i64(..).into(),
        3 => rng.u64(..).into(),
        4 => rng.f64().into(),
        5 => String::random(rng).into(),
        6 => (0..rng.u8(..3)).map(|_| Self::random(rng)).collect(),
        _ => (0..rng.u8(..3)).map(|_| (String::random(rng), Self::random(rng))).collect(),
    };
}

impl<T: Random> Random for Option<T> {
    fn random(rng: &mut Rng) -> Self {
        rng.bool().then(|| T::random(rng))
    }
}

impl<T: Random> Random for Box<T> {
    fn random(rng: &mut Rng) -> Self {
        Box::new(T::random(rng))
    }
}

impl<T: Random, E: Random> Random for Result<T, E> {
    fn random(rng: &mut Rng) -> Self {
        if rng.bool() { Ok(T::random(rng)) } else { Err(E::random(rng)) }
    }
}

impl<T: Random, const N: usize> Random for [T; N] {
    fn random(rng: &mut Rng) -> Self {
        std::array::from_fn(|_| T::random(rng))
    }
}

macro_rules! collections {
    ($($type:ident<$($item:ident: $bound:path),*>)*) => {$(
        #[allow(unused_parens, reason = "a tuple of one is none")]
        impl<$($item: $bound + Random),*> Random for $type<$($item),*>
        where
            Self: FromIterator<($($item),*)>,
        {
            fn random(rng: &mut Rng) -> Self {
                (0..rng.u8(..4)).map(|_| ($($item::random(rng)),*)).collect()
            }
        }
    )*};
}
collections! { Vec<T: Debug> BTreeSet<T: Ord> BTreeMap<K: Ord, V: Debug> }

/// At most one entry, so that it shows itself in one way only.
impl<K: Random + Eq + std::hash::Hash, V: Random> Random for HashMap<K, V> {
    fn random(rng: &mut Rng) -> Self {
        (0..rng.u8(..2)).map(|_| (K::random(rng), V::random(rng))).collect()
    }
}

macro_rules! tuples {
    ($(($($item:ident),*))*) => {$(
        impl<$($item: Random),*> Random for ($($item,)*) {
            fn random(rng: &mut Rng) -> Self {
                ($($item::random(rng),)*)
            }
        }
    )*};
}
tuples! { (A) (A, B) (A, B, C) (A, B, C, D) (A, B, C, D, E) (A, B, C, D, E, F) }

/// Structs with random fields.
macro_rules! structs {
    ($($(#[$attribute:meta])* $name:ident { $($(#[$on_field:meta])* $field:ident: $type:ty),* $(,)? })*) => {$(
        #[derive(Debug, Clone, Serialize, Deserialize)]
        #[allow(dead_code, reason = "fields are written and read, not looked at")]
        $(#[$attribute])*
        pub(super) struct $name {
            $($(#[$on_field])* pub(super) $field: $type),*
        }

        impl Random for $name {
            fn random(rng: &mut Rng) -> Self {
                let _ = &rng;
                Self { $($field: Random::random(rng)),* }
            }
        }
    )*};
}

/// Enums whose random values are listed.
macro_rules! enums {
    ($($(#[$attribute:meta])* $name:ident { $($variants:tt)* } = |$rng:ident| [$($value:expr),* $(,)?];)*) => {$(
        #[derive(Debug, Clone, Serialize, Deserialize)]
        $(#[$attribute])*
        pub(super) enum $name {
            $($variants)*
        }

        impl Random for $name {
            fn random($rng: &mut Rng) -> Self {
                let values: &[&dyn Fn(&mut Rng) -> Self] = &[$(&|$rng: &mut Rng| { let _ = &$rng; $value }),*];
                values[$rng.usize(..values.len())]($rng)
            }
        }
    )*};
}

fn is_false(flag: &bool) -> bool {
    !flag
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

structs! {
    Empty {}
    Plain {
        id: u64, name: String, flag: bool, letter: char, small: i8, unit: (), maybe: Option<i32>, bytes: Vec<u8>,
        pair: (u16, i16), grid: [[u8; 3]; 2], tags: BTreeMap<String, Tag>,
    }
    Tag { label: String, weight: u8 }
    Floats { single: f32, double: f64, many: Vec<f64>, maybe: Option<f32> }
    Standard {
        ip: IpAddr, socket: SocketAddr, pause: Duration, at: SystemTime, id: NonZeroU64, level: NonZeroI16,
        wrapping: Wrapping<u32>, range: Range<i32>, bound: Bound<u8>, path: PathBuf, text: Cow<'static, str>,
        boxed: Box<str>, result: Result<u32, String>, huge: (i128, u128, usize), set: BTreeSet<u32>,
        map: HashMap<u32, Tag>, one: (u8,),
    }
    #[serde(rename = "named", rename_all = "SCREAMING-KEBAB-CASE")]
    Renamed { first_field: u8, #[serde(rename = "2")] second_field: String }
    RenamedOneWay { #[serde(rename(serialize = "out", deserialize = "in"))] one: u8, other: u8 }
    RenamedOneWayWithDefault { #[serde(default, rename(serialize = "out"))] one: u8, other: u8 }
    Aliased { #[serde(alias = "a", alias = "z")] one: u8, #[serde(alias = "first")] two: String, three: i8 }
    #[serde(default)]
    Defaulted { one: u8, #[serde(default = "seven")] two: u8 }
    SkippedOnWriting { #[serde(skip_serializing, default)] one: u8, two: u8 }
    SkippedOnReading { #[serde(skip_deserializing)] one: u8, two: u8 }
    SkippedCrosswise { #[serde(skip_serializing, default)] one: u8, #[serde(skip_deserializing)] two: u8 }
    SkippedIf {
        #[serde(default, skip_serializing_if = "is_false")] admin: bool,
        id: u64,
        #[serde(default, skip_serializing_if = "Vec::is_empty")] groups: Vec<u64>,
    }
    SkippedOptions {
        #[serde(default, skip_serializing_if = "Option::is_none")] discount: Option<u32>,
        #[serde(default, skip_serializing_if = "is_zero")] quantity: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")] note: Option<u32>,
    }
    Flat { id: u32, #[serde(flatten)] rest: BTreeMap<Word, u32> }
    FlatStruct { id: u32, #[serde(flatten)] tag: Tag, #[serde(flatten)] kind: Kinds }
    FlatNumbers { id: u128, #[serde(flatten)] rest: BTreeMap<u8, u32> }
    #[serde(transparent)]
    Transparent { only: Vec<String> }
    #[serde(deny_unknown_fields)]
    Strict { one: u8, two: Option<u8> }
    #[serde(bound = "")]
    Bounded { one: Generic<u8>, two: Generic<String> }
    WithModule { #[serde(with = "millis")] pause: Duration, name: String }
    WrittenNarrow { #[serde(serialize_with = "as_u32", deserialize_with = "from_u64")] number: u64 }
    WrittenUnsigned { #[serde(serialize_with = "as_u32", deserialize_with = "from_i64")] number: u64 }
    WrittenAsFloat { #[serde(deserialize_with = "from_f64")] number: u64 }
    Doubled {
        #[serde(default, deserialize_with = "doubled", skip_serializing_if = "Option::is_none")]
        change: Option<Option<u8>>,
        id: u8,
    }
    Bare { #[serde(serialize_with = "bare")] maybe: Option<u32>, id: u32 }
    Nested { inner: Vec<Option<Option<u8>>>, unit: Option<()>, empty: Option<Unit>, deep: Option<Option<Option<bool>>> }
    Nothing { unit: Unit, phantom: std::marker::PhantomData<u8>, empty: Empty }
    Keys {
        tuples: BTreeMap<(u8, u8), u8>,
    }
    TextKeys {
        bools: BTreeMap<bool, u8>, chars: BTreeMap<char, u8>, wide: BTreeMap<i128, u8>, words: BTreeMap<Word, u8>,
        new: BTreeMap<Id, u8>, boxed: BTreeMap<Box<str>, u8>,
    }
    MaybeKeys { maybe: BTreeMap<Option<u8>, u8> }
    Tree { value: u8, children: Vec<Tree2> }
    Values { many: Vec<serde_json::Value>, maybe: Option<serde_json::Value> }
    Remotes { #[serde(with = "Remote")] one: remote::Point, id: u8 }
    Liars { tuple: TupleForSeq, id: u8 }
    Liars2 { seq: SeqForTuple, id: u8 }
    Liars3 { short: ShortSeq, id: u8 }
    Custom { bytes: Bytes, date: Date, mail: Mail, version: Id }
    MapForStruct { map: AsMap, id: u8 }
    Miscounting { inner: Miscounts, id: u8 }
    Omitting { inner: Omits, id: u8 }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Word {
    #[serde(rename = "id")]
    Id,
    #[serde(rename = "label")]
    Label,
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Id(u32);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Unit;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound(serialize = "T: Serialize", deserialize = "T: Deserialize<'de>"))]
pub(super) struct Generic<T>(T, #[serde(skip)] (), Option<T>);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Tree2(Option<Box<Tree>>, Box<[Tree2]>);

random! {
    Word = |rng| [Self::Other, Self::Other, Self::Label, Self::Id][rng.usize(..4)];
    Id = |rng| Self(rng.u32(..));
    Unit = |_rng| Self;
    std::marker::PhantomData<u8> = |_rng| Self;
    Tree2 = |rng| Self((rng.u8(..4) == 0).then(|| Random::random(rng)), Box::new([]));
}

impl<T: Random> Random for Generic<T> {
    fn random(rng: &mut Rng) -> Self {
        Self(T::random(rng), (), Random::random(rng))
    }
}

impl Default for Defaulted {
    fn default() -> Self {
        Self { one: 3, two: 4 }
    }
}

fn seven() -> u8 {
    7
}

enums! {
    Shape { Dot, Circle(u32), Rect { w: u32, h: Option<i64> }, Pair(char, Box<Shape>), Wrapped(Id) } = |rng| [
        Self::Dot,
        Self::Circle(Random::random(rng)),
        Self::Rect { w: 1, h: Random::random(rng) },
        Self::Pair('x', Box::new(Self::Dot)),
        Self::Wrapped(Random::random(rng)),
    ];
    Single { Only(u8) } = |rng| [Self::Only(rng.u8(..))];
    Plan { Free, #[serde(skip)] #[allow(dead_code, reason = "it is there")] Internal, Pro, Enterprise(u8) } = |rng| [
        Self::Free, Self::Pro, Self::Enterprise(rng.u8(..)),
    ];
    Unread { First(u8), #[serde(skip_deserializing)] Second(u8), Third(u8) } = |rng| [
        Self::First(1), Self::Second(2), Self::Third(rng.u8(..)),
    ];
    Unwritten { First(u8), #[serde(skip_serializing)] #[allow(dead_code, reason = "it is there")] Second(u8), Third(u8) } = |rng| [
        Self::First(1), Self::Third(rng.u8(..)),
    ];
    LastSkipped { First, Second(u8), #[serde(skip)] #[allow(dead_code, reason = "it is there")] Third } = |rng| [
        Self::First, Self::Second(rng.u8(..)),
    ];
    AliasedVariants { #[serde(alias = "Z", alias = "Aa")] A, #[serde(alias = "C")] B(u8), D } = |rng| [
        Self::A, Self::B(rng.u8(..)), Self::D,
    ];
    RenamedVariants { #[serde(rename(serialize = "x"))] A, B(u8) } = |rng| [Self::A, Self::B(rng.u8(..))];
    #[serde(rename_all = "snake_case", rename_all_fields = "camelCase")]
    RenamedAll { FirstOne { some_field: u8 }, SecondOne } = |rng| [
        Self::FirstOne { some_field: rng.u8(..) }, Self::SecondOne,
    ];
    #[serde(tag = "kind")]
    Kinds { A { one: u32 }, B(Tag), C } = |rng| [
        Self::A { one: Random::random(rng) }, Self::B(Random::random(rng)), Self::C,
    ];
    #[serde(tag = "kind")]
    Awkward {
        Ip { ip: IpAddr }, Huge { huge: u128 }, Keyed { map: BTreeMap<u32, u8> }, Bytes { bytes: Bytes },
        Again(BTreeMap<String, u8>), Maybe { maybe: Option<Option<u8>> }, Float { float: f64, single: f32 },
    } = |rng| [
        Self::Ip { ip: Random::random(rng) },
        Self::Huge { huge: Random::random(rng) },
        Self::Keyed { map: Random::random(rng) },
        Self::Bytes { bytes: Random::random(rng) },
        Self::Again(BTreeMap::from([(["kind", "mind"][rng.usize(..2)].to_owned(), 1)])),
        Self::Maybe { maybe: Random::random(rng) },
        Self::Float { float: Random::random(rng), single: Random::random(rng) },
    ];
    #[serde(tag = "t", content = "c")]
    Adjacent { Unit, New(u32), Pair(u8, String), Fields { one: u8 } } = |rng| [
        Self::Unit, Self::New(Random::random(rng)), Self::Pair(1, "x".into()), Self::Fields { one: rng.u8(..) },
    ];
    #[serde(untagged)]
    Untagged { Number(u32), Text(String), Struct { field: u8 }, Nothing } = |rng| [
        Self::Number(Random::random(rng)), Self::Text("x".into()), Self::Struct { field: rng.u8(..) }, Self::Nothing,
    ];
    #[serde(tag = "t")]
    WithOther { A { one: u8 }, #[serde(other)] Rest } = |rng| [Self::A { one: rng.u8(..) }, Self::Rest];
    PlainOther { A, B, #[serde(other)] Rest } = |rng| [Self::A, Self::B, Self::Rest];
    #[serde(into = "String", try_from = "String")]
    Converted { A, B } = |rng| [Self::A, Self::B];
    VariantFields {
        Some { #[serde(default, skip_serializing_if = "is_zero")] one: u32, two: u32 },
        Gone { #[serde(skip_serializing, default)] one: u32, two: u32 },
    } = |rng| [
        Self::Some { one: rng.u32(..2), two: 3 }, Self::Gone { one: 1, two: rng.u32(..) },
    ];
}

impl From<Converted> for String {
    fn from(value: Converted) -> Self {
        format!("{value:?}")
    }
}

impl TryFrom<String> for Converted {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.as_str() {
            "A" => Ok(Self::A),
            "B" => Ok(Self::B),
            _ => Err(text),
        }
    }
}

mod millis {
    use super::*;

    pub(super) fn serialize<S: Serializer>(value: &Duration, format: S) -> Result<S::Ok, S::Error> {
        (value.as_secs(), value.subsec_nanos()).serialize(format)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(format: D) -> Result<Duration, D::Error> {
        <(u64, u32)>::deserialize(format).map(|(seconds, nanos)| Duration::new(seconds, nanos))
    }
}

fn as_u32<S: Serializer>(value: &u64, format: S) -> Result<S::Ok, S::Error> {
    if let Ok(value) = u32::try_from(*value) { format.serialize_u32(value) } else { format.serialize_u64(*value) }
}

fn from_u64<'de, D: Deserializer<'de>>(format: D) -> Result<u64, D::Error> {
    u64::deserialize(format)
}

fn from_i64<'de, D: Deserializer<'de>>(format: D) -> Result<u64, D::Error> {
    i64::deserialize(format).map(i64::cast_unsigned)
}

fn from_f64<'de, D: Deserializer<'de>>(format: D) -> Result<u64, D::Error> {
    f64::deserialize(format).map(|float| float as u64)
}

fn doubled<'de, D: Deserializer<'de>>(format: D) -> Result<Option<Option<u8>>, D::Error> {
    Deserialize::deserialize(format).map(Some)
}

fn bare<S: Serializer>(value: &Option<u32>, format: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => format.serialize_u32(*value),
        None => format.serialize_none(),
    }
}

pub(super) mod remote {
    #[derive(Debug, Clone)]
    pub(in super::super) struct Point {
        pub(super) x: i32,
        pub(super) y: i32,
    }
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "remote::Point")]
struct Remote {
    x: i32,
    y: i32,
}

random! {
    remote::Point = |rng| Self { x: rng.i32(..), y: rng.i32(..) };
}

/// A type that writes and reads itself by hand.
macro_rules! by_hand {
    ($($name:ident($type:ty) = |$rng:ident| $value:expr, |$this:ident, $to:ident| $write:expr, |$from:ident| $read:expr;)*) => {$(
        #[derive(Debug, Clone)]
        pub(super) struct $name($type);

        impl Random for $name {
            fn random($rng: &mut Rng) -> Self {
                Self($value)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, $to: S) -> Result<S::Ok, S::Error> {
                let $this = &self.0;
                $write
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>($from: D) -> Result<Self, D::Error> {
                ($read).map(Self)
            }
        }
    )*};
}

by_hand! {
    Bytes(Vec<u8>) = |rng| Random::random(rng), |this, to| to.serialize_bytes(this),
        |from| from.deserialize_byte_buf(BytesVisitor);
    Date(i64) = |rng| rng.i64(..), |this, to| if to.is_human_readable() { to.collect_str(this) } else { this.serialize(to) },
        |from| if from.is_human_readable() {
            String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
        } else {
            i64::deserialize(from)
        };
    Mail(String) = |rng| format!("{}@example.com", rng.u32(..)), |this, to| this.serialize(to),
        |from| String::deserialize(from).and_then(|text| {
            if text.contains('@') { Ok(text) } else { Err(serde::de::Error::custom("no address")) }
        });
    TupleForSeq([u8; 4]) = |rng| Random::random(rng), |this, to| this.serialize(to),
        |from| Vec::deserialize(from).map(|all: Vec<u8>| std::array::from_fn(|at| all.get(at).copied().unwrap_or(0)));
    SeqForTuple(Vec<u8>) = |rng| <[u8; 4]>::random(rng).into(), |this, to| this.serialize(to),
        |from| <[u8; 4]>::deserialize(from).map(Into::into);
    ShortSeq(Vec<u8>) = |rng| Random::random(rng), |this, to| {
            use serde::ser::SerializeSeq;
            let mut seq = to.serialize_seq(Some(this.len() / 2 * 2))?;
            this.iter().try_for_each(|byte| seq.serialize_element(byte))?;
            seq.end()
        },
        |from| Vec::deserialize(from);
    AsMap(Tag) = |rng| Random::random(rng), |this, to| {
            let mut map = to.serialize_map(Some(2))?;
            map.serialize_entry("label", &this.label)?;
            map.serialize_entry("weight", &this.weight)?;
            map.end()
        },
        |from| Tag::deserialize(from);
    Miscounts(Strict) = |rng| Random::random(rng), |this, to| {
            let mut out = to.serialize_struct("Strict", 1)?;
            out.serialize_field("one", &this.one)?;
            out.serialize_field("two", &this.two)?;
            out.end()
        },
        |from| Strict::deserialize(from);
    Omits(Strict) = |rng| Random::random(rng), |this, to| {
            let mut out = to.serialize_struct("Strict", 2)?;
            out.serialize_field("one", &this.one)?;
            if let Some(two) = &this.two {
                out.serialize_field("two", &Some(two))?;
            }
            out.end()
        },
        |from| Strict::deserialize(from);
}

struct BytesVisitor;

impl<'de> serde::de::Visitor<'de> for BytesVisitor {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<u8>, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = seq.next_element()? {
            bytes.push(byte);
        }
        Ok(bytes)
    }
}
