//! Everything that is not what was stored is refused.

use std::collections::HashSet;
use std::sync::Arc;

use cachekit::backends::Memory;
use cachekit::codec::{Encrypted, Postcard};
use cachekit::{Cache, CacheBuilder, ErrorKind, Intent, Unreadable};
use serde::{Deserialize, Serialize};

use super::{Spy, contains, keyring, secure, told};
use harness::support::{Journal, Note};

const STACK: std::ops::Range<usize> = 50..54;
const SCHEMA: std::ops::Range<usize> = 54..62;

async fn reads(cache: &Cache<Spy, Encrypted<Postcard>>, key: &str) -> Option<String> {
    cache.entry(key).skip_l1_read().get().await.unwrap()
}

async fn entry_of(spy: &Spy, cache: &Cache<Spy, Encrypted<Postcard>>, key: &str) -> Vec<u8> {
    cache.set(key, "ada".to_owned()).await.unwrap();
    spy.last().1.to_vec()
}

/// Refused means a miss and an event, or, where the cache fails closed, an error of its kind or a miss.
#[tokio::test]
async fn every_flipped_bit_is_refused() {
    let (spy, journal) = (Spy::new(), Arc::new(Journal::default()));
    let open = told(&spy, keyring(1), &journal, |_| {});
    let closed = told(&spy, keyring(1), &Arc::default(), |settings| settings.fail_closed = Some(true));
    for tags in [&[][..], &["a", "b"]] {
        open.entry("42").tags(tags.iter().copied()).set("ada".to_owned()).await.unwrap();
        let entry = spy.last().1;
        spy.answer(entry.clone());
        assert_eq!(reads(&open, "42").await.as_deref(), Some("ada"));
        for bit in 0..entry.len() * 8 {
            let mut changed = entry.to_vec();
            changed[bit / 8] ^= 1 << (bit % 8);
            spy.answer(changed);
            let before = journal.count(|note| matches!(note, Note::Unreadable(_)));
            assert_eq!(reads(&open, "42").await, None, "bit {bit} of {}", entry.len() * 8);
            assert_eq!(journal.count(|note| matches!(note, Note::Unreadable(_))), before + 1, "bit {bit}");
            match closed.entry("42").skip_l1_read().get::<String>().await {
                Ok(None) => assert!(bit / 8 < SCHEMA.end, "what follows the type is authenticated: bit {bit}"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unauthentic),
                Ok(Some(value)) => panic!("bit {bit} gave {value}"),
            }
        }
    }
}

#[tokio::test]
async fn every_truncation_and_extension_is_refused() {
    let spy = Spy::new();
    let cache = secure(&spy, keyring(1));
    let entry = entry_of(&spy, &cache, "42").await;
    for length in 0..entry.len() {
        spy.answer(entry[..length].to_vec());
        assert_eq!(reads(&cache, "42").await, None, "{length} of {} bytes", entry.len());
    }
    for more in [&[0][..], &[0; 16], &entry] {
        spy.answer([&entry, more].concat());
        assert_eq!(reads(&cache, "42").await, None);
    }
}

#[tokio::test]
async fn an_entry_is_read_nowhere_but_where_it_was_stored() {
    let spy = Spy::new();
    let cache = secure(&spy, keyring(1));
    let (acme, globex, default) =
        (cache.tenant("acme").unwrap(), cache.tenant("globex").unwrap(), cache.tenant("default").unwrap());
    let other_key = secure(&spy, keyring(2));
    let pages = CacheBuilder::new().intent(Intent::Secure).keyring(keyring(1)).backend(spy.clone()).namespace("pages");
    let pages = pages.namespace_index(false).build().unwrap();
    let places = [
        (&cache, "42"),
        (&cache, "43"),
        (&acme, "42"),
        (&globex, "42"),
        (&default, "42"),
        (&other_key, "42"),
        (&pages, "42"),
    ];
    let mut entries = Vec::new();
    for (cache, key) in places {
        entries.push(entry_of(&spy, cache, key).await);
    }
    for (home, entry) in entries.iter().enumerate() {
        spy.answer(entry.clone());
        for (place, (cache, key)) in places.into_iter().enumerate() {
            let expected = (place == home).then_some("ada");
            assert_eq!(reads(cache, key).await.as_deref(), expected, "stored at {home}, read at {place}");
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Limits {
    daily: u32,
    monthly: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Swapped {
    monthly: u32,
    daily: u32,
}

/// The bytes of the two types are alike, so only the header tells them apart, and it is authenticated.
#[tokio::test]
async fn an_entry_is_not_read_as_another_type_with_a_forged_header() {
    let (spy, journal) = (Spy::new(), Arc::new(Journal::default()));
    let cache = told(&spy, keyring(1), &journal, |_| {});
    cache.set("limits", Limits { daily: 1, monthly: 2 }).await.unwrap();
    let mut entry = spy.last().1.to_vec();
    assert_eq!(cache.entry("limits").skip_l1_read().get::<Swapped>().await.unwrap(), None);
    assert!(journal.contains(&Note::Unreadable(Unreadable::Schema)));
    cache.set("other", Swapped { daily: 1, monthly: 2 }).await.unwrap();
    entry[SCHEMA].copy_from_slice(&spy.last().1[SCHEMA]);
    spy.answer(entry);
    assert_eq!(cache.entry("limits").skip_l1_read().get::<Swapped>().await.unwrap(), None);
    assert!(journal.contains(&Note::Unreadable(Unreadable::Unauthentic)));
}

#[tokio::test]
async fn a_plaintext_entry_is_never_believed() {
    for fail_closed in [false, true] {
        let (spy, journal) = (Spy::new(), Arc::new(Journal::default()));
        let cache = told(&spy, keyring(1), &journal, |settings| settings.fail_closed = Some(fail_closed));
        let sealed = entry_of(&spy, &cache, "42").await;
        let plain = CacheBuilder::new().intent(Intent::Test).backend(spy.clone()).namespace("users").build().unwrap();
        plain.set("42", "eve".to_owned()).await.unwrap();
        let mut entry = spy.last().1.to_vec();
        assert!(contains(&entry, b"eve"), "it is in the clear");
        assert_eq!(reads(&cache, "42").await, None, "a miss under both policies");
        assert!(journal.contains(&Note::Unreadable(Unreadable::Stack)));
        // Somebody who knows the format makes it look like an encrypted one.
        entry[STACK].copy_from_slice(&sealed[STACK]);
        entry.extend([0; 64]);
        spy.answer(entry);
        let read = cache.entry("42").skip_l1_read().get::<String>().await;
        assert_eq!(
            read.map_err(|error| error.kind()),
            if fail_closed { Err(ErrorKind::Unauthentic) } else { Ok(None) }
        );
        assert!(journal.contains(&Note::Unreadable(Unreadable::Unauthentic)));
    }
}

#[tokio::test]
async fn nonces_are_never_the_same() {
    let spy = Spy::new();
    let caches = [secure(&spy, keyring(1)), secure(&spy, keyring(1))];
    for round in 0..2_000 {
        caches[round % 2].set("42", 7u32).await.unwrap();
    }
    let entries = spy.all();
    let nonces: HashSet<&[u8]> = entries.iter().map(|(_, entry)| &entry[90..102]).collect();
    assert_eq!(nonces.len(), 2_000);
    // Nor is any part of them a counter: over so many, every byte takes nearly every value.
    for byte in 0..12 {
        let values: HashSet<u8> = nonces.iter().map(|nonce| nonce[byte]).collect();
        assert!(values.len() > 240, "byte {byte} took {} values", values.len());
    }
}

#[tokio::test]
async fn an_entry_says_nothing_of_its_value() {
    let spy = Spy::new();
    let cache = secure(&spy, keyring(1));
    cache.set("42", "telltale".repeat(300)).await.unwrap();
    cache.set("43", "telltale".repeat(300)).await.unwrap();
    let entries = spy.all();
    assert!(entries.iter().all(|(_, entry)| !contains(entry, b"tell") && !contains(entry, b"tale")));
    assert_ne!(entries[0].1[94..], entries[1].1[94..], "one value is encrypted differently each time");
    let memory = Memory::new(1 << 20);
    assert!(secure(&memory, keyring(1)).get::<String>("42").await.unwrap().is_none());
}
