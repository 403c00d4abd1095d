//! Entries of another type, another stack, or damaged: a miss, never a wrong value.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cachekit::backends::Memory;
use cachekit::codec::{Checked, Json, MessagePack, Postcard};
use cachekit::testing::{Chaos, Fault};
use cachekit::{Backend, Cache, CacheBuilder, Codec, Intent, Key, Operation, Unreadable, Value};
use serde::{Deserialize, Serialize};

use harness::support::{Broken, Journal, Note};

macro_rules! versions {
    ($($module:ident { $($item:item)* })*) => {$(
        mod $module {
            use serde::{Deserialize, Serialize};
            $(#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)] $item)*
        }
    )*};
}

versions! {
    first { pub(super) struct User { pub(super) id: u32, pub(super) name: String, pub(super) age: u32 } }
    added { pub(super) struct User { pub(super) id: u32, pub(super) name: String, pub(super) age: u32, pub(super) vip: bool } }
    removed { pub(super) struct User { pub(super) id: u32, pub(super) name: String } }
    swapped { pub(super) struct User { pub(super) age: u32, pub(super) name: String, pub(super) id: u32 } }
    retyped { pub(super) struct User { pub(super) id: i32, pub(super) name: String, pub(super) age: u32 } }
    renamed { pub(super) struct User { pub(super) id: u32, pub(super) nick: String, pub(super) age: u32 } }
    before { pub(super) enum State { Active, Gone(u8) } }
    after { pub(super) enum State { Active, Paused, Gone(u8) } }
}

fn cache<C: Codec>(memory: &Memory, codec: C, journal: &Arc<Journal>) -> Cache<Memory, C> {
    CacheBuilder::new()
        .intent(Intent::Minimal)
        .codec(codec)
        .backend(memory.clone())
        .observer(Arc::clone(journal) as _)
        .build()
        .unwrap()
}

/// Stores a value as one version of the program, reads it as another.
async fn read_as<Old: Value, New: Value + Clone, C: Codec>(old: Old, codec: C) -> (Option<New>, Vec<Note>) {
    let (memory, journal) = (Memory::new(1 << 20), Arc::new(Journal::default()));
    cache(&memory, codec.clone(), &journal).set("key", old).await.unwrap();
    let read = cache(&memory, codec, &journal).get::<New>("key").await.unwrap();
    (read, journal.notes())
}

fn user() -> first::User {
    first::User { id: 1, name: "ada".into(), age: 36 }
}

async fn every_evolution_is_a_miss<C: Codec>(codec: C) {
    let schema = Note::Unreadable(Unreadable::Schema);
    macro_rules! miss {
        ($old:expr, $new:ty) => {
            let (read, notes) = read_as::<_, $new, C>($old, codec.clone()).await;
            assert_eq!(read, None, "{}", stringify!($new));
            assert!(notes.contains(&schema), "{}: {notes:?}", stringify!($new));
        };
    }
    miss!(user(), added::User);
    miss!(user(), removed::User);
    miss!(user(), swapped::User);
    miss!(user(), retyped::User);
    miss!(user(), renamed::User);
    miss!(vec![user()], Vec<removed::User>);
    miss!(before::State::Gone(1), after::State);
    miss!(before::State::Active, after::State);
    miss!((1u8, 2u8), u8);
    miss!(("ada".to_owned(), true), String);
    miss!("ada".to_owned(), Vec<u8>);
    miss!(300u32, i32);
    miss!(300u64, u8);
    miss!(Some(1u32), u32);
    let (same, _) = read_as::<_, first::User, C>(user(), codec).await;
    assert_eq!(same, Some(user()));
}

#[tokio::test]
async fn a_changed_type_is_a_miss_whatever_the_codec() {
    every_evolution_is_a_miss(Postcard).await;
    every_evolution_is_a_miss(MessagePack).await;
    every_evolution_is_a_miss(Json).await;
    every_evolution_is_a_miss(Checked::new(Postcard)).await;
}

#[tokio::test]
async fn a_value_of_another_type_in_l1_is_a_miss_and_is_replaced() {
    let cache = CacheBuilder::new().intent(Intent::Minimal).build().unwrap();
    cache.set("key", 1u32).await.unwrap();
    assert_eq!(cache.get::<String>("key").await.unwrap(), None);
    let text = cache.get_or_compute("key", || async { Ok::<_, Broken>("new".to_owned()) }).await.unwrap();
    assert_eq!(text, "new");
    assert_eq!(cache.get::<String>("key").await.unwrap().as_deref(), Some("new"));
    assert_eq!(cache.get::<u32>("key").await.unwrap(), None);
}

#[tokio::test]
async fn an_entry_of_another_codec_or_schema_version_is_a_miss() {
    let (memory, journal) = (Memory::new(1 << 20), Arc::new(Journal::default()));
    cache(&memory, Postcard, &journal).set("key", 1u32).await.unwrap();
    assert_eq!(cache(&memory, Json, &journal).get::<u32>("key").await.unwrap(), None);
    assert_eq!(cache(&memory, Checked::new(Postcard), &journal).get::<u32>("key").await.unwrap(), None);
    assert_eq!(journal.count(|note| *note == Note::Unreadable(Unreadable::Stack)), 2);
    let versioned =
        CacheBuilder::new().intent(Intent::Minimal).backend(memory.clone()).schema_version(1).build().unwrap();
    assert_eq!(versioned.get::<u32>("key").await.unwrap(), None);
    versioned.set("key", 2u32).await.unwrap();
    assert_eq!(cache(&memory, Postcard, &journal).get::<u32>("key").await.unwrap(), None);
    assert_eq!(versioned.entry("key").skip_l1_read().get::<u32>().await.unwrap(), Some(2));
}

/// What is under the key after `change` was done to the stored bytes.
async fn damaged(memory: &Memory, key: &Key, bytes: Vec<u8>, journal: &Arc<Journal>) -> Option<first::User> {
    memory.set(key, Bytes::from(bytes), Duration::from_secs(60)).await.unwrap();
    cache(memory, Checked::new(Postcard), journal).get::<first::User>("key").await.unwrap()
}

#[tokio::test]
async fn entry_cut_at_any_length_or_with_any_bit_flipped_is_a_miss() {
    let (memory, journal) = (Memory::new(1 << 20), Arc::new(Journal::default()));
    let key = Key::new("default", "key").unwrap();
    cache(&memory, Checked::new(Postcard), &journal).set("key", user()).await.unwrap();
    let good = memory.get(&key).await.unwrap().unwrap().to_vec();
    assert_eq!(damaged(&memory, &key, good.clone(), &journal).await, Some(user()));
    for length in 0..good.len() {
        assert_eq!(damaged(&memory, &key, good[..length].to_vec(), &journal).await, None, "{length} bytes");
    }
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(damaged(&memory, &key, bytes, &journal).await, None, "bit {bit}");
    }
    let told = journal.count(|note| matches!(note, Note::Unreadable(_)));
    assert_eq!(told, good.len() * 9, "each is told of");
    let mut longer = good;
    longer.push(0);
    assert_eq!(damaged(&memory, &key, longer, &journal).await, None);
}

#[tokio::test]
async fn an_entry_of_another_key_is_refused_and_computed_anew() {
    let journal = Arc::new(Journal::default());
    let chaos = Chaos::new(Memory::new(1 << 20));
    let control = chaos.control();
    let cache = CacheBuilder::new()
        .backend(chaos)
        .intent(Intent::Production)
        .l1_enabled(false)
        .observer(Arc::clone(&journal) as _)
        .build()
        .unwrap();
    cache.set("theirs", 1u32).await.unwrap();
    cache.set("ours", 2u32).await.unwrap();
    let theirs = Key::new("default", "theirs").unwrap();
    for operation in [Operation::Get, Operation::Lease] {
        control.inject(operation, Fault::WrongKey(theirs.clone()));
    }
    assert_eq!(cache.get::<u32>("ours").await.unwrap(), None);
    assert!(journal.contains(&Note::Unreadable(Unreadable::Unauthentic)), "{:?}", journal.notes());
    assert_eq!(cache.get_or_compute("ours", || async { Ok::<u32, Broken>(3) }).await.unwrap(), 3);
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u32),
    Text(String),
}

#[tokio::test]
async fn type_a_codec_cannot_read_is_named_with_codecs_that_can() {
    let (memory, journal) = (Memory::new(1 << 20), Arc::new(Journal::default()));
    let postcard = cache(&memory, Postcard, &journal);
    let error = postcard.set("key", Untagged::Number(1)).await.unwrap_err();
    assert_eq!(error.kind(), cachekit::ErrorKind::Encode);
    let text = error.to_string();
    assert!(text.contains("MessagePack") && text.contains("Json") && text.contains("Untagged"), "{text}");
    assert!(memory.is_empty());
    let value = postcard.get_or_compute("key", || async { Ok::<_, Broken>(Untagged::Text("a".into())) }).await;
    assert_eq!(value.unwrap(), Untagged::Text("a".into()), "the caller has the value all the same");
    postcard.close(Duration::from_secs(1)).await.unwrap();
    assert_eq!(journal.count(|note| matches!(note, Note::NotStored(cachekit::ErrorKind::Encode, _))), 1);
    let json = cache(&memory, Json, &journal);
    json.set("key", Untagged::Text("a".into())).await.unwrap();
    assert_eq!(json.entry("key").skip_l1_read().get().await.unwrap(), Some(Untagged::Text("a".into())));
}
