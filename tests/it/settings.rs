//! Every variable of the core and of the File backend, and what it visibly does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cachekit::backends::{AnyBackend, Memory};
use cachekit::codec::{Checked, Compressed, Postcard};
use cachekit::testing::ManualClock;
use cachekit::{Backend, Cache, CacheBuilder, ErrorKind, Intent, Key};

use harness::support::{Journal, Note, message};

type Standard<B> = Cache<B, Checked<Compressed<Postcard>>>;

fn over(memory: &Memory, vars: &[(&str, &str)]) -> Standard<Memory> {
    // Without versions, so that the backend holds entries only.
    CacheBuilder::from_vars(vars.iter().copied()).backend(memory.clone()).namespace_index(false).build().unwrap()
}

fn text(bytes: usize) -> String {
    "the quick brown fox jumps over the lazy dog and counts its steps: 0123456789 "
        .chars()
        .enumerate()
        .cycle()
        .map(|(index, letter)| if index % 7 == 0 { 'x' } else { letter })
        .take(bytes)
        .collect()
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..bytes).map(|_| next()).collect()
}

async fn stored(memory: &Memory) -> Bytes {
    memory.get(&Key::new("default", "key").unwrap()).await.unwrap().unwrap()
}

async fn stored_size(vars: &[(&str, &str)]) -> usize {
    let memory = Memory::new(16 << 20);
    over(&memory, vars).set("key", text(20_000)).await.unwrap();
    stored(&memory).await.len()
}

#[tokio::test]
async fn default_ttl_is_the_life_of_an_entry() {
    let clock = ManualClock::new();
    let cache = CacheBuilder::from_vars([("CACHEKIT_DEFAULT_TTL", "2.5")])
        .l1_only()
        .swr_enabled(false)
        .jitter(false)
        .clock(Arc::new(clock.clone()))
        .build()
        .unwrap();
    cache.set("key", 1u32).await.unwrap();
    clock.advance(Duration::from_millis(2_499));
    assert_eq!(cache.get::<u32>("key").await.unwrap(), Some(1));
    clock.advance(Duration::from_millis(1));
    assert_eq!(cache.get::<u32>("key").await.unwrap(), None);
}

#[tokio::test]
async fn enable_compression_and_its_level_change_what_is_stored() {
    let plain = stored_size(&[("CACHEKIT_ENABLE_COMPRESSION", "off")]).await;
    let usual = stored_size(&[]).await;
    let fast = stored_size(&[("CACHEKIT_COMPRESSION_LEVEL", "1")]).await;
    let best = stored_size(&[("CACHEKIT_COMPRESSION_LEVEL", "9")]).await;
    let six = stored_size(&[("CACHEKIT_COMPRESSION_LEVEL", "6")]).await;
    assert!(plain > 20_000 && usual < plain / 10, "{plain} and {usual}");
    assert!(best < fast, "level 9 gives {best}, level 1 {fast}");
    assert_eq!(usual, six);
}

#[tokio::test]
async fn max_chunk_size_splits_what_is_larger() {
    let memory = Memory::new(16 << 20);
    let cache = over(&memory, &[("CACHEKIT_MAX_CHUNK_SIZE_MB", "0.01")]);
    let value = noise(100_000);
    cache.set("key", value.clone()).await.unwrap();
    assert_eq!(memory.len(), 11, "a manifest and ten chunks of 10,485 bytes");
    assert_eq!(cache.entry("key").skip_l1_read().get::<Vec<u8>>().await.unwrap(), Some(value));
    assert!(cache.exists("key").await.unwrap());
    let whole = Memory::new(16 << 20);
    over(&whole, &[]).set("key", noise(100_000)).await.unwrap();
    assert_eq!(whole.len(), 1);
}

#[tokio::test]
async fn max_value_size_returns_larger_values_without_storing_them() {
    for backend in [true, false] {
        let (memory, journal) = (Memory::new(16 << 20), Arc::new(Journal::default()));
        let builder = CacheBuilder::from_vars([("CACHEKIT_MAX_VALUE_SIZE", "50000")]).namespace_index(false);
        let builder = builder.observer(Arc::clone(&journal) as _).invalidation_enabled(false);
        let ask = |size: usize| move || async move { Ok::<_, harness::support::Broken>(noise(size)) };
        if backend {
            let cache = builder.backend(memory.clone()).build().unwrap();
            assert_eq!(cache.get_or_compute("large", ask(60_000)).await.unwrap(), noise(60_000));
            cache.close(Duration::from_secs(5)).await.unwrap();
            assert_eq!((memory.len(), cache.l1_len()), (0, 0));
            assert_eq!(cache.set("large", noise(60_000)).await.unwrap_err().kind(), ErrorKind::TooLarge);
            cache.set("small", noise(40_000)).await.unwrap();
            assert_eq!((memory.len(), cache.l1_len()), (1, 1));
        } else {
            let cache = builder.l1_only().build().unwrap();
            assert_eq!(cache.get_or_compute("large", ask(60_000)).await.unwrap(), noise(60_000));
            assert_eq!(cache.l1_len(), 0);
            assert_eq!(cache.set("large", noise(60_000)).await.unwrap_err().kind(), ErrorKind::TooLarge);
        }
        let told = journal.count(|note| matches!(note, Note::NotStored(ErrorKind::TooLarge, _)));
        assert_eq!(told, 1, "{:?}", journal.notes());
    }
}

#[tokio::test]
async fn l1_can_be_off_and_has_a_size() {
    let memory = Memory::new(64 << 20);
    let off = over(&memory, &[("CACHEKIT_L1_ENABLED", "false")]);
    off.set("key", 1u32).await.unwrap();
    assert_eq!((off.l1_bytes(), off.l1_len()), (0, 0));
    assert_eq!(off.get::<u32>("key").await.unwrap(), Some(1));
    assert_eq!((off.stats().l1_hits, off.stats().l2_hits), (0, 1));
    let small = over(&memory, &[("CACHEKIT_L1_MAX_SIZE_MB", "2")]);
    for key in 0..100u32 {
        small.set(key, noise(50_000)).await.unwrap();
    }
    let (bytes, entries) = (small.l1_bytes(), small.l1_len());
    assert!(bytes <= 2 << 20 && entries >= 20, "{bytes} bytes, {entries} entries");
}

#[test]
fn a_master_key_alone_encrypts_nothing_and_a_plain_intent_warns() {
    let journal = Arc::new(Journal::default());
    let key = "ab".repeat(32);
    let vars = [("CACHEKIT_MASTER_KEY", key.as_str())];
    CacheBuilder::from_vars(vars).l1_only().observer(Arc::clone(&journal) as _).build().unwrap();
    let warned = journal.count(|note| matches!(note, Note::Warning(text) if text.contains("CACHEKIT_MASTER_KEY")));
    assert_eq!(warned, 1, "{:?}", journal.notes());
    assert!(!format!("{:?}", journal.notes()).contains(&key));
    let secure = message(CacheBuilder::from_vars([("X", "y")]).l1_only().intent(Intent::Secure).build());
    assert!(secure.contains("CACHEKIT_MASTER_KEY"), "{secure}");
}

#[test]
fn an_intent_whose_variable_is_wrong_is_told_once() {
    let told = |result: Result<(), cachekit::Error>| message(result).lines().map(str::to_owned).collect::<Vec<_>>();
    for key in ["my-secret-key", "abcd", "zz"] {
        let vars =
            || CacheBuilder::from_vars([("CACHEKIT_MASTER_KEY", key), ("CACHEKIT_API_KEY", "two words")]).l1_only();
        let lines = told(vars().intent(Intent::Secure).build().map(drop));
        assert_eq!(lines.len(), 2, "one for each variable: {lines:?}");
        assert!(lines[0].starts_with("CACHEKIT_MASTER_KEY: must "), "{lines:?}");
        let lines = told(vars().intent(Intent::Io).build().map(drop));
        assert_eq!(lines.iter().filter(|line| line.starts_with("CACHEKIT_API_KEY: must ")).count(), 1, "{lines:?}");
        assert_eq!(lines.len(), 2, "{lines:?}");
    }
    let alone = told(
        CacheBuilder::from_vars([("CACHEKIT_MASTER_KEY", "zz")]).l1_only().intent(Intent::Secure).build().map(drop),
    );
    assert_eq!(alone.len(), 1, "{alone:?}");
}

#[test]
fn an_api_key_beside_a_store_leaves_the_choice_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let vars = [("CACHEKIT_API_KEY", "ck_live_42"), ("CACHEKIT_FILE_CACHE_DIR", dir.path().to_str().unwrap())];
    let cache = CacheBuilder::from_vars(vars).build().unwrap();
    assert_eq!(cache.report().backend, "file");
    CacheBuilder::from_vars(vars).intent(Intent::Io).build().unwrap();
}

#[test]
fn look_alikes_warn_with_the_name_that_was_meant() {
    let journal = Arc::new(Journal::default());
    let vars = [("CACHE_REDIS_URL", "redis://elsewhere"), ("CACHEKIT_DEFAULT_TLL", "5")];
    CacheBuilder::from_vars(vars).l1_only().observer(Arc::clone(&journal) as _).build().unwrap();
    let notes = format!("{:?}", journal.notes());
    assert!(notes.contains("CACHEKIT_REDIS_URL") && notes.contains("CACHEKIT_DEFAULT_TTL"), "{notes}");
}

#[test]
fn all_that_is_wrong_is_said_at_once_and_no_secret_with_it() {
    let secret = "hunter2-secret";
    let error = message(
        CacheBuilder::from_vars([
            ("CACHEKIT_MASTER_KEY", secret),
            ("CACHEKIT_API_KEY", "two words hunter2-secret"),
            ("CACHEKIT_DEFAULT_TTL", "NaN"),
            ("CACHEKIT_L1_MAX_SIZE_MB", "0"),
            ("CACHEKIT_ENABLE_COMPRESSION", "perhaps"),
            ("CACHEKIT_FILE_MAX_ENTRY_COUNT", "99"),
            ("CACHEKIT_MEMCACHED_SERVERS", "mc1:11211"),
            ("CACHEKIT_API_URL", "http://user:hunter2-secret@example.com"),
            ("CACHEKIT_CA_BUNDLE", "/does/not/exist.pem"),
        ])
        .namespace("")
        .swr_threshold_ratio(7.0)
        .l1_only()
        .build(),
    );
    for named in [
        "CACHEKIT_MASTER_KEY",
        "CACHEKIT_API_KEY",
        "CACHEKIT_DEFAULT_TTL",
        "CACHEKIT_L1_MAX_SIZE_MB",
        "CACHEKIT_ENABLE_COMPRESSION",
        "CACHEKIT_FILE_MAX_ENTRY_COUNT",
        "CACHEKIT_MEMCACHED_SERVERS",
        "CACHEKIT_API_URL",
        "CACHEKIT_CA_BUNDLE",
        "namespace",
        "swr_threshold_ratio",
    ] {
        assert!(error.contains(named), "{named} is missing from:\n{error}");
    }
    assert!(error.lines().count() >= 11, "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn redis_is_chosen_by_variables_or_default_without_connecting() {
    for (vars, place) in [
        (vec![], "localhost:6379"),
        (vec![("CACHEKIT_REDIS_URL", "redis://one:1"), ("REDIS_URL", "redis://two:2")], "one:1"),
        (vec![("REDIS_URL", "redis://two:2")], "two:2"),
    ] {
        let cache = CacheBuilder::from_vars(vars).build().unwrap();
        assert_eq!(cache.report().address.as_deref(), Some(place));
    }
}

#[test]
fn as_many_operations_run_at_once_as_the_backend_is_made_for() {
    let most = |builder: CacheBuilder<_, _, _>| builder.build().unwrap().policy().backpressure.unwrap().max_concurrent;
    let redis = || CacheBuilder::from_vars([("CACHEKIT_REDIS_URL", "redis://one:1")]);
    assert_eq!((most(redis()), most(redis().max_concurrent(7))), (1_000, 7));
    let memory = CacheBuilder::new().intent(Intent::Production).backend(Memory::new(1 << 20)).build().unwrap();
    assert_eq!(memory.policy().backpressure.unwrap().max_concurrent, 100);
}

#[test]
fn variables_that_select_two_backends_are_both_named() {
    let both = [("CACHEKIT_REDIS_URL", "redis://localhost"), ("CACHEKIT_FILE_CACHE_DIR", "/nowhere")];
    let text = message(CacheBuilder::from_vars(both).build());
    assert!(text.contains("CACHEKIT_REDIS_URL") && text.contains("CACHEKIT_FILE_CACHE_DIR"), "{text}");
    CacheBuilder::from_vars(both).l1_only().build().unwrap();
}

fn files(vars: &[(&str, &str)], dir: &Path) -> Standard<AnyBackend> {
    let dir = ("CACHEKIT_FILE_CACHE_DIR", dir.to_str().unwrap());
    let vars = [dir].into_iter().chain(vars.iter().copied());
    CacheBuilder::from_vars(vars).namespace_index(false).adaptive_timeout_enabled(false).build().unwrap()
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let all = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.file_name().is_some_and(|name| name.len() == 32)).collect()
}

#[tokio::test]
async fn file_cache_dir_holds_entries_that_another_process_finds() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("cache");
    files(&[], &dir).set("key", 1u32).await.unwrap();
    assert_eq!(entries(&dir).len(), 1);
    assert_eq!(files(&[], &dir).get::<u32>("key").await.unwrap(), Some(1));
}

#[tokio::test]
async fn file_max_entry_count_bounds_the_entries() {
    let dir = tempfile::tempdir().unwrap();
    let cache = files(&[("CACHEKIT_FILE_MAX_ENTRY_COUNT", "100")], dir.path());
    for key in 0..150u32 {
        cache.set(key, key).await.unwrap();
        assert!(entries(dir.path()).len() <= 100);
    }
    assert!(entries(dir.path()).len() >= 70);
    let wide = tempfile::tempdir().unwrap();
    let cache = files(&[], wide.path());
    for key in 0..150u32 {
        cache.set(key, key).await.unwrap();
    }
    assert_eq!(entries(wide.path()).len(), 150);
}

#[tokio::test]
async fn file_max_size_bounds_the_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let cache = files(&[("CACHEKIT_FILE_MAX_SIZE_MB", "2"), ("CACHEKIT_FILE_MAX_VALUE_MB", "1")], dir.path());
    for key in 0..60u32 {
        cache.set(key, noise(100_000)).await.unwrap();
        let bytes: u64 = entries(dir.path()).iter().map(|path| path.metadata().unwrap().len()).sum();
        assert!(bytes <= 2 << 20, "{bytes}");
    }
    assert!(entries(dir.path()).len() >= 10);
}

#[tokio::test]
async fn file_max_value_is_the_size_of_one_item_larger_ones_are_split() {
    let dir = tempfile::tempdir().unwrap();
    let cache = files(&[("CACHEKIT_FILE_MAX_VALUE_MB", "1")], dir.path());
    let value = noise(2_500_000);
    cache.set("key", value.clone()).await.unwrap();
    assert_eq!(entries(dir.path()).len(), 4, "a manifest and three chunks");
    assert!(entries(dir.path()).iter().all(|path| path.metadata().unwrap().len() <= (1 << 20) + 14));
    assert_eq!(cache.entry("key").skip_l1_read().get::<Vec<u8>>().await.unwrap(), Some(value));
}

#[tokio::test]
async fn file_lock_timeout_is_how_long_a_write_waits_for_others() {
    let dir = tempfile::tempdir().unwrap();
    let cache = files(&[("CACHEKIT_FILE_LOCK_TIMEOUT_SECONDS", "0.5")], dir.path());
    cache.set("key", 1u32).await.unwrap();
    let lock = fs::OpenOptions::new().read(true).write(true).open(dir.path().join(".cachekit.lock")).unwrap();
    lock.lock().unwrap();
    let error = cache.set("key", 2u32).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("500 ms"), "it waited half a second, not the usual five: {error}");
    lock.unlock().unwrap();
    cache.set("key", 3u32).await.unwrap();
    let patient = files(&[("CACHEKIT_FILE_LOCK_TIMEOUT_SECONDS", "20")], dir.path());
    assert!(patient.policy().operation_timeout > Duration::from_secs(20), "nothing cuts the wait short");
}

#[test]
fn log_level_is_the_level_of_the_examples() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src/event");
    let lines = |level: Option<&str>| {
        let cache = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO"));
        command.args([
            "run",
            "--quiet",
            "--package",
            "cachekit-typed",
            "--all-features",
            "--example",
            "quickstart",
            "--",
        ]);
        command.arg(&source).arg(cache.path().join("cache")).env_remove("LOG_LEVEL");
        if let Some(level) = level {
            command.env("LOG_LEVEL", level);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap().lines().filter(|line| line.contains("answered")).count()
    };
    assert_eq!(lines(None), 0, "INFO is the default");
    assert_eq!(lines(Some("WARNING")), 0);
    assert!(lines(Some("debug")) > 0);
}
