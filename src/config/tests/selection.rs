//! Which backend the environment selects, and which of two variables wins.

use std::path::Path;

use super::super::select::Selection;
use super::{environment, faulty};

const API_KEY: (&str, &str) = ("CACHEKIT_API_KEY", "ck_live_x");
const REDIS: (&str, &str) = ("CACHEKIT_REDIS_URL", "redis://prod:6379/1");
const MEMCACHED: (&str, &str) = ("CACHEKIT_MEMCACHED_SERVERS", r#"["mc1:11211"]"#);
const FILE: (&str, &str) = ("CACHEKIT_FILE_CACHE_DIR", "cache");
const FALLBACK: (&str, &str) = ("REDIS_URL", "redis://fallback:6379/2");

#[test]
fn one_selector_selects() {
    let cases = [
        (API_KEY, Selection::CachekitIo),
        (REDIS, Selection::Redis),
        (MEMCACHED, Selection::Memcached),
        (FILE, Selection::File),
    ];
    for (variable, selection) in cases {
        assert_eq!(environment(&[variable]).selected, Ok(Some(selection)));
        assert_eq!(environment(&[FALLBACK, variable]).selected, Ok(Some(selection)), "REDIS_URL never conflicts");
    }
    assert_eq!(environment(&[FALLBACK]).selected, Ok(Some(Selection::Redis)));
    assert_eq!(environment(&[]).selected, Ok(None));
}

#[test]
fn several_stores_are_listed() {
    let all = [REDIS, MEMCACHED, FILE];
    for mask in 0_u32..8 {
        let set: Vec<_> = (0..3).filter(|bit| mask & (1 << bit) != 0).map(|bit| all[bit]).collect();
        let env = environment(&set);
        assert!(env.problems.is_empty(), "the conflict concerns only those who let the environment choose");
        if set.len() < 2 {
            assert!(env.selected.is_ok());
            continue;
        }
        let with_key: Vec<_> = [API_KEY].iter().chain(&set).copied().collect();
        let problem = env.selected.expect_err("there are several");
        assert_eq!(environment(&with_key).selected.as_ref(), Err(&problem), "the API key is no choice beside them");
        let names: Vec<&str> = set.iter().map(|(name, _)| *name).collect();
        assert_eq!(problem.name, names.join(", "));
        assert!(problem.to_string().contains("unset all but one"));
    }
}

#[test]
fn api_key_beside_a_store_selects_the_store_and_serves_io() {
    for (store, selection) in [(REDIS, Selection::Redis), (MEMCACHED, Selection::Memcached), (FILE, Selection::File)] {
        let env = environment(&[API_KEY, store]);
        assert_eq!((&env.selected, faulty(&env)), (&Ok(Some(selection)), vec![]), "{}", store.0);
        assert_eq!(env.cachekitio.api_key.as_ref().map(|key| key.expose()), Some("ck_live_x"));
    }
}

#[test]
fn blank_selectors_do_not_select_and_wrong_ones_do() {
    let env = environment(&[("CACHEKIT_API_KEY", "  "), MEMCACHED]);
    assert_eq!(env.selected, Ok(Some(Selection::Memcached)));
    let env = environment(&[("CACHEKIT_MEMCACHED_SERVERS", "mc1")]);
    assert_eq!((&env.selected, faulty(&env)), (&Ok(Some(Selection::Memcached)), vec!["CACHEKIT_MEMCACHED_SERVERS"]));
}

#[test]
fn the_prefixed_redis_url_wins() {
    let url = |vars: &[(&str, &str)]| environment(vars).redis.url.expose().to_owned();
    assert_eq!(url(&[REDIS, FALLBACK]), REDIS.1);
    assert_eq!(url(&[FALLBACK]), FALLBACK.1);
    assert_eq!(url(&[("CACHEKIT_REDIS_URL", ""), FALLBACK]), FALLBACK.1);
    assert_eq!(url(&[API_KEY, FALLBACK]), FALLBACK.1, "a Redis cache does not care for the API key");
}

#[test]
fn a_wrong_redis_url_concerns_only_those_who_use_it() {
    let wrong = ("REDIS_URL", "redis/localhost:6379");
    let alone = environment(&[wrong]);
    assert_eq!(alone.selected.as_ref().expect_err("it is used").name, "REDIS_URL");
    assert_eq!(alone.problems, []);
    for other in [API_KEY, REDIS, MEMCACHED, FILE] {
        let env = environment(&[wrong, other]);
        assert!(env.selected.is_ok() && env.problems.is_empty(), "{}", other.0);
    }
    let both = environment(&[("CACHEKIT_REDIS_URL", "redis:prod"), FALLBACK]);
    assert_eq!(faulty(&both), ["CACHEKIT_REDIS_URL"], "a wrong variable is told, not passed over");
}

#[test]
fn the_first_ca_bundle_that_is_set_wins() {
    let (ours, theirs, system) =
        (("CACHEKIT_CA_BUNDLE", "Cargo.toml"), ("REQUESTS_CA_BUNDLE", "LICENSE"), ("SSL_CERT_FILE", "clippy.toml"));
    let bundle = |vars: &[(&str, &str)]| environment(vars).ca_bundle;
    assert_eq!(bundle(&[system, theirs, ours]).as_deref(), Some(Path::new("Cargo.toml")));
    assert_eq!(bundle(&[system, theirs]).as_deref(), Some(Path::new("LICENSE")));
    assert_eq!(bundle(&[system, ("REQUESTS_CA_BUNDLE", "")]).as_deref(), Some(Path::new("clippy.toml")));
    assert_eq!(faulty(&environment(&[ours, ("SSL_CERT_FILE", "/nonexistent")])), Vec::<&str>::new());
}
