//! What is tried again, how often, and when.

use std::time::{Duration, Instant};

use cachekit::{Backend, ErrorKind};

use super::support::{HASTE, MINUTE, at_once, count, key, patient, start, with};
use crate::servers::Fault;

#[tokio::test]
async fn temporary_failures_are_tried_again_three_times() {
    let api = start();
    let io = patient(&api);
    io.set(&key(1), "v".into(), MINUTE).await.unwrap();
    for (tried, fault) in [
        Fault::status(429),
        Fault::status(500),
        Fault::status(503),
        Fault::status(504),
        Fault::Close,
        Fault::Truncated,
        Fault::Lost,
    ]
    .into_iter()
    .enumerate()
    {
        let before = count(&api, "GET");
        api.fault(fault.clone().times(3));
        assert_eq!(io.get(&key(1)).await.unwrap().as_deref(), Some(&b"v"[..]), "{fault:?}");
        assert_eq!(count(&api, "GET") - before, 4, "{fault:?}, fault {tried}");

        let before = count(&api, "GET");
        api.fault(fault.clone().times(4));
        assert!(io.get(&key(1)).await.unwrap_err().is_temporary(), "{fault:?}");
        assert_eq!(count(&api, "GET") - before, 4, "{fault:?}");
    }
}

#[tokio::test]
async fn every_operation_is_tried_again() {
    let api = start();
    let io = patient(&api);
    for method in ["GET", "PUT", "DELETE"] {
        api.fault(Fault::status(503).on(method).times(1));
    }
    io.set(&key(1), "v".into(), MINUTE).await.unwrap();
    assert_eq!(io.get(&key(1)).await.unwrap().as_deref(), Some(&b"v"[..]));
    assert_eq!(io.ttl(&key(1)).await.unwrap(), Some(MINUTE));
    io.remove(&key(1)).await.unwrap();
    let methods = ["PUT", "GET", "DELETE"].map(|method| count(&api, method));
    assert_eq!(methods, [2, 3, 2]);
}

#[tokio::test]
async fn the_setting_bounds_the_attempts() {
    for retries in [0, 1, 5] {
        let api = start();
        let io = with(&api, |settings| settings.max_retries = retries);
        api.fault(Fault::status(503));
        assert_eq!(io.get(&key(1)).await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(count(&api, "GET"), retries as usize + 1);
    }
}

#[tokio::test]
async fn lasting_failures_are_not_tried_again() {
    let api = start();
    let io = patient(&api);
    for status in [307, 400, 401, 403, 405, 409, 413] {
        let before = api.requests().len();
        api.fault(Fault::status(status).times(1));
        assert!(!io.get(&key(1)).await.unwrap_err().is_temporary());
        assert_eq!(api.requests().len() - before, 1, "status {status}");
    }
    let before = api.requests().len();
    api.fault(Fault::Garbage.times(1));
    assert!(!io.get(&key(1)).await.unwrap_err().is_temporary());
    assert_eq!(api.requests().len() - before, 1);
}

#[tokio::test]
async fn the_service_s_own_time_is_kept() {
    let api = start();
    let io = patient(&api);
    api.fault(Fault::retry_after(503, "1").times(1));
    let start = Instant::now();
    assert_eq!(io.get(&key(1)).await.unwrap(), None);
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(count(&api, "GET"), 2);

    api.fault(Fault::retry_after(429, "0").times(3));
    assert_eq!(io.get(&key(1)).await.unwrap(), None);
    assert_eq!(count(&api, "GET"), 6);
}

#[tokio::test]
async fn a_time_that_does_not_fit_is_not_waited_for() {
    let api = start();
    let io = with(&api, |settings| settings.timeout = MINUTE / 2);
    for (tried, value) in
        ["30", "9999999", "99999999999999999999", "Fri, 31 Dec 2100 23:59:59 GMT", "-1"].iter().enumerate()
    {
        api.fault(Fault::retry_after(503, value).times(1));
        let start = Instant::now();
        assert_eq!(io.get(&key(1)).await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert!(start.elapsed() < MINUTE / 4, "{:?}", start.elapsed());
        assert_eq!(count(&api, "GET"), tried + 1, "{value}");
    }
}

#[tokio::test]
async fn one_deadline_covers_all_attempts() {
    let api = start();
    let io = with(&api, |settings| (settings.timeout, settings.max_retries) = (HASTE * 4, u32::MAX));
    api.fault(Fault::status(503));
    let start = Instant::now();
    assert!(io.get(&key(1)).await.unwrap_err().is_temporary());
    assert!(start.elapsed() < MINUTE / 4, "{:?}", start.elapsed());
    assert!(count(&api, "GET") > 2);

    api.clear();
    api.fault(Fault::Late(HASTE));
    let start = Instant::now();
    let keys: Vec<_> = (0..10_000).map(key).collect();
    assert_eq!(io.get_many(&keys).await.unwrap_err().kind(), ErrorKind::Timeout);
    assert!((HASTE * 4..MINUTE / 4).contains(&start.elapsed()), "a batch is one operation: {:?}", start.elapsed());
}

/// With one thread, whoever pauses must not keep the others from it.
#[tokio::test]
async fn a_pause_holds_no_thread() {
    let api = start();
    let io = with(&api, |settings| settings.pool_size = 1);
    api.fault(Fault::retry_after(503, "5").on("DELETE").times(1));
    let pausing = tokio::spawn({
        let io = io.clone();
        async move { io.remove(&key(1)).await }
    });
    crate::servers::eventually("the removal pauses", async || count(&api, "DELETE") == 1).await;
    let start = Instant::now();
    for answer in at_once(20, move |id| {
        let io = io.clone();
        async move { io.get(&key(id)).await }
    })
    .await
    {
        assert_eq!(answer.unwrap(), None);
    }
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    assert!(!pausing.is_finished());
    pausing.await.unwrap().unwrap();
    assert_eq!(count(&api, "DELETE"), 2);
}
