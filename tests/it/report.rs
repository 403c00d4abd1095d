//! Reports: whence each setting comes, and that no secret is in them.

use std::time::Duration;

use cachekit::backends::{AnyBackend, Memory};
use cachekit::{Backend, CacheBuilder, Environment, Intent, Report, Settings, Source};

/// The value of a setting and whence it comes.
fn row<'a>(report: &'a Report, name: &str) -> (&'a str, Source) {
    let row = report.settings().find(|row| row.name == name).unwrap();
    (&row.value, row.source)
}

#[test]
fn each_setting_says_whence_it_comes() {
    let vars = [
        ("CACHEKIT_DEFAULT_TTL", "90"),
        ("CACHEKIT_L1_MAX_SIZE_MB", "2.5"),
        ("CACHEKIT_ENABLE_COMPRESSION", "false"),
        ("CACHEKIT_PAUSED", "false"),
        ("CACHEKIT_REDIS_URL", "redis://localhost:1"),
    ];
    let builder = CacheBuilder::from_vars(vars).namespace("users").intent(Intent::Dev);
    let mut more = Settings::default();
    more.lease_wait = Some(Duration::from_millis(250));
    let cache = builder.compression_enabled(true).settings(more).max_queued(7).build().unwrap();
    let report = cache.report();
    let variable = Source::Variable;
    for (name, value, source) in [
        ("ttl", "90 s", variable("CACHEKIT_DEFAULT_TTL")),
        ("l1_max_size_mb", "2.5", variable("CACHEKIT_L1_MAX_SIZE_MB")),
        ("paused", "false", variable("CACHEKIT_PAUSED")),
        ("compression_enabled", "true", Source::Code),
        ("lease_wait", "0.25 s", Source::Code),
        ("max_queued", "7", Source::Code),
        ("leases", "false", Source::Intent),
        ("tracing", "verbose", Source::Intent),
        ("stale_if_error", "0 s", Source::Intent),
        ("operation_timeout", "2 s", Source::Backend),
        ("max_concurrent", "1000", Source::Backend),
        ("deadline", "60 s", Source::Default),
        ("error_ttl", "none", Source::Default),
        ("overload", "refuse", Source::Default),
        ("wait_for_write", "false", Source::Default),
        ("max_staleness", "none", Source::Default),
        ("adaptive_initial", "1 s", Source::Default),
    ] {
        assert_eq!(row(&report, name), (value, source), "{name}");
    }
    assert_eq!((report.namespace.as_str(), report.backend, report.bus), ("users", "redis", "none"));
    assert_eq!((report.intent.as_str(), report.codec.as_str()), ("Dev", "checked(compressed(postcard))"));
    let text = report.to_string();
    assert!(text.contains("backend    redis at localhost:1\n"), "{text}");
    assert!(text.lines().any(|line| line.split_whitespace().eq(["ttl", "90", "s", "CACHEKIT_DEFAULT_TTL"])), "{text}");
}

#[test]
fn every_setting_of_the_table_is_reported_and_decided_as_it_says() {
    let report = CacheBuilder::new().intent(Intent::Minimal).build().unwrap().report();
    let table = Settings::table();
    let names: Vec<&str> = report.settings().map(|row| row.name).collect();
    assert_eq!(names, table.iter().map(|row| row.name).collect::<Vec<_>>());
    for row in report.settings().filter(|row| row.source == Source::Default) {
        let known = table.iter().find(|known| known.name == row.name).unwrap();
        // What depends on others is `none` in the table.
        assert!(row.value == known.default || known.default == "none", "{}", row.name);
    }
    assert_eq!((report.backend, report.address, report.domain), ("none", None, None));
}

#[test]
fn a_domain_and_a_bus_from_elsewhere_are_told() {
    let cache = CacheBuilder::new().namespace("app").bus_from(Memory::new(1 << 20)).build().unwrap();
    let report = cache.domain("users").unwrap().report();
    assert_eq!((report.namespace.as_str(), report.domain.as_deref(), report.bus), ("app", Some("users"), "code"));
    assert_eq!(row(&report, "invalidation_enabled"), ("true", Source::Code));
    let own = CacheBuilder::new().backend(Memory::new(1 << 20)).build().unwrap();
    assert_eq!(own.report().bus, "backend");
    assert_eq!(row(&own.report(), "max_staleness"), ("3 s", Source::Default));
}

#[test]
fn no_report_shows_a_secret() {
    let (key, old) = ("ab".repeat(32), "cd".repeat(32));
    for url in ["redis://zelda:hunter2@localhost:1/3", "unix:///nowhere?user=zelda&pass=hunter2"] {
        let vars = [
            ("CACHEKIT_REDIS_URL", url),
            ("CACHEKIT_MASTER_KEY", &key),
            ("CACHEKIT_PREVIOUS_MASTER_KEYS", &old),
            ("CACHEKIT_API_KEY", "ck_live_42"),
        ];
        let cache = CacheBuilder::from_vars(vars).intent(Intent::Secure).build().unwrap();
        let io = CacheBuilder::from_vars(vars).intent(Intent::Io).build().unwrap();
        let reports = [cache.report(), io.report()];
        assert_eq!(reports[1].address.as_deref(), Some("api.cachekit.io"));
        let shown =
            format!("{reports:?} {reports:#?} {} {} {cache:?} {cache:#?} {io:?} {io:#?}", reports[0], reports[1]);
        for secret in ["hunter2", "zelda", &key, &old, &key[..16], "ck_live_42"] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
    }
}

#[test]
fn a_cache_is_shown_in_a_line() {
    let cache = CacheBuilder::new().namespace("a b").backend(Memory::new(1 << 20)).build().unwrap();
    let expected = r#"Cache { namespace: "a%20b", backend: "memory", codec: "checked(postcard)", .. }"#;
    assert_eq!(format!("{cache:?}"), expected);
}

#[tokio::test]
async fn without_a_backend_there_is_nothing_to_find_and_nothing_to_list() {
    let probe = cachekit::Key::new("users", 1).unwrap();
    let none = AnyBackend::none();
    assert_eq!((none.address(), none.diagnose(&probe).await), (None, vec![]));
    assert_eq!(none.scan("", None, 1).await.unwrap_err().kind(), cachekit::ErrorKind::Unsupported);
    let directory = tempfile::tempdir().unwrap();
    let vars = [("CACHEKIT_FILE_CACHE_DIR", directory.path())];
    let file = AnyBackend::from_environment(&Environment::from_vars(vars)).unwrap();
    assert_eq!(file.address(), Some(directory.path().canonicalize().unwrap().display().to_string()));
    let error = file.scan("", None, 1).await.unwrap_err();
    assert!(error.kind() == cachekit::ErrorKind::Unsupported && error.to_string().contains("file"), "{error}");
}
