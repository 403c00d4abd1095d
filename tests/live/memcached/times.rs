//! Lifetimes on the wire.

use std::time::Duration;

use cachekit::{Backend, ErrorKind};

use super::support::{MINUTE, key, patient};
use crate::servers::Memcached;
use harness::support::leased;

fn left(server: &Memcached, name: &str) -> u64 {
    let line = server.ask(&format!("mg {name} t"));
    line.trim_end().strip_prefix("HD t").unwrap_or_else(|| panic!("{line}")).parse().unwrap()
}

#[tokio::test]
async fn a_time_of_zero_is_refused_everywhere() {
    let server = Memcached::start();
    let memcached = patient(&[&server]);
    memcached.set(&key(1), "old".into(), MINUTE).await.unwrap();
    let zero = Duration::ZERO;
    let kinds = [
        memcached.set(&key(1), "new".into(), zero).await.unwrap_err().kind(),
        memcached.set_many(vec![(key(1), "new".into())], zero).await.unwrap_err().kind(),
        leased(&memcached, &key(2), zero).await.unwrap_err().kind(),
    ];
    assert_eq!(kinds, [ErrorKind::Argument; 3]);
    assert_eq!(memcached.get(&key(1)).await.unwrap().as_deref(), Some(&b"old"[..]));
    assert!(memcached.ttl(&key(1)).await.unwrap().unwrap() > MINUTE / 2);
}

#[tokio::test]
async fn fractions_are_rounded_up_and_long_times_are_dates() {
    let server = Memcached::start();
    let memcached = patient(&[&server]);
    let day = 86_400;
    // One second more for the server's clock, and one less if it has moved since.
    for (ttl, least, most) in [
        (Duration::from_millis(59_001), 60, 61),
        (MINUTE, 60, 61),
        (Duration::from_secs(30 * day), 30 * day - 5, 30 * day + 3),
        (Duration::from_secs(365 * day), 365 * day - 5, 365 * day + 3),
    ] {
        memcached.set(&key(1), "v".into(), ttl).await.unwrap();
        assert!((least..=most).contains(&left(&server, "users:1")), "{ttl:?}: {}", left(&server, "users:1"));
        let told = memcached.ttl(&key(1)).await.unwrap().unwrap();
        assert!(told <= ttl + Duration::from_secs(2) && told + Duration::from_secs(6) > ttl, "{told:?} of {ttl:?}");
    }
}

#[tokio::test]
async fn an_entry_that_another_program_keeps_for_ever_has_a_life() {
    let server = Memcached::start();
    assert_eq!(server.ask("set users:1 0 0 1\r\nv"), "STORED\r\n");
    let told = patient(&[&server]).ttl(&key(1)).await.unwrap().unwrap();
    assert!(told > Duration::from_secs(365 * 86_400));
}
