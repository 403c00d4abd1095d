//! What codecs make of one value.

use cachekit::Codec;
use cachekit::codec::{Checked, Compressed, Context, Json, MessagePack, Postcard, Standard};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::vector;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Value {
    id: u32,
    name: String,
    shape: Shape,
    tags: [Option<i8>; 2],
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Shape {
    Dot,
    Circle(f64),
    Rect { w: u32, h: Option<i64> },
}

fn same<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(name: &str, codec: &impl Codec, value: &T) {
    let (vector, context) = (vector(include_str!("codecs.txt"), name), Context::new("users:42", b"header"));
    let mut written = Vec::new();
    codec.encode(value, context, &mut written).unwrap();
    vector.check(&written);
    assert_eq!(codec.decode::<T>(&vector.bytes, context).unwrap(), *value, "{name}");
}

#[test]
fn codecs_write_and_read_these_bytes() {
    let shape = Shape::Rect { w: 1, h: Some(-2) };
    let value = Value { id: 300, name: "ada".into(), shape, tags: [None, Some(-1)] };
    same("postcard", &Postcard, &value);
    same("messagepack", &MessagePack, &value);
    same("json", &Json, &value);
    same("checked", &Checked::new(Postcard), &value);
    same("standard", &Standard::default(), &value);
    same("compressed", &Compressed::new(Postcard).level(1), &"ab".repeat(600));
}
