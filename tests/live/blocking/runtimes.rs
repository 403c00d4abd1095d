//! Blocking caches inside and beside runtimes.

use cachekit::ComputeError;
use cachekit::RedisSettings;
use cachekit::backends::Redis;

use super::*;
use crate::servers::Server;

/// What every call says inside a runtime.
fn refusals(cache: &Blocking) -> Vec<cachekit::Error> {
    let computed = cache.get_or_compute("key", || Ok::<_, Broken>(1u32)).unwrap_err();
    let ComputeError::Cache(computed) = computed else { panic!("{computed:?}") };
    let many = cache.get_or_compute_many(["key", "other"], |_| Err::<cachekit::Loaded<_, u32, _>, _>(Broken("asked")));
    let many = many.into_iter().map(|found| match found.unwrap_err() {
        ComputeError::Cache(error) => error,
        other => panic!("{other:?}"),
    });
    let mut refusals: Vec<_> = many.collect();
    assert_eq!(refusals.len(), 2);
    refusals.push(computed);
    refusals.push(cache.get::<u32>("key").unwrap_err());
    refusals.push(cache.remaining("key").unwrap_err());
    let ComputeError::Cache(fetched) = cache.fetch("key", || Ok::<_, Broken>(1u32)).unwrap_err() else { panic!() };
    refusals.push(fetched);
    let users = cache.typed("users").unwrap().with_loader(super::loaders::Users::default());
    let loaded = users.get_many([1, 2]).into_iter().chain([users.get(&1), users.refresh(&1)]);
    refusals.extend(loaded.map(|found| match found.unwrap_err() {
        ComputeError::Cache(error) => error,
        other => panic!("{other:?}"),
    }));
    refusals.push(cache.set("key", 2u32).unwrap_err());
    refusals.push(cache.invalidate_tag("tag").unwrap_err());
    refusals.push(cache.health().unwrap_err());
    refusals.push(cache.close(Duration::ZERO).unwrap_err());
    refusals
}

fn is_clear(error: &cachekit::Error) -> bool {
    error.kind() == ErrorKind::Unsupported && error.to_string().contains("use `cachekit::Cache` there")
}

#[tokio::test]
async fn call_inside_a_runtime_is_an_error_that_says_what_to_use() {
    assert!(refusals(&cache()).iter().all(is_clear));
}

#[tokio::test(flavor = "multi_thread")]
async fn call_in_a_task_of_many_threads_is_one_too_whatever_memory_has() {
    let cache = cache();
    let warm = cache.clone();
    thread::spawn(move || warm.set("key", 1u32).unwrap()).join().unwrap();
    assert!(tokio::spawn(async move { refusals(&cache).iter().all(is_clear) }).await.unwrap());
}

#[tokio::test]
async fn code_that_may_block_says_so_on_a_thread_of_its_own() {
    let cache = cache();
    let work = move || {
        let first = cache.get::<u32>("key").unwrap_err();
        let value = blocking::may_block(|| cache.get_or_compute("key", || Ok::<_, Broken>(7u32)).unwrap());
        (is_clear(&first), value, is_clear(&cache.get::<u32>("key").unwrap_err()))
    };
    assert_eq!(tokio::task::spawn_blocking(work).await.unwrap(), (true, 7, true));
}

#[tokio::test]
async fn permission_to_block_ends_with_a_panic() {
    let cache = cache();
    let work = move || {
        let panicked = std::panic::catch_unwind(|| blocking::may_block(|| std::panic::resume_unwind(Box::new(1u8))));
        panicked.is_err() && is_clear(&cache.get::<u32>("key").unwrap_err())
    };
    assert!(tokio::task::spawn_blocking(work).await.unwrap());
}

#[test]
fn cache_is_dropped_inside_a_runtime_without_a_panic() {
    let server = Server::start();
    let redis = || Redis::new(RedisSettings::new(&server.url()).unwrap()).unwrap();
    let cache = CacheBuilder::new().backend(redis()).intent(Intent::Production).build_blocking().unwrap();
    assert_eq!(cache.get_or_compute("key", || Ok::<_, Broken>(1u32)).unwrap(), 1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async move {
        // One that was used, and one that never was.
        drop(cache);
        drop(CacheBuilder::new().backend(redis()).intent(Intent::Production).build_blocking().unwrap());
    });
}

#[test]
fn closure_runs_a_runtime_of_its_own() {
    let value = cache().get_or_compute("key", || {
        assert!(tokio::runtime::Handle::try_current().is_err(), "it is outside of the cache's runtime");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Ok::<_, Broken>(runtime.block_on(async { 7u32 }))
    });
    assert_eq!(value.unwrap(), 7);
}
