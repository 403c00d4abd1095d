//! What no call can mean: a clear error, and nothing is lost.

use std::sync::Arc;

use cachekit::backends::Memory;
use cachekit::testing::ManualClock;
use cachekit::{CacheBuilder, ComputeError, ErrorKind, Intent};

use crate::support::{Broken, Slow};

#[tokio::test]
async fn a_key_that_cannot_be_one_is_refused_by_every_call_without_computing() {
    let cache = CacheBuilder::new().intent(Intent::Test).backend(Memory::new(1 << 20)).build().unwrap();
    cache.set("good", 1u32).await.unwrap();
    let huge = "k".repeat(10 << 20);
    let slow = Slow::new();
    slow.finish(10);
    for (bad, says) in [(String::new(), "empty"), (huge, "10485760 bytes")] {
        let run = slow.clone();
        let Err(ComputeError::Cache(error)) = cache.get_or_compute(&bad, move || run.run(Ok(1u32))).await else {
            panic!("an error")
        };
        let errors = [
            error,
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
    assert_eq!(slow.started(), 0);
    assert_eq!(cache.get::<u32>("good").await.unwrap(), Some(1));
}

#[tokio::test]
async fn keys_with_newlines_blanks_and_any_script_are_keys_like_others() {
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
    use std::time::Duration;
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
async fn a_ttl_over_the_limit_of_the_backend_is_an_error_at_build_or_at_the_call() {
    use std::time::Duration;
    let month = Duration::from_secs(30 * 24 * 3_600);
    let short = || crate::support::ShortLived(Memory::new(1 << 20), month);
    let text =
        crate::support::message(CacheBuilder::new().intent(Intent::Minimal).backend(short()).ttl(month * 2).build());
    assert!(text.contains("2592000 s"), "{text}");
    let grace = CacheBuilder::new().intent(Intent::Production).backend(short()).ttl(month).build();
    assert!(crate::support::message(grace).contains("stale_if_error"), "ttl and grace together count");
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
