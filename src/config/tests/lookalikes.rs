//! Names that are not read.

use super::environment;

#[test]
fn the_likely_intended_variable_is_named() {
    let cases = [
        ("CACHE_REDIS_URL", "CACHEKIT_REDIS_URL"),
        ("CACHE_MASTER_KEY", "CACHEKIT_MASTER_KEY"),
        ("CACHE_KIT_REDIS_URL", "CACHEKIT_REDIS_URL"),
        ("CACHE_DEFAULT_TTLS", "CACHEKIT_DEFAULT_TTL"),
        ("CACHEKIT_REDIS_URI", "CACHEKIT_REDIS_URL"),
        ("CACHEKIT_REDISURL", "CACHEKIT_REDIS_URL"),
        ("CACHEKIT_REDIS", "CACHEKIT_REDIS_URL"),
        ("CACHEKIT_COMPRESION_LEVEL", "CACHEKIT_COMPRESSION_LEVEL"),
        ("CACHEKIT_TTL", "CACHEKIT_DEFAULT_TTL"),
        ("CACHEKIT_SERVERS", "CACHEKIT_MEMCACHED_SERVERS"),
        ("cachekit_default_ttl", "CACHEKIT_DEFAULT_TTL"),
        ("CacheKit_Api_Key", "CACHEKIT_API_KEY"),
    ];
    for (name, meant) in cases {
        let warnings = environment(&[(name, "HUNTER2")]).warnings;
        assert_eq!(warnings.len(), 1, "{name}");
        assert!(warnings[0].starts_with(&format!("{name} is ignored: {meant} is likely meant")), "{}", warnings[0]);
        assert!(!warnings[0].contains("HUNTER2"));
    }
}

#[test]
fn an_unknown_name_of_ours_is_told_without_a_guess() {
    for name in ["CACHEKIT_FROBNICATE", "CACHEKIT_", "CACHEKIT_URL"] {
        let warnings = environment(&[(name, "1")]).warnings;
        assert_eq!(warnings, [format!("{name} is ignored: cachekit has no such variable; unset it")]);
    }
}

#[test]
fn names_of_others_are_left_alone() {
    let others = [
        "CACHE_DIR",
        "CACHE_TTL",
        "CACHE_TYPE",
        "CACHE_",
        "CACHEKIT",
        "XCACHEKIT_TTL",
        "REDIS_HOST",
        "PATH",
        "LOG_LEVELS",
        "",
    ];
    let vars: Vec<(&str, &str)> = others.iter().map(|name| (*name, "1")).collect();
    assert_eq!(environment(&vars).warnings, Vec::<String>::new());
}

#[test]
fn warnings_are_bounded_and_escaped() {
    let names: Vec<String> = (0..1_000).map(|number| format!("CACHEKIT_NO_{number:04}")).collect();
    let vars: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    let warnings = environment(&vars).warnings;
    assert_eq!(warnings.len(), 17);
    assert!(warnings[0].starts_with("CACHEKIT_NO_0000 "));
    assert!(warnings[16].starts_with("984 more variables"));

    let long = environment(&[(&format!("CACHEKIT_{}\n", "é".repeat(100_000)), "1")]).warnings;
    assert!(long[0].len() < 300);
    let odd = environment(&[("CACHEKIT_\nX", "1")]).warnings;
    assert!(odd[0].contains("CACHEKIT_\\nX") && !odd[0].contains('\n'));
}
