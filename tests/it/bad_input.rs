//! What no call can mean: a clear error, and nothing is lost.

use std::sync::Arc;
use std::time::Duration;

use cachekit::backends::Memory;
use cachekit::testing::ManualClock;
use cachekit::{CacheBuilder, ComputeError, Computed, ErrorKind, Intent, Outcome};

use harness::support::{Broken, Journal, Note};

const TOO_LONG: usize = 100_000;

/// Keys as users type them, and what is said of each.
fn bad_keys() -> [(String, &'static str); 3] {
    [(String::new(), "empty"), ("k".repeat(TOO_LONG), "100000 bytes"), ("k".repeat(10 << 20), "10485760 bytes")]
}

#[tokio::test]
async fn a_key_that_cannot_be_one_is_refused_by_explicit_calls() {
    let cache = CacheBuilder::new().intent(Intent::Test).backend(Memory::new(1 << 20)).build().unwrap();
    cache.set("good", 1u32).await.unwrap();
    for (bad, says) in bad_keys() {
        let errors = [
            cache.get::<u32>(&bad).await.unwrap_err(),
            cache.set(&bad, 1u32).await.unwrap_err(),
            cache.invalidate(&bad).await.unwrap_err(),
            cache.exists(&bad).await.unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::Key);
            assert!(error.to_string().contains(says), "{error}");
            assert!(error.to_string().len() < 200, "the key itself is not repeated");
        }
    }
    assert_eq!(cache.get::<u32>("good").await.unwrap(), Some(1));
}

#[tokio::test]
async fn invalid_key_computes_with_an_event_and_stores_nothing() {
    for l1 in [true, false] {
        let (memory, journal) = (Memory::new(1 << 20), Arc::new(Journal::default()));
        let builder = CacheBuilder::new().backend(memory.clone()).namespace_index(false).l1_enabled(l1);
        let cache = builder.observer(Arc::clone(&journal) as _).build().unwrap();
        for (bad, says) in bad_keys() {
            for round in 0..2u32 {
                let load = move || async move { Ok::<_, Broken>(round) };
                assert_eq!(cache.get_or_compute(&bad, load).await.unwrap(), round);
                assert_eq!(*cache.get_or_compute_arc(&bad, load).await.unwrap(), round);
                assert_eq!(cache.entry(&bad).tags(["t"]).get_or_compute(load).await.unwrap(), round);
                let decide = move || async move { Ok::<_, Broken>(Computed::new(round)) };
                assert_eq!(*cache.entry(&bad).get_or_decide(decide).await.unwrap(), round);
            }
            let told = |note: &Note| matches!(note, Note::NotStored(ErrorKind::Key, text) if text.contains(says));
            assert_eq!(journal.count(told), 8, "one for each call");
        }
        assert_eq!((cache.l1_len(), memory.len(), cache.pending()), (0, 0, 0));
        assert_eq!((cache.stats().computed, cache.stats().not_stored), (24, 24));
        assert_eq!(journal.count(|note| matches!(note, Note::Answered(Outcome::Computed))), 24);
    }
}

#[tokio::test]
async fn invalid_key_computations_fail_panic_time_out_and_nest() {
    let cache = CacheBuilder::new().build().unwrap();
    let failed = cache.get_or_compute("", || async { Err::<u8, _>(Broken("down")) }).await.unwrap_err();
    assert!(matches!(failed, ComputeError::Failed(error) if *error == Broken("down")));
    let panicked = cache.get_or_compute("", || async { panic!("no") as Result<u8, Broken> }).await.unwrap_err();
    assert!(panicked.to_string().contains("panicked"), "{panicked}");
    let stuck = cache.entry("").deadline(Duration::from_millis(20));
    let late = stuck.get_or_compute(std::future::pending::<Result<u8, Broken>>).await.unwrap_err();
    assert!(matches!(late, ComputeError::TimedOut));
    let inner = cache.clone();
    let nested = move || async move {
        let inside = inner.get_or_compute("k".repeat(TOO_LONG), || async { Ok::<_, Broken>(1u8) }).await;
        Ok::<_, Broken>(inside.unwrap() + 1)
    };
    assert_eq!(cache.get_or_compute("", nested).await.unwrap(), 2);
}

#[tokio::test]
async fn keys_with_newlines_blanks_and_any_script_work_like_others() {
    let cache =
        CacheBuilder::new().intent(Intent::Test).backend(Memory::new(1 << 20)).l1_enabled(false).build().unwrap();
    let keys = ["a\nb", "a b", "a\r\nset x 0 0 1", "a%0Ab", "ключ", "a\0b", "a:lock", "../../etc/passwd"];
    for (value, key) in (0u32..).zip(keys) {
        cache.set(key, value).await.unwrap();
    }
    for (value, key) in (0u32..).zip(keys) {
        assert_eq!(cache.get::<u32>(key).await.unwrap(), Some(value), "{key:?}");
    }
}

#[tokio::test]
async fn settings_out_of_range_are_refused_by_build_with_their_names() {
    let error = CacheBuilder::new()
        .ttl(Duration::ZERO)
        .swr_threshold_ratio(f64::NAN)
        .l1_max_size_mb(-1.0)
        .max_chunk_size_mb(f64::INFINITY)
        .compression_level(10)
        .max_value_size(0)
        .deadline(Duration::ZERO)
        .build()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = error.to_string();
    for name in [
        "ttl",
        "swr_threshold_ratio",
        "l1_max_size_mb",
        "max_chunk_size_mb",
        "compression_level",
        "max_value_size",
        "deadline",
    ] {
        assert!(text.lines().any(|line| line.starts_with(name)), "{name} is missing from:\n{text}");
    }
}

#[tokio::test]
async fn ttl_above_the_backend_limit_is_an_error_at_build_or_call() {
    use std::time::Duration;
    let month = Duration::from_secs(30 * 24 * 3_600);
    let short = || harness::support::ShortLived(Memory::new(1 << 20), month);
    let text =
        harness::support::message(CacheBuilder::new().intent(Intent::Minimal).backend(short()).ttl(month * 2).build());
    assert!(text.contains("2592000 s"), "{text}");
    let grace = CacheBuilder::new().intent(Intent::Production).backend(short()).ttl(month).build();
    assert!(harness::support::message(grace).contains("stale_if_error"), "ttl and grace together count");
    let years = CacheBuilder::new().intent(Intent::Production).ttl(month * 70);
    let text = harness::support::message(years.build());
    assert!(text.contains("L1 keeps entries for at most 315360000 s") && text.contains("stale_if_error"), "{text}");
    let years = CacheBuilder::new().intent(Intent::Production).ttl(month * 70).stale_if_error(month).build().unwrap();
    years.set("key", 1u32).await.unwrap();
    assert_eq!(years.get::<u32>("key").await.unwrap(), Some(1));
    let clock = ManualClock::new();
    let cache = CacheBuilder::new().intent(Intent::Minimal).backend(short()).clock(Arc::new(clock)).build().unwrap();
    cache.entry("key").ttl(month).set(1u32).await.unwrap();
    let error = cache.entry("key").ttl(month + Duration::from_secs(1)).set(2u32).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Argument);
    assert_eq!(cache.get::<u32>("key").await.unwrap(), Some(1));
    let refused = cache.entry("other").ttl(month * 2).get_or_compute(|| async { Ok::<u32, Broken>(3) }).await;
    assert_eq!(refused.unwrap(), 3, "the computed value is returned");
    assert!(!cache.exists("other").await.unwrap(), "and not stored");
}
