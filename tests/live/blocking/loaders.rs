//! Loaders of blocking caches: they need no thread of a caller.

use std::sync::{Mutex, OnceLock};

use cachekit::backends::NoBackend;
use cachekit::blocking::{Loader, LoadingCache};
use cachekit::{ComputeError, Loaded};

use super::*;

/// A loader that notes what it was asked for.
#[derive(Clone, Default)]
pub(super) struct Users {
    loads: Arc<Mutex<Vec<u32>>>,
    queries: Arc<Mutex<Vec<Vec<u32>>>>,
}

impl Users {
    fn loads(&self) -> Vec<u32> {
        std::mem::take(&mut self.loads.lock().unwrap())
    }

    fn queries(&self) -> Vec<Vec<u32>> {
        std::mem::take(&mut self.queries.lock().unwrap())
    }
}

impl Loader for Users {
    type Key = u32;
    type Value = String;
    type Error = Broken;

    fn load(&self, key: &u32) -> Result<String, Broken> {
        let mut loads = self.loads.lock().unwrap();
        loads.push(*key);
        match key {
            404 => Err(Broken("no such user")),
            500 => {
                drop(loads);
                panic!("no luck")
            }
            _ => Ok(format!("user {key}, load {}", loads.iter().filter(|one| *one == key).count())),
        }
    }

    fn load_many(&self, keys: &[u32]) -> Result<Loaded<u32, String, Broken>, Broken> {
        let mut sorted = keys.to_vec();
        sorted.sort_unstable();
        self.queries.lock().unwrap().push(sorted);
        Ok(keys.iter().filter(|key| **key < 1_000).map(|key| (*key, format!("user {key}"))).collect())
    }
}

#[test]
fn loader_loads_what_is_missing_once_and_anew_when_asked() {
    let (loader, cache) = (Users::default(), cache());
    let users = cache.typed("users").unwrap().with_loader(loader.clone());
    for _ in 0..2 {
        assert_eq!(users.get(&1).unwrap(), "user 1, load 1");
    }
    assert_eq!(users.refresh(&1).unwrap(), "user 1, load 2");
    assert_eq!(users.clone().get(&1).unwrap(), "user 1, load 2");
    assert_eq!(loader.loads(), [1, 1]);
    assert_eq!(users.get(&404).unwrap_err().failed(), Some(&Broken("no such user")));
    let panicked = users.get(&500).unwrap_err();
    assert!(matches!(&panicked, ComputeError::Panicked { message, .. } if &**message == "no luck"), "{panicked:?}");

    let found = users.get_many([3, 1, 2_000, 2]);
    let ComputeError::Cache(absent) = found[2].as_ref().unwrap_err() else { panic!("{found:?}") };
    assert_eq!(absent.kind(), ErrorKind::Absent);
    let found: Vec<_> = found.into_iter().filter_map(Result::ok).collect();
    assert_eq!(found, ["user 3", "user 1, load 2", "user 2"]);
    assert_eq!(loader.queries(), [[2, 3, 2_000]]);
    assert_eq!(users.typed().get(&3).unwrap().as_deref(), Some("user 3"));
}

#[test]
fn calls_of_many_threads_are_gathered_within_the_window() {
    let (loader, clock) = (Users::default(), ManualClock::new());
    let builder = CacheBuilder::new().intent(Intent::Minimal).clock(Arc::new(clock.clone()));
    let cache = builder.build_blocking().unwrap();
    let users = cache.typed("users").unwrap().with_loader(loader.clone());
    let ask = |users: &LoadingCache<Users, NoBackend, Postcard>, keys: u32, so: &dyn Fn()| {
        thread::scope(|scope| {
            let threads: Vec<_> = (0..keys).map(|key| scope.spawn(move || (key, users.get(&key)))).collect();
            so();
            for thread in threads {
                let (key, found) = thread.join().unwrap();
                assert_eq!(found.unwrap(), format!("user {key}"));
            }
        });
    };
    let gathering = users.batch_window(Duration::from_millis(5));
    ask(&gathering, 10, &|| {
        // The window, ten flights and their callers.
        wait_until("all wait", || clock.sleepers() >= 21);
        assert!(loader.queries.lock().unwrap().is_empty(), "they wait for others");
        clock.advance(Duration::from_millis(5));
    });
    assert_eq!(loader.queries(), [(0..10).collect::<Vec<_>>()]);
    cache.clear().unwrap();
    // A batch that is full does not wait.
    ask(&gathering.max_batch(5), 10, &|| {});
    assert!(loader.queries().iter().all(|keys| keys.len() == 5));
    assert!(loader.loads().is_empty());
}

#[test]
fn stale_value_is_answered_at_once_and_renewed_without_a_caller() {
    /// A loader that is held up.
    struct Held(Mutex<Vec<std::sync::mpsc::Receiver<u32>>>);
    impl Loader for Held {
        type Key = u32;
        type Value = u32;
        type Error = Broken;
        fn load(&self, _: &u32) -> Result<u32, Broken> {
            let next = self.0.lock().unwrap().remove(0);
            next.recv_timeout(PATIENCE).map_err(|_| Broken("nobody sends"))
        }
    }
    let clock = ManualClock::new();
    let builder = CacheBuilder::new().intent(Intent::Minimal).clock(Arc::new(clock.clone()));
    let builder = builder.ttl(Duration::from_secs(100)).swr_enabled(true).swr_threshold_ratio(0.5).jitter(false);
    let ((first, one), (second, two)) = (channel(), channel());
    let loader = Held(Mutex::new(vec![one, two]));
    let numbers = builder.build_blocking().unwrap().typed("numbers").unwrap().with_loader(loader);
    first.send(1).unwrap();
    assert_eq!(numbers.get(&7).unwrap(), 1);
    clock.advance(Duration::from_secs(50));
    for _ in 0..3 {
        assert_eq!(numbers.get(&7).unwrap(), 1, "the renewal holds nobody up");
    }
    second.send(2).unwrap();
    wait_until("it is renewed", || numbers.get(&7).unwrap() == 2);
}

/// A loader that asks its own cache, as recursive ones do.
#[derive(Clone, Default)]
struct Factorials(Arc<OnceLock<LoadingCache<Factorials, Memory, Checked<Postcard>>>>);

impl Loader for Factorials {
    type Key = u64;
    type Value = u64;
    type Error = String;

    fn load(&self, number: &u64) -> Result<u64, String> {
        let own = self.0.get().expect("set before the first load");
        match number.checked_sub(1) {
            None => Ok(1),
            Some(19) => own.get(number).map_err(|error| error.to_string()),
            Some(below) => own.get(&below).map(|value| value * number).map_err(|error| error.to_string()),
        }
    }
}

#[test]
fn loader_may_ask_its_own_cache_and_does_not_wait_for_itself() {
    let loader = Factorials::default();
    let factorials = cache().typed("factorials").unwrap().with_loader(loader.clone());
    assert!(loader.0.set(factorials.clone()).is_ok());
    assert_eq!(factorials.get(&10).unwrap(), 3_628_800);
    let itself = factorials.get(&20).unwrap_err().to_string();
    assert!(itself.contains("wait for itself"), "{itself}");
    // By default many keys are loaded one after another.
    let found = factorials.get_many([12, 11]).into_iter().collect::<Result<Vec<_>, _>>().unwrap_err();
    assert!(found.to_string().contains("wait for itself"), "12 asks for 11, which is in its own batch: {found}");
    assert_eq!(
        factorials.get_many([9, 12]).into_iter().map(Result::unwrap).collect::<Vec<_>>(),
        [362_880, 479_001_600]
    );
}
