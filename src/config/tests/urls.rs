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
