//! Estimates against what the allocator handed out.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use allocation_counter::measure;
use serde::Serializer;
use serde::ser::{Error as _, SerializeSeq as _};

use super::*;

/// The estimate as a share of what the allocator handed out, in percent.
fn percent<T: Serialize>(make: impl Fn() -> T) -> i64 {
    let mut made = None;
    let info = measure(|| made = Some(Arc::new(make())));
    let real = info.bytes_current + info.count_current * BLOCK as i64;
    let value = made.unwrap();
    let mut estimate = 0;
    assert_eq!(measure(|| estimate = weigh(&*value)).count_total, 0);
    estimate as i64 * 100 / real
}

#[derive(serde::Serialize)]
enum Shape {
    Dot,
    Circle(f64),
    Polygon { corners: Vec<(i32, i32)>, name: String },
}

#[derive(serde::Serialize)]
struct Nested {
    id: u64,
    flag: bool,
    name: Option<String>,
    shapes: Vec<Shape>,
    grid: [[u16; 8]; 4],
}

fn nested(n: u64) -> Nested {
    let polygon = || Shape::Polygon { corners: vec![(1, 2); 5], name: "pentagon".into() };
    let shapes = vec![Shape::Dot, Shape::Circle(1.0), polygon(), polygon()];
    Nested { id: n, flag: true, name: Some(format!("nested {n}")), shapes, grid: [[0; 8]; 4] }
}

#[test]
fn usual_shapes_are_weighed_within_the_promise() {
    let text = |n: usize| "x".repeat(n);
    let map = |n: u64| (0..n).map(|n| (format!("key {n}"), n)).collect::<HashMap<_, _>>();
    let shares = [
        ("integer", percent(|| 7_u64)),
        ("text", percent(|| text(300))),
        ("bytes", percent(|| vec![7_u8; 5_000])),
        ("no bytes", percent(Vec::<u8>::new)),
        ("words", percent(|| (0..500).map(|n| n.to_string()).collect::<Vec<_>>())),
        ("small map", percent(|| map(3))),
        ("map", percent(|| map(100))),
        ("large map", percent(|| map(1_000))),
        ("tree", percent(|| (0..500_u64).map(|n| (n, text(20))).collect::<BTreeMap<_, _>>())),
        ("pairs", percent(|| vec![(1_u8, 2_u64); 200])),
        ("options", percent(|| (0..100).map(|n| (n % 2 == 0).then(|| text(20))).collect::<Vec<_>>())),
        ("nested", percent(|| nested(1))),
        ("many nested", percent(|| (0..50).map(nested).collect::<Vec<_>>())),
        ("json", percent(|| serde_json::json!({"a": [1, 2, 3, "four"], "b": {"c": "d".repeat(50), "e": null}}))),
    ];
    for (name, share) in shares {
        assert!((70..=160).contains(&share), "{name}: {share} %");
    }
}

struct Broken;

impl Serialize for Broken {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut words = serializer.serialize_seq(None)?;
        for _ in 0..10 {
            words.serialize_element(&"a word of its own")?;
        }
        Err(S::Error::custom("given up"))
    }
}

#[test]
fn a_walk_that_fails_keeps_what_it_counted() {
    assert!(weigh(&Broken) >= 10 * (HEADER + 17 + BLOCK));
    assert!(weigh(&Broken) < 15 * (HEADER + 17 + BLOCK));
}

#[test]
fn formatted_text_is_measured_without_being_built() {
    struct Shown;
    impl Serialize for Shown {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_str(&format_args!("{:>100}", 1))
        }
    }
    assert_eq!(measure(|| assert_eq!(weigh(&Shown), HEADER + 100 + BLOCK + COUNTS + BLOCK)).count_total, 0);
}
