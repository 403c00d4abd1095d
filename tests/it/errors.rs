//! What a caller can do with an error, and what no output shows.

use std::error::Error as StdError;
use std::fmt::{self, Debug, Display};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cachekit::backends::{AnyBackend, File, Memory};
use cachekit::codec::Json;
use cachekit::testing::{Chaos, Fault};
use cachekit::{
    Cache, CacheBuilder, ComputeError, Computed, Environment, Error, ErrorKind, Event, FileLimits, Intent, Key,
    Observer, Operation, Settings,
};

use harness::support::Broken;

/// An error that can be shown, and nothing else: no `Error`, no `Clone`, no `PartialEq`.
#[derive(Debug)]
struct Bare;

impl Display for Bare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bare")
    }
}

async fn fails<E: Send + Sync + 'static>(error: E) -> Result<u8, ComputeError<E>> {
    CacheBuilder::new().build()?.get_or_compute("key", || async { Err(error) }).await
}

async fn boxed<E: Debug + Display + Send + Sync + 'static>(error: E) -> Result<u8, Box<dyn StdError + Send + Sync>> {
    Ok(fails(error).await?)
}

async fn any<E: Debug + Display + Send + Sync + 'static>(error: E) -> anyhow::Result<u8> {
    Ok(fails(error).await?)
}

#[tokio::test]
async fn whatever_can_be_shown_passes_through_the_question_mark() {
    assert_eq!(boxed(Bare).await.unwrap_err().to_string(), "bare");
    assert_eq!(boxed("text").await.unwrap_err().to_string(), "text");
    assert_eq!(boxed(String::from("owned")).await.unwrap_err().to_string(), "owned");
    assert_eq!(boxed(anyhow::anyhow!("inner").context("outer")).await.unwrap_err().to_string(), "outer");
    assert_eq!(any(Bare).await.unwrap_err().to_string(), "bare");
    assert_eq!(any("text").await.unwrap_err().to_string(), "text");
    assert_eq!(any(Broken("down")).await.unwrap_err().to_string(), "down");
    let failed = any(anyhow::anyhow!("inner")).await.unwrap_err();
    let failed = failed.downcast::<ComputeError<anyhow::Error>>().unwrap();
    assert_eq!(failed.failed().unwrap().to_string(), "inner");
}

/// An error with a source.
#[derive(Debug, thiserror::Error)]
#[error("cannot load")]
struct LoadError(#[from] std::num::ParseIntError);

/// Three levels: what the program did, what it needed, what is wrong.
fn deep() -> anyhow::Error {
    anyhow::Error::new(LoadError("x".parse::<u8>().unwrap_err())).context("no page")
}

const DEEP: [&str; 3] = ["no page", "cannot load", "invalid digit found in string"];

#[tokio::test]
async fn anyhow_error_shows_the_same_text_and_chain_through_a_cache() {
    let failed = fails(deep()).await.unwrap_err();
    assert_eq!((format!("{failed}"), format!("{failed:#}")), (format!("{}", deep()), format!("{:#}", deep())));
    assert_eq!(chain(&failed), DEEP);
    let passed = any(deep()).await.unwrap_err();
    assert_eq!((format!("{passed}"), format!("{passed:#}")), (format!("{}", deep()), format!("{:#}", deep())));
    // A backtrace may follow.
    assert!(format!("{passed:?}").starts_with(format!("{:?}", deep()).split("\n\nStack").next().unwrap()));
    assert!(passed.chain().any(|cause| cause.is::<LoadError>()), "what it was is found in the chain");
    assert!(passed.root_cause().is::<std::num::ParseIntError>());
    let original = passed.downcast_ref::<ComputeError<anyhow::Error>>().unwrap().failed().unwrap();
    assert!(original.downcast_ref::<LoadError>().is_some());
}

#[tokio::test]
async fn boxes_and_errors_of_input_and_output_keep_their_sources() {
    let load = || LoadError("x".parse::<u8>().unwrap_err());
    let failed = fails(Box::<dyn StdError + Send + Sync>::from(load())).await.unwrap_err();
    assert_eq!(chain(&failed), DEEP[1..]);
    assert!(failed.failed().unwrap().is::<LoadError>());
    assert_eq!(format!("{:#}", anyhow::Error::from(failed)), "cannot load: invalid digit found in string");
    let failed = fails(std::io::Error::other(deep())).await.unwrap_err();
    assert_eq!(chain(&failed), DEEP, "an I/O error displays as what it holds");
    let failed = fails(Error::with_source(ErrorKind::Backend, "no answer", load())).await.unwrap_err();
    assert_eq!(chain(&failed), ["no answer", DEEP[1], DEEP[2]]);
}

#[tokio::test]
async fn an_error_type_of_the_program_hands_its_sources_on() {
    let failed = fails(LoadError("x".parse::<u8>().unwrap_err())).await.unwrap_err();
    assert!(failed.source().unwrap().is::<std::num::ParseIntError>());
    assert!(failed.failed().unwrap().0.to_string().contains("digit"));
    let passed = anyhow::Error::from(failed.clone().with_sources());
    assert_eq!(format!("{passed:#}"), "cannot load: invalid digit found in string");
    assert_eq!(chain(&failed.clone().with_sources()), DEEP[1..]);
    let back = passed.downcast::<cachekit::WithSources<LoadError>>().unwrap();
    assert!(back.failed().is_some() && matches!(back.into_inner(), ComputeError::Failed(_)));
    // Without it, what `?` takes is still the error itself.
    let passed = anyhow::Error::from(failed);
    assert!(passed.downcast_ref::<ComputeError<LoadError>>().unwrap().failed().is_some());
    let late = ComputeError::<LoadError>::TimedOut;
    assert!(late.source().is_none() && late.failed().is_none());
}

#[tokio::test]
async fn flags_of_the_format_reach_the_error() {
    assert_eq!(format!("{:>6}", fails("text").await.unwrap_err()), "  text");
    assert_eq!(format!("{:.2}", fails(String::from("text")).await.unwrap_err()), "te");
}

async fn panics(payload: impl std::any::Any + Send + Sync) -> String {
    let boom = || async move { std::panic::panic_any(payload) };
    let cache = CacheBuilder::new().build().unwrap();
    let panicked = cache.get_or_compute::<u8, Bare, _, _>("key", boom).await.unwrap_err();
    assert_eq!(cache.get_or_compute("key", || async { Ok::<u8, Bare>(5) }).await.unwrap(), 5, "the cache goes on");
    panicked.to_string()
}

/// A payload that panics again as it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("a payload panics, as this test wants");
        }
    }
}

#[tokio::test]
async fn a_panic_says_what_it_said() {
    assert_eq!(panics("no such table").await, "the computation panicked: no such table");
    assert_eq!(panics(String::from("row 7")).await, "the computation panicked: row 7");
    assert_eq!(panics(7u8).await, "the computation panicked: without a message");
    assert_eq!(panics(Bomb).await, "the computation panicked: without a message");
    let long = panics("é".repeat(10_000)).await;
    assert_eq!(long, format!("the computation panicked: {}", "é".repeat(512)), "at most 1,024 bytes");
}

#[tokio::test]
async fn the_cache_s_own_errors_pass_through_it_too() {
    let cache = CacheBuilder::new().build().unwrap();
    let refused = cache.entry("key").deadline(Duration::ZERO).get_or_compute(|| async { Ok::<u8, Bare>(1) }).await;
    let ComputeError::Cache(error) = refused.unwrap_err() else { panic!("no time at all") };
    assert_eq!(error.kind(), ErrorKind::Argument);
    let text = error.to_string();
    assert_eq!(anyhow::Error::from(ComputeError::<Bare>::from(error)).to_string(), text);
    let zero = CacheBuilder::new().build().unwrap().entry("key").ttl(Duration::ZERO).set(1u8).await;
    assert_eq!(zero.unwrap_err().kind(), ErrorKind::Argument);
}

#[tokio::test]
async fn clones_share_what_the_computation_returned() {
    let failed = fails(Bare).await.unwrap_err();
    let (ComputeError::Failed(one), ComputeError::Failed(two)) = (&failed, &failed.clone()) else { panic!("failed") };
    assert!(Arc::ptr_eq(one, two));
    let late = ComputeError::<Bare>::TimedOut;
    assert_eq!(late.clone().to_string(), late.to_string());
    assert!(ComputeError::<Bare>::TimedOut.to_string().contains("deadline"));
}

/// The messages from an error down to its deepest source.
fn chain(error: &dyn StdError) -> Vec<String> {
    std::iter::successors(Some(error), |&error| error.source()).map(ToString::to_string).collect()
}

#[test]
fn sources_are_kept() {
    let deepest = Error::new(ErrorKind::Timeout, "late");
    let middle = Error::with_source(ErrorKind::Backend, "no answer", deepest);
    let outer = Error::with_source(ErrorKind::Config, "no cache", middle);
    assert_eq!(chain(&outer), ["no cache", "no answer", "late"]);
    assert_eq!(chain(&outer.clone()), chain(&outer));
    assert_eq!(chain(&ComputeError::<Bare>::Cache(outer)), ["no cache", "no answer", "late"]);
    let foreign = Error::with_source(ErrorKind::Decode, "unreadable", "x".parse::<u8>().unwrap_err());
    assert!(foreign.source().unwrap().is::<std::num::ParseIntError>());
    assert!(Error::new(ErrorKind::Key, "empty").source().is_none());
}

#[test]
fn errors_go_everywhere() {
    fn goes<T: StdError + Clone + Send + Sync + Unpin + 'static>() {}
    goes::<Error>();
    goes::<ComputeError<Bare>>();
    assert_eq!(size_of::<Error>(), size_of::<usize>(), "a `Result` of the cache stays small");
}

#[test]
fn temporary_is_what_may_pass_by_itself() {
    let table = [
        (ErrorKind::Config, false),
        (ErrorKind::Key, false),
        (ErrorKind::Argument, false),
        (ErrorKind::Unavailable, true),
        (ErrorKind::Timeout, true),
        (ErrorKind::Backend, false),
        (ErrorKind::TooLarge, false),
        (ErrorKind::Encode, false),
        (ErrorKind::Decode, false),
        (ErrorKind::Unauthentic, false),
        (ErrorKind::Unsupported, false),
        (ErrorKind::Closed, false),
    ];
    for (kind, temporary) in table {
        let error = Error::new(kind, "why");
        assert_eq!((error.kind(), error.is_temporary(), error.to_string()), (kind, temporary, "why".to_owned()));
        assert!(format!("{error:?}").contains(&format!("{kind:?}")));
    }
}

const KEY: &str = "ada@example.org";
const VALUE: &str = "blood group AB negative";
const PASSWORD: &str = "hunter2hunter2";
const API_KEY: &str = "ck_live_0123456789";

/// Hex digits of a key of 32 bytes.
fn master(digit: &str) -> String {
    digit.repeat(32)
}

/// Everything an output might show of what was planted: as text, and as the numbers of its bytes.
#[track_caller]
fn assert_hidden(shown: &impl Debug) {
    let numbers = |bytes: &[u8]| format!("{bytes:?}").trim_matches(['[', ']']).to_owned();
    let mut planted = vec![numbers(VALUE.as_bytes()), numbers(KEY.as_bytes()), numbers(&[0xab; 32])];
    planted.extend([KEY, "ada%40example.org", VALUE, PASSWORD, API_KEY].map(str::to_owned));
    planted.extend([master("ab"), master("cd"), numbers(PASSWORD.as_bytes())]);
    for output in [format!("{shown:?}"), format!("{shown:#?}")] {
        let flat = output.split_whitespace().collect::<Vec<_>>().join(" ").replace(", ]", "]");
        for secret in &planted {
            assert!(!output.contains(secret) && !flat.contains(secret), "{secret} shows in {output}");
        }
    }
}

#[test]
fn the_search_finds_what_was_planted() {
    let found =
        |shown: &(dyn Debug + std::panic::RefUnwindSafe)| std::panic::catch_unwind(|| assert_hidden(&shown)).is_err();
    assert!(found(&VALUE) && found(&Some(vec![KEY])) && found(&VALUE.as_bytes()) && found(&[0xab_u8; 32]));
    assert!(!found(&"nothing of that"));
}

/// Writes down what a cache tells as `Debug` shows it.
#[derive(Debug, Default)]
struct Listener(Mutex<Vec<String>>);

impl Observer for Listener {
    fn event(&self, event: &Event<'_>) {
        assert_hidden(event);
        self.0.lock().unwrap().push(format!("{event:?}"));
    }
}

async fn lived_in() -> (Cache<Chaos<Memory>, Json>, Memory, Arc<Listener>) {
    let (memory, listener) = (Memory::new(1 << 20), Arc::new(Listener::default()));
    let chaos = Chaos::new(memory.clone());
    let control = chaos.control();
    let builder = CacheBuilder::new().intent(Intent::Minimal).codec(Json).backend(chaos);
    let cache = builder.observer(Arc::clone(&listener) as _).build().unwrap();
    cache.set(KEY, VALUE.to_owned()).await.unwrap();
    let hit: String = cache.get_or_compute(KEY, || async { Err(Broken("never")) }).await.unwrap();
    assert_eq!(hit, VALUE);
    control.inject(Operation::Get, Fault::Refuse);
    let refused = cache.entry(KEY).skip_l1_read().get::<String>().await.unwrap_err();
    control.inject(Operation::Get, Fault::Truncate(60));
    assert_eq!(cache.entry(KEY).skip_l1_read().get::<String>().await.unwrap(), None, "cut short");
    assert_hidden(&refused);
    (cache, memory, listener)
}

#[tokio::test]
async fn no_output_shows_a_key_or_a_value() {
    let (cache, memory, listener) = lived_in().await;
    assert_hidden(&cache);
    assert_hidden(&cache.entry(KEY).ttl(Duration::from_secs(1)));
    assert_hidden(&memory);
    assert_hidden(&AnyBackend::new(memory));
    assert_hidden(&Computed::new(VALUE.to_owned()).tags([KEY]));
    assert_hidden(&Key::new("users", KEY).unwrap());
    assert_eq!(Key::new("users", KEY).unwrap().to_string().len(), 16, "`Display` is a short hash, too");
    let told = listener.0.lock().unwrap();
    for event in ["Answered", "BackendFailed", "Unreadable"] {
        assert!(told.iter().any(|line| line.starts_with(event)), "{event} was looked at: {told:?}");
    }
}

#[tokio::test]
async fn files_show_their_directory_and_nothing_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let files = File::open(directory.path(), FileLimits::default()).unwrap();
    let cache = CacheBuilder::new().backend(files.clone()).build().unwrap();
    cache.set(KEY, VALUE.to_owned()).await.unwrap();
    assert_hidden(&files);
    assert_hidden(&AnyBackend::new(files));
    assert_hidden(&cache);
    assert!(format!("{cache:#?}").contains(directory.path().to_str().unwrap()));
}

/// Settings that are right, each with a secret in it.
fn secrets() -> Vec<(&'static str, String)> {
    vec![
        ("CACHEKIT_REDIS_URL", format!("rediss://ada:{PASSWORD}@localhost:6379/0")),
        ("CACHEKIT_API_KEY", API_KEY.to_owned()),
        ("CACHEKIT_MASTER_KEY", master("ab")),
        ("CACHEKIT_PREVIOUS_MASTER_KEYS", master("cd")),
    ]
}

/// The same secrets where none belongs, and ill-formed where one does.
fn misplaced() -> Vec<(&'static str, String)> {
    vec![
        ("CACHEKIT_REDIS_URL", format!("redis://ada:{PASSWORD}@@localhost/{PASSWORD}")),
        ("REDIS_URL", format!("redis:{PASSWORD}@localhost")),
        ("CACHEKIT_API_URL", format!("https://ada:{PASSWORD}@api.cachekit.io")),
        ("CACHEKIT_API_KEY", format!("{API_KEY}\r\n {PASSWORD}")),
        ("CACHEKIT_MASTER_KEY", format!("{}{PASSWORD}", master("ab"))),
        ("CACHEKIT_PREVIOUS_MASTER_KEYS", format!("{0},{0},{PASSWORD}", master("cd"))),
        ("CACHEKIT_DEFAULT_TTL", master("ab")),
        ("CACHEKIT_ENABLE_COMPRESSION", PASSWORD.to_owned()),
        ("CACHEKIT_MEMCACHED_SERVERS", format!("[\"{PASSWORD}\"]")),
        ("CACHEKIT_FILE_MAX_SIZE_MB", API_KEY.to_owned()),
        ("CACHEKIT_SOCKET_TIMEOUT", format!("-{PASSWORD}")),
        ("CACHEKIT_CA_BUNDLE", format!("/{PASSWORD}")),
        ("LOG_LEVEL", PASSWORD.to_owned()),
    ]
}

#[test]
fn no_output_shows_a_secret_of_the_environment() {
    for vars in [secrets(), misplaced()] {
        let environment = Environment::from_vars(vars.clone());
        assert_hidden(&environment);
        assert_hidden(&environment.settings);
        assert_hidden(&CacheBuilder::from_environment(environment));
        match CacheBuilder::from_vars(vars.clone()).build() {
            Ok(cache) => assert_hidden(&(cache.warnings(), &cache)),
            Err(error) => assert_hidden(&error),
        }
        match CacheBuilder::from_vars(vars).l1_only().build() {
            Ok(cache) => assert_hidden(&(cache.policy(), &cache)),
            Err(error) => assert!(error.to_string().lines().count() >= 9, "every problem: {error}"),
        }
    }
    let environment = Environment::from_vars(secrets());
    assert_eq!(environment.cachekitio.api_key.unwrap().expose(), API_KEY, "it is there for who asks");
    assert!(environment.redis.url.expose().contains(PASSWORD) && environment.redis.url.is_tls());
}

#[test]
fn builders_and_settings_show_what_was_asked() {
    let mut settings = Settings::default();
    settings.ttl = Some(Duration::from_secs(77));
    let builder = CacheBuilder::new().namespace("users").settings(settings);
    let shown = format!("{builder:?}");
    assert!(shown.contains("77s") && shown.contains("Production") && shown.contains("Postcard"), "{shown}");
    assert!(format!("{:?}", builder.build().unwrap().policy()).contains("77s"));
}
