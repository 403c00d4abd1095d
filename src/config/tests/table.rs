//! Every variable: its default, good values and bad ones.

use std::collections::BTreeSet;
use std::fmt::Debug;

use fastrand::Rng;

use super::super::env::Environment;
use super::super::problem::error;
use super::super::variables::NAMES;
use super::{environment, faulty};
use crate::error::ErrorKind;

struct Row {
    name: &'static str,
    /// What became of the variable, as text.
    shown: fn(&Environment) -> String,
    default: &'static str,
    good: &'static [(&'static str, &'static str)],
    bad: &'static [&'static str],
}

fn show(value: impl Debug) -> String {
    format!("{value:?}")
}

const BOOLEANS: &[(&str, &str)] = &[
    ("true", "Some(true)"),
    ("TRUE", "Some(true)"),
    ("1", "Some(true)"),
    ("Yes", "Some(true)"),
    ("oN", "Some(true)"),
    (" false\t", "Some(false)"),
    ("False", "Some(false)"),
    ("0", "Some(false)"),
    ("no", "Some(false)"),
    ("OFF", "Some(false)"),
];
const NOT_BOOLEAN: &[&str] = &["2", "maybe", "truefalse", "t", "-1", "true;"];
const NOT_ABOVE_ZERO: &[&str] =
    &["0", "-1", "-0.0", "1s", "nan", "NaN", "inf", "-inf", "infinity", "1e400", "1,5", "1_0"];
/// Numbers, but no durations a clock could keep.
const NOT_SECONDS: &[&str] =
    &["0", "0.0", "-1", "abc", "nan", "inf", "-inf", "1e400", "1e300", "1e19", "315360001", "1e-300", "5 s", "1,0"];
const NOT_TENTH_TO_30: &[&str] = &["0", "0.09", "30.1", "-1", "abc", "nan", "inf", "1e300"];
const PLAIN_KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row { name: "CACHEKIT_REDIS_URL", shown: |env| show(env.redis.url.expose()), default: r#""redis://localhost:6379/0""#,
        good: &[("rediss://u:p@r:1/2", r#""rediss://u:p@r:1/2""#)], bad: &["redis:localhost", "http://r", "redis://r:0"] },
    Row { name: "REDIS_URL", shown: |env| show(env.redis.url.expose()), default: r#""redis://localhost:6379/0""#,
        good: &[("  redis://r/3 ", r#""redis://r/3""#)], bad: &[] },
    Row { name: "CACHEKIT_CONNECTION_POOL_SIZE", shown: |env| show((env.redis.pool_size, env.cachekitio.pool_size)),
        default: "(10, 10)", good: &[("1", "(1, 1)"), ("10000", "(10000, 10000)")], bad: &["0", "10001", "-1", "1.5", "ten"] },
    Row { name: "CACHEKIT_SOCKET_TIMEOUT", shown: |env| show(env.redis.timeout), default: "1s",
        good: &[("0.25", "250ms"), ("1e1", "10s")], bad: NOT_SECONDS },
    Row { name: "CACHEKIT_SOCKET_CONNECT_TIMEOUT", shown: |env| show(env.redis.connect_timeout), default: "1s",
        good: &[("2", "2s")], bad: NOT_SECONDS },
    Row { name: "CACHEKIT_DEFAULT_TTL", shown: |env| show(env.settings.ttl), default: "None",
        good: &[("0.5", "Some(500ms)"), ("60", "Some(60s)"), ("315360000", "Some(315360000s)")], bad: NOT_SECONDS },
    Row { name: "CACHEKIT_MAX_CHUNK_SIZE_MB", shown: |env| show(env.settings.max_chunk_size_mb), default: "None",
        good: &[("0.5", "Some(0.5)"), ("50", "Some(50.0)")], bad: NOT_ABOVE_ZERO },
    Row { name: "CACHEKIT_MAX_VALUE_SIZE", shown: |env| show(env.settings.max_value_size), default: "None",
        good: &[("1", "Some(1)"), ("104857600", "Some(104857600)")], bad: &["0", "-1", "1.5", "1e3", "18446744073709551616", "x"] },
    Row { name: "CACHEKIT_ENABLE_COMPRESSION", shown: |env| show(env.settings.compression_enabled), default: "None",
        good: BOOLEANS, bad: NOT_BOOLEAN },
    Row { name: "CACHEKIT_COMPRESSION_LEVEL", shown: |env| show(env.settings.compression_level), default: "None",
        good: &[("1", "Some(1)"), ("9", "Some(9)")], bad: &["0", "10", "-1", "6.5", "fast", "99999999999999999999"] },
    Row { name: "CACHEKIT_MASTER_KEY", shown: |env| show(env.secrets.master.as_ref().map(|key| key.expose().to_vec()[..2].to_vec())),
        default: "None", good: &[(PLAIN_KEY, "Some([0, 17])")], bad: &["my-secret-key", "abcd1234", "0"] },
    Row { name: "CACHEKIT_PREVIOUS_MASTER_KEYS", shown: |env| show(env.secrets.previous.len()), default: "0",
        good: &[(PLAIN_KEY, "1")], bad: &["abcd", ",", "xyz,abcd"] },
    Row { name: "CACHEKIT_ENCRYPTION_FAIL_CLOSED", shown: |env| show(env.settings.fail_closed), default: "None",
        good: BOOLEANS, bad: NOT_BOOLEAN },
    Row { name: "CACHEKIT_L1_ENABLED", shown: |env| show(env.settings.l1_enabled), default: "None", good: BOOLEANS, bad: NOT_BOOLEAN },
    Row { name: "CACHEKIT_L1_MAX_SIZE_MB", shown: |env| show(env.settings.l1_max_size_mb), default: "None",
        good: &[("1", "Some(1.0)"), ("2.5", "Some(2.5)")], bad: &["0", "0.99", "-1", "nan", "inf", "1e300", "big"] },
    Row { name: "CACHEKIT_L1_TTL", shown: |env| show(env.settings.l1_ttl), default: "None",
        good: &[("0.5", "Some(500ms)"), ("60", "Some(60s)")], bad: NOT_SECONDS },
    Row { name: "CACHEKIT_WARM_KEYS", shown: |env| show(env.settings.warm_keys), default: "None",
        good: &[("0", "Some(0)"), ("10000", "Some(10000)"), ("100000", "Some(100000)")], bad: &["-1", "100001", "1.5", "all"] },
    Row { name: "CACHEKIT_PAUSED", shown: |env| show(env.settings.paused), default: "None", good: BOOLEANS, bad: NOT_BOOLEAN },
    Row { name: "CACHEKIT_L1_PAUSED", shown: |env| show(env.settings.l1_paused), default: "None", good: BOOLEANS, bad: NOT_BOOLEAN },
    Row { name: "CACHEKIT_L2_PAUSED", shown: |env| show(env.settings.l2_paused), default: "None", good: BOOLEANS, bad: NOT_BOOLEAN },
    Row { name: "LOG_LEVEL", shown: |env| show(env.log_level), default: "Info",
        good: &[("trace", "Trace"), ("DEBUG", "Debug"), ("Info", "Info"), ("WARN", "Warn"), ("WARNING", "Warn"), ("ERROR", "Error"),
            ("CRITICAL", "Error"), ("off", "Off")], bad: &[] },
    Row { name: "CACHEKIT_CA_BUNDLE", shown: |env| show(&env.ca_bundle), default: "None",
        good: &[("Cargo.toml", r#"Some("Cargo.toml")"#)], bad: &["/nonexistent/roots.pem", "src"] },
    Row { name: "REQUESTS_CA_BUNDLE", shown: |env| show(&env.ca_bundle), default: "None",
        good: &[("Cargo.toml", r#"Some("Cargo.toml")"#), ("", "None")], bad: &[] },
    Row { name: "SSL_CERT_FILE", shown: |env| show(&env.ca_bundle), default: "None",
        good: &[("Cargo.toml", r#"Some("Cargo.toml")"#)], bad: &[] },
    Row { name: "CACHEKIT_API_KEY", shown: |env| show(env.cachekitio.api_key.as_ref().map(|key| key.expose())), default: "None",
        good: &[("ck_live_a-b.c~d+e/f=", r#"Some("ck_live_a-b.c~d+e/f=")"#)], bad: &["two words", "a\r\nHost: b", "schlüssel", "a:b"] },
    Row { name: "CACHEKIT_API_URL", shown: |env| show(&env.cachekitio.url), default: r#""https://api.cachekit.io""#,
        good: &[("https://api.staging.cachekit.io/", r#""https://api.staging.cachekit.io""#)],
        bad: &["http://api.cachekit.io", "https://example.com", "api.cachekit.io"] },
    Row { name: "CACHEKIT_TIMEOUT", shown: |env| show(env.cachekitio.timeout), default: "5s", good: &[("0.1", "100ms")], bad: NOT_SECONDS },
    Row { name: "CACHEKIT_MAX_RETRIES", shown: |env| show(env.cachekitio.max_retries), default: "3",
        good: &[("0", "0"), ("7", "7")], bad: &["-1", "1.5", "x", "4294967296"] },
    Row { name: "CACHEKIT_ALLOW_CUSTOM_HOST", shown: |env| show(Some(env.cachekitio.allow_custom_host)), default: "Some(false)",
        good: BOOLEANS, bad: NOT_BOOLEAN },
    Row { name: "CACHEKIT_FILE_CACHE_DIR", shown: |env| show(env.file.directory.strip_prefix(std::env::temp_dir())),
        default: r#"Ok("cachekit")"#, good: &[("here/there", "Err(StripPrefixError(()))")], bad: &[] },
    Row { name: "CACHEKIT_FILE_MAX_SIZE_MB", shown: |env| show((env.file.limits.max_size >> 20, env.file.limits.max_value >> 10)),
        default: "(1024, 102400)", good: &[("1", "(1, 512)"), ("100", "(100, 51200)"), ("1000000", "(1000000, 102400)")],
        bad: &["0", "1000001", "1.5", "-1", "x"] },
    Row { name: "CACHEKIT_FILE_MAX_VALUE_MB", shown: |env| show(env.file.limits.max_value >> 20), default: "100",
        good: &[("1", "1"), ("512", "512")], bad: &["0", "513", "0.5", "-1", "x", "18446744073709551615"] },
    Row { name: "CACHEKIT_FILE_MAX_ENTRY_COUNT", shown: |env| show(env.file.limits.max_entries), default: "10000",
        good: &[("100", "100"), ("1000000", "1000000")], bad: &["99", "1000001", "-1", "1e3"] },
    Row { name: "CACHEKIT_FILE_LOCK_TIMEOUT_SECONDS", shown: |env| show(env.file.limits.lock_timeout), default: "5s",
        good: &[("0.5", "500ms"), ("30", "30s")], bad: &["0.49", "30.01", "nan", "inf", "-1", "x"] },
    Row { name: "CACHEKIT_MEMCACHED_SERVERS", shown: |env| show(&env.memcached.servers), default: r#"["127.0.0.1:11211"]"#,
        good: &[(r#"["mc1:11211", "[::1]:11212"]"#, r#"["mc1:11211", "[::1]:11212"]"#)],
        bad: &["[]", "mc1:11211", "mc1:11211,mc2:11211", r#"["mc1"]"#, r#"["mc1:0"]"#, r#"["mc1:65536"]"#, r#"["::1:11211"]"#,
            r#"["[::1]"]"#, r#"[":11211"]"#, "[1]", r#"{"a":1}"#, r#"["a b:1"]"#, r#"["a:+1"]"#, r#"["u:p@h:1"]"#, r#"["[::g]:1"]"#] },
    Row { name: "CACHEKIT_MEMCACHED_CONNECT_TIMEOUT", shown: |env| show(env.memcached.connect_timeout), default: "2s",
        good: &[("0.1", "100ms"), ("30", "30s")], bad: NOT_TENTH_TO_30 },
    Row { name: "CACHEKIT_MEMCACHED_TIMEOUT", shown: |env| show(env.memcached.timeout), default: "1s",
        good: &[("0.1", "100ms"), ("30", "30s")], bad: NOT_TENTH_TO_30 },
    Row { name: "CACHEKIT_MEMCACHED_MAX_POOL_SIZE", shown: |env| show(env.memcached.max_pool_size), default: "10",
        good: &[("1", "1"), ("100", "100")], bad: &["0", "101", "-1", "x"] },
    Row { name: "CACHEKIT_MEMCACHED_RETRY_ATTEMPTS", shown: |env| show(env.memcached.retry_attempts), default: "2",
        good: &[("0", "0"), ("10", "10")], bad: &["11", "-1", "x", "1.0"] },
    Row { name: "CACHEKIT_MEMCACHED_KEY_PREFIX", shown: |env| show(&env.memcached.key_prefix), default: r#""""#,
        good: &[(" myapp: ", r#""myapp:""#)],
        bad: &["my app", "a\r\nflush_all", "ü", "0123456789012345678901234567890123456789012345678901234567890"] },
];

#[test]
fn the_table_has_every_variable() {
    let tabled: BTreeSet<&str> = ROWS.iter().map(|row| row.name).collect();
    assert_eq!(tabled, NAMES.iter().copied().collect());
}

#[test]
fn unset_and_empty_variables_leave_the_default() {
    let unset = environment(&[]);
    assert!(unset.problems.is_empty() && unset.warnings.is_empty() && unset.selected == Ok(None));
    for row in ROWS {
        assert_eq!((row.shown)(&unset), row.default, "{}", row.name);
        for blank in ["", " \t\n"] {
            let env = environment(&[(row.name, blank)]);
            assert_eq!((row.shown)(&env), row.default, "{} blank", row.name);
            assert!(env.problems.is_empty() && env.selected == Ok(None), "{} blank", row.name);
        }
    }
}

#[test]
fn good_values_are_taken() {
    for row in ROWS {
        for (text, expected) in row.good {
            let env = environment(&[(row.name, text)]);
            assert_eq!(&(row.shown)(&env), expected, "{}={text}", row.name);
            assert_eq!(env.problems, [], "{}={text}", row.name);
        }
    }
}

#[test]
fn bad_values_are_problems_that_keep_the_default() {
    for row in ROWS {
        for text in row.bad {
            let env = environment(&[(row.name, text)]);
            assert_eq!(faulty(&env), [row.name], "{}={text}", row.name);
            assert_eq!((row.shown)(&env), row.default, "{}={text}", row.name);
            let told = env.problems[0].to_string();
            assert!(told.starts_with(&format!("{}: ", row.name)) && told.contains("; "), "{told}");
        }
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let bad: Vec<(&str, &str)> = ROWS.iter().filter_map(|row| Some((row.name, *row.bad.first()?))).collect();
    let env = environment(&bad);
    let expected: BTreeSet<&str> = bad.iter().map(|(name, _)| *name).collect();
    assert_eq!(faulty(&env).into_iter().collect::<BTreeSet<_>>(), expected);

    let error = error(env.problems);
    assert_eq!(error.kind(), ErrorKind::Config);
    let message = error.to_string();
    let told: BTreeSet<&str> = message.lines().filter_map(|line| Some(line.split_once(": ")?.0)).collect();
    assert_eq!(told, expected);
    assert_eq!(message.lines().count(), expected.len());
}

#[test]
fn names_are_exact_and_the_first_of_two_counts() {
    let env =
        environment(&[("cachekit_default_ttl", "5"), ("CACHEKIT_CACHEKIT_DEFAULT_TTL", "6"), ("DEFAULT_TTL", "7")]);
    assert_eq!(env.settings.ttl, None);
    let env = environment(&[("CACHEKIT_MAX_RETRIES", "5"), ("CACHEKIT_MAX_RETRIES", "six")]);
    assert_eq!((env.cachekitio.max_retries, faulty(&env)), (5, vec![]));
}

#[test]
fn half_of_the_file_size_bounds_the_value() {
    let within = environment(&[("CACHEKIT_FILE_MAX_SIZE_MB", "20"), ("CACHEKIT_FILE_MAX_VALUE_MB", "10")]);
    assert_eq!((within.file.limits.max_value, faulty(&within)), (10 << 20, vec![]));
    let beyond = environment(&[("CACHEKIT_FILE_MAX_SIZE_MB", "20"), ("CACHEKIT_FILE_MAX_VALUE_MB", "11")]);
    assert_eq!((beyond.file.limits.max_value, faulty(&beyond)), (10 << 20, vec!["CACHEKIT_FILE_MAX_VALUE_MB"]));
}

#[cfg(unix)]
#[test]
fn non_utf8_text_fails_own_variables_and_warns_for_shared() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;
    let bytes = || OsString::from_vec(vec![b'4', 0xff]);
    for row in ROWS {
        let env = Environment::from_vars([(OsString::from(row.name), bytes())]);
        match row.name.starts_with("CACHEKIT_") {
            true => assert_eq!((faulty(&env), env.warnings.len()), (vec![row.name], 0)),
            false => assert_eq!((faulty(&env), env.warnings.len()), (vec![], 1), "{}", row.name),
        }
        assert_eq!((row.shown)(&env), row.default);
    }
    let env =
        Environment::from_vars([(OsString::from("PS1"), bytes()), (bytes(), OsString::from("x")), (bytes(), bytes())]);
    assert!(env.problems.is_empty() && env.warnings.is_empty());
}

/// Text that looks like a number, an address, or nothing at all.
fn some_text(rng: &mut Rng) -> String {
    let any = |rng: &mut Rng| (0..rng.usize(..12)).map(|_| rng.char(..)).collect();
    let of = |rng: &mut Rng, letters: &[u8], most: usize| -> String {
        (0..rng.usize(..=most)).map(|_| char::from(*rng.choice(letters).unwrap())).collect()
    };
    match rng.u8(..3) {
        0 => any(rng),
        1 => of(rng, b"-+0123456789.eE", 12),
        _ => {
            let (scheme, rest) = (of(rng, b"redis+socktlunx", 7), of(rng, b"[]:%@/?#=abcdef0123456789", 20));
            format!("{scheme}:{}{rest}", "/".repeat(rng.usize(..4)))
        }
    }
}

#[test]
fn no_text_makes_it_panic() {
    for seed in 0..20_000 {
        let mut rng = Rng::with_seed(seed);
        let (name, text) = (*rng.choice(NAMES).unwrap(), some_text(&mut rng));
        let env = environment(&[(name, &text)]);
        let mut problems = Vec::new();
        env.settings.decide(&mut problems);
        assert_eq!(problems, [], "seed {seed}: what the environment lets through, the policy accepts: {name}={text:?}");
    }
}
