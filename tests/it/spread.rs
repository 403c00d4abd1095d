//! Jitter: entries that are stored at once do not end at once.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cachekit::backends::{Memory, NoBackend};
use cachekit::codec::{Checked, Postcard};
use cachekit::testing::ManualClock;
use cachekit::{Cache, CacheBuilder, Intent};

use harness::support::Broken;

const KEYS: usize = 1_000;
/// The most that one second may take.
const WAVE: usize = KEYS * 15 / 100;
const SECOND: Duration = Duration::from_secs(1);

fn builder(clock: &ManualClock, ratio: Option<f64>) -> CacheBuilder<NoBackend, Postcard, Intent::Production> {
    CacheBuilder::new()
        .intent(Intent::Production)
        .clock(Arc::new(clock.clone()))
        .ttl(SECOND * 100)
        .swr_enabled(ratio.is_some())
        .swr_threshold_ratio(ratio.unwrap_or(0.5))
}

/// Reads every key in each second. Returns how many were computed for the first and for the second time in each: what
/// follows is no longer written at once.
async fn computed_per_second(cache: Cache<NoBackend, Checked<Postcard>>, clock: &ManualClock) -> Vec<[usize; 2]> {
    let computed = Arc::new(Mutex::new(vec![0; KEYS]));
    let mut seconds = Vec::new();
    for _ in 0..110 {
        let before = computed.lock().unwrap().clone();
        for key in 0..KEYS {
            let computed = Arc::clone(&computed);
            let compute = move || async move {
                computed.lock().unwrap()[key] += 1;
                Ok::<_, Broken>(key)
            };
            cache.get_or_compute(key, compute).await.unwrap();
        }
        while cache.pending() > 0 {
            tokio::task::yield_now().await;
        }
        let now = computed.lock().unwrap().clone();
        let times =
            |nth: usize| before.iter().zip(&now).filter(|(before, now)| (**before..**now).contains(&nth)).count();
        seconds.push([times(0), times(1)]);
        clock.advance(SECOND);
    }
    seconds
}

#[tokio::test]
async fn of_entries_that_are_computed_at_once_no_second_takes_many() {
    for ratio in [None, Some(0.1), Some(0.5), Some(1.0)] {
        let clock = ManualClock::new();
        let seconds = computed_per_second(builder(&clock, ratio).build().unwrap(), &clock).await;
        assert_eq!(seconds[0], [KEYS, 0]);
        let again = seconds.iter().map(|[_, again]| *again);
        let wave = again.clone().max().unwrap();
        assert!(wave <= WAVE, "{wave} in one second, at a ratio of {ratio:?}");
        assert_eq!(again.sum::<usize>(), KEYS, "each was computed again: {ratio:?}");
    }
}

#[tokio::test]
async fn unrenewed_entries_expire_spread_out_and_never_late() {
    for ratio in [None, Some(0.5), Some(1.0)] {
        let clock = ManualClock::new();
        let cache = builder(&clock, ratio).stale_if_error(Duration::ZERO).build().unwrap();
        let shared = Memory::with_clock(64 << 20, Arc::new(clock.clone()));
        let stored = builder(&clock, ratio).backend(shared).l1_enabled(false).build().unwrap();
        for key in 0..KEYS {
            cache.set(key, key).await.unwrap();
            stored.set(key, key).await.unwrap();
        }
        let (mut left, mut at_89) = (KEYS, 0);
        for second in 0..=100 {
            let mut found = 0;
            for key in 0..KEYS {
                found += usize::from(cache.get::<usize>(key).await.unwrap().is_some());
            }
            assert!(left - found <= WAVE, "{} in one second, at a ratio of {ratio:?}", left - found);
            left = found;
            at_89 = if second == 89 { found } else { at_89 };
            clock.advance(SECOND);
        }
        assert_eq!((at_89, left), (KEYS, 0), "none before nine tenths, all by the ttl");
        let mut late = 0;
        for key in 0..KEYS {
            late += usize::from(stored.get::<usize>(key).await.unwrap().is_some());
        }
        assert_eq!(late, 0, "nor from the backend");
    }
}
