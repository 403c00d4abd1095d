//! What happens with an entry that is not authentic.

use std::sync::Arc;

use cachekit::{ComputeError, ErrorKind, Unreadable};

use super::{Spy, keyring, secure, told};
use harness::support::{Broken, Journal, Note};

#[tokio::test]
async fn it_is_a_miss_is_removed_and_computed_anew() {
    let (spy, journal) = (Spy::new(), Arc::new(Journal::default()));
    secure(&spy, keyring(9)).set("42", 1u32).await.unwrap();
    let cache = told(&spy, keyring(1), &journal, |_| {});
    assert_eq!(cache.get::<u32>("42").await.unwrap(), None);
    assert_eq!(spy.removed(), ["users:42"]);
    assert_eq!(journal.notes()[0], Note::Unreadable(Unreadable::Unauthentic));
    assert!(!cache.exists("42").await.unwrap());

    secure(&spy, keyring(9)).set("42", 1u32).await.unwrap();
    assert_eq!(cache.get_or_compute("42", || async { Ok::<u32, Broken>(2) }).await.unwrap(), 2);
    assert_eq!(cache.entry("42").skip_l1_read().get::<u32>().await.unwrap(), Some(2), "stored anew");
    assert_eq!(cache.stats().unreadable, 2);
}

#[tokio::test]
async fn it_is_an_error_and_kept_where_the_cache_fails_closed() {
    let (spy, journal) = (Spy::new(), Arc::new(Journal::default()));
    secure(&spy, keyring(9)).set("42", 1u32).await.unwrap();
    let cache = told(&spy, keyring(1), &journal, |settings| settings.fail_closed = Some(true));
    assert_eq!(cache.get::<u32>("42").await.unwrap_err().kind(), ErrorKind::Unauthentic);
    let computed = cache.get_or_compute("42", || async { Ok::<u32, Broken>(2) }).await;
    assert!(matches!(computed, Err(ComputeError::Cache(error)) if error.kind() == ErrorKind::Unauthentic));
    assert_eq!(journal.count(|note| matches!(note, Note::Computed(_))), 0);
    assert_eq!((spy.removed().len(), spy.all().len()), (0, 1), "the entry is as it was");
    // Somebody looks into it, and says what to do.
    cache.invalidate("42").await.unwrap();
    assert_eq!(cache.get_or_compute("42", || async { Ok::<u32, Broken>(2) }).await.unwrap(), 2);
}

/// An entry that is merely of another type or stack is nobody's attack, and is not removed.
#[tokio::test]
async fn what_is_only_unreadable_stays() {
    let spy = Spy::new();
    let cache = told(&spy, keyring(1), &Arc::default(), |settings| settings.fail_closed = Some(true));
    cache.set("42", 1u32).await.unwrap();
    assert_eq!(cache.entry("42").skip_l1_read().get::<String>().await.unwrap(), None);
    assert_eq!(spy.removed().len(), 0);
    assert_eq!(cache.get::<u32>("42").await.unwrap(), Some(1));
}
