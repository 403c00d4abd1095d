//! Connections, threads, and what waits for them.

use std::time::{Duration, Instant};

use cachekit::backends::CachekitIo;
use cachekit::{Backend, ErrorKind};

use super::support::{HASTE, MINUTE, at_once, count, key, patient, start, with};
use crate::servers::{Fault, SOON, eventually};

async fn reads(io: &CachekitIo, tasks: usize) -> Vec<Result<Option<bytes::Bytes>, cachekit::Error>> {
    let io = io.clone();
    at_once(tasks, move |id| {
        let io = io.clone();
        async move { io.get(&key(id)).await }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pool_size_bounds_the_connections() {
    for size in [1, 3, 10] {
        let api = start();
        let io = with(&api, |settings| settings.pool_size = size);
        for _ in 0..3 {
            assert!(reads(&io, 200).await.into_iter().all(|answer| answer.unwrap().is_none()));
        }
        assert_eq!((api.most_open(), api.connections()), (size, size), "kept and used again");
        assert_eq!(count(&api, "GET"), 600);
    }
}

#[tokio::test]
async fn nothing_is_connected_to_before_it_is_needed() {
    let api = start();
    let io = patient(&api);
    assert!(format!("{io:?}").contains("threads: 0"), "{io:?}");
    io.ping().await.unwrap();
    assert!(format!("{io:?}").contains("threads: 1"), "{io:?}");
    for _ in 0..20 {
        io.ping().await.unwrap();
    }
    assert_eq!(api.connections(), 1);
}

/// A runtime of one thread goes on with everything else.
#[tokio::test]
async fn a_server_that_hangs_does_not_hold_the_runtime() {
    let api = start();
    let timeout = HASTE * 10;
    let io = with(&api, |settings| settings.timeout = timeout);
    api.fault(Fault::Hang);
    let waiting = tokio::spawn(async move { reads(&io, 50).await });
    let mut ticks = 0;
    let mut longest = Duration::ZERO;
    while !waiting.is_finished() {
        let start = Instant::now();
        tokio::time::sleep(Duration::from_millis(5)).await;
        longest = longest.max(start.elapsed());
        ticks += 1;
    }
    assert!(ticks > 15 && longest < timeout / 2, "{ticks} ticks, the longest {longest:?}");
    for answer in waiting.await.unwrap() {
        let error = answer.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_may_wait_fail_at_once() {
    let api = start();
    let io = with(&api, |settings| (settings.timeout, settings.pool_size) = (HASTE * 12, 1));
    api.fault(Fault::Hang);
    let answers = reads(&io, 5_000).await;
    let busy: Vec<_> = answers
        .iter()
        .filter_map(|answer| answer.as_ref().err())
        .filter(|error| error.to_string().contains("4096"))
        .collect();
    assert_eq!(busy.len(), 5_000 - 4_096 - 1);
    assert!(busy.iter().all(|error| error.kind() == ErrorKind::Unavailable));
    // Those asked last have a moment left when the first is given up.
    assert!((1..64).contains(&count(&api, "GET")), "{} of 4096", count(&api, "GET"));
    api.clear();
    assert_eq!(io.get(&key(1)).await.unwrap(), None);
}

#[tokio::test]
async fn what_nobody_waits_for_is_not_begun() {
    let api = start();
    let io = with(&api, |settings| settings.pool_size = 1);
    api.fault(Fault::Late(HASTE * 8).times(1));
    let first = tokio::spawn({
        let io = io.clone();
        async move { io.get(&key(0)).await }
    });
    eventually("the thread is busy", async || count(&api, "GET") == 1).await;
    for id in 1..100 {
        let value = tokio::time::timeout(Duration::ZERO, io.set(&key(id), "v".into(), MINUTE)).await;
        assert!(value.is_err(), "it waits");
    }
    first.await.unwrap().unwrap();
    io.ping().await.unwrap();
    assert_eq!((count(&api, "PUT"), api.entries()), (0, 0));
}

#[tokio::test]
async fn the_end_of_a_backend_is_the_end_of_its_connections() {
    let api = start();
    let io = patient(&api);
    reads(&io, 20).await;
    api.fault(Fault::Hang);
    let waiting = tokio::spawn({
        let io = io.clone();
        async move { tokio::time::timeout(HASTE, io.get(&key(1))).await.is_err() }
    });
    assert!(waiting.await.unwrap());
    assert!(api.open() > 0);
    let start = Instant::now();
    drop(io);
    assert!(start.elapsed() < SOON, "dropping does not wait: {:?}", start.elapsed());
    eventually("the connections are closed", async || api.open() == 0).await;
}

#[tokio::test]
async fn client_serves_several_runtimes_in_turn() {
    let api = start();
    let io = patient(&api);
    for id in 0..3 {
        let io = io.clone();
        let other = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(io.set(&key(id), "v".into(), MINUTE))
        });
        other.join().unwrap().unwrap();
    }
    assert_eq!((api.entries(), api.connections()), (3, 1));
}
