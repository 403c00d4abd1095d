//! Computations that ask for one another's keys.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cachekit::backends::NoBackend;
use cachekit::codec::Postcard;
use cachekit::{Cache, CacheBuilder, ComputeError, Context, ErrorKind, Intent, Settings};
use tokio::sync::Barrier;

use super::assert_soon;

type Alone = Cache<NoBackend, Postcard>;

fn alone() -> Alone {
    CacheBuilder::new().intent(Intent::Minimal).build().unwrap()
}

/// Asks `caches[at]` for its key. The computation waits until all have begun, then asks the next one, `depth` times.
fn ask(
    caches: Arc<Vec<(Alone, u32)>>,
    at: usize,
    depth: usize,
    begun: Arc<Barrier>,
) -> Pin<Box<dyn Future<Output = Result<u32, String>> + Send>> {
    Box::pin(async move {
        if depth == 0 {
            return Ok(1);
        }
        let (cache, key) = caches[at].clone();
        let compute = move || async move {
            if depth == 2 {
                begun.wait().await;
            }
            ask(Arc::clone(&caches), (at + 1) % caches.len(), depth - 1, begun).await
        };
        cache.get_or_compute(key, compute).await.map_err(|error: ComputeError<String>| error.to_string())
    })
}

async fn ring(caches: Vec<(Alone, u32)>) {
    let (since, length) = (Instant::now(), caches.len());
    let (caches, begun) = (Arc::new(caches), Arc::new(Barrier::new(length)));
    let callers: Vec<_> =
        (0..length).map(|at| tokio::spawn(ask(Arc::clone(&caches), at, 2, Arc::clone(&begun)))).collect();
    let mut answers = Vec::new();
    for caller in callers {
        answers.push(caller.await.unwrap());
    }
    assert_soon(since);
    let refused: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
    assert_eq!(refused.len(), 1, "{answers:?}");
    assert!(refused[0].contains("by way of others"), "{refused:?}");
}

#[tokio::test]
async fn caller_in_a_ring_of_two_is_refused_and_the_other_computes() {
    let cache = alone();
    ring(vec![(cache.clone(), 1), (cache, 2)]).await;
}

#[tokio::test]
async fn so_it_is_in_rings_of_three_and_of_five() {
    for length in [3, 5] {
        let cache = alone();
        ring((0..length).map(|key| (cache.clone(), key)).collect()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_it_is_over_several_caches_and_threads() {
    for _ in 0..20 {
        ring(vec![(alone(), 1), (alone(), 1)]).await;
        let (one, two) = (alone(), alone());
        ring(vec![(one.clone(), 1), (two.clone(), 1), (one, 2), (two, 2)]).await;
    }
}

#[tokio::test]
async fn so_it_is_over_the_tenants_of_a_cache() {
    use cachekit::codec::Keyring;
    let keyring = Keyring::from_hex(&"ab".repeat(32)).unwrap();
    let cache = CacheBuilder::new().l1_only().intent(Intent::Secure).keyring(keyring).build().unwrap();
    let (acme, globex) = (cache.tenant("acme").unwrap(), cache.tenant("globex").unwrap());
    let begun = Arc::new(Barrier::new(2));
    let cross = |one: Cache<_, _>, two: Cache<_, _>| {
        let begun = Arc::clone(&begun);
        async move {
            let compute = move || async move {
                begun.wait().await;
                two.get_or_compute(1, || async { Ok::<u32, String>(1) }).await.map_err(|error| error.to_string())
            };
            one.get_or_compute(1, compute).await
        }
    };
    let since = Instant::now();
    let (one, two) = tokio::join!(cross(acme.clone(), globex.clone()), cross(globex, acme));
    assert_soon(since);
    assert_eq!(u8::from(one.is_ok()) + u8::from(two.is_ok()), 1, "{one:?} {two:?}");
}

#[tokio::test]
async fn computation_asking_for_its_own_key_via_another_is_refused() {
    let cache = alone();
    let (one, two) = (cache.clone(), cache.clone());
    let error = cache
        .get_or_compute(1, move || async move {
            let inner = move || async move { two.get_or_compute(1, || async { Ok::<u32, String>(1) }).await };
            let inner = || async move { inner().await.map_err(|error| error.to_string()) };
            one.get_or_compute(2, inner).await.map_err(|error| error.to_string())
        })
        .await
        .unwrap_err();
    assert!(error.to_string().contains("wait for itself"), "{error}");
}

#[tokio::test]
async fn task_spawned_by_a_computation_is_known_if_given_its_context() {
    let cache = alone();
    let inner = cache.clone();
    let since = Instant::now();
    let error = cache
        .get_or_compute(1, move || async move {
            let own = async move { inner.get_or_compute(1, || async { Ok::<u32, String>(1) }).await };
            let own = tokio::spawn(Context::current().scope(own)).await.unwrap();
            let Err(ComputeError::Cache(refused)) = &own else { panic!("{own:?}") };
            assert_eq!(refused.kind(), ErrorKind::Argument);
            own.map_err(|error| error.to_string())
        })
        .await
        .unwrap_err();
    assert_soon(since);
    assert!(error.to_string().contains("wait for itself"), "{error}");
}

#[tokio::test]
async fn computations_that_share_a_third_are_no_ring() {
    let cache = alone();
    let begun = Arc::new(Barrier::new(3));
    let ask = |key: u32| {
        let (cache, inner, begun) = (cache.clone(), cache.clone(), Arc::clone(&begun));
        tokio::spawn(async move {
            let compute = move || async move {
                begun.wait().await;
                let shared = || async {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    Ok::<u32, String>(7)
                };
                inner.get_or_compute(0, shared).await.map_err(|error| error.to_string())
            };
            cache.get_or_compute(key, compute).await.unwrap()
        })
    };
    for caller in [ask(1), ask(2), ask(3)] {
        assert_eq!(caller.await.unwrap(), 7);
    }
}

/// Each key needs the next.
fn down(cache: Alone, key: u32) -> Pin<Box<dyn Future<Output = Result<u32, String>> + Send>> {
    Box::pin(async move {
        let inner = cache.clone();
        let compute = move || async move {
            if key == 0 {
                return Ok(0);
            }
            down(inner, key - 1).await
        };
        cache.get_or_compute(key, compute).await.map_err(|error: ComputeError<String>| error.to_string())
    })
}

/// On a thread with the stack of a tokio worker.
fn on_a_worker<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(runtime.spawn(work)).unwrap()
}

#[test]
fn nested_calls_after_close_end_in_an_error_never_an_abort() {
    let (some, many) = on_a_worker(async {
        let cache = alone();
        cache.close(Duration::from_secs(1)).await.unwrap();
        (down(cache.clone(), 12).await, down(cache, 10_000).await)
    });
    assert_eq!(some, Ok(0));
    assert!(many.unwrap_err().contains("within one another"));
}

#[test]
fn nested_calls_beyond_max_flights_end_in_an_error_not_an_abort() {
    let (some, many) = on_a_worker(async {
        let mut settings = Settings::default();
        (settings.max_flights, settings.max_refreshes) = (Some(1), Some(1));
        let cache = CacheBuilder::new().intent(Intent::Minimal).settings(settings).build().unwrap();
        (down(cache.clone(), 12).await, down(cache, 10_000).await)
    });
    assert_eq!(some, Ok(0));
    assert!(many.unwrap_err().contains("within one another"));
}
