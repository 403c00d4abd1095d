//! Services that are broken, or in bad hands: no wrong answer, no long wait, and over when they behave again.

use std::time::{Duration, Instant};

use bytes::Bytes;
use cachekit::backends::CachekitIo;
use cachekit::{Backend, CachekitIoSettings};

use super::support::{MINUTE, every_text, key};
use crate::servers::{RUDE_HTTPS, RudeAnswer, RudeHttps};

/// How long an operation may take here.
const PATIENCE: Duration = Duration::from_millis(400);
const KEYS: usize = 6;

fn client(server: &RudeHttps, timeout: Duration) -> CachekitIo {
    let mut settings = CachekitIoSettings::new("ck_live_secret").unwrap();
    settings.url = server.url().parse().unwrap();
    (settings.allow_custom_host, settings.ca_bundle) = (true, Some(server.ca().to_owned()));
    (settings.timeout, settings.max_retries, settings.pool_size) = (timeout, 1, 2);
    CachekitIo::new(settings).unwrap()
}

fn value_of(id: usize) -> Bytes {
    format!("the value of {id}").into()
}

/// What a mode came to.
#[derive(Debug, Default)]
struct Outcome {
    calls: usize,
    wrong: usize,
    longest: Duration,
}

impl Outcome {
    async fn call<T>(&mut self, call: impl Future<Output = Result<T, cachekit::Error>>) -> Option<T> {
        let start = Instant::now();
        let result = call.await;
        self.calls += 1;
        self.longest = self.longest.max(start.elapsed());
        if let Err(error) = &result {
            let told = every_text(error);
            assert!(!told.contains("users") && !told.contains("secret") && !told.contains("the value"), "{told}");
        }
        result.ok()
    }
}

/// Every operation once, and some more often. The entries are there, so what a read finds is theirs.
async fn bother(io: &CachekitIo) -> Outcome {
    let mut outcome = Outcome::default();
    let keys: Vec<_> = (0..KEYS).map(key).collect();
    for (id, key) in keys.iter().enumerate().take(3) {
        let found = outcome.call(io.get(key)).await;
        outcome.wrong += found.map_or(0, |found| usize::from(found != Some(value_of(id))));
    }
    let found = outcome.call(io.get_many(&keys)).await.unwrap_or_default();
    outcome.wrong += found.iter().enumerate().filter(|(id, found)| **found != Some(value_of(*id))).count();
    outcome.call(io.ttl(&keys[1])).await;
    outcome.call(io.set(&keys[5], value_of(5), MINUTE)).await;
    outcome.call(io.remove(&key("none"))).await;
    outcome.call(io.ping()).await;
    outcome
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rude_service_never_causes_a_wrong_answer_or_a_long_wait() {
    for mode in RUDE_HTTPS {
        let server = RudeHttps::start();
        let (io, patient) = (client(&server, PATIENCE), client(&server, MINUTE / 2));
        for id in 0..KEYS {
            patient.set(&key(id), value_of(id), MINUTE).await.unwrap();
        }
        server.set(mode);
        let outcome = bother(&io).await;
        println!("{mode:?}: {outcome:?}");
        assert_eq!(outcome.wrong, 0, "{mode:?}");
        assert!(outcome.longest < PATIENCE * 15, "{mode:?}: {:?}", outcome.longest);
        assert!(!server.was_followed(), "{mode:?}");
        server.set(RudeAnswer::No);
        for id in 0..KEYS {
            assert_eq!(patient.get(&key(id)).await.unwrap(), Some(value_of(id)), "{mode:?} is over");
        }
    }
}

#[tokio::test]
async fn what_only_looks_odd_is_understood() {
    let server = RudeHttps::start();
    let io = client(&server, MINUTE / 2);
    io.set(&key(1), value_of(1), MINUTE).await.unwrap();
    for mode in [RudeAnswer::ManyInterim, RudeAnswer::Stray] {
        server.set(mode);
        for _ in 0..5 {
            assert_eq!(io.get(&key(1)).await.unwrap(), Some(value_of(1)), "{mode:?}");
        }
    }
}
