//! Variables that the platform and other programs set: a warning at most.

use std::path::Path;

use super::super::env::LogLevel;
use super::super::select::Selection;
use super::{environment, faulty};

/// The one warning of these variables, which break no rule.
#[track_caller]
fn only_warning(vars: &[(&str, &str)]) -> String {
    let env = environment(vars);
    assert_eq!(faulty(&env), Vec::<&str>::new(), "{vars:?}");
    assert_eq!(env.warnings.len(), 1, "{vars:?}: {:?}", env.warnings);
    env.warnings[0].clone()
}

#[track_caller]
fn silent(vars: &[(&str, &str)]) {
    let env = environment(vars);
    assert!(env.problems.is_empty() && env.warnings.is_empty(), "{vars:?}: {:?} {:?}", env.problems, env.warnings);
}

#[test]
fn levels_of_other_programs_are_info_and_one_warning() {
    for level in ["verbose", "info,hyper=warn", "20", "notice", "silent", "fatal", "http", "LOUD", "my::module=debug"] {
        let told = only_warning(&[("LOG_LEVEL", level)]);
        assert!(told.starts_with("LOG_LEVEL is ignored: it must be one of TRACE, DEBUG"), "{told}");
        assert!(!told.contains(level), "{told}");
        assert_eq!(environment(&[("LOG_LEVEL", level)]).log_level, LogLevel::Info);
    }
}

#[test]
fn unreadable_ca_file_only_warns_unless_set_for_cachekit() {
    let missing = "/opt/conda/envs/x/ssl/cacert.pem";
    for name in ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"] {
        for path in [missing, "src"] {
            let told = only_warning(&[(name, path)]);
            assert!(told.starts_with(&format!("{name} is ignored: it must be the path of a file")), "{told}");
        }
    }
    assert_eq!(environment(&[("SSL_CERT_FILE", missing)]).ca_bundle, None, "passed over");
    // A cache that speaks TLS finds it missing.
    let bundle = environment(&[("REQUESTS_CA_BUNDLE", missing)]).ca_bundle;
    assert_eq!(bundle.as_deref(), Some(Path::new(missing)));
    assert_eq!(faulty(&environment(&[("CACHEKIT_CA_BUNDLE", missing)])), ["CACHEKIT_CA_BUNDLE"]);
    silent(&[("SSL_CERT_FILE", missing), ("CACHEKIT_CA_BUNDLE", "Cargo.toml")]);
}

#[test]
fn addresses_of_services_are_no_look_alikes() {
    for service in ["CACHEKIT", "CACHEKIT_REDIS", "CACHEKIT_API", "CACHEKIT_MY_CACHE_0"] {
        let parts = [
            ("SERVICE_HOST", "10.0.0.11"),
            ("SERVICE_PORT", "6379"),
            ("SERVICE_PORT_CLIENT", "6379"),
            ("SERVICE_PORT_HTTP_METRICS", "9121"),
            ("PORT", "tcp://10.0.0.11:6379"),
            ("PORT_6379_TCP", "tcp://10.0.0.11:6379"),
            ("PORT_6379_TCP_PROTO", "tcp"),
            ("PORT_6379_TCP_PORT", "6379"),
            ("PORT_6379_TCP_ADDR", "10.0.0.11"),
            ("PORT_53_UDP_ADDR", "10.0.0.11"),
            // What Docker says of a linked container besides.
            ("NAME", "/web/redis"),
            ("ENV_REDIS_VERSION", "7.2"),
        ];
        let names = parts.map(|(part, value)| (format!("{service}_{part}"), value));
        let vars: Vec<(&str, &str)> = names.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        silent(&vars);
    }
    silent(&[("REDIS_PORT", "tcp://10.0.0.11:6379"), ("REDIS_HOST", "redis"), ("REDIS_TLS_URL", "rediss://:p@h:6380")]);
    // Without ports beside them these are no addresses.
    for name in
        ["CACHEKIT_REDIS_NAME", "CACHEKIT_ENV_X", "CACHEKIT_REDIS_HOST", "CACHEKIT_PORTS", "CACHEKIT_REDIS_PORT_X"]
    {
        assert!(only_warning(&[(name, "1")]).starts_with(&format!("{name} is ignored")));
    }
}

#[test]
fn a_redis_url_of_something_else_is_passed_over() {
    for text in
        ["tcp://10.0.0.11:6379", "http://h", "elsewhere:6379", "somewhere", "memory://", "sqlite:///x?redis://h"]
    {
        let told = only_warning(&[("REDIS_URL", text)]);
        assert!(told.starts_with("REDIS_URL is ignored: it must be a URL that begins with redis://"), "{told}");
        assert!(!told.contains(text), "{told}");
        let env = environment(&[("REDIS_URL", text)]);
        assert_eq!((env.selected, env.redis.url.expose()), (Ok(None), "redis://localhost:6379/0"));
    }
}

#[test]
fn a_redis_url_goes_without_the_options_of_others() {
    for (text, left) in [
        ("redis://h?family=0", "redis://h"),
        ("redis://h:6379/2?ssl_cert_reqs=none", "redis://h:6379/2"),
        ("rediss://:p@h:6380?ssl_cert_reqs=CERT_NONE&protocol=3", "rediss://:p@h:6380?protocol=3"),
        ("redis://h/0?timeout=0.5&protocol=3&socket_keepalive=True&pool_size=", "redis://h/0?protocol=3"),
        ("rediss://h:6379/#insecure", "rediss://h:6379/"),
        ("redis://h?a=b#insecure", "redis://h"),
        ("redis://h?", "redis://h?"),
        ("unix:///run/redis.sock?db=2&virtual_host=x", "unix:///run/redis.sock?db=2"),
        (
            "redis-sentinel://s1,s2/mymaster/1?sentinelUsername=x&sentinel_pass=y",
            "redis-sentinel://s1,s2/mymaster/1?sentinel_pass=y",
        ),
    ] {
        let env = environment(&[("REDIS_URL", text)]);
        assert_eq!((env.redis.url.expose(), faulty(&env)), (left, vec![]), "{text}");
        assert_eq!(env.selected, Ok(Some(Selection::Redis)), "{text}");
        assert_eq!(env.warnings.len(), usize::from(text != left), "{text}: {:?}", env.warnings);
        assert!(env.warnings.iter().all(|told| told.starts_with("an option in REDIS_URL is ignored: ")), "{text}");
        if text != left {
            assert_eq!(faulty(&environment(&[("CACHEKIT_REDIS_URL", text)])), ["CACHEKIT_REDIS_URL"], "{text}");
        }
        silent(&[("REDIS_URL", text), ("CACHEKIT_REDIS_URL", "redis://127.0.0.1:1")]);
        silent(&[("REDIS_URL", text), ("CACHEKIT_API_KEY", "ck_live_x")]);
    }
}

#[test]
fn password_with_a_question_mark_or_hash_is_never_a_host() {
    for text in ["redis://user:123?45@h:6379", "redis://:p#w@h", "redis://user:1?a=b@h/0", "redis://:p?w"] {
        let env = environment(&[("REDIS_URL", text)]);
        assert_eq!(env.selected.as_ref().expect_err(text).name, "REDIS_URL");
        assert_eq!(env.redis.url.expose(), "redis://localhost:6379/0");
    }
}

#[test]
fn quotes_that_a_reader_of_env_files_left_do_not_count() {
    let env = environment(&[
        ("CACHEKIT_DEFAULT_TTL", "\"60\""),
        ("REDIS_URL", "'redis://h/3'"),
        ("CACHEKIT_MEMCACHED_SERVERS", r#"'["mc1:11211"]'"#),
        ("CACHEKIT_API_KEY", "\"\""),
        ("LOG_LEVEL", " \" warn \" "),
        ("CACHEKIT_MAX_RETRIES", "\"4'"),
    ]);
    assert_eq!(faulty(&env), ["CACHEKIT_MAX_RETRIES"], "a pair is two of a kind");
    assert_eq!(env.settings.ttl.map(|ttl| ttl.as_secs()), Some(60));
    assert_eq!((env.redis.url.expose(), env.log_level), ("redis://h/3", LogLevel::Warn));
    assert_eq!((env.memcached.servers, env.cachekitio.api_key.is_none()), (vec!["mc1:11211".to_owned()], true));
    assert_eq!(env.selected, Ok(Some(Selection::Memcached)));
}
