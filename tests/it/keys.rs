//! Keys: injective, acceptable to every backend, silent about themselves.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::{NonZeroI8, NonZeroU64, NonZeroU128};
use std::sync::Arc;

use cachekit::{ErrorKind, IntoKey, Key, KeyPart, KeyWriter, PartWriter};
use proptest::prelude::*;

fn text(namespace: &str, key: impl IntoKey) -> String {
    Key::new(namespace, key).unwrap().as_str().to_owned()
}

/// A key of one to six parts, as its parts.
#[derive(Debug, Clone, PartialEq)]
struct Parts(Vec<String>);

impl IntoKey for Parts {
    fn write_key(&self, key: &mut KeyWriter<'_>) {
        self.0.iter().for_each(|part| key.part(part));
    }
}

/// Strings rich in what separates, escapes and shortens, among any others.
fn tricky() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-c:/%~. _\\-]{0,4}",
        "\\PC{0,8}",
        any::<String>(),
        "(%2[fF]|%3A|:|/|~|a){0,4}",
        "[ab]{50,70}",
        "[:a]{150,200}",
    ]
}

fn parts() -> impl Strategy<Value = Parts> {
    let key = prop::collection::vec(tricky(), 1..=6).prop_map(Parts);
    key.prop_filter("a key of one empty part is refused", |parts| parts.0 != [""])
}

fn namespace() -> impl Strategy<Value = String> {
    tricky().prop_filter("an empty namespace is refused", |namespace| !namespace.is_empty())
}

/// Names as the cache gives them to what it keeps beside an entry.
fn reserved() -> impl Strategy<Value = String> {
    prop_oneof!["lock", "chunk:[0-9]{1,9}", "[a-z:]{1,12}", "version"]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn different_keys_have_different_texts(a in (namespace(), parts()), b in (namespace(), parts())) {
        prop_assert_eq!(a == b, text(&a.0, a.1.clone()) == text(&b.0, b.1.clone()));
    }

    #[test]
    fn merging_two_parts_gives_another_key(
        parts in prop::collection::vec(tricky(), 2..=6),
        at in 0..5_usize,
        separator in prop::sample::select(vec!["", "/", ":", "%2F", "%", "~"]),
    ) {
        let at = at % (parts.len() - 1);
        let mut merged = parts.clone();
        let second = merged.remove(at + 1);
        merged[at].extend([separator, &second]);
        prop_assume!(merged != [""]);
        prop_assert_ne!(text("n", Parts(parts)), text("n", Parts(merged)));
    }

    #[test]
    fn long_keys_that_differ_at_their_end_differ(head in "[a-z ]{180,300}", ends in ("[a-c]{1,2}", "[a-c]{1,2}")) {
        let (a, b) = (head.clone() + &ends.0, head + &ends.1);
        prop_assert_eq!(a == b, text("n", a.as_str()) == text("n", b.as_str()));
    }

    #[test]
    fn the_same_key_has_the_same_text(namespace in namespace(), parts in parts()) {
        let (one, two) = (Key::new(&namespace, parts.clone()).unwrap(), Key::new(&namespace, parts).unwrap());
        prop_assert_eq!(one.as_str(), two.as_str());
        prop_assert_eq!(one.id(), two.id());
        prop_assert_eq!(HashSet::from([one]).insert(two), false);
    }

    #[test]
    fn cutting_a_string_elsewhere_gives_another_key(string in "[a:/%]{2,8}", cuts in prop::collection::vec(0..8_usize, 2)) {
        let cut = |at: usize| string.split_at(at.min(string.len()));
        let (a, b) = (cut(cuts[0]), cut(cuts[1]));
        prop_assert_eq!(a == b, text("n", a) == text("n", b));
        prop_assert_ne!(text("n", a), text("n", string.as_str()));
    }

    #[test]
    fn texts_suit_every_backend(namespace in namespace(), parts in parts()) {
        let text = text(&namespace, parts);
        prop_assert!(text.len() <= Key::MAX_LEN, "{}", text.len());
        prop_assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{}", text);
        prop_assert!(text.bytes().filter(|byte| *byte == b':').count() <= 1, "{}", text);
        prop_assert!(!text.contains('~') || text.len() == Key::MAX_LEN, "{}", text);
    }

    #[test]
    fn reserved_names_are_no_user_keys(
        owner in (namespace(), parts()),
        name in reserved(),
        user in (namespace(), parts()),
    ) {
        let reserved = Key::new(&owner.0, owner.1.clone()).unwrap().reserved(&name);
        prop_assert!(reserved.as_str() != text(&user.0, user.1));
        let one_more = Parts([owner.1.0.as_slice(), std::slice::from_ref(&name)].concat());
        prop_assert!(reserved.as_str() != text(&owner.0, one_more));
        // The likeliest collision: a user key that spells the reserved name out.
        let spelled_out = [&owner.1.0.concat(), ":", &name].concat();
        prop_assert!(reserved.as_str() != text(&owner.0, spelled_out));
        prop_assert!(reserved.as_str() != text(reserved.as_str(), name.as_str()));
        prop_assert!(reserved.as_str().bytes().all(|byte| byte.is_ascii_graphic()));
    }

    #[test]
    fn debug_and_display_show_the_hash_only(name in "[a-z]{17,40}") {
        let key = Key::new(&name, name.as_str()).unwrap();
        prop_assert_eq!(format!("{key}"), key.id());
        prop_assert_eq!(format!("{key:?}"), format!("Key({})", key.id()));
        prop_assert!(key.id().len() == 16 && key.id().bytes().all(|byte| byte.is_ascii_hexdigit()));
        let shown = format!("{key:?} {key} {key:#?}");
        prop_assert!(!shown.contains(&name));
    }

    #[test]
    fn integers_are_their_decimal_text(a: i128, b: u128, c: i64, d: u8) {
        prop_assert_eq!(text("n", a), text("n", a.to_string()));
        prop_assert_eq!(text("n", b), text("n", b.to_string()));
        prop_assert_eq!(text("n", c), format!("n:{c}"));
        prop_assert_eq!(text("n", (c, d)), format!("n:{c}/{d}"));
    }
}

#[test]
fn reserved_names_stand_behind_the_key() {
    let key = Key::new("users", "a:b").unwrap();
    assert_eq!(key.reserved("lock").as_str(), "users:a%3Ab:lock");
    assert_eq!(key.reserved("chunk:0").as_str(), "users:a%3Ab:chunk:0");
    assert_ne!(key.reserved("lock"), key);
    let long = Key::new("users", "k".repeat(999)).unwrap();
    assert_eq!(long.reserved("lock").as_str(), format!("{}:lock", long.as_str()));
}

#[test]
fn empty_names_are_refused() {
    for (namespace, key) in [("", "k"), ("n", "")] {
        let error = Key::new(namespace, key).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Key);
        assert!(error.to_string().contains("empty"), "{error}");
    }
    assert_eq!(Key::new("n", Parts(vec![])).unwrap_err().kind(), ErrorKind::Key);
    assert_eq!(Key::new("n", String::new()).unwrap_err().kind(), ErrorKind::Key);
}

#[test]
fn the_longest_input_is_64_kib_of_all_parts_together() {
    let full = "k".repeat(64 * 1024);
    assert_eq!(text("n", full.as_str()).len(), Key::MAX_LEN);
    let (a, b) = full.split_at(1_000);
    assert_ne!(text("n", (a, b)), text("n", full.as_str()));
    for refused in [Key::new("n", full.clone() + "k"), Key::new("n", (a, b, "k")), Key::new(&(full + "k"), 1)] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Key);
    }
}

#[test]
fn a_key_of_10_mb_is_refused_without_being_shown() {
    let error = Key::new("n", "secret ".repeat(1_500_000)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Key);
    let told = format!("{error} {error:?}");
    assert!(told.contains("10500000") && told.contains("65536"), "{told}");
    assert!(!told.contains("secret"), "{told}");
    let halves = "secret ".repeat(750_000);
    let told = Key::new("n", (halves.as_str(), halves.as_str())).unwrap_err().to_string();
    assert!(told.contains("10500000"), "the sizes of all parts together: {told}");
    assert_eq!(text("n", "small"), "n:small", "the next key on this thread is none the worse");
}

#[test]
fn every_kind_of_string_is_the_same_part() {
    let owned = String::from("a b");
    for other in
        [text("n", owned.clone()), text("n", &owned), text("n", owned.as_str()), text("n", Cow::Borrowed("a b"))]
    {
        assert_eq!(other, text("n", "a b"));
    }
    assert_eq!(text("n", (7_u8, -7_i64, 7_usize, "7")), "n:7/-7/7/7");
}

#[test]
fn natural_names_are_parts_as_they_are_written() {
    assert_eq!((text("n", true), text("n", (false, 'x'))), ("n:true".to_owned(), "n:false/x".to_owned()));
    assert_eq!((text("n", 'ß'), text("n", ':')), (text("n", "ß"), "n:%3A".to_owned()));
    assert_eq!(text("n", NonZeroU64::new(7).unwrap()), "n:7");
    assert_eq!(text("n", (NonZeroI8::MIN, NonZeroU128::MAX)), text("n", (-128, u128::MAX)));
    assert_eq!(text("n", Ipv4Addr::LOCALHOST), "n:127.0.0.1");
    let mapped: IpAddr = "::ffff:127.0.0.1".parse().unwrap();
    assert_eq!((text("n", mapped), text("n", Ipv6Addr::LOCALHOST)), (text("n", "::ffff:127.0.0.1"), text("n", "::1")));
    let shared: Arc<str> = "a b".into();
    assert_eq!(text("n", (&&shared, Box::<str>::from("c"))), "n:a%20b/c");
}

struct Uuid(u128);

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl KeyPart for Uuid {
    fn write_part(&self, part: &mut PartWriter<'_>) {
        let _ = write!(part, "{self}:é");
    }
}

#[test]
fn what_a_type_displays_can_be_its_part() {
    assert_eq!(text("n", Uuid(255)), format!("n:{:032x}%3A%C3%A9", 255));
}

struct Point {
    x: i32,
    y: i32,
}

impl KeyPart for Point {
    fn write_part(&self, part: &mut PartWriter<'_>) {
        KeyPart::write_part(&self.x, part);
        part.text(" x ");
        KeyPart::write_part(&self.y, part);
    }
}

#[test]
fn a_type_of_the_users_own_is_one_part() {
    assert_eq!(text("n", Point { x: 1, y: -2 }), "n:1%20x%20-2");
    assert_eq!(text("n", ("p", &Point { x: 1, y: 2 })), "n:p/1%20x%202");
}

/// Makes another key while it writes itself.
struct Nested(u32);

impl KeyPart for Nested {
    fn write_part(&self, part: &mut PartWriter<'_>) {
        part.text("before-");
        if let Some(depth) = self.0.checked_sub(1) {
            let inner = Key::new("inner", (Nested(depth), "x")).unwrap();
            part.text(inner.as_str());
        }
        part.text("-after");
    }
}

#[test]
fn making_a_key_while_making_a_key_disturbs_neither() {
    assert_eq!(text("n", Nested(0)), "n:before--after");
    let inner = text("inner", (Nested(0), "x"));
    assert_eq!(text("n", Nested(1)), text("n", format!("before-{inner}-after")));
    assert_eq!(text("n", Nested(1)), "n:before-inner%3Abefore--after%2Fx-after");
    let inner = text("inner", (Nested(1), "x"));
    assert_eq!(text("n", (Nested(2), 1)), text("n", (format!("before-{inner}-after"), 1)));
}

#[test]
fn writers_show_no_key_either() {
    struct Spy;
    impl KeyPart for Spy {
        fn write_part(&self, part: &mut PartWriter<'_>) {
            part.text("secret");
            assert_eq!(format!("{part:?}"), "PartWriter { .. }");
        }
    }
    struct Watched;
    impl IntoKey for Watched {
        fn write_key(&self, key: &mut KeyWriter<'_>) {
            key.part(&Spy);
            assert_eq!(format!("{key:?}"), "KeyWriter { parts: 1, .. }");
        }
    }
    assert_eq!(text("n", Watched), "n:secret");
}
