//! The names of entries, and of what is kept beside them.

use std::time::Duration;

use cachekit::backends::{File, Memcached};
use cachekit::codec::{Encrypted, Keyring, Postcard};
use cachekit::{Backend, Cache, CacheBuilder, FileLimits, Intent, IntoKey, Key, MemcachedSettings};

use super::same_name;
use super::shelf::Shelf;
use crate::servers;

fn same(key: (&str, impl IntoKey), expected: &str) {
    same_name(Key::new(key.0, key.1).unwrap().as_str(), expected);
}

#[test]
fn keys_have_these_texts() {
    same(("users", 42), "users:42");
    same(("users", "ada"), "users:ada");
    same(("users", -1), "users:-1");
    same(("users", ("eu west", 42)), "users:eu%20west/42");
    same(("a:b/c", ("d:e", "f/g")), "a%3Ab%2Fc:d%3Ae/f%2Fg");
    same(("n", "100%~"), "n:100%25%7E");
    same(("n", "a\nb\0c\u{7f}"), "n:a%0Ab%00c%7F");
    same(("n", "é🦀"), "n:%C3%A9%F0%9F%A6%80");
    same(("é", "A.b_c-9"), "%C3%A9:A.b_c-9");
    same(("n", ("", "")), "n:/");
    same(("n", ("", "a")), "n:/a");
    same(("n", ("a", "")), "n:a/");
    same(("n", (1, 2, 3, 4, 5, 6)), "n:1/2/3/4/5/6");
    same(("n", (true, 'ß', std::net::Ipv4Addr::LOCALHOST)), "n:true/%C3%9F/127.0.0.1");
    same(("n", (i128::MIN, u128::MAX)), &format!("n:{}/{}", i128::MIN, u128::MAX));
}

#[test]
fn long_keys_end_in_a_hash() {
    let longest = "k".repeat(178);
    same(("n", longest.as_str()), &format!("n:{longest}"));
    // The tail is BLAKE2b-256 of `n:` and 179 times `k`, by another implementation.
    let tail = "aaf8ab603502660d71c0815f8ee67995d3cbd588555d7784a9b3be32b4f95ac7";
    same(("n", "k".repeat(179)), &format!("n:{}~{tail}", "k".repeat(113)));
    let tail = "b01a874d71ca797e5e90f0266008cdc01ec5cc39ff2e5d25ff80278ad4beff32";
    same(("n", "é".repeat(60)), &format!("n:{}%C3%A~{tail}", "%C3%A9".repeat(18)));
}

/// Logs of different processes name a key by it.
#[test]
fn keys_have_these_ids() {
    // BLAKE2b-64 of the texts, by another implementation.
    same_name(&Key::new("users", 42).unwrap().id(), "198eec194f6a4360");
    same_name(&Key::new("users", 42).unwrap().reserved("lock").id(), "06a9bee81aac4ed5");
}

fn encrypted(shelf: &Shelf, hashed: bool) -> Cache<Shelf, Encrypted<Postcard>> {
    let codec = Encrypted::new(Postcard, Keyring::from_bytes(&[0xAA; 32]).unwrap());
    let builder = CacheBuilder::new().intent(Intent::Test).namespace("users").codec(codec).backend(shelf.clone());
    builder.hashed_keys(hashed).build().unwrap()
}

#[tokio::test]
async fn entries_of_tenants_and_of_hidden_names_have_these_keys() {
    let shelf = Shelf::with([]);
    let cache = encrypted(&shelf, false);
    cache.set("42", 1u32).await.unwrap();
    cache.tenant("acme corp").unwrap().set("42", 1u32).await.unwrap();
    let cache = encrypted(&shelf, true);
    cache.set("42", 1u32).await.unwrap();
    cache.tenant("acme corp").unwrap().set("42", 1u32).await.unwrap();
    let plain = CacheBuilder::new().intent(Intent::Test).namespace("users").backend(shelf.clone()).hashed_keys(true);
    plain.build().unwrap().set("42", 1u32).await.unwrap();
    let mut expected = [
        // BLAKE2b-256 of `users:42`, and keyed of `users:42` and `users:@acme%20corp:42`, by Python.
        "users:#b6a20eb53bf741968ad3f371db6fffe3484a1d84356cd7b595dae86f9cc7a93d",
        "users:#b3cd35802d327025976c39d6b44907fa13aed356d0efd5479c05c75b284e65b5",
        "users:#bfaca24b83ca3c8065b05714a72c6dc7e770e1e27ce0b916391a7c090e178d26",
        "users:42",
        "users:@acme%20corp:42",
    ];
    expected.sort_unstable();
    let keys = shelf.keys();
    assert_eq!(keys.len(), expected.len());
    keys.iter().zip(expected).for_each(|(key, expected)| same_name(key, expected));
}

/// The tail of what memcached does not take as a name is BLAKE2b-256 of the whole, by Python.
#[tokio::test]
async fn memcached_has_these_names() {
    let server = servers::Memcached::start();
    let mut settings = MemcachedSettings::new([server.address()]);
    (settings.timeout, settings.connect_timeout) = (servers::PATIENCE, servers::PATIENCE);
    settings.key_prefix = "app:".into();
    let memcached = Memcached::new(settings).unwrap();
    let tail = "f712ff87faa93ed666fbe5281c848872bc2386d4deb3f87ec2b8f2c8f9b55281";
    let (short, long) =
        (Key::new("users", 42).unwrap(), Key::new("n", "k".repeat(178)).unwrap().reserved(&"r".repeat(66)));
    for (key, expected) in [(short, "app:users:42".to_owned()), (long, format!("app:n:{}~~{tail}", "k".repeat(178)))] {
        memcached.set(&key, "ada".into(), Duration::from_secs(60)).await.unwrap();
        assert_eq!(server.text(&expected).as_deref(), Some("ada"), "`{expected}` is not the name: {}", super::CHANGED);
    }
}

/// BLAKE2b-128 of the text, by Python.
#[tokio::test]
async fn files_have_these_names() {
    let dir = tempfile::tempdir().unwrap();
    let files = File::open(dir.path(), FileLimits::default()).unwrap();
    for (key, expected) in [
        (Key::new("users", 42).unwrap(), "582992d52d563cfc1eec671a3b89bd6e"),
        (Key::new("users", 42).unwrap().reserved("lock"), "6202d2195ce3c3b33774596b925c4b91"),
        (Key::new("n", "é".repeat(60)).unwrap(), "6c8aa3ae006171d58ec0531fb19a0dae"),
    ] {
        files.set(&key, "ada".into(), Duration::from_secs(60)).await.unwrap();
        let path = dir.path().join(expected);
        assert!(path.exists(), "{}: {}", path.display(), super::CHANGED);
    }
}
