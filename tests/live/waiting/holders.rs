//! Those who wait for the computation of another process.

use std::time::Duration;

use cachekit::Clock;
use cachekit::testing::{Chaos, ManualClock};

use super::{memory, timed};
use harness::support::{Broken, Slow, settle};

#[tokio::test]
async fn who_waits_lags_by_at_most_a_tenth_of_its_time() {
    for work in [15u64, 40, 130, 700, 1_900, 4_700] {
        let clock = ManualClock::new();
        let memory = memory(&clock);
        let chaos = Chaos::new(memory.clone());
        let control = chaos.control();
        let (one, two) = (timed(memory, &clock), timed(chaos, &clock));
        let slow = Slow::new();
        let computation = slow.clone();
        tokio::spawn(async move { one.get_or_compute("key", move || computation.run(Ok(1u32))).await });
        slow.wait_for_start().await;
        let begun = clock.ticks();
        let other = tokio::spawn(async move { two.get_or_compute("key", || async { Ok::<u32, Broken>(2) }).await });
        settle().await;
        for _ in 0..work {
            clock.advance(Duration::from_millis(1));
            settle().await;
        }
        slow.finish(1);
        settle().await;
        while !other.is_finished() {
            clock.advance(Duration::from_millis(1));
            settle().await;
        }
        assert_eq!(other.await.unwrap().unwrap(), 1);
        let lag = clock.ticks() - begun - work;
        assert!(lag <= (work / 10).max(20), "a lag of {lag} ms after {work} ms");
        let asked = control.count(cachekit::Operation::Lease);
        assert!(asked <= 75, "asked {asked} times in {work} ms");
    }
}

#[tokio::test]
async fn of_a_holder_that_died_others_learn_within_two_seconds() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let key = cachekit::Key::new("default", "key").unwrap();
    let cache = timed(memory.clone(), &clock);
    let hold = cache.policy().leases.unwrap().hold;
    assert!(harness::support::leased(&memory, &key, hold).await.unwrap().is_some());
    let begun = clock.ticks();
    let call = tokio::spawn(async move {
        let value = cache.get_or_compute("key", || async { Ok::<u32, Broken>(1) }).await.unwrap();
        (value, cache)
    });
    super::pass_time(&clock, || call.is_finished()).await;
    let waited = clock.ticks() - begun;
    let (value, cache) = call.await.unwrap();
    settle().await;
    assert!(waited <= 2_000, "{waited} ms");
    assert_eq!((value, memory.is_empty()), (1, false), "and it is stored");
    assert_eq!(cache.stats().fenced, 0);
}

#[cfg(target_os = "linux")]
mod killed {
    use std::env;
    use std::sync::mpsc::channel;
    use std::time::{Duration, Instant};

    use cachekit::backends::Redis;
    use cachekit::codec::Postcard;
    use cachekit::{Cache, CacheBuilder, Intent, RedisSettings, Settings};

    use crate::processes::{Child, say};
    use crate::servers::{PATIENCE, SOON, Server};
    use harness::support::Broken;

    const URL: &str = "CACHEKIT_TEST_HOLDER_URL";

    fn cache(url: &str) -> Cache<Redis, Postcard> {
        let (mut reach, mut settings) = (RedisSettings::new(url).unwrap(), Settings::default());
        (reach.timeout, reach.connect_timeout) = (PATIENCE, PATIENCE);
        settings.lease_wait = Some(PATIENCE);
        let builder = CacheBuilder::new().intent(Intent::Minimal).leases(true).namespace("n").settings(settings);
        builder.backend(Redis::new(reach).unwrap()).build().unwrap()
    }

    #[test]
    fn the_lease_of_a_killed_process_ends_soon() {
        let server = Server::start();
        let (sender, answers) = channel();
        let child = Child::start(module_path!(), &[(URL, server.url())], sender);
        assert_eq!(answers.recv_timeout(PATIENCE).as_deref(), Ok("computing"));
        // Longer than the lease holds unless it is renewed.
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(server.cli(&["EXISTS", "n:key:lock"]).trim(), "1");
        child.kill();
        let (since, runtime) = (Instant::now(), super::super::runtime());
        let value = runtime.block_on(async {
            let cache = cache(&server.url());
            cache.entry("key").wait_for_write(true).get_or_compute(|| async { Ok::<u32, Broken>(2) }).await
        });
        assert_eq!(value.unwrap(), 2);
        // Less than the time after which it would compute all the same.
        assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
        assert_eq!(server.cli(&["EXISTS", "n:key"]).trim(), "1", "it had the lease");
    }

    /// Does nothing unless started by the test above.
    #[tokio::test]
    async fn plays_its_role() {
        let Ok(url) = env::var(URL) else { return };
        let cache = cache(&url);
        let compute = || async {
            say("computing");
            std::future::pending::<Result<u32, Broken>>().await
        };
        let _ = cache.get_or_compute("key", compute).await;
    }
}
