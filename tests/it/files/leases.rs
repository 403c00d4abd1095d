//! Leases, within a process and across two.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cachekit::ErrorKind;
use cachekit::backends::{Backend, File, LeaseToken};

use super::child::Child;
use super::support::{MINUTE, START, key, listing, patient, place, small};
use harness::support::leased;

async fn granted(files: &File, id: u32) -> LeaseToken {
    match leased(files, &key(id), MINUTE).await.unwrap() {
        Some(token) => token,
        None => panic!("the lease of {id} is held"),
    }
}

async fn is_held(files: &File, id: u32) -> bool {
    leased(files, &key(id), MINUTE).await.unwrap().is_none()
}

#[tokio::test]
async fn lease_has_one_holder_and_ends_by_fill_release_set_or_remove() {
    let place = place(small());
    let files = &place.files;
    let other = File::open_with_clock(&place.dir, small(), place.clock()).unwrap();

    let token = granted(files, 1).await;
    assert!(is_held(&other, 1).await && is_held(files, 1).await);
    assert!(!other.fill(&key(1), "forged".into(), MINUTE, LeaseToken::random()).await.unwrap());
    assert!(files.fill(&key(1), "filled".into(), MINUTE, token).await.unwrap());
    assert_eq!(other.get(&key(1)).await.unwrap().as_deref(), Some(&b"filled"[..]));
    assert!(!files.fill(&key(1), "twice".into(), MINUTE, token).await.unwrap());

    let token = granted(&other, 1).await;
    files.release(&key(1), LeaseToken::random()).await.unwrap();
    assert!(is_held(files, 1).await, "another's token releases nothing");
    files.release(&key(1), token).await.unwrap();

    let token = granted(files, 1).await;
    other.set(&key(1), "set".into(), MINUTE).await.unwrap();
    assert!(!files.fill(&key(1), "late".into(), MINUTE, token).await.unwrap());
    let token = granted(files, 1).await;
    other.remove(&key(1)).await.unwrap();
    assert!(!files.fill(&key(1), "late".into(), MINUTE, token).await.unwrap());
    assert_eq!(files.get(&key(1)).await.unwrap(), None);
    assert_eq!(listing(&place.dir), [".cachekit.lock"]);
}

#[tokio::test]
async fn a_lease_ends_after_its_hold() {
    let place = place(small());
    let token = granted(&place.files, 1).await;
    place.clock.set(START + 59_999);
    assert!(is_held(&place.files, 1).await);
    place.clock.set(START + 60_000);
    assert!(!place.files.fill(&key(1), "late".into(), MINUTE, token).await.unwrap());
    let next = granted(&place.files, 1).await;
    assert_ne!(next, token);
    assert!(place.files.fill(&key(1), "v".into(), MINUTE, next).await.unwrap());
}

#[tokio::test]
async fn a_fill_that_fails_ends_its_lease() {
    let place = place(small());
    let token = granted(&place.files, 1).await;
    let refused = place.files.fill(&key(1), vec![0; 2 << 20].into(), MINUTE, token).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::TooLarge);
    granted(&place.files, 1).await;
}

#[tokio::test]
async fn a_damaged_lease_file_holds_nothing() {
    let place = place(small());
    let token = granted(&place.files, 1).await;
    let is_lease = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "lease");
    let path = fs::read_dir(&place.dir).unwrap().map(|item| item.unwrap().path()).find(is_lease).unwrap();
    let good = fs::read(&path).unwrap();
    for length in 0..good.len() {
        fs::write(&path, &good[..length]).unwrap();
        assert!(!place.files.fill(&key(1), "v".into(), MINUTE, token).await.unwrap(), "{length} bytes");
    }
    granted(&place.files, 1).await;
}

/// Has the lease in a directory end in the far future.
fn prolong(dir: &Path) {
    let is_lease = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "lease");
    let path = fs::read_dir(dir).unwrap().map(|item| item.unwrap().path()).find(is_lease).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[4..12].copy_from_slice(&u64::MAX.to_be_bytes());
    fs::write(&path, bytes).unwrap();
}

/// Another program has written it, or the clock has gone back since.
#[tokio::test]
async fn a_lease_that_would_last_for_longer_than_any_is_taken_over() {
    let place = place(small());
    let old = granted(&place.files, 1).await;
    place.clock.set(START - 60_001);
    let token = granted(&place.files, 1).await;
    assert!(!place.files.fill(&key(1), "old".into(), MINUTE, old).await.unwrap());
    prolong(&place.dir);
    assert!(place.files.fill(&key(1), "v".into(), MINUTE, token).await.unwrap(), "its own holder may fill");
    granted(&place.files, 1).await;
    prolong(&place.dir);
    let token = granted(&place.files, 1).await;
    assert!(is_held(&place.files, 1).await, "it is a lease like any other");
    assert!(place.files.fill(&key(1), "w".into(), MINUTE, token).await.unwrap());
    assert_eq!(place.files.get(&key(1)).await.unwrap().as_deref(), Some(&b"w"[..]));
    assert_eq!(listing(&place.dir).len(), 2, "the lock, and the entry");
}

#[tokio::test]
async fn leases_are_bounded_and_ended_ones_make_room() {
    let place = place(small());
    for id in 0..100 {
        granted(&place.files, id).await;
    }
    let refused = leased(&place.files, &key(100), MINUTE).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    place.clock.advance(MINUTE);
    granted(&place.files, 100).await;
    assert_eq!(listing(&place.dir).len(), 2, "the lock, and one lease");
}

#[tokio::test]
async fn leases_hold_across_processes() {
    let place = place(small());
    let files = File::open(&place.dir, patient()).unwrap();
    let mut child = Child::start("serve", &place.dir);

    assert_eq!(child.ask("lease 1"), "granted");
    assert!(is_held(&files, 1).await);
    assert_eq!(child.ask("fill 1 theirs"), "true");
    assert_eq!(files.get(&key(1)).await.unwrap().as_deref(), Some(&b"theirs"[..]));

    assert_eq!(child.ask("lease 2"), "granted");
    files.remove(&key(2)).await.unwrap();
    assert_eq!(child.ask("fill 2 late"), "false");
    assert_eq!(files.get(&key(2)).await.unwrap(), None);

    let token = granted(&files, 3).await;
    assert_eq!(child.ask("lease 3"), "held");
    assert_eq!(child.ask("set 3 newer"), "done");
    assert!(!files.fill(&key(3), "late".into(), MINUTE, token).await.unwrap());
    assert_eq!(child.ask("get 3"), "Some(b\"newer\")");
    child.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_ask_at_once_one_is_granted() {
    let place = place(small());
    for id in 0..20 {
        let mut askers = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let files = File::open(&place.dir, patient()).unwrap();
            askers.spawn(async move { leased(&files, &key(id), Duration::from_secs(600)).await.unwrap() });
        }
        let answers = askers.join_all().await;
        assert_eq!(answers.iter().filter(|answer| answer.is_some()).count(), 1, "{id}");
    }
}
