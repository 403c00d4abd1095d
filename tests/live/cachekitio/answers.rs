//! Every kind of answer, and of none.

use std::time::{Duration, Instant};

use bytes::Bytes;
use cachekit::backends::CachekitIo;
use cachekit::{Backend, Error, ErrorKind};

use super::support::{HASTE, MINUTE, key, once, patient, start, with};
use crate::servers::{Api, Fault, SOON, full_backlog, silent};

/// What each kind of operation comes to.
async fn all(io: &CachekitIo) -> [Option<ErrorKind>; 4] {
    let kind = |result: Result<(), Error>| result.err().map(|error| error.kind());
    [
        kind(io.get(&key(1)).await.map(drop)),
        kind(io.set(&key(1), "v".into(), MINUTE).await),
        kind(io.remove(&key(1)).await),
        kind(io.get_many(&[key(1), key(2)]).await.map(drop)),
    ]
}

#[tokio::test]
async fn a_status_means_the_same_to_every_operation() {
    let api = start();
    let io = once(&api);
    use ErrorKind::{Backend, Denied, ReadOnly, Timeout, TooLarge, Unavailable};
    for (status, kind) in [
        (301, Backend),
        (307, Backend),
        (400, Backend),
        (401, Denied),
        (403, Denied),
        (405, Backend),
        (408, Timeout),
        (410, Backend),
        (413, TooLarge),
        (418, Backend),
        (429, Unavailable),
        (500, Unavailable),
        (502, Unavailable),
        (503, Unavailable),
        (507, ReadOnly),
        (504, Timeout),
        (599, Unavailable),
    ] {
        api.fault(Fault::status(status));
        assert_eq!(all(&io).await, [Some(kind); 4], "status {status}");
        let error = io.get(&key(1)).await.unwrap_err();
        assert!(error.to_string().contains(&status.to_string()), "{error}");
        assert_eq!(error.is_temporary(), matches!(kind, ReadOnly | Timeout | Unavailable), "{error}");
        api.clear();
    }
    assert_eq!(all(&io).await, [None; 4]);
}

#[tokio::test]
async fn what_is_not_found_is_a_miss_and_no_failure() {
    let api = start();
    let io = once(&api);
    api.fault(Fault::status(404));
    assert_eq!(io.get(&key(1)).await.unwrap(), None);
    assert_eq!(io.ttl(&key(1)).await.unwrap(), None);
    io.remove(&key(1)).await.unwrap();
    assert_eq!(io.get_many(&[key(1), key(2)]).await.unwrap(), [None, None]);
    assert_eq!(io.set(&key(1), "v".into(), MINUTE).await.unwrap_err().kind(), ErrorKind::Backend);
    assert_eq!(io.ping().await.unwrap_err().kind(), ErrorKind::Backend);
}

#[tokio::test]
async fn entry_past_its_ttl_is_a_miss_though_the_service_has_it() {
    let api = start();
    let io = once(&api);
    io.set(&key(1), "v".into(), MINUTE).await.unwrap();
    for (word, found) in
        [(None, true), (Some("fresh"), true), (Some("stale"), false), (Some("Fresh"), false), (Some(""), false)]
    {
        api.fault(Fault::freshness(word, Some("0")));
        assert_eq!(io.get(&key(1)).await.unwrap().is_some(), found, "{word:?}");
        api.clear();
    }
}

#[tokio::test]
async fn the_remaining_time_is_read_with_care() {
    let api = start();
    let io = once(&api);
    let year = Duration::from_secs(365 * 86_400);
    for (body, left) in [(r#"{"ttl": 7}"#, Duration::from_secs(7)), (r#"{"ttl":0}"#, Duration::ZERO)] {
        api.fault(Fault::body(200, body));
        assert_eq!(io.ttl(&key(1)).await.unwrap(), Some(left));
        api.clear();
    }
    for endless in [r#"{"ttl": null}"#, r#"{"ttl": 18446744073709551615}"#] {
        api.fault(Fault::body(200, endless));
        assert!(io.ttl(&key(1)).await.unwrap().is_some_and(|left| left >= year && left <= year * 10), "{endless}");
        api.clear();
    }
    let nested = "[".repeat(10_000);
    for strange in ["", "7", "{}", r#"{"ttl": -1}"#, r#"{"ttl": 1.5}"#, r#"{"ttl": "7"}"#, r#"{"ttl": 1e400}"#, &nested]
    {
        api.fault(Fault::body(200, strange));
        assert_eq!(io.ttl(&key(1)).await.unwrap_err().kind(), ErrorKind::Backend, "{strange:.20}");
        api.clear();
    }
}

#[tokio::test]
async fn values_of_every_size_come_back_whole() {
    let api = start();
    let io = patient(&api);
    // The client's own limit is 10 MiB, unless told otherwise.
    for length in [0, 1, 1_023, 16 << 10, (16 << 10) + 1, 300_000, 11 << 20] {
        let value = Bytes::from(vec![0x5a; length]);
        io.set(&key(length), value.clone(), MINUTE).await.unwrap();
        assert!(io.get(&key(length)).await.unwrap() == Some(value), "{length} bytes");
    }
    let before = api.requests().len();
    let large = Bytes::from(vec![0; 25_000_001]);
    assert_eq!(io.set(&key(1), large.clone(), MINUTE).await.unwrap_err().kind(), ErrorKind::TooLarge);
    let batch = vec![(key(1), "small".into()), (key(2), large)];
    assert_eq!(io.set_many(batch, MINUTE).await.unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(api.requests().len(), before, "nothing was sent");
}

/// Fails unless an operation fails as `kind`, and not late.
async fn fails(io: &CachekitIo, kind: ErrorKind, what: &str) {
    let start = Instant::now();
    let error = io.get(&key(1)).await.unwrap_err();
    assert_eq!(error.kind(), kind, "{what}: {error}");
    assert!(start.elapsed() < SOON, "{what}: {:?}", start.elapsed());
}

async fn works_again(api: &Api, io: &CachekitIo) {
    api.clear();
    assert_eq!(io.get(&key(1)).await.unwrap().as_deref(), Some(&b"the whole value"[..]));
}

#[tokio::test]
async fn answers_that_are_none_are_clean_failures() {
    let api = start();
    let (io, hasty) = (once(&api), with(&api, |settings| (settings.timeout, settings.max_retries) = (HASTE, 0)));
    io.set(&key(1), "the whole value".into(), MINUTE).await.unwrap();
    for (fault, kind, what) in [
        (Fault::Truncated, ErrorKind::Unavailable, "truncated"),
        (Fault::Close, ErrorKind::Unavailable, "closed"),
        (Fault::Reset, ErrorKind::Unavailable, "reset"),
        (Fault::Garbage, ErrorKind::Backend, "garbage"),
        (Fault::HugeHeaders(20_000), ErrorKind::Backend, "huge headers"),
        (Fault::Hang, ErrorKind::Timeout, "hanging"),
        (Fault::Drip(HASTE / 5), ErrorKind::Timeout, "dripping body"),
        (Fault::DripHead(HASTE / 10), ErrorKind::Timeout, "dripping head"),
        (Fault::Late(HASTE * 4), ErrorKind::Timeout, "late"),
    ] {
        api.fault(fault);
        fails(if kind == ErrorKind::Timeout { &hasty } else { &io }, kind, what).await;
        works_again(&api, &io).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_larger_than_any_value_are_cut_off() {
    let api = start();
    let io = once(&api);
    for fault in [Fault::Large(26_000_000), Fault::Endless] {
        api.fault(fault);
        assert_eq!(io.get(&key(1)).await.unwrap_err().kind(), ErrorKind::TooLarge);
        // A document is shorter than a value.
        assert_eq!(io.ttl(&key(1)).await.unwrap_err().kind(), ErrorKind::TooLarge);
        api.clear();
    }
    assert_eq!(io.get(&key(1)).await.unwrap(), None);
}

#[tokio::test]
async fn the_body_of_a_failure_is_not_waited_for_beyond_the_timeout() {
    let api = start();
    let io = once(&api);
    api.fault(Fault::body(500, &"x".repeat(40_000)));
    assert_eq!(io.get(&key(1)).await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_never_answer_cost_the_timeout_and_no_more() {
    let api = start();
    let hole = full_backlog();
    let (_listener, mute) = silent();
    for address in [hole.address, mute] {
        for retries in [0, 3] {
            let io = with(&api, |settings| {
                settings.url = format!("https://{address}").parse().unwrap();
                (settings.timeout, settings.max_retries) = (HASTE, retries);
            });
            let start = Instant::now();
            assert_eq!(io.get(&key(1)).await.unwrap_err().kind(), ErrorKind::Timeout);
            // A pause that does not fit any more is not made.
            assert!((HASTE / 2..SOON).contains(&start.elapsed()), "{:?}", start.elapsed());
        }
    }
    let refused = with(&api, |settings| {
        settings.url = format!("https://127.0.0.1:{}", crate::servers::unused()).parse().unwrap();
        settings.max_retries = 0;
    });
    let error = refused.ping().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("no connection"), "{error}");
}

#[tokio::test]
async fn connections_that_the_server_closed_are_missed_by_nobody() {
    let api = start();
    let io = patient(&api);
    for round in 0..20 {
        io.set(&key(round), "v".into(), MINUTE).await.unwrap();
        api.cut();
    }
    assert_eq!(api.entries(), 20);
    assert!(api.connections() > 10, "{}", api.connections());
}
