//! Keys, and that no output shows a secret.

use super::super::problem::error;
use super::super::secret::{MasterKey, Secrets};
use super::{environment, faulty};

const MASTER: &str = "CACHEKIT_MASTER_KEY";
const PREVIOUS: &str = "CACHEKIT_PREVIOUS_MASTER_KEYS";

fn key(byte: u8) -> String {
    format!("{byte:02x}").repeat(32)
}

fn rule(name: &str, text: &str) -> String {
    let env = environment(&[(name, text)]);
    assert_eq!(faulty(&env), [name], "{text}");
    env.problems[0].to_string()
}

#[test]
fn a_master_key_is_its_decoded_bytes() {
    let env = environment(&[(MASTER, &format!(" {} ", "aB0f".repeat(17)))]);
    let master = env.secrets.master.expect("the key is valid");
    assert_eq!(master.expose(), [0xab, 0x0f].repeat(17));
    assert!(env.problems.is_empty());
    assert!(env.secrets.previous.is_empty());
}

#[test]
fn short_master_key_error_tells_its_length_not_its_digits() {
    let told = rule(MASTER, &"7c".repeat(31));
    assert!(told.contains("has 62 (31 bytes)") && told.contains("at least 64"), "{told}");
    assert!(!told.contains("7c7c"), "{told}");
    assert!(told.contains("openssl rand -hex 32"), "{told}");
}

#[test]
fn odd_and_foreign_digits_are_refused() {
    assert!(rule(MASTER, &"a".repeat(65)).contains("even number of hex digits and has 65"));
    assert!(rule(MASTER, &"g".repeat(64)).contains("hex digits"));
    assert!(rule(MASTER, &format!("0x{}", key(1))).contains("hex digits"));
    assert!(rule(MASTER, &"é".repeat(32)).contains("hex digits"));
    assert!(rule(MASTER, &format!("{} {}", "ab".repeat(16), "ab".repeat(16))).contains("hex digits"));
}

#[test]
fn previous_keys_are_few_and_all_different() {
    let good = environment(&[(MASTER, &key(1)), (PREVIOUS, &format!("{} , {},{}", key(2), key(3), key(4)))]);
    assert!(good.problems.is_empty());
    let first: Vec<u8> = good.secrets.previous.iter().map(|key| key.expose()[0]).collect();
    assert_eq!(first, [2, 3, 4]);

    let too_many = [key(2), key(3), key(4), key(5)].join(",");
    assert!(rule(PREVIOUS, &too_many).contains("at most 3 keys and holds 4"));
    assert!(rule(PREVIOUS, &format!("{},{}", key(2), key(2).to_uppercase())).contains("key 2 must not repeat"));
    assert!(rule(PREVIOUS, &format!("{},{}", key(2), "ab".repeat(31))).contains("key 2 must have at least 64"));
    let current = environment(&[(MASTER, &key(0xab)), (PREVIOUS, &format!("{},{}", key(2), key(0xab).to_uppercase()))]);
    assert_eq!(faulty(&current), [PREVIOUS]);
    assert!(current.problems[0].rule.contains("key 2 must differ from the current"));
}

#[test]
fn keys_from_elsewhere_obey_the_same_rules() {
    let secret = |byte| MasterKey::from_hex(&key(byte)).expect("the key is valid");
    let mut problems = Vec::new();
    Secrets { master: Some(secret(1)), previous: vec![secret(2)] }.check("previous_master_keys", &mut problems);
    assert_eq!(problems, []);
    Secrets { master: Some(secret(1)), previous: vec![secret(1)] }.check("previous_master_keys", &mut problems);
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].name, "previous_master_keys");
}

#[test]
fn no_secret_is_shown_by_anything() {
    let good = [
        ("CACHEKIT_API_KEY", "ck_live_HUNTER2".to_owned()),
        (MASTER, key(0xde)),
        (PREVIOUS, key(0xfa)),
        ("REDIS_URL", "redis://me:HUNTER2@host/0".to_owned()),
    ];
    let url = [("CACHEKIT_REDIS_URL", "rediss://me:HUNTER2@host/0".to_owned())];
    for vars in [&good[..], &url[..]] {
        let vars: Vec<(&str, &str)> = vars.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let env = environment(&vars);
        assert!(env.problems.is_empty());
        let shown = format!("{env:?} {env:#?} {:?} {:?} {:?}", env.settings, env.secrets, env.clone());
        assert!(shown.contains("[secret]"));
        assert!(!shown.contains("HUNTER2") && !shown.contains("dede") && !shown.contains("fafa"), "{shown}");
        assert!(!shown.contains("222, 222") && !shown.contains("250, 250"), "{shown}");
    }
}

#[test]
fn no_value_is_shown_by_a_problem() {
    // A secret may also sit in the wrong variable, so that no variable is safe to repeat.
    let secret = "HUNTER2 \u{1}";
    for name in super::super::variables::NAMES {
        for text in [secret, "http://HUNTER2@h", "redis://HUNTER2:HUNTER2@:x/HUNTER2", r#"["HUNTER2"]"#] {
            let env = environment(&[(name, text)]);
            let problems: Vec<_> = env.problems.iter().cloned().chain(env.selected.clone().err()).collect();
            let shown = format!("{problems:?} {:?} {:?}", env.warnings, error(problems.clone()));
            assert!(!shown.contains("HUNTER2"), "{name}: {shown}");
            assert!(!error(problems).to_string().contains("HUNTER2"), "{name}");
        }
    }
}
