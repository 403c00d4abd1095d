//! Modes and dates of files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use cachekit::backends::{Backend, File};

use super::support::{MINUTE, START, key, listing, only_entry, place, small};
use harness::support::leased;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn only_the_owner_can_look() {
    let place = place(small());
    place.files.set(&key(1), "v".into(), MINUTE).await.unwrap();
    let _ = leased(&place.files, &key(2), MINUTE).await.unwrap();
    assert_eq!(mode(&place.dir), 0o700);
    for name in listing(&place.dir) {
        assert_eq!(mode(&place.dir.join(&name)), 0o600, "{name}");
    }
}

#[tokio::test]
async fn an_entry_ends_at_its_whole_second_never_early() {
    let place = place(small());
    place.files.set(&key(1), "v".into(), Duration::from_millis(700)).await.unwrap();
    // Due at 1.2 s past the start's second, so kept until 2 s.
    place.clock.set(START + 1_499);
    assert_eq!(place.files.get(&key(1)).await.unwrap().as_deref(), Some(&b"v"[..]));
    let path = only_entry(&place.dir);
    place.clock.set(START + 1_500);
    assert_eq!(place.files.get(&key(1)).await.unwrap(), None);
    assert!(!path.exists(), "an expired entry is removed");
}

#[tokio::test]
async fn an_expired_entry_that_was_replaced_meanwhile_stays() {
    let place = place(small());
    place.files.set(&key(1), "old".into(), MINUTE).await.unwrap();
    place.clock.advance(2 * MINUTE);
    place.files.set(&key(1), "new".into(), MINUTE).await.unwrap();
    assert_eq!(place.files.get(&key(1)).await.unwrap().as_deref(), Some(&b"new"[..]));
}

#[tokio::test]
async fn what_was_set_is_what_is_read_until_removed() {
    let place = place(small());
    let values = [vec![], vec![0], vec![0xC1; 70_000], (0..=255).collect()];
    for (id, value) in values.iter().enumerate() {
        place.files.set(&key(id), value.clone().into(), MINUTE).await.unwrap();
    }
    let reopened = File::open_with_clock(&place.dir, small(), place.clock()).unwrap();
    for (id, value) in values.iter().enumerate() {
        assert_eq!(reopened.get(&key(id)).await.unwrap().as_deref(), Some(&value[..]));
        reopened.remove(&key(id)).await.unwrap();
        reopened.remove(&key(id)).await.unwrap();
        assert_eq!(place.files.get(&key(id)).await.unwrap(), None);
    }
    assert_eq!(listing(&place.dir), [".cachekit.lock"]);
}

#[tokio::test]
async fn it_tells_its_limits_and_no_keys() {
    let place = place(small());
    let capabilities = place.files.capabilities();
    assert_eq!((capabilities.name, capabilities.leases, capabilities.max_value), ("file", true, 1 << 20));
    place.files.ping().await.unwrap();
    place.files.set(&key("secret-name"), "secret-value".into(), MINUTE).await.unwrap();
    let shown = format!("{:?}", place.files);
    assert!(shown.starts_with("File { dir: ") && !shown.contains("secret"), "{shown}");
}
