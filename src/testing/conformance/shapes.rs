//! Values of every shape that serde knows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Every kind of enum variant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Shape {
    Unit,
    One(u32),
    Two(String, i64),
    Named { on: bool, at: Option<u16> },
}

impl Shape {
    pub(super) fn all() -> Vec<Self> {
        let (on, off) = (Self::Named { on: true, at: Some(9) }, Self::Named { on: false, at: None });
        vec![Self::Unit, Self::One(u32::MAX), Self::Two("two".into(), i64::MIN), on, off]
    }
}

/// A struct with a bit of everything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Rich {
    id: u64,
    name: String,
    wrapped: Wrapped,
    ratio: f64,
    tags: Vec<String>,
    scores: BTreeMap<String, Vec<i32>>,
    shapes: Vec<Shape>,
    pair: (char, Option<Box<Shape>>),
    nothing: (),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Wrapped(Option<i64>);

impl Rich {
    pub(super) fn example() -> Self {
        Self {
            id: u64::MAX,
            name: "ada \0 é".into(),
            wrapped: Wrapped(Some(i64::MIN)),
            ratio: -1.5,
            tags: vec![String::new(), "one".into()],
            scores: [("".into(), vec![]), ("eu".into(), vec![0, -1, i32::MAX])].into(),
            shapes: Shape::all(),
            pair: ('ß', Some(Box::new(Shape::One(0)))),
            nothing: (),
        }
    }
}

/// A type that holds itself, as deep as the bytes say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Tree {
    children: Vec<Tree>,
}

impl Tree {
    pub(super) fn of_depth(depth: usize) -> Self {
        (0..depth).fold(Self { children: vec![] }, |below, _| Self { children: vec![below, Self { children: vec![] }] })
    }
}
