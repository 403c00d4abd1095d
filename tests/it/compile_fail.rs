//! What the types refuse, in which words, and what they allow.

use cachekit::backends::{AnyBackend, Memory, NoBackend};
use cachekit::codec::{Checked, Compressed, Confidential, Encrypted, Json, Keyring, Postcard, Standard};
use cachekit::{Backend, Cache, CacheBuilder, Codec, Error, Intent};

/// Each file breaks one rule; the messages are part of what users see. `TRYBUILD=overwrite` writes them anew.
#[test]
fn misuse_does_not_compile_and_says_why() {
    trybuild::TestCases::new().compile_fail("ui/*.rs");
}

/// A function that asks for encryption by type.
fn charge<B: Backend, C: Codec>(_cards: &Cache<B, Encrypted<C>>) -> &'static str {
    std::any::type_name::<C>()
}

#[test]
fn an_encrypting_cache_is_accepted_where_one_is_asked_for() {
    let keyring = Keyring::from_bytes(&[7; 32]).unwrap();
    let cards: Cache<NoBackend, Encrypted<Postcard>> =
        CacheBuilder::new().intent(Intent::Secure).keyring(keyring.clone()).build().unwrap();
    assert!(charge(&cards).ends_with("Postcard"));
    assert!(charge(&cards.tenant("acme").unwrap()).ends_with("Postcard"));
    let direct = CacheBuilder::new().intent(Intent::Test).codec(Encrypted::new(Json, keyring)).build().unwrap();
    assert!(charge(&direct).ends_with("Json"));
}

#[test]
fn a_codec_named_later_is_wrapped_all_the_same() {
    let _secure: Result<Cache<NoBackend, Encrypted<Json>>, Error> =
        CacheBuilder::new().intent(Intent::Secure).codec(Json).build();
    let _twice: Result<Cache<NoBackend, Encrypted<Json>>, Error> =
        CacheBuilder::new().intent(Intent::Secure).codec(Postcard).codec(Json).build();
    let _checked: Cache<NoBackend, Checked<Json>> =
        CacheBuilder::new().intent(Intent::Production).codec(Json).build().unwrap();
}

/// The three choices of type in every order, and the type they give.
#[test]
fn the_order_of_calls_does_not_decide_the_type() {
    type Users = Result<Cache<Memory, Checked<Json>>, Error>;
    let new = CacheBuilder::new;
    let memory = || Memory::new(1 << 20);
    let orders: [Users; 6] = [
        new().intent(Intent::Dev).codec(Json).backend(memory()).build(),
        new().intent(Intent::Dev).backend(memory()).codec(Json).build(),
        new().codec(Json).intent(Intent::Dev).backend(memory()).build(),
        new().codec(Json).backend(memory()).intent(Intent::Dev).build(),
        new().backend(memory()).intent(Intent::Dev).codec(Json).build(),
        new().backend(memory()).codec(Json).intent(Intent::Dev).build(),
    ];
    let usual = new().intent(Intent::Dev).backend(memory()).build().unwrap();
    for users in orders {
        assert_eq!(users.unwrap().policy(), usual.policy());
    }
}

#[test]
fn the_last_of_each_choice_counts() {
    let _alone: Cache<NoBackend, Postcard> = CacheBuilder::new()
        .intent(Intent::Production)
        .backend(Memory::new(1 << 20))
        .codec(Json)
        .l1_only()
        .codec(Postcard)
        .intent(Intent::Minimal)
        .build()
        .unwrap();
}

/// The types users write into the fields of their structs.
#[test]
fn a_cache_from_the_environment_has_a_name() {
    let directory = tempfile::tempdir().unwrap();
    let vars = [("CACHEKIT_FILE_CACHE_DIR", directory.path())];
    let _standard: Cache<AnyBackend, Standard> = CacheBuilder::from_vars(vars).build().unwrap();
    let _small: Cache<AnyBackend, Compressed<Postcard>> =
        CacheBuilder::from_vars(vars).intent(Intent::Minimal).build().unwrap();
    let _confidential: Result<Cache<AnyBackend, Confidential>, Error> =
        CacheBuilder::from_vars(vars).intent(Intent::Secure).build();
    let _io: Result<Cache<cachekit::backends::CachekitIo, Standard>, Error> =
        CacheBuilder::from_vars(vars).intent(Intent::Io).build();
}

/// What is shared between threads can be, and says so to the compiler.
#[test]
fn caches_builders_and_their_futures_move_between_threads() {
    fn shared<T: Send + Sync + Clone + 'static>(_: &T) {}
    fn sent<T: Send>(_: T) {}
    sent(CacheBuilder::from_vars([("CACHEKIT_DEFAULT_TTL", "1")]));
    let cache = CacheBuilder::new().backend(Memory::new(1 << 20)).build().unwrap();
    shared(&cache);
    sent(cache.get_or_compute("key", || async { Ok::<u8, Error>(1) }));
    sent(cache.entry(("eu", 42)).get::<u8>());
    sent(cache.set(String::from("key"), 1u8));
    sent(cache.invalidate(&42u64));
}
