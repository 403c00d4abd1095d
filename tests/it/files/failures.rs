//! Failing disks, locks and directories.

use std::fs;

use cachekit::ErrorKind;
use cachekit::backends::{Backend, File};

use super::child::Child;
use super::support::{MINUTE, key, listing, only_entry, place, small};
use harness::support::leased;

#[test]
fn a_full_disk_is_temporary_and_keeps_the_old_value() {
    let parent = tempfile::tempdir().unwrap();
    Child::start_on_tmpfs("fill the disk", parent.path()).finish();
}

#[test]
fn read_only_disk_serves_reads_and_takes_writes_once_writable() {
    let parent = tempfile::tempdir().unwrap();
    Child::start_on_tmpfs("turn read-only", parent.path()).finish();
}

#[tokio::test]
async fn a_lock_held_elsewhere_times_writes_out_and_reads_go_on() {
    let place = place(small());
    place.files.set(&key(1), "old".into(), MINUTE).await.unwrap();
    let mut holder = Child::start("hold lock", &place.dir);
    assert_eq!(holder.answer(), "locked");

    let refused = place.files.set(&key(1), "new".into(), MINUTE).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Timeout);
    assert_eq!(place.files.remove(&key(1)).await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(leased(&place.files, &key(1), MINUTE).await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(place.files.get(&key(1)).await.unwrap().as_deref(), Some(&b"old"[..]));
    assert_eq!(listing(&place.dir).len(), 2, "the temporary file is gone");
    File::open(&place.dir, small()).unwrap();

    holder.finish();
    place.files.set(&key(1), "new".into(), MINUTE).await.unwrap();
    assert_eq!(place.files.get(&key(1)).await.unwrap().as_deref(), Some(&b"new"[..]));
}

#[tokio::test]
async fn reads_go_on_while_more_writers_wait_than_may_work() {
    let place = place(small());
    place.files.set(&key(1), "v".into(), MINUTE).await.unwrap();
    let mut holder = Child::start("hold lock", &place.dir);
    assert_eq!(holder.answer(), "locked");

    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let files = place.files.clone();
        writers.spawn(async move { files.remove(&key(2)).await.unwrap_err().kind() });
    }
    tokio::task::yield_now().await;
    assert_eq!(place.files.get(&key(1)).await.unwrap().as_deref(), Some(&b"v"[..]));
    assert_eq!(writers.join_all().await, [ErrorKind::Timeout; 200], "waiting in line counts");
    holder.finish();
}

#[tokio::test]
async fn an_expired_entry_is_a_miss_while_the_lock_is_held() {
    let place = place(small());
    place.files.set(&key(1), "v".into(), MINUTE).await.unwrap();
    place.clock.advance(2 * MINUTE);
    let mut holder = Child::start("hold lock", &place.dir);
    assert_eq!(holder.answer(), "locked");
    assert_eq!(place.files.get(&key(1)).await.unwrap(), None);
    assert!(only_entry(&place.dir).exists(), "removed by a later read");
    holder.finish();
    assert_eq!(place.files.get(&key(1)).await.unwrap(), None);
    assert_eq!(listing(&place.dir), [".cachekit.lock"]);
}

#[tokio::test]
async fn a_directory_that_is_gone_is_told_until_it_is_back() {
    let place = place(small());
    place.files.set(&key(1), "v".into(), MINUTE).await.unwrap();
    fs::remove_dir_all(&place.dir).unwrap();
    assert_eq!(place.files.ping().await.unwrap_err().kind(), ErrorKind::Unavailable);
    let refused = place.files.set(&key(1), "v".into(), MINUTE).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert!(refused.to_string().contains("is gone"), "{refused}");

    fs::create_dir(&place.dir).unwrap();
    place.files.ping().await.unwrap();
    assert_eq!(place.files.get(&key(1)).await.unwrap(), None);
    place.files.set(&key(1), "v".into(), MINUTE).await.unwrap();
    assert_eq!(place.files.get(&key(1)).await.unwrap().as_deref(), Some(&b"v"[..]));
}

#[test]
fn without_a_runtime_the_backend_says_so() {
    let place = place(small());
    let key = key(1);
    let work = std::pin::pin!(place.files.get(&key));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match Future::poll(work, &mut context) {
        std::task::Poll::Ready(Err(error)) => assert_eq!(error.kind(), ErrorKind::Closed),
        other => panic!("{other:?}"),
    }
}
