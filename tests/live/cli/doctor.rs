//! The doctor: each trouble is named, with its cause and the fix.

use std::net::TcpStream;

use super::{Ran, cachekit, skewed};
use crate::servers::{Api, Authority, Memcached, Server, unused};

/// Examines, and checks that no secret is shown.
fn doctor(vars: &[(&str, &str)], secrets: &[&str]) -> Ran {
    let ran = cachekit(&["doctor"], vars);
    for secret in secrets {
        assert!(!ran.out.contains(secret) && !ran.err.contains(secret), "{secret} in {ran:#?}");
        let json = cachekit(&["doctor", "--json"], vars);
        assert!(!json.out.contains(secret) && !json.err.contains(secret), "{secret} in {json:#?}");
    }
    ran
}

/// The severity and fix of the finding that holds these words.
fn finding(vars: &[(&str, &str)], words: &str) -> (String, String) {
    let json = cachekit(&["doctor", "--json"], vars).json();
    let findings = json["findings"].as_array().unwrap();
    let found = findings.iter().find(|finding| finding["found"].as_str().unwrap().contains(words));
    let found = found.unwrap_or_else(|| panic!("{words} is not in {json:#}"));
    let text = |name: &str| found[name].as_str().unwrap().to_owned();
    (text("severity"), text("fix"))
}

#[test]
fn all_is_well_with_a_server_of_its_own() {
    let server = Server::start();
    let url = server.url();
    let vars = [("CACHEKIT_REDIS_URL", url.as_str()), ("CACHEKIT_DEFAULT_TTL", "90")];
    let ran = doctor(&vars, &[]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    ran.says(&["ttl = 90 s  CACHEKIT_DEFAULT_TTL", "a lease works", "100 round trips: p50", "All is well."]);
    let json = cachekit(&["doctor", "--json", "--strict"], &vars);
    assert_eq!(json.code, 0, "{json:#?}");
    let json = json.json();
    assert_eq!(
        (&json["ok"], &json["backend"], &json["latency"]["count"]),
        (&true.into(), &"redis".into(), &100.into())
    );
    assert_eq!(json["variables"], serde_json::json!(["CACHEKIT_REDIS_URL", "CACHEKIT_DEFAULT_TTL"]));
    assert_eq!(server.cli(&["DBSIZE"]), "0", "nothing is left behind");
}

#[test]
fn nothing_set_is_redis_on_this_machine() {
    let ran = doctor(&[], &[]);
    ran.says(&["none is set", "no variable selects a backend", "redis://localhost:6379/0"]);
    if TcpStream::connect(("localhost", 6379)).is_err() {
        assert_eq!(ran.code, 0, "a program goes on with L1 alone: {ran:#?}");
        ran.says(&["nothing listens there", "fix: see whether the server is up", "L1 goes on alone"]);
        assert_eq!(cachekit(&["doctor", "--strict"], &[]).code, 1);
    }
}

#[test]
fn a_server_that_is_down_is_named() {
    let url = format!("redis://zelda:hunter2@127.0.0.1:{}", unused());
    let ran = doctor(&[("CACHEKIT_REDIS_URL", &url)], &["hunter2", "zelda"]);
    assert_eq!(ran.code, 2, "{ran:#?}");
    ran.says(&["nothing listens there", "fix: see whether the server is up, and the host and port"]);
}

#[test]
fn wrong_and_missing_passwords_are_told() {
    let server = Server::setup().password("the-right-one").user("zelda", "on >hers ~* &* +@all").start();
    let address = server.address();
    let urls =
        [format!("redis://:hunter2@{address}"), format!("redis://{address}"), format!("redis://zelda@{address}")];
    for url in urls {
        let ran = doctor(&[("CACHEKIT_REDIS_URL", &url)], &["hunter2", "the-right-one", "zelda", "hers"]);
        assert_eq!(ran.code, 2, "{ran:#?}");
        ran.says(&["refuses the user or the password", "fix: see them in the URL (redis://user:password@host)"]);
    }
}

#[test]
fn look_alikes_are_told() {
    let server = Server::start();
    let url = server.url();
    let vars = [("CACHEKIT_REDIS_URL", url.as_str()), ("CACHE_REDIS_URL", "redis://zelda:hunter2@h")];
    let ran = doctor(&vars, &["hunter2"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    ran.says(&["CACHE_REDIS_URL is ignored", "fix: CACHEKIT_REDIS_URL is likely meant", "could be better"]);
    assert_eq!(cachekit(&["doctor", "--strict"], &vars).code, 1);
}

#[test]
fn every_problem_of_the_environment_is_told_at_once() {
    let key = "ab".repeat(31);
    let vars = [
        ("CACHEKIT_REDIS_URL", "redis://zelda:hunter2@h"),
        ("CACHEKIT_FILE_CACHE_DIR", "/tmp/cachekit-doctor"),
        ("CACHEKIT_MASTER_KEY", &key),
        ("CACHEKIT_DEFAULT_TTL", "never"),
    ];
    let ran = doctor(&vars, &["hunter2", "zelda", &key]);
    assert_eq!(ran.code, 2, "{ran:#?}");
    ran.says(&[
        "CACHEKIT_REDIS_URL, CACHEKIT_FILE_CACHE_DIR: only one of these may select the backend",
        "fix: unset all but one",
        "must have at least 64 hex digits (32 bytes) and has 62 (31 bytes)",
        "fix: make one with `openssl rand -hex 32`",
        "CACHEKIT_DEFAULT_TTL: must be a number of seconds",
        "fix: set it to, for example, 3600",
    ]);
}

#[test]
fn directories_that_cannot_be_written_to_are_told() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let below = file.path().join("cache");
    for (directory, words) in
        [(below.to_str().unwrap(), "cannot be looked at"), ("/proc/cachekit", "cannot be created")]
    {
        let ran = doctor(&[("CACHEKIT_FILE_CACHE_DIR", directory)], &[]);
        assert_eq!(ran.code, 2, "{ran:#?}");
        ran.says(&[directory, words, "CACHEKIT_FILE_CACHE_DIR", "fix: "]);
    }
}

#[test]
fn a_good_directory_tells_how_full_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let ran = doctor(&[("CACHEKIT_FILE_CACHE_DIR", directory.path().to_str().unwrap())], &[]);
    ran.says(&["0 of 10000 files, 0 of 1024 MiB in use", "MiB are free on its disk", "a lease works"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
}

#[test]
fn memory_without_eviction_is_told() {
    let server = Server::setup().args(["--maxmemory", "100mb", "--maxmemory-policy", "noeviction"]).start();
    let url = server.url();
    let vars = [("CACHEKIT_REDIS_URL", url.as_str())];
    let ran = doctor(&vars, &[]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    ran.says(&["maxmemory is 100 MiB and maxmemory-policy is noeviction", "every write fails", "volatile-ttl"]);
    assert_eq!(cachekit(&["doctor", "--strict"], &vars).code, 1);
    server.cli(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    doctor(&vars, &[]).says(&["maxmemory-policy is allkeys-lru", "the next one voids all entries"]);
    server.cli(&["CONFIG", "SET", "maxmemory-policy", "volatile-ttl"]);
    assert_eq!(cachekit(&["doctor", "--strict"], &vars).code, 0);
}

#[test]
fn missing_permissions_are_told_with_the_rule_to_add() {
    let rules = "on >hunter2 ~* &* +@all -evalsha -xadd";
    let server = Server::setup().user("zelda", rules).start();
    let url = format!("redis://zelda:hunter2@{}", server.address());
    let vars = [("CACHEKIT_REDIS_URL", url.as_str())];
    let ran = doctor(&vars, &["hunter2", "zelda"]);
    assert_eq!(ran.code, 2, "{ran:#?}");
    ran.says(&["does not let this user run EVALSHA", "ACL SETUSER <user> +evalsha", "there are no leases"]);
    ran.says(&["does not let this user run XADD", "ACL SETUSER <user> +xadd"]);
    assert!(!ran.out.contains("run GET"), "{ran:#?}");
}

#[test]
fn keys_out_of_reach_are_told() {
    let server = Server::setup().user("zelda", "on >hunter2 ~orders:* &* +@all").start();
    let url = format!("redis://zelda:hunter2@{}", server.address());
    let ran = doctor(&[("CACHEKIT_REDIS_URL", &url)], &["hunter2"]);
    assert_eq!(ran.code, 2, "{ran:#?}");
    ran.says(&["does not let this user at keys", "~<namespace>:*"]);
    let there = cachekit(&["doctor", "-n", "orders"], &[("CACHEKIT_REDIS_URL", &url)]);
    assert_eq!(there.code, 0, "{there:#?}");
}

#[test]
fn a_clock_that_is_ahead_is_told() {
    let server = Server::start();
    for (seconds, severity, code) in [(0, None, 0), (5, Some("warning"), 0), (300, Some("error"), 2)] {
        let url = skewed::ahead(server.port(), seconds);
        let vars = [("CACHEKIT_REDIS_URL", url.as_str())];
        let ran = doctor(&vars, &[]);
        assert_eq!(ran.code, code, "{ran:#?}");
        let Some(severity) = severity else {
            assert!(!ran.out.contains("clock"), "{ran:#?}");
            continue;
        };
        ran.says(&["ahead of that of this machine", "by NTP"]);
        assert_eq!(finding(&vars, "the clock of the server").0, severity);
    }
}

#[test]
fn an_unknown_authority_is_told_with_the_variable_that_names_it() {
    let authority = Authority::new();
    let server = Server::setup().tls(&authority).start();
    let url = server.url();
    let vars = [("CACHEKIT_REDIS_URL", url.as_str())];
    let ran = doctor(&vars, &[]);
    assert_eq!(ran.code, 2, "{ran:#?}");
    ran.says(&["the authority that signed its certificate is unknown", "CACHEKIT_CA_BUNDLE"]);
    let bundle = authority.bundle().to_str().unwrap();
    let trusting = doctor(&[vars[0], ("CACHEKIT_CA_BUNDLE", bundle)], &[]);
    assert_eq!(trusting.code, 0, "{trusting:#?}");
}

#[test]
fn replicas_are_told() {
    let master = Server::start();
    let replica = Server::setup().args(["--replicaof", "127.0.0.1", &master.port().to_string()]).start();
    let ran = doctor(&[("CACHEKIT_REDIS_URL", &replica.url())], &[]);
    assert_eq!(ran.code, 2, "{ran:#?}");
    ran.says(&["a replica that takes no writes", "name the master in the URL"]);
}

#[test]
fn servers_of_memcached_tell_what_they_are() {
    let server = Memcached::start_with(&["-I", "512k"]);
    let servers = format!("[\"{}\"]", server.address());
    let ran = doctor(&[("CACHEKIT_MEMCACHED_SERVERS", &servers)], &[]);
    assert_eq!(ran.code, 2, "{ran:#?}");
    ran.says(&["memcached 1.", "takes items of up to 524288 bytes", "fix: start it with a larger -I"]);
    let usual = Memcached::start();
    let servers = format!("[\"{}\"]", usual.address());
    let ran = doctor(&[("CACHEKIT_MEMCACHED_SERVERS", &servers)], &[]);
    assert_eq!(ran.code, 0, "{ran:#?}");
}

#[test]
fn the_service_and_its_key_are_tried() {
    let api = Api::start(&Authority::new());
    let (url, ca) = (api.url_of("127.0.0.1"), api.ca().to_str().unwrap().to_owned());
    let with = |key: &str| {
        let vars = [
            ("CACHEKIT_API_KEY", key),
            ("CACHEKIT_API_URL", &url),
            ("CACHEKIT_ALLOW_CUSTOM_HOST", "true"),
            ("CACHEKIT_CA_BUNDLE", &ca),
        ];
        doctor(&vars, &[key])
    };
    let good = with(&api.key());
    assert_eq!(good.code, 0, "{good:#?}");
    good.says(&["cachekitio at 127.0.0.1:", "has no leases"]);
    let bad = with("ck_live_wrong");
    assert_eq!(bad.code, 2, "{bad:#?}");
    bad.says(&["fix: ", "CACHEKIT_API_KEY"]);
}
