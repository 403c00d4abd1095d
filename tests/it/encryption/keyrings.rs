//! Keyrings: which keys are accepted, and how they take over from one another.

use std::time::Duration;

use cachekit::codec::{Encrypted, Keyring, Postcard};
use cachekit::{CacheBuilder, Environment, Error, ErrorKind, Intent};

use super::{Spy, keyring, secure};
use harness::support::Broken;

fn hex(byte: u8) -> String {
    format!("{byte:02x}").repeat(32)
}

fn refused(result: Result<Keyring, Error>, parts: &[&str]) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
    let shown = format!("{text} {error:?}");
    assert!(!shown.contains("7c7c") && !shown.contains("124, 124"), "{shown}");
}

#[test]
fn what_is_no_key_is_refused_without_being_shown() {
    let ours = |byte| Keyring::from_hex(&hex(byte)).unwrap();
    refused(Keyring::from_hex(&"7c".repeat(31)), &["the master key", "has 62 (31 bytes)", "openssl rand -hex 32"]);
    refused(Keyring::from_hex(&"7".repeat(65)), &["even number of hex digits and has 65"]);
    refused(Keyring::from_hex(&format!("{}zz", "7c".repeat(31))), &["hex digits (0-9, a-f) only"]);
    refused(Keyring::from_hex(&format!(" {}", hex(0x7c))), &["hex digits (0-9, a-f) only"]);
    refused(Keyring::from_hex(&"é".repeat(32)), &["hex digits (0-9, a-f) only"]);
    refused(Keyring::from_hex(""), &["must not be empty"]);
    refused(Keyring::from_bytes(&[0x7c; 31]), &["at least 32 bytes and has 31"]);
    refused(Keyring::from_bytes(&[]), &["at least 32 bytes and has 0"]);
    refused(ours(1).previous_hex(&"7c".repeat(31)), &["the previous master keys", "has 62 (31 bytes)"]);
    refused(ours(1).previous_bytes(&[0x7c; 31]), &["at least 32 bytes and has 31"]);
    refused(ours(0x7c).previous_hex(&hex(0x7c).to_uppercase()), &["key 1 must differ from the current"]);
    let two = || ours(1).previous_hex(&hex(0x7c)).unwrap().previous_hex(&hex(2)).unwrap();
    refused(two().previous_bytes(&[0x7c; 32]), &["key 3 must not repeat an earlier one"]);
    refused(two().previous_bytes(&[3; 32]).unwrap().previous_bytes(&[0x7d; 32]), &["at most 3 keys and holds 4"]);
}

#[test]
fn a_keyring_of_the_environment_is_that_of_its_variables() {
    let of = |vars: &[(&str, &str)]| Keyring::from_environment(&Environment::from_vars(vars.iter().copied()));
    let (master, previous) = ("CACHEKIT_MASTER_KEY", "CACHEKIT_PREVIOUS_MASTER_KEYS");
    let ring = of(&[(master, &hex(0xaa)), (previous, &format!("{},{}", hex(2), hex(3)))]).unwrap();
    assert_eq!(ring.fingerprint(), keyring(0xaa).fingerprint());
    assert_eq!(format!("{ring:?}"), "Keyring { previous: 2, .. }");
    assert_ne!(ring.fingerprint(), keyring(0xab).fingerprint());
    // What is wrong elsewhere is none of a keyring's.
    of(&[(master, &hex(1)), ("CACHEKIT_DEFAULT_TTL", "never")]).unwrap();
    refused(of(&[]), &["CACHEKIT_MASTER_KEY is not set", "openssl rand -hex 32"]);
    refused(of(&[(master, &"7c".repeat(31))]), &["CACHEKIT_MASTER_KEY", "has 62 (31 bytes)"]);
    refused(of(&[(master, &hex(0x7c)), (previous, &hex(0x7c))]), &["CACHEKIT_PREVIOUS_MASTER_KEYS", "current"]);
    refused(Keyring::from_env(), &["CACHEKIT_MASTER_KEY is not set"]);
}

#[test]
fn build_says_what_is_wrong_with_the_keys_of_the_environment() {
    let build = |key: &str| {
        CacheBuilder::from_vars([("CACHEKIT_MASTER_KEY", key)]).l1_only().intent(Intent::Secure).build().map(drop)
    };
    build(&hex(1)).unwrap();
    let error = build(&"7c".repeat(31)).unwrap_err().to_string();
    assert!(error.contains("has 62 (31 bytes)") && !error.contains("7c7c"), "{error}");
}

#[tokio::test]
async fn explicit_keys_win_over_the_environment() {
    let spy = Spy::new();
    let cache = CacheBuilder::from_vars([("CACHEKIT_MASTER_KEY", hex(1))])
        .intent(Intent::Secure)
        .codec(Postcard)
        .backend(spy.clone())
        .keyring(keyring(2))
        .namespace("users")
        .build()
        .unwrap();
    cache.set("42", 7u32).await.unwrap();
    assert_eq!(secure(&spy, keyring(2)).get::<u32>("42").await.unwrap(), Some(7));
    assert_eq!(secure(&spy, keyring(1)).get::<u32>("42").await.unwrap(), None);
}

#[tokio::test]
async fn the_environments_keys_are_those_of_secure() {
    let spy = Spy::new();
    let vars = [("CACHEKIT_MASTER_KEY", hex(1)), ("CACHEKIT_PREVIOUS_MASTER_KEYS", hex(2))];
    let cache = CacheBuilder::from_vars(vars).intent(Intent::Secure).codec(Postcard).backend(spy.clone());
    let cache = cache.namespace("users").namespace_index(false).build().unwrap();
    secure(&spy, keyring(2)).set("old", 7u32).await.unwrap();
    assert_eq!(cache.get::<u32>("old").await.unwrap(), Some(7));
    cache.set("new", 8u32).await.unwrap();
    assert_eq!(secure(&spy, keyring(1)).get::<u32>("new").await.unwrap(), Some(8));
}

/// From one key to the next, with every step's processes side by side.
#[tokio::test]
async fn a_rotation_loses_nothing() {
    let spy = Spy::new();
    let (first, second) = ([1; 32], [2; 32]);
    let steps = [
        Keyring::from_bytes(&first).unwrap(),
        Keyring::from_bytes(&first).unwrap().previous_bytes(&second).unwrap(),
        Keyring::from_bytes(&second).unwrap().previous_bytes(&first).unwrap(),
        Keyring::from_bytes(&second).unwrap(),
    ];
    let caches = steps.map(|ring| secure(&spy, ring));
    for pair in caches.windows(2).skip(1).take(1) {
        for (writer, reader) in [(0, 1), (1, 0)] {
            pair[writer].set("42", writer).await.unwrap();
            assert_eq!(pair[reader].entry("42").skip_l1_read().get::<usize>().await.unwrap(), Some(writer));
        }
    }
    caches[0].set("42", "old".to_owned()).await.unwrap();
    let old_id = spy.last().1[86..90].to_vec();
    let read = caches[2].get_or_compute("42", || async { Ok::<String, Broken>("computed".into()) }).await.unwrap();
    assert_eq!(read, "old", "read with the previous key");
    caches[2].set("42", "new".to_owned()).await.unwrap();
    assert_ne!(spy.last().1[86..90], old_id, "stored with the current one");
    assert_eq!(caches[3].get::<String>("42").await.unwrap().as_deref(), Some("new"));
    assert_eq!(caches[0].entry("42").skip_l1_read().get::<String>().await.unwrap(), None, "the old key cannot read it");
}

#[tokio::test]
async fn all_three_previous_keys_open() {
    let spy = Spy::new();
    let ring = (2..=4u8).try_fold(keyring(1), |ring, byte| ring.previous_bytes(&[byte; 32])).unwrap();
    let cache = secure(&spy, ring);
    for byte in 1..=5u8 {
        secure(&spy, keyring(byte)).set("42", byte).await.unwrap();
        let expected = (byte < 5).then_some(byte);
        assert_eq!(cache.entry("42").skip_l1_read().get::<u8>().await.unwrap(), expected);
    }
    // The id only says which key to try.
    secure(&spy, keyring(2)).set("42", 2u8).await.unwrap();
    let mut entry = spy.last().1.to_vec();
    secure(&spy, keyring(3)).set("43", 3u8).await.unwrap();
    entry[86..90].copy_from_slice(&spy.last().1[86..90]);
    spy.answer(entry);
    assert_eq!(cache.entry("42").skip_l1_read().get::<u8>().await.unwrap(), None);
}

/// Encrypted goes with any intent, and then under a checksum, if the intent adds one.
#[tokio::test]
async fn a_codec_with_keys_of_its_own_needs_no_secure_intent() {
    let spy = Spy::new();
    let codec = || Encrypted::new(Postcard, keyring(1));
    let production = CacheBuilder::new().codec(codec()).backend(spy.clone()).keyring(keyring(9)).build().unwrap();
    production.set("42", "telltale".to_owned()).await.unwrap();
    production.close(Duration::from_secs(5)).await.unwrap();
    assert!(!super::contains(&spy.last().1, b"tale"));
    let again = CacheBuilder::new().codec(codec()).backend(spy.clone()).build().unwrap();
    assert_eq!(
        again.get::<String>("42").await.unwrap().as_deref(),
        Some("telltale"),
        "its own keys, not the builder's"
    );
}
