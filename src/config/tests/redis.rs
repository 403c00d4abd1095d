//! Redis: what a URL leads to, and what is let through.

use std::path::Path;
use std::time::Duration;

use super::super::redis::{Host, Login, RedisSettings, RedisUrl, Topology};
use super::environment;
use crate::error::ErrorKind;

/// Where a URL leads, in one line; `None` if it is refused.
fn leads_to(text: &str) -> Option<String> {
    let url = RedisUrl::parse(text).ok()?;
    assert_eq!((url.expose(), url.is_tls()), (text, url.target().tls));
    let target = url.target();
    let hosts = |hosts: &[Host]| hosts.iter().map(Host::to_string).collect::<Vec<_>>().join(" ");
    let login = |login: &Option<Login>| match login {
        Some(Login { user, password }) => {
            format!(" as {}/{}", user.as_ref().map_or("", |user| user.expose()), password.expose())
        }
        None => String::new(),
    };
    let topology = match &target.topology {
        Topology::Server(host) => format!("server {host}"),
        Topology::Socket(path) => format!("socket {}", path.display()),
        Topology::Cluster(nodes) => format!("cluster {}", hosts(nodes)),
        Topology::Sentinel { sentinels, master, login: at_sentinel } => {
            format!("{master} by {}{}, then", hosts(sentinels), login(at_sentinel))
        }
    };
    let tls = if target.tls { " tls" } else { "" };
    let resp3 = if target.resp3 { " resp3" } else { "" };
    Some(format!("{topology}{} db {}{tls}{resp3}", login(&target.login), target.db))
}

#[track_caller]
fn lead(table: &[(&str, &str)]) {
    for (text, expected) in table {
        assert_eq!(leads_to(text).as_deref(), Some(*expected), "{text}");
    }
}

#[test]
fn the_default_is_what_its_text_says() {
    let default = RedisUrl::default();
    let parsed = RedisUrl::parse(default.expose()).expect("the default is a URL");
    assert_eq!(format!("{:?}", default.target()), format!("{:?}", parsed.target()));
    assert_eq!(RedisSettings::default().url.expose(), "redis://localhost:6379/0");
}

#[test]
fn a_url_leads_to_a_server() {
    lead(&[
        ("redis://localhost", "server localhost:6379 db 0"),
        ("redis://localhost:6380/", "server localhost:6380 db 0"),
        ("redis://localhost:6379/15", "server localhost:6379 db 15"),
        ("redis://:p%40ss%2Fword@localhost/0", "server localhost:6379 as /p@ss/word db 0"),
        ("redis://:@localhost", "server localhost:6379 db 0"),
        ("redis://me@localhost", "server localhost:6379 as me/ db 0"),
        ("rediss://me:@localhost", "server localhost:6379 as me/ db 0 tls"),
        ("redis://:a,b@localhost", "server localhost:6379 as /a,b db 0"),
        (
            "redis://us%65r:pa:ss@r_1.example.com.:65535/0?protocol=resp3",
            "server r_1.example.com.:65535 as user/pa:ss db 0 resp3",
        ),
        ("redis://[::1]:6379/0?protocol=2", "server [::1]:6379 db 0"),
        ("redis://127.0.0.1", "server 127.0.0.1:6379 db 0"),
        ("REDIS://localhost", "server localhost:6379 db 0"),
        ("rediss://localhost/2147483647", "server localhost:6379 db 2147483647 tls"),
    ]);
}

#[test]
fn several_hosts_or_a_scheme_lead_to_a_cluster() {
    lead(&[
        ("redis://h1,h2", "cluster h1:6379 h2:6379 db 0"),
        ("redis://:pw@h1:1,[::1],10.0.0.1:3/0", "cluster h1:1 [::1]:6379 10.0.0.1:3 as /pw db 0"),
        ("rediss://u:pw@h1:1,h2:2?protocol=3", "cluster h1:1 h2:2 as u/pw db 0 tls resp3"),
        ("redis-cluster://h1", "cluster h1:6379 db 0"),
        ("redis-cluster://me@h1", "cluster h1:6379 as me/ db 0"),
        ("redis-cluster://h1:1,h2:2/", "cluster h1:1 h2:2 db 0"),
        ("RedisS-Cluster://u:pw@[fe::1]:7,h2/0", "cluster [fe::1]:7 h2:6379 as u/pw db 0 tls"),
    ]);
}

#[test]
fn sentinels_lead_to_a_master() {
    lead(&[
        ("redis-sentinel://s1/mymaster", "mymaster by s1:26379, then db 0"),
        ("redis-sentinel://s1:1,[::1],s3/my%2Fmaster/", "my/master by s1:1 [::1]:26379 s3:26379, then db 0"),
        ("redis-sentinel://s1/%30/3", "0 by s1:26379, then db 3"),
        (
            "rediss-sentinel://u:pw@s1,s2/m/4?sentinel_user=su&sentinel_pass=s%26p&protocol=3",
            "m by s1:26379 s2:26379 as su/s&p, then as u/pw db 4 tls resp3",
        ),
        ("redis-sentinel://s1/m?sentinel_pass=sp", "m by s1:26379 as /sp, then db 0"),
        ("redis-sentinel://u@s1/m?sentinel_user=su", "m by s1:26379 as su/, then as u/ db 0"),
    ]);
}

#[cfg(unix)]
#[test]
fn sockets_are_paths() {
    lead(&[
        ("unix:///run/redis.sock", "socket /run/redis.sock db 0"),
        ("unix:///run/redis.sock?user=me", "socket /run/redis.sock as me/ db 0"),
        ("redis+unix:///r%20un/r?db=3&user=me&pass=p%26w,@&protocol=3", "socket /r un/r as me/p&w,@ db 3 resp3"),
    ]);
}

/// Texts that are refused, each with a word of the rule and a word of the fix.
const REFUSED: &[(&[&str], &str, &str)] = &[
    (
        &[
            "redis:localhost",
            "redis:localhost:6379",
            "redis/localhost:6379",
            "localhost:6379",
            "localhost",
            "",
            "://localhost",
            "http://localhost",
            "redis-clusters://localhost",
            "a/redis://localhost",
        ],
        "begins with redis://",
        "write redis://localhost:6379/0",
    ),
    (&["redis-cluster:h1:6379,h2", "rediss-cluster/h1"], "begins with redis://", "write redis-cluster://"),
    (&["redis-sentinel:h1/m", "redis-sentinel/h1/m"], "begins with redis://", "write redis-sentinel://"),
    (&["unix:/run/redis.sock", "redis+unix:r"], "begins with redis://", "write redis+unix:///run"),
    (&["redis://local host", "redis://loc\nalhost"], "without blanks", "write redis://localhost:6379/0"),
    (
        &[
            "redis://",
            "redis:///0",
            "redis://:6379",
            "redis://localhost:",
            "redis://localhost:0",
            "redis://localhost:65536",
            "redis://localhost:+1",
            "redis://[::1",
            "redis://::1",
            "redis://[::g]:1",
            "redis://0x7f.1",
            "redis://2130706433",
            "redis://1.2.3",
            "redis://256.1.1.1",
            "redis://hö.st",
            "redis://a..b",
            "redis://-/\\x",
        ],
        "",
        "write redis://localhost:6379/0",
    ),
    (
        &["redis://localhost:6379/a", "redis://localhost/-1", "redis://localhost/+1", "redis://localhost/1/2"],
        "nothing but the number of a database",
        "write redis://localhost:6379/0",
    ),
    (&["redis://localhost/2147483648"], "number of a database", "write redis://localhost:6379/0"),
    (
        &["redis://localhost?db=2", "redis://localhost/0?protocol=4", "redis://localhost/0?protocol=2&protocol=3"],
        "no option but protocol",
        "write redis://localhost:6379/0",
    ),
    (&["rediss://localhost/0#insecure"], "no #", "percent-encode"),
    (
        &[
            "redis://me:a/b@localhost:6379/0",
            "redis://me:a?b@localhost:6379/0",
            "redis://me:a@b@localhost:6379/0",
            "redis://me:a%zz@localhost:6379/0",
            "redis://me:a%f@localhost:6379/0",
            "redis://me:%ff@localhost:6379/0",
            "redis://u:p@h1:1,u:p@h2:2",
            "redis-sentinel://h1/u:p@m",
        ],
        "one percent-encoded user and password",
        "percent-encode",
    ),
    (&["redis://me:a#b@localhost:6379/0"], "no #", "percent-encode"),
    (
        &["redis://h1,", "redis://,h1", "redis://h1,,h2", "redis://h1:6379,redis://h2:6379", "redis-cluster://h1:0,h2"],
        "must name a host",
        "write redis-cluster://",
    ),
    (
        &["redis://h1,h2/1", "rediss-cluster://h1/7", "redis-cluster://h1,h2/x", "redis-cluster://h1/0/0"],
        "no database but 0",
        "write redis-cluster://",
    ),
    (&["redis-cluster://"], "must name a host", "write redis-cluster://"),
    (&["redis-cluster://h1?db=0"], "no option but protocol", "write redis-cluster://"),
    (
        &[
            "redis-sentinel://h1",
            "redis-sentinel://h1/",
            "redis-sentinel://h1/0",
            "redis-sentinel://h1//0",
            "redis-sentinel://h1/?protocol=3",
            "redis-sentinel://h1/m%f",
        ],
        "name the master",
        "write redis-sentinel://",
    ),
    (
        &["redis-sentinel://h1/m/x", "redis-sentinel://h1/m/0/0", "redis-sentinel://h1/m/-1"],
        "behind the master",
        "write redis-sentinel://",
    ),
    (&["redis-sentinel:///m", "redis-sentinel://h1,/m"], "must name a host", "write redis-sentinel://"),
    (
        &[
            "redis-sentinel://h1/m?sentinel_pass=",
            "redis-sentinel://h1/m?pass=p",
            "redis-sentinel://h1/m?sentinel_pass=%f",
            "redis-sentinel://h1/m?sentinel_pass=a&sentinel_pass=b",
        ],
        "no options but sentinel_user",
        "write redis-sentinel://",
    ),
];

#[test]
fn what_is_refused_is_shown_the_rule_and_the_right_form() {
    for (texts, rule, fix) in REFUSED {
        for text in *texts {
            let fault = RedisUrl::parse(text).expect_err(text);
            assert!(fault.rule.contains(rule) && fault.fix.contains(fix), "{text}: {fault:?}");
        }
    }
}

#[cfg(unix)]
#[test]
fn wrong_sockets_are_shown_the_right_form() {
    for text in ["unix://", "unix:///", "unix://run/redis.sock", "unix:///r#x", "unix:///r%00", "unix:///%ff"] {
        let fault = RedisUrl::parse(text).expect_err(text);
        assert!(fault.rule.contains("absolute path") && fault.fix.contains("redis+unix:///"), "{text}: {fault:?}");
    }
    for query in ["db=x", "db=", "db=1&db=2", "password=x", "user=%zz&pass=x", "pass="] {
        let fault = RedisUrl::parse(&format!("unix:///r?{query}")).expect_err(query);
        assert!(fault.rule.contains("no options but db"), "{query}: {fault:?}");
    }
}

#[test]
fn nothing_shows_a_url() {
    let secret = "hunter2";
    for text in [
        format!("redis://{secret}"),
        format!("redis://{secret}:{secret}@{secret}"),
        format!("rediss-sentinel://{secret}/{secret}?sentinel_pass={secret}"),
        format!("redis-cluster://{secret},{secret}"),
    ] {
        let settings = RedisSettings::new(&text).expect(&text);
        assert!(!format!("{settings:?}").contains(secret), "{settings:?}");
    }
    for text in [format!("redis:{secret}"), format!("redis://h/{secret}"), format!("redis-sentinel://{secret}")] {
        let error = RedisSettings::new(&text).expect_err(&text);
        assert!(!format!("{error:?} {error}").contains(secret), "{error:?}");
    }
    let target = RedisUrl::parse("redis://me:hunter2@localhost").expect("a URL").target().clone();
    assert!(!format!("{target:?}").contains(secret), "{target:?}");
}

#[test]
fn settings_of_a_program_keep_the_rules_of_the_environment() {
    let settings = RedisSettings::new("rediss://r:1").expect("a URL");
    assert_eq!((settings.pool_size, settings.timeout, settings.connect_timeout), (10, SECOND, SECOND));
    assert_eq!(settings.ca_bundle, None);
    settings.check().expect("defaults keep the rules");

    let error = RedisSettings::new("redis:r").expect_err("no scheme");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().starts_with("url: must be a URL that begins with redis://"), "{error}");

    for (pool_size, timeout, connect_timeout, named) in [
        (0, SECOND, SECOND, vec!["CACHEKIT_CONNECTION_POOL_SIZE"]),
        (10_001, Duration::ZERO, SECOND, vec!["CACHEKIT_CONNECTION_POOL_SIZE", "CACHEKIT_SOCKET_TIMEOUT"]),
        (10_000, SECOND, Duration::MAX, vec!["CACHEKIT_SOCKET_CONNECT_TIMEOUT"]),
    ] {
        let wrong = RedisSettings { pool_size, timeout, connect_timeout, ..settings.clone() };
        let error = wrong.check().expect_err("a rule is broken");
        assert_eq!((error.kind(), error.to_string().lines().count()), (ErrorKind::Config, named.len()));
        assert!(named.iter().all(|name| error.to_string().contains(name)), "{error}");
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_ca_bundle_is_for_redis_too() {
    for name in ["CACHEKIT_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"] {
        let set = environment(&[(name, "Cargo.toml")]);
        assert_eq!(set.redis.ca_bundle.as_deref(), Some(Path::new("Cargo.toml")), "{name}");
    }
    assert_eq!(environment(&[]).redis.ca_bundle, None);
}
