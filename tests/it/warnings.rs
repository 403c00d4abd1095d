//! Warnings: heard by whoever listens, listed for whoever does not, told once.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cachekit::backends::{AnyBackend, File, Memory};
use cachekit::codec::{Checked, Compressed, Json, Postcard, Standard};
use cachekit::{Backend, Cache, CacheBuilder, Codec, Environment, ErrorKind, FileLimits, Intent, Key, Unreadable};

use harness::support::{Broken, Journal, Note};

const LOOK_ALIKES: [(&str, &str); 2] =
    [("CACHE_REDIS_URL", "redis://elsewhere"), ("CACHEKIT_REDISURL", "redis://prod")];

fn told(journal: &Journal) -> Vec<String> {
    let notes = journal.notes().into_iter();
    notes.filter_map(|note| if let Note::Warning(text) = note { Some(text) } else { None }).collect()
}

#[test]
fn caches_of_one_environment_warn_once_and_all_list_warnings() {
    let journal = Arc::new(Journal::default());
    let environment =
        Environment::from_vars(LOOK_ALIKES.into_iter().chain([("CACHEKIT_MASTER_KEY", &*"ab".repeat(32))]));
    let build = |namespace: &str| {
        let builder = CacheBuilder::from_environment(environment.clone()).l1_only().namespace(namespace);
        builder.observer(Arc::clone(&journal) as _).build().unwrap()
    };
    let (users, pages) = (build("users"), build("pages"));
    let heard = told(&journal);
    assert_eq!(environment.warnings(), &heard[..2]);
    assert!(heard.len() == 3 && heard[2].contains("CACHEKIT_MASTER_KEY"), "{heard:?}");
    assert_eq!((users.warnings(), pages.warnings(), users.clone().warnings()), (heard.clone(), heard.clone(), heard));
    assert_eq!((users.stats().warnings, pages.stats().warnings), (3, 3));

    // Read once more, it is another environment.
    CacheBuilder::from_vars(LOOK_ALIKES).l1_only().observer(Arc::clone(&journal) as _).build().unwrap();
    assert_eq!(told(&journal).len(), 5);
}

/// What a subscriber of a program writes, in place of a terminal.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn tracing_gets_each_warning_once_at_level_warn() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, || {
        for intent in 0..2 {
            let environment = Environment::from_vars(LOOK_ALIKES);
            for _ in 0..3 {
                let builder = CacheBuilder::from_environment(environment.clone()).l1_only();
                let warnings = match intent {
                    0 => builder.build().unwrap().warnings(),
                    _ => builder.intent(Intent::Dev).build().unwrap().warnings(),
                };
                assert_eq!(warnings.len(), 2);
            }
        }
    });
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(text.lines().all(|line| line.contains(" WARN cachekit: CACHE")), "{text}");
}

#[tokio::test]
async fn a_default_redis_that_does_not_answer_is_told_once_and_listed() {
    // In place of the default URL, where this machine may have a server, one where nothing listens.
    let journal = Arc::new(Journal::default());
    let mut environment = Environment::from_vars([("CACHEKIT_SOCKET_CONNECT_TIMEOUT", "0.2")]);
    environment.redis.url = Environment::from_vars([("REDIS_URL", "redis://127.0.0.1:1")]).redis.url;
    let cache = CacheBuilder::from_environment(environment).observer(Arc::clone(&journal) as _).build().unwrap();
    assert_eq!(cache.warnings(), Vec::<String>::new(), "it is reached lazily");
    for key in 0..3 {
        assert_eq!(cache.get_or_compute(key, move || async move { Ok::<_, Broken>(key) }).await.unwrap(), key);
    }
    let warnings = cache.warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("set CACHEKIT_REDIS_URL, or call .l1_only()"), "{warnings:?}");
    assert_eq!(told(&journal), warnings);
    cache.close(Duration::from_secs(5)).await.unwrap_or_default();
}

#[test]
fn feature_the_backend_lacks_is_a_warning_with_ways_out() {
    let directory = tempfile::tempdir().unwrap();
    let files = || CacheBuilder::new().backend(File::open(directory.path(), FileLimits::default()).unwrap());
    let warnings = files().namespace("a").build().unwrap().warnings();
    let [missing] = &warnings[..] else { panic!("{warnings:?}") };
    assert!(missing.starts_with("the file backend has no bus, so other processes"), "{missing}");
    let none = Vec::<String>::new();
    assert_eq!(files().namespace("b").invalidation_enabled(false).build().unwrap().warnings(), none);
    assert_eq!(files().namespace("c").bus_from(Memory::new(1 << 20)).build().unwrap().warnings(), none);
    assert_eq!(files().namespace("d").max_staleness(Duration::from_secs(1)).build().unwrap().warnings(), none);
    assert_eq!(files().namespace("e").l1_enabled(false).build().unwrap().warnings(), none);
    assert_eq!(files().namespace("f").intent(Intent::Dev).build().unwrap().warnings(), none, "it turns none of it on");
    assert_eq!(CacheBuilder::new().build().unwrap().warnings(), none, "L1 alone shares nothing");
    assert_eq!(CacheBuilder::new().backend(Memory::new(1 << 20)).build().unwrap().warnings(), none);
}

#[test]
fn an_api_without_bus_and_leases_is_one_warning() {
    let io = CacheBuilder::from_vars([("CACHEKIT_API_KEY", "ck_live_42")]).intent(Intent::Io).build().unwrap();
    let warnings = io.warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("has no bus and no leases"), "{warnings:?}");
}

#[test]
fn caches_built_any_way_from_the_environment_share_one_type() {
    struct App {
        users: Cache<AnyBackend, Standard>,
    }
    let directory = tempfile::tempdir().unwrap();
    let vars = [("CACHEKIT_FILE_CACHE_DIR", directory.path())];
    let environment = Environment::from_vars(vars);
    let chosen = AnyBackend::from_environment(&environment).unwrap();
    let builder = || CacheBuilder::from_environment(environment.clone());
    let apps = [
        (CacheBuilder::from_vars(vars).build(), "file"),
        (builder().build(), "file"),
        (builder().backend(chosen).build(), "file"),
        (builder().backend(AnyBackend::memory()).build(), "memory"),
        (builder().backend(AnyBackend::none()).build(), "none"),
        (builder().backend(AnyBackend::none()).intent(Intent::Deterministic(Intent::Production)).build(), "none"),
    ];
    for (users, backend) in apps {
        let app = App { users: users.unwrap() };
        assert_eq!(app.users.report().backend, backend);
    }
}

#[tokio::test]
async fn no_backend_of_any_type_is_l1_alone() {
    let cache = CacheBuilder::new().backend(AnyBackend::none()).build().unwrap();
    cache.set("key", 1u32).await.unwrap();
    assert_eq!((cache.get::<u32>("key").await.unwrap(), cache.l1_len()), (Some(1), 1));
    cache.ping().await.unwrap();
    assert_eq!(cache.warnings(), Vec::<String>::new());
    let none = AnyBackend::none();
    let key = Key::new("n", 1).unwrap();
    assert_eq!(none.get(&key).await.unwrap_err().kind(), ErrorKind::Unsupported);
    assert!(none.bus(&key).is_none() && none.capabilities().absent && format!("{none:?}") == "none");
}

#[test]
fn a_backend_is_not_chosen_from_an_environment_that_is_wrong() {
    let vars = [("CACHEKIT_REDIS_URL", "redis:prod"), ("CACHEKIT_FILE_CACHE_DIR", "x"), ("CACHEKIT_DEFAULT_TTL", "0")];
    let error = AnyBackend::from_environment(&Environment::from_vars(vars)).unwrap_err();
    assert_eq!((error.kind(), error.to_string().lines().count()), (ErrorKind::Config, 3), "{error}");
}

#[tokio::test]
async fn deterministic_intent_has_inner_types_and_the_test_policy() {
    let test = || CacheBuilder::new().codec(Compressed::new(Postcard)).backend(AnyBackend::memory());
    let cache: Cache<AnyBackend, Checked<Compressed<Postcard>>> =
        test().intent(Intent::Deterministic(Intent::Production)).build().unwrap();
    assert_eq!(cache.policy(), test().intent(Intent::Test).build().unwrap().policy());
    cache.get_or_compute("key", || async { Ok::<_, Broken>(1u32) }).await.unwrap();
    assert_eq!(cache.pending(), 0, "the write was awaited");
    assert_eq!(cache.entry("key").skip_l1_read().get::<u32>().await.unwrap(), Some(1));
    let refused = test().intent(Intent::Deterministic(Intent::Secure)).build().unwrap_err();
    assert!(refused.to_string().contains("CACHEKIT_MASTER_KEY"), "{refused}");
}

/// The warnings of two caches, one built after the other.
fn beside<B1: Backend, C1: Codec, B2: Backend, C2: Codec>(one: &Cache<B1, C1>, other: &Cache<B2, C2>) -> Vec<String> {
    assert_eq!(one.warnings(), Vec::<String>::new(), "the first knows of no other");
    other.warnings()
}

#[test]
fn caches_over_one_backend_without_a_namespace_warn_once() {
    let memory = Memory::new(1 << 20);
    let build = || CacheBuilder::new().backend(memory.clone());
    let (users, pages) = (build().build().unwrap(), build().build().unwrap());
    let warnings = beside(&users, &pages);
    assert!(warnings.len() == 1 && warnings[0].contains("one of them names no namespace"), "{warnings:?}");
    assert_eq!(build().build().unwrap().warnings().len(), 0, "said once of these entries");
    assert_eq!(build().namespace("a").build().unwrap().warnings().len(), 0);

    let (a, b) = (Memory::new(1 << 20), Memory::new(1 << 20));
    let (a, b) = (CacheBuilder::new().backend(a).build().unwrap(), CacheBuilder::new().backend(b).build().unwrap());
    assert_eq!(beside(&a, &b).len(), 0, "two backends share nothing");
    drop(a);
    let alone = [CacheBuilder::new().build().unwrap(), CacheBuilder::new().build().unwrap()];
    assert_eq!(beside(&alone[0], &alone[1]).len(), 0, "nor does L1 alone");
}

#[test]
fn caches_of_one_namespace_with_different_bytes_warn_once() {
    let memory = Memory::new(1 << 20);
    let build = |namespace: &str| CacheBuilder::new().backend(AnyBackend::new(memory.clone())).namespace(namespace);
    let like = (build("same").build().unwrap(), build("same").build().unwrap());
    assert_eq!(beside(&like.0, &like.1).len(), 0, "two alike may be meant");
    let (plain, json) = (build("users").build().unwrap(), build("users").codec(Json).build().unwrap());
    let warnings = beside(&plain, &json);
    let [mixed] = &warnings[..] else { panic!("{warnings:?}") };
    for said in ["`users`", "one memory backend", "`checked(postcard)`", "`checked(json)`"] {
        assert!(mixed.contains(said), "{said}: {mixed}");
    }
    let (old, new) = (build("v").build().unwrap(), build("v").schema_version(1).build().unwrap());
    assert!(beside(&old, &new)[0].contains("`checked(postcard), schema version 1`"));
    drop((plain, json));
    assert_eq!(build("users").codec(Json).build().unwrap().warnings().len(), 0, "the others are gone");
}

#[test]
fn every_backend_knows_its_own_entries() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let store = |vars: &[(&str, &str)]| {
        let backend = AnyBackend::from_environment(&Environment::from_vars(vars.iter().copied())).unwrap();
        backend.capabilities().store.unwrap()
    };
    let all: [&[(&str, &str)]; 9] = [
        &[("CACHEKIT_REDIS_URL", "redis://h:1/0")],
        &[("CACHEKIT_REDIS_URL", "redis://h:1/1")],
        &[("CACHEKIT_REDIS_URL", "redis://h:2/0")],
        &[("CACHEKIT_MEMCACHED_SERVERS", r#"["h:1"]"#)],
        &[("CACHEKIT_MEMCACHED_SERVERS", r#"["h:1"]"#), ("CACHEKIT_MEMCACHED_KEY_PREFIX", "p:")],
        &[("CACHEKIT_FILE_CACHE_DIR", path)],
        &[("CACHEKIT_API_KEY", "ck_live_1")],
        &[("CACHEKIT_API_KEY", "ck_live_2")],
        &[("CACHEKIT_API_KEY", "ck_live_1"), ("CACHEKIT_API_URL", "https://api.staging.cachekit.io")],
    ];
    for (i, one) in all.iter().enumerate() {
        for (j, other) in all.iter().enumerate() {
            assert_eq!(store(one) == store(other), i == j, "{one:?} {other:?}");
        }
    }
    assert_eq!(store(&[("CACHEKIT_REDIS_URL", "redis://u:p@h:1")]), store(all[0]), "whoever asks");
}

#[tokio::test]
async fn a_key_of_two_value_types_in_turns_is_one_warning() {
    for (l1, backend) in [(true, false), (false, true), (true, true)] {
        let backend = if backend { AnyBackend::memory() } else { AnyBackend::none() };
        let cache = CacheBuilder::new().backend(backend).namespace("turns").l1_enabled(l1).build().unwrap();
        for round in 0..3u32 {
            cache.get_or_compute("key", move || async move { Ok::<_, Broken>(round) }).await.unwrap();
            assert_eq!(cache.warnings().len(), usize::from(round > 0));
            cache.set("key", format!("{round}")).await.unwrap();
            cache.get::<String>("key").await.unwrap();
        }
        assert!(cache.warnings()[0].contains("two types in turns"), "{:?}", cache.warnings());
    }
}

#[tokio::test]
async fn type_changed_since_its_entry_was_stored_causes_no_warning() {
    // What another version of the program stored: the schema number stands in for a type that this one has not.
    let (elsewhere, here) = (Memory::new(1 << 20), Memory::new(1 << 20));
    let build =
        |memory: &Memory| CacheBuilder::new().backend(memory.clone()).namespace_index(false).namespace("deploy");
    build(&elsewhere).schema_version(1).build().unwrap().set("key", 1u32).await.unwrap();
    let key = Key::new("deploy", "key").unwrap();
    here.set(&key, elsewhere.get(&key).await.unwrap().unwrap(), Duration::from_secs(60)).await.unwrap();
    let journal = Arc::new(Journal::default());
    let new = build(&here).observer(Arc::clone(&journal) as _).build().unwrap();
    assert_eq!(new.get::<u32>("key").await.unwrap(), None);
    assert!(journal.contains(&Note::Unreadable(Unreadable::Schema)));
    assert_eq!(new.warnings(), Vec::<String>::new());
}
