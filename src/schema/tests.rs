//! Fingerprints: what changes them, what does not, what ends safely.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::time::{Duration, SystemTime};

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};

use super::{bytes_of, explore, schema_of};

fn fingerprint_of<T: DeserializeOwned + 'static>() -> u64 {
    schema_of::<T>().fingerprint()
}

fn trace<T: DeserializeOwned>() -> Vec<u8> {
    let (shapes, is_complete) = explore::<T>(false);
    bytes_of::<T>(&shapes, is_complete)
}

/// Defines a type in a module of its own, so that versions of it can carry one name.
macro_rules! versions {
    ($($module:ident { $($item:item)* })*) => {$(
        #[allow(dead_code, reason = "only their shapes matter")]
        mod $module {
            use super::*;
            $(#[derive(Deserialize)] $item)*
        }
    )*};
}

versions! {
    base { pub(super) struct User { id: u32, name: String, email: String, tags: Vec<Tag> }
           pub(super) struct Tag { label: String, weight: u8 } }
    same { pub(super) struct User { id: u32, name: String, email: String, tags: Vec<Tag> }
           pub(super) struct Tag { label: String, weight: u8 } }
    added { pub(super) struct User { id: u32, name: String, email: String, tags: Vec<Tag>, age: u8 }
            pub(super) struct Tag { label: String, weight: u8 } }
    removed { pub(super) struct User { id: u32, name: String, tags: Vec<Tag> }
              pub(super) struct Tag { label: String, weight: u8 } }
    swapped { pub(super) struct User { id: u32, email: String, name: String, tags: Vec<Tag> }
              pub(super) struct Tag { label: String, weight: u8 } }
    wider { pub(super) struct User { id: u64, name: String, email: String, tags: Vec<Tag> }
            pub(super) struct Tag { label: String, weight: u8 } }
    bytes { pub(super) struct User { id: u32, name: Vec<u8>, email: String, tags: Vec<Tag> }
            pub(super) struct Tag { label: String, weight: u8 } }
    optional { pub(super) struct User { id: u32, name: Option<String>, email: String, tags: Vec<Tag> }
               pub(super) struct Tag { label: String, weight: u8 } }
    renamed_field { pub(super) struct User { id: u32, title: String, email: String, tags: Vec<Tag> }
                    pub(super) struct Tag { label: String, weight: u8 } }
    nested { pub(super) struct User { id: u32, name: String, email: String, tags: Vec<Tag> }
             pub(super) struct Tag { label: String, weight: i8 } }
    renamed { pub(super) struct Member { id: u32, name: String, email: String, tags: Vec<Tag> }
              pub(super) struct Tag { label: String, weight: u8 } }
}

#[test]
fn the_same_shape_elsewhere_has_the_same_fingerprint() {
    assert_eq!(fingerprint_of::<base::User>(), fingerprint_of::<same::User>());
    assert_eq!(trace::<base::User>(), trace::<base::User>());
}

#[test]
fn every_change_of_a_struct_changes_it() {
    let all = [
        fingerprint_of::<base::User>(),
        fingerprint_of::<added::User>(),
        fingerprint_of::<removed::User>(),
        fingerprint_of::<swapped::User>(),
        fingerprint_of::<wider::User>(),
        fingerprint_of::<bytes::User>(),
        fingerprint_of::<optional::User>(),
        fingerprint_of::<renamed_field::User>(),
        fingerprint_of::<nested::User>(),
        fingerprint_of::<renamed::Member>(),
    ];
    assert_all_differ(&all);
}

#[test]
fn a_change_deep_inside_changes_it() {
    assert_ne!(fingerprint_of::<Vec<base::Tag>>(), fingerprint_of::<Vec<nested::Tag>>());
    assert_ne!(fingerprint_of::<Option<base::Tag>>(), fingerprint_of::<Option<nested::Tag>>());
    assert_ne!(fingerprint_of::<HashMap<u8, base::Tag>>(), fingerprint_of::<HashMap<u8, nested::Tag>>());
    assert_ne!(fingerprint_of::<Box<base::Tag>>(), fingerprint_of::<Box<nested::Tag>>());
    assert_ne!(fingerprint_of::<(u8, [base::Tag; 2])>(), fingerprint_of::<(u8, [nested::Tag; 2])>());
    assert_ne!(
        fingerprint_of::<BTreeMap<String, Vec<Option<Box<base::User>>>>>(),
        fingerprint_of::<BTreeMap<String, Vec<Option<Box<nested::User>>>>>()
    );
}

#[test]
fn plain_types_differ() {
    let all = [
        fingerprint_of::<()>(),
        fingerprint_of::<bool>(),
        fingerprint_of::<u8>(),
        fingerprint_of::<i8>(),
        fingerprint_of::<u16>(),
        fingerprint_of::<i16>(),
        fingerprint_of::<u32>(),
        fingerprint_of::<i32>(),
        fingerprint_of::<u64>(),
        fingerprint_of::<i64>(),
        fingerprint_of::<u128>(),
        fingerprint_of::<i128>(),
        fingerprint_of::<f32>(),
        fingerprint_of::<f64>(),
        fingerprint_of::<char>(),
        fingerprint_of::<String>(),
        fingerprint_of::<Vec<u8>>(),
        fingerprint_of::<Vec<u16>>(),
        fingerprint_of::<Option<u8>>(),
        fingerprint_of::<Option<Option<u8>>>(),
        fingerprint_of::<(u8,)>(),
        fingerprint_of::<(u8, u8)>(),
        fingerprint_of::<[u8; 3]>(),
        fingerprint_of::<HashMap<u8, u16>>(),
        fingerprint_of::<HashMap<u16, u8>>(),
        fingerprint_of::<Duration>(),
        fingerprint_of::<IpAddr>(),
    ];
    assert_all_differ(&all);
    assert_eq!(fingerprint_of::<Box<u8>>(), fingerprint_of::<u8>(), "a box is invisible to serde");
    assert_eq!(fingerprint_of::<Cow<'static, str>>(), fingerprint_of::<String>());
}

versions! {
    shape { pub(super) enum Shape { Dot, Circle(f64), Rect { w: f64, h: f64 }, Pair(u8, u8) } }
    inserted { pub(super) enum Shape { Dot, Line, Circle(f64), Rect { w: f64, h: f64 }, Pair(u8, u8) } }
    reordered { pub(super) enum Shape { Circle(f64), Dot, Rect { w: f64, h: f64 }, Pair(u8, u8) } }
    payload { pub(super) enum Shape { Dot, Circle(f64), Rect { w: f64, h: f64 }, Pair(u8, u16) } }
    fields { pub(super) enum Shape { Dot, Circle(f64), Rect { h: f64, w: f64 }, Pair(u8, u8) } }
    arity { pub(super) enum Shape { Dot, Circle(f64), Rect { w: f64, h: f64 }, Pair(u8, u8, u8) } }
    unit { pub(super) enum Shape { Dot, Circle, Rect { w: f64, h: f64 }, Pair(u8, u8) } }
}

#[test]
fn every_change_of_an_enum_changes_it() {
    let all = [
        fingerprint_of::<shape::Shape>(),
        fingerprint_of::<inserted::Shape>(),
        fingerprint_of::<reordered::Shape>(),
        fingerprint_of::<payload::Shape>(),
        fingerprint_of::<fields::Shape>(),
        fingerprint_of::<arity::Shape>(),
        fingerprint_of::<unit::Shape>(),
    ];
    assert_all_differ(&all);
}

versions! {
    expr { pub(super) enum Expr { Add(Box<Expr>, Box<Expr>), Call { f: String, args: Vec<Expr> }, Neg(Box<Expr>), Lit(Lit) }
           pub(super) enum Lit { Int(i64), Text(String), Nothing } }
    expr_leaf { pub(super) enum Expr { Add(Box<Expr>, Box<Expr>), Call { f: String, args: Vec<Expr> }, Neg(Box<Expr>), Lit(Lit) }
                pub(super) enum Lit { Int(i64), Text(char), Nothing } }
    tree { pub(super) struct Tree { value: u32, left: Option<Box<Tree>>, children: Vec<Tree>, by_name: HashMap<String, Tree>, leaf: Leaf }
           pub(super) struct Leaf(u16); }
    tree_leaf { pub(super) struct Tree { value: u32, left: Option<Box<Tree>>, children: Vec<Tree>, by_name: HashMap<String, Tree>, leaf: Leaf }
                pub(super) struct Leaf(i16); }
    endless { pub(super) struct Endless { next: Box<Endless> } pub(super) enum Never { Again(Box<Never>), Still { more: Box<Never> } }
              pub(super) enum Lists { All(Vec<Lists>), One(Option<Box<Lists>>) } #[serde(transparent)] pub(super) struct Bare(Vec<Bare>);
              pub(super) struct Wrap(Option<Box<Wrap>>); }
}

#[test]
fn recursive_types_end_and_are_seen_to_the_leaves() {
    assert_ne!(fingerprint_of::<expr::Expr>(), fingerprint_of::<expr_leaf::Expr>());
    assert_ne!(fingerprint_of::<tree::Tree>(), fingerprint_of::<tree_leaf::Tree>());
    for complete in [trace::<expr::Expr>(), trace::<tree::Tree>(), trace::<endless::Lists>(), trace::<endless::Wrap>()]
    {
        assert!(!names_its_path(&complete), "nothing was left out");
    }
    assert!(!names_its_path(&trace::<endless::Bare>()));
    let all =
        [fingerprint_of::<endless::Endless>(), fingerprint_of::<endless::Never>(), fingerprint_of::<endless::Lists>()];
    assert_all_differ(&all);
}

/// An enum of many variants, most of them recursive, as in the syntax tree of a language.
macro_rules! wide {
    ($module:ident $leaf:ty: $($name:ident)*) => {
        #[allow(dead_code, reason = "only their shapes matter")]
        mod $module {
            use super::*;
            #[derive(Deserialize)]
            pub(super) enum Node { $($name(Box<$name>),)* Leaf($leaf) }
            $(#[derive(Deserialize)] pub(super) struct $name { left: Option<Box<Node>>, right: Box<Node> })*
        }
    };
}
wide!(wide_old u8: A0 A1 A2 A3 A4 A5 A6 A7 A8 A9 B0 B1 B2 B3 B4 B5 B6 B7 B8 B9 C0 C1 C2 C3 C4 C5 C6 C7 C8 C9 D0 D1 D2 D3 D4 D5 D6 D7 D8 D9);
wide!(wide_new i8: A0 A1 A2 A3 A4 A5 A6 A7 A8 A9 B0 B1 B2 B3 B4 B5 B6 B7 B8 B9 C0 C1 C2 C3 C4 C5 C6 C7 C8 C9 D0 D1 D2 D3 D4 D5 D6 D7 D8 D9);

#[test]
fn the_last_variant_of_a_large_recursive_enum_is_reached() {
    assert!(!names_its_path(&trace::<wide_old::Node>()));
    assert_ne!(fingerprint_of::<wide_old::Node>(), fingerprint_of::<wide_new::Node>());
}

versions! {
    product { pub(super) struct Product { a: Outer, b: Outer, c: Option<Outer> }
        pub(super) enum Outer { Empty, First(First), Second { inner: Vec<Second> } }
        pub(super) enum First { X, Y(u8), Z(Third) } pub(super) enum Second { P, Q, R(Third) } pub(super) enum Third { I, J(u32) } }
    product_leaf { pub(super) struct Product { a: Outer, b: Outer, c: Option<Outer> }
        pub(super) enum Outer { Empty, First(First), Second { inner: Vec<Second> } }
        pub(super) enum First { X, Y(u8), Z(Third) } pub(super) enum Second { P, Q, R(Third) } pub(super) enum Third { I, J(i32) } }
}

#[test]
fn enums_inside_enums_are_seen_to_the_end() {
    assert!(!names_its_path(&trace::<product::Product>()));
    assert_ne!(fingerprint_of::<product::Product>(), fingerprint_of::<product_leaf::Product>());
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Email;

impl TryFrom<String> for Email {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.contains('@').then_some(Self).ok_or("not an address")
    }
}

#[derive(Deserialize)]
#[serde(try_from = "u8")]
struct Even;

impl TryFrom<u8> for Even {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, Self::Error> {
        if number.is_multiple_of(2) { Ok(Self) } else { Err(format!("{number} is odd")) }
    }
}

/// No sample will do.
struct Never;

impl<'de> Deserialize<'de> for Never {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?;
        Err(D::Error::custom("no"))
    }
}

struct Panics;

impl<'de> Deserialize<'de> for Panics {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(text.parse::<f64>().map(|_| Self).expect("a number"))
    }
}

versions! {
    strict { pub(super) struct Strict { id: NonZeroU64, mail: Email, even: Even, ip: IpAddr, at: SystemTime, last: u8 } }
    strict_leaf { pub(super) struct Strict { id: NonZeroU64, mail: Email, even: Even, ip: IpAddr, at: SystemTime, last: i8 } }
    hopeless { pub(super) struct Hopeless { first: u8, never: Never, last: u8 } }
    hopeless_first { pub(super) struct Hopeless { first: i8, never: Never, last: u8 } }
    hopeless_renamed { pub(super) struct Hopeless { first: u8, never: Never, end: u8 } }
    inside { pub(super) struct Inside { maybe: Option<Never>, many: Vec<Never>, last: u8 } }
    inside_leaf { pub(super) struct Inside { maybe: Option<Never>, many: Vec<Never>, last: i8 } }
}

#[test]
fn types_that_check_themselves_are_given_what_they_want() {
    assert!(!names_its_path(&trace::<strict::Strict>()));
    assert_ne!(fingerprint_of::<strict::Strict>(), fingerprint_of::<strict_leaf::Strict>());
}

#[test]
fn type_that_refuses_all_input_is_identified_by_trace_and_name() {
    for partial in [trace::<hopeless::Hopeless>(), trace::<inside::Inside>(), trace::<Never>(), trace::<Panics>()] {
        assert!(names_its_path(&partial));
    }
    // Compared without the path, which differs anyway: what was seen decides.
    let seen = |trace: Vec<u8>| {
        let path = trace.windows(CRATE.len()).position(|window| window == CRATE).unwrap();
        trace[..path].to_vec()
    };
    let old = seen(trace::<hopeless::Hopeless>());
    assert_ne!(old, seen(trace::<hopeless_first::Hopeless>()), "what comes before is seen");
    assert_ne!(old, seen(trace::<hopeless_renamed::Hopeless>()), "names that come after are seen");
    let old = seen(trace::<inside::Inside>());
    assert_ne!(old, seen(trace::<inside_leaf::Inside>()), "empty collections let it pass");
}

#[test]
fn attributes_that_look_at_the_contents_end_safely() {
    #[derive(Deserialize, PartialEq)]
    #[serde(untagged)]
    enum Untagged {
        _A(u32),
        _B { _b: String },
    }
    #[derive(Deserialize)]
    #[serde(tag = "kind")]
    enum Internal {
        _A { _a: u32 },
        _B,
    }
    #[derive(Deserialize, PartialEq)]
    #[serde(tag = "kind", content = "content")]
    enum Adjacent {
        _A(u32),
        _B,
    }
    #[derive(Deserialize)]
    struct Flat {
        _id: u32,
        #[serde(flatten)]
        _rest: HashMap<String, u32>,
    }
    #[derive(Deserialize)]
    struct Defaults {
        #[serde(default)]
        _a: u32,
        #[serde(skip)]
        _b: u32,
        #[serde(alias = "z")]
        _c: u32,
    }
    let all = [
        fingerprint_of::<Untagged>(),
        fingerprint_of::<Vec<Internal>>(),
        fingerprint_of::<Adjacent>(),
        fingerprint_of::<Flat>(),
        fingerprint_of::<Defaults>(),
        fingerprint_of::<serde_json::Value>(),
    ];
    assert_all_differ(&all);
    assert!(!names_its_path(&trace::<Defaults>()));
}

#[test]
fn huge_types_are_given_up_in_time() {
    type Thousands = [Box<[[u8; 32]; 32]>; 32];
    type Millions = [Box<[Box<Thousands>; 32]>; 32];
    assert!(trace::<Thousands>().ends_with(b"6"), "this is still read to the end");
    let given_up = trace::<Millions>();
    assert!(given_up.ends_with(std::any::type_name::<Millions>().as_bytes()));
    assert_eq!(given_up, trace::<Millions>());
}

#[test]
fn the_fingerprint_of_a_known_type_never_changes() {
    assert_eq!(fingerprint_of::<base::User>(), 17_115_377_446_514_003_348);
    assert_eq!(fingerprint_of::<shape::Shape>(), 16_403_758_383_630_336_582);
}

const CRATE: &[u8] = b"cachekit::schema::tests";

/// Whether the trace ends in a `type_name`.
fn names_its_path(trace: &[u8]) -> bool {
    trace.windows(CRATE.len()).any(|window| window == CRATE)
}

fn assert_all_differ(all: &[u64]) {
    for (index, one) in all.iter().enumerate() {
        assert!(!all[..index].contains(one), "number {index} equals an earlier one");
    }
}
