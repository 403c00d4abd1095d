//! Values that a codec would not give back: each is refused, whatever came before, and each call is answered.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cachekit::backends::Memory;
use cachekit::codec::{Checked, Encrypted, Json, Keyring, MessagePack, Postcard};
use cachekit::{CacheBuilder, Codec, ErrorKind, Event, Intent, Observer, Value};
use serde::{Deserialize, Serialize};

use harness::support::Broken;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Plan {
    Free,
    #[serde(skip)]
    #[allow(dead_code, reason = "it is there")]
    Internal,
    Pro,
    Enterprise,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct User {
    #[serde(default, skip_serializing_if = "is_false")]
    admin: bool,
    id: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    groups: Vec<u64>,
}

/// What was not stored and what was warned of.
#[derive(Debug, Default)]
struct Told(Mutex<Vec<String>>);

impl Told {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Observer for Told {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::NotStored { error, .. } => {
                assert_eq!(error.kind(), ErrorKind::Encode);
                self.0.lock().unwrap().push(error.to_string());
            }
            Event::Warning { message, .. } => self.0.lock().unwrap().push((*message).to_owned()),
            _ => {}
        }
    }
}

/// Computes each value in one process, and reads it in another. Gives what was told.
async fn through<T: Value + Clone + PartialEq + Debug, C: Codec>(codec: C, values: &[T]) -> Vec<String> {
    let (memory, told) = (Memory::new(1 << 20), Arc::new(Told::default()));
    let build = || {
        let builder = CacheBuilder::new().intent(Intent::Minimal).namespace("values").codec(codec.clone());
        let builder = builder.backend(memory.clone());
        builder.observer(Arc::clone(&told) as _).wait_for_write(true).build().unwrap()
    };
    let (writer, reader) = (build(), build());
    let mut all = Vec::new();
    for (key, value) in values.iter().enumerate() {
        let computed = value.clone();
        let answer = writer.get_or_compute(key, move || async { Ok::<_, Broken>(computed) }).await.unwrap();
        assert_eq!(&answer, value, "the call is answered");
        let messages = told.take();
        let read = reader.get::<T>(key).await.unwrap();
        let expected = if messages.is_empty() { Some(value.clone()) } else { None };
        assert_eq!(read, expected, "{messages:?}");
        assert_eq!(writer.set(key, value.clone()).await.is_err(), expected.is_none(), "`set` says the same");
        all.extend(messages);
    }
    all
}

#[track_caller]
fn assert_says(messages: &[String], count: usize, words: &[&str]) {
    assert_eq!(messages.len(), count, "{messages:#?}");
    for message in messages {
        for word in words {
            assert!(message.contains(word), "{word} is missing: {message}");
        }
    }
}

fn secret() -> Encrypted<Postcard> {
    Encrypted::new(Postcard, Keyring::from_bytes(&[7; 32]).unwrap())
}

#[tokio::test]
async fn a_variant_behind_a_skipped_one_is_refused_each_time() {
    let words = ["Plan", "`Pro`", "`Enterprise`", "#[serde(skip)]", "MessagePack", "Json"];
    for order in [[Plan::Free, Plan::Pro, Plan::Pro], [Plan::Pro, Plan::Free, Plan::Pro]] {
        assert_says(&through(Checked::new(Postcard), &order).await, 2, &words);
        assert_says(&through(secret(), &order).await, 2, &words);
        assert_says(&through(MessagePack, &order).await, 0, &[]);
        assert_says(&through(Json, &order).await, 0, &[]);
    }
}

#[tokio::test]
async fn a_value_with_a_field_left_out_is_refused_each_time() {
    let full = User { admin: true, id: 7, groups: vec![3] };
    let less = User { admin: false, id: 1, groups: vec![0] };
    let none = User { admin: true, id: 9, groups: vec![] };
    let words = ["User", "skip_serializing_if", "MessagePack", "Json"];
    for order in [[&full, &less, &none], [&none, &full, &less]] {
        let order = order.map(User::clone);
        assert_says(&through(Checked::new(Postcard), &order).await, 2, &words);
        assert_says(&through(secret(), &order).await, 2, &words);
        assert_says(&through(MessagePack, &order).await, 0, &[]);
    }
}

#[tokio::test]
async fn type_that_reads_anything_is_refused_even_when_empty() {
    let empty: Vec<Vec<serde_json::Value>> = vec![vec![], vec![1.into()], vec![]];
    assert_says(&through(Postcard, &empty).await, 3, &["serde_json::value::Value", "untagged", "MessagePack", "Json"]);
    assert_says(&through(Json, &empty).await, 0, &[]);
    let maybe: [Option<serde_json::Value>; 2] = [None, Some(1.into())];
    assert_says(&through(Postcard, &maybe).await, 2, &["Option<serde_json::value::Value>"]);
    assert_says(&through(MessagePack, &maybe).await, 0, &[]);
}

#[tokio::test]
async fn nested_options_and_infinite_floats_are_refused_where_lost() {
    let options = [None, Some(Some(1u8)), Some(None)];
    assert_says(&through(Postcard, &options).await, 0, &[]);
    assert_says(
        &through(MessagePack, &options).await,
        1,
        &["Option<core::option::Option<u8>>", "Some(None)", "Postcard"],
    );
    assert_says(&through(Json, &[Some(()), None]).await, 1, &["Option<()>", "Some(())", "Postcard"]);
    let floats = [1.5, f64::INFINITY, f64::NEG_INFINITY];
    assert_says(&through(MessagePack, &floats).await, 0, &[]);
    assert_says(&through(Json, &floats).await, 2, &["f64", "not finite", "Postcard", "MessagePack"]);
}

#[tokio::test]
async fn cache_without_backend_warns_once_of_a_type_none_could_take() {
    let told = Arc::new(Told::default());
    let cache = CacheBuilder::new().intent(Intent::Minimal).observer(Arc::clone(&told) as _).build().unwrap();
    let full = User { admin: true, id: 7, groups: vec![3] };
    cache.set("full", full.clone()).await.unwrap();
    assert_says(&told.take(), 0, &[]);
    let less = User { admin: false, ..full };
    for key in 0..3 {
        let value = less.clone();
        let answer = cache.get_or_compute(key, || async { Ok::<_, Broken>(value) }).await.unwrap();
        assert_eq!(answer, less);
        assert_eq!(cache.get(key).await.unwrap().as_ref(), Some(&less), "L1 keeps it all the same");
    }
    assert_says(&told.take(), 1, &["User", "skip_serializing_if", "L1", "MessagePack"]);
    cache.set("any", Vec::<serde_json::Value>::new()).await.unwrap();
    assert_says(&told.take(), 1, &["Vec<serde_json::value::Value>"]);
    cache.close(Duration::from_secs(1)).await.unwrap();
}
