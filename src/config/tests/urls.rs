//! The API URL and hosts: what is let through.

use super::super::address::{Address, is_forbidden};
use super::super::cachekitio::ApiUrl;

#[test]
fn the_api_url_is_https_and_at_home() {
    for (text, kept) in [
        ("https://api.cachekit.io", "https://api.cachekit.io"),
        ("HTTPS://API.cachekit.io/", "https://API.cachekit.io"),
        ("https://api.staging.cachekit.io:8443/v2//", "https://api.staging.cachekit.io:8443/v2"),
    ] {
        assert_eq!(ApiUrl::parse(text, false).expect(text).as_str(), kept);
    }
    let never = [
        "http://api.cachekit.io",
        "ftp://api.cachekit.io",
        "api.cachekit.io",
        "https:api.cachekit.io",
        "https://",
        "https://user:pw@api.cachekit.io",
        "https://api.cachekit.io@evil.example",
        "https://api.cachekit.io?x",
        "https://a\\b",
        "https://api.cachekit.io/a?x",
        "https://api.cachekit.io/a#x",
        "https://api.cachekit.io/../x",
        "https://api.cachekit.io:0",
        "https://api.cachekit.io\\@evil.example",
        "https://169.254.169.254",
        "https://[fe80::1]",
        "https://[::ffff:169.254.1.1]",
        "https://[fd00:ec2::254]",
        "https://[64:ff9b::a9fe:a9fe]",
        "https://metadata.google.internal",
        "https://METADATA.google.internal.",
        "https://2852039166",
        "https://0xa9fea9fe",
        "https://169.254.43518",
        "https://0251.0376.0251.0376",
        "https://a b",
    ];
    for text in never {
        for allow_custom_host in [false, true] {
            assert!(ApiUrl::parse(text, allow_custom_host).is_err(), "{text}");
        }
    }
}

/// Ways to lead a client inside, and the rule that each breaks, for those who allow custom hosts too where `true`.
const LEADS_INSIDE: &[(&str, &str, bool)] = &[
    ("http://api.cachekit.io", "https", true),
    ("http://localhost", "https", true),
    ("HTTP://127.0.0.1", "https", true),
    ("file:///etc/passwd", "begins with https://", true),
    ("gopher://127.0.0.1:6379/_", "begins with https://", true),
    ("//api.cachekit.io", "begins with https://", true),
    ("https:/api.cachekit.io", "begins with https://", true),
    ("https:///api.cachekit.io", "must name a host", true),
    ("https://127.0.0.1", "api.staging.cachekit.io", false),
    ("https://127.1.2.3:8443", "api.staging.cachekit.io", false),
    ("https://127.1", "must name a host", true),
    ("https://127.0.1", "must name a host", true),
    ("https://2130706433", "must name a host", true),
    ("https://0x7f000001", "must name a host", true),
    ("https://0X7F.1", "must name a host", true),
    ("https://0x7f.0x0.0x0.0x1", "must name a host", true),
    ("https://0177.0.0.1", "must name a host", true),
    ("https://017700000001", "must name a host", true),
    ("https://127.0.0.1.", "must name a host", true),
    ("https://127.0.0.0x1", "must name a host", true),
    ("https://0", "must name a host", true),
    ("https://0.0.0.0", "api.staging.cachekit.io", false),
    ("https://10.0.0.1", "api.staging.cachekit.io", false),
    ("https://10.1", "must name a host", true),
    ("https://0xa.0.0.1", "must name a host", true),
    ("https://012.0.0.1", "must name a host", true),
    ("https://172.16.0.1", "api.staging.cachekit.io", false),
    ("https://192.168.1.1", "api.staging.cachekit.io", false),
    ("https://192.168.257", "must name a host", true),
    ("https://3232235777", "must name a host", true),
    ("https://100.64.0.1", "api.staging.cachekit.io", false),
    ("https://100.100.100.200", "link-local or metadata", true),
    ("https://168.63.129.16", "link-local or metadata", true),
    ("https://169.254.169.254", "link-local or metadata", true),
    ("https://169.254.169.254:80/latest/meta-data", "link-local or metadata", true),
    ("https://0xa9.0xfe.0xa9.0xfe", "must name a host", true),
    ("https://0xa9fea9fe", "must name a host", true),
    ("https://169.254.43518", "must name a host", true),
    ("https://224.0.0.1", "api.staging.cachekit.io", false),
    ("https://255.255.255.255", "api.staging.cachekit.io", false),
    ("https://[::]", "api.staging.cachekit.io", false),
    ("https://[::1]:8443", "api.staging.cachekit.io", false),
    ("https://[0:0:0:0:0:0:0:1]", "api.staging.cachekit.io", false),
    ("https://[::ffff:127.0.0.1]", "api.staging.cachekit.io", false),
    ("https://[::ffff:7f00:1]", "api.staging.cachekit.io", false),
    ("https://[::ffff:a9fe:a9fe]", "link-local or metadata", true),
    ("https://[::ffff:0:169.254.169.254]", "link-local or metadata", true),
    ("https://[64:ff9b::127.0.0.1]", "api.staging.cachekit.io", false),
    ("https://[64:ff9b::169.254.169.254]", "link-local or metadata", true),
    ("https://[64:ff9b:1::169.254.169.254]", "link-local or metadata", true),
    ("https://[2002:7f00:1::]", "api.staging.cachekit.io", false),
    ("https://[2002:a9fe:a9fe::]", "link-local or metadata", true),
    ("https://[fc00::1]", "api.staging.cachekit.io", false),
    ("https://[fd00:ec2::254]", "link-local or metadata", true),
    ("https://[fd20:ce::254]", "link-local or metadata", true),
    ("https://[fe80::1]", "link-local or metadata", true),
    ("https://[fe80::1%25eth0]", "must name a host", true),
    ("https://[::1", "must name a host", true),
    ("https://::1", "must name a host", true),
    ("https://localhost", "api.staging.cachekit.io", false),
    ("https://LOCALHOST.", "api.staging.cachekit.io", false),
    ("https://x.localhost", "api.staging.cachekit.io", false),
    ("https://localtest.me", "api.staging.cachekit.io", false),
    ("https://metadata", "link-local or metadata", true),
    ("https://metadata.google.internal", "link-local or metadata", true),
    ("https://api.cachekit.io@127.0.0.1", "no user or password", true),
    ("https://api.cachekit.io:443@127.0.0.1", "no user or password", true),
    ("https://api.cachekit.io%2f@127.0.0.1", "no user or password", true),
    ("https://127.0.0.1\\@api.cachekit.io", "no user or password", true),
    ("https://127.0.0.1\\.api.cachekit.io", "must name a host", true),
    ("https://127.0.0.1#.api.cachekit.io", "must name a host", true),
    ("https://127.0.0.1?.api.cachekit.io", "must name a host", true),
    ("https://api.cachekit.io%00.evil.example", "must name a host", true),
    ("https://api.cachekit.io\t.evil.example", "must name a host", true),
    ("https://\u{ff11}27.0.0.1", "must name a host", true),
    ("https://127\u{3002}0.0.1", "must name a host", true),
    ("https://\u{24db}ocalhost", "must name a host", true),
    ("https://api.cachekit.io.evil.example", "api.staging.cachekit.io", false),
    ("https://evilapi.cachekit.io", "api.staging.cachekit.io", false),
    ("https://x.api.cachekit.io", "api.staging.cachekit.io", false),
    ("https://cachekit.io", "api.staging.cachekit.io", false),
];

#[test]
fn urls_that_lead_inside_are_refused_and_told_why() {
    for (text, rule, always) in LEADS_INSIDE {
        let fault = ApiUrl::parse(text, false).expect_err(text);
        assert!(fault.rule.contains(rule), "{text}: {fault:?}");
        match ApiUrl::parse(text, true) {
            Err(fault) => assert!(*always && fault.rule.contains(rule), "{text}: {fault:?}"),
            Ok(_) => assert!(!always, "{text} is let through"),
        }
    }
    for text in ["https://api.cachekit.io", "https://api.staging.cachekit.io", "https://API.CACHEKIT.IO:8443/v2"] {
        assert!(ApiUrl::parse(text, false).is_ok(), "{text}");
    }
}

#[test]
fn a_user_in_the_api_url_is_told_where_the_key_belongs() {
    let fault = ApiUrl::parse("https://user:pw@api.cachekit.io", true).expect_err("there is a user");
    assert!(fault.rule.contains("no user or password") && fault.fix.contains("CACHEKIT_API_KEY"), "{fault:?}");
}

#[test]
fn other_hosts_need_leave() {
    let custom = [
        "https://localhost:8443",
        "https://127.0.0.1:1",
        "https://[::1]",
        "https://10.0.0.1",
        "https://cachekit.io",
        "https://x.api.cachekit.io",
        "https://api.cachekit.io.",
        "https://api.cachekit.io.evil.example",
    ];
    for text in custom {
        let fault = ApiUrl::parse(text, false).expect_err(text);
        assert!(fault.fix.contains("CACHEKIT_ALLOW_CUSTOM_HOST"), "{text}: {fault:?}");
        assert_eq!(ApiUrl::parse(text, true).expect(text).as_str(), text);
    }
    let set = super::environment(&[("CACHEKIT_API_URL", "https://localhost:1"), ("CACHEKIT_ALLOW_CUSTOM_HOST", "yes")]);
    assert_eq!((set.cachekitio.url.as_str(), set.problems.len()), ("https://localhost:1", 0));
}

#[test]
fn addresses_that_hand_out_credentials_are_forbidden() {
    for ip in [
        "169.254.0.1",
        "100.100.100.200",
        "fe80::1",
        "::169.254.169.254",
        "2002:a9fe:a9fe::1",
        "::ffff:100.100.100.200",
    ] {
        assert!(is_forbidden(ip.parse().expect(ip)), "{ip}");
    }
    for ip in ["127.0.0.1", "10.1.1.1", "8.8.8.8", "::1", "2001:db8::1", "fd00::1"] {
        assert!(!is_forbidden(ip.parse().expect(ip)), "{ip}");
    }
}

#[test]
fn hosts_and_ports_part_at_the_last_colon_outside_brackets() {
    assert_eq!(Address::parse("a.b:1"), Some(Address { host: "a.b", port: Some(1) }));
    assert_eq!(Address::parse("[::1]"), Some(Address { host: "[::1]", port: None }));
    assert_eq!(Address::parse("[::1]:65535"), Some(Address { host: "[::1]", port: Some(65_535) }));
    assert_eq!(Address::parse(&"a".repeat(64)), None);
    assert_eq!(Address::parse(&["a"; 128].join(".")), None);
}
