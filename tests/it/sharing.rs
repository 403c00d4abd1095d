//! Values and keys that are shared, not cloned.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use cachekit::backends::Memory;
use cachekit::{CacheBuilder, ComputeError, ErrorKind, Intent, Key};
use serde::{Deserialize, Serialize};

use harness::support::Broken;

/// A value that cannot be cloned.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Report(Vec<u64>);

#[tokio::test]
async fn what_l1_holds_is_handed_out_and_not_copied() {
    let reports = CacheBuilder::new().intent(Intent::Minimal).backend(Memory::new(1 << 20)).build().unwrap();
    assert_eq!(reports.get_arc::<Report>("may").await.unwrap(), None);
    let computed = reports.get_or_compute_arc("may", || async { Ok::<_, Broken>(Report(vec![1, 2])) }).await.unwrap();
    let found = reports.get_arc::<Report>("may").await.unwrap().unwrap();
    assert!(Arc::ptr_eq(&computed, &found));
    let other = reports.entry("may").skip_l1_read().get_arc::<Report>().await.unwrap().unwrap();
    assert!(!Arc::ptr_eq(&computed, &other) && computed == other, "the backend holds bytes");
}

#[test]
fn a_key_behind_a_pointer_is_the_same_key() {
    let plain = Key::new("users", ("ada", 42)).unwrap();
    let (name, shared): (Box<str>, Arc<str>) = ("ada".into(), "ada".into());
    assert_eq!(Key::new("users", (name, Box::new(42u64))).unwrap(), plain);
    assert_eq!(Key::new("users", (&shared, &&42u64)).unwrap(), plain);
    assert_eq!(Key::new("users", Arc::new(String::from("ada"))).unwrap(), Key::new("users", shared).unwrap());
}

#[test]
fn hit_needs_no_runtime_and_a_miss_without_one_tells_so() {
    let cache = CacheBuilder::new().build().unwrap();
    let mut context = Context::from_waker(Waker::noop());
    assert!(pin!(cache.set("key", 7u8)).poll(&mut context).is_ready());
    let hit = pin!(cache.get_or_compute("key", || async { Ok::<u8, Broken>(8) })).poll(&mut context);
    assert!(matches!(hit, Poll::Ready(Ok(7))), "{hit:?}");
    let miss = pin!(cache.get_or_compute("other", || async { Ok::<u8, Broken>(8) })).poll(&mut context);
    let Poll::Ready(Err(ComputeError::Cache(error))) = miss else { panic!("{miss:?}") };
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert!(error.to_string().contains("tokio runtime"), "{error}");
}
