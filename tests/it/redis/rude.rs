//! Servers that send what they should not: nothing of it is believed, kept, or waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use cachekit::backends::Redis;
use cachekit::codec::Codec;
use cachekit::{Cache, CacheBuilder, Event, Intent, Observer, RedisSettings};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::servers::{Mode, RudeRedis, eventually};
use crate::support::Broken;

/// The longest entry that caches here take.
const ACCEPTED: usize = 64 << 10;
const KEYS: u64 = 16;
/// A call takes no longer on a machine that is very busy.
const WORST: Duration = Duration::from_secs(10);

/// A value that tells whose it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Page {
    id: u64,
    text: String,
}

impl Page {
    fn of(id: u64) -> Self {
        Self { id, text: "text ".repeat(40) }
    }
}

#[derive(Debug, Default)]
struct Failures(AtomicUsize);

impl Observer for Failures {
    fn event(&self, event: &Event<'_>) {
        if let Event::BackendFailed { .. } = event {
            self.0.fetch_add(1, Relaxed);
        }
    }
}

/// What became of the calls under one mode.
#[derive(Debug, Default)]
struct Row {
    calls: usize,
    panics: usize,
    of_another: usize,
    failures: usize,
    worst: Duration,
    peak: u64,
}

fn backend(server: &RudeRedis, resp3: bool) -> Redis {
    let mut settings = RedisSettings::new(&server.url(resp3)).unwrap();
    (settings.timeout, settings.connect_timeout) = (Duration::from_millis(150), Duration::from_secs(5));
    Redis::new(settings).unwrap()
}

/// Reads each key once after the other, and then all at once.
async fn calls<C: Codec>(cache: &Cache<Redis, C>, row: &mut Row) {
    let call = |id: u64| {
        let cache = cache.clone();
        async move {
            let begun = Instant::now();
            let answer = cache.get_or_compute(id, move || async move { Ok::<_, Broken>(Page::of(id)) }).await;
            (answer.map(|page| page == Page::of(id)), begun.elapsed())
        }
    };
    let mut answers = Vec::new();
    for id in 0..KEYS {
        answers.push(tokio::spawn(call(id)).await);
    }
    let mut all = JoinSet::new();
    (0..4 * KEYS).for_each(|id| drop(all.spawn(call(id % KEYS))));
    while let Some(answer) = all.join_next().await {
        answers.push(answer);
    }
    for answer in answers {
        row.calls += 1;
        match answer {
            Ok((Ok(is_own), took)) => {
                row.of_another += usize::from(!is_own);
                row.worst = row.worst.max(took);
            }
            Ok((Err(_), _)) | Err(_) => row.panics += 1,
        }
    }
}

/// All that happens with one mode, on one thread, whose allocations are counted.
fn row<C: Codec>(mode: Mode, cache: impl FnOnce(Arc<Failures>, &RudeRedis) -> Cache<Redis, C>) -> Row {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (server, failures, mut row) = (RudeRedis::start(), Arc::<Failures>::default(), Row::default());
    let cache = runtime.block_on(async { cache(Arc::clone(&failures), &server) });
    runtime.block_on(async {
        for id in 0..KEYS {
            cache.set(id, Page::of(id)).await.unwrap();
        }
        assert_eq!(cache.get::<Page>(3u64).await.unwrap(), Some(Page::of(3)));
    });
    server.set(mode);
    if mode.is_of_connects() {
        server.cut();
    }
    row.peak = allocation_counter::measure(|| runtime.block_on(calls(&cache, &mut row))).bytes_max;
    row.failures = failures.0.load(Relaxed);
    server.set(Mode::Honest);
    runtime.block_on(eventually("the cache works again", async || {
        cache.set(3u64, Page::of(3)).await.is_ok()
            && cache.get::<Page>(3u64).await.is_ok_and(|page| page == Some(Page::of(3)))
    }));
    row
}

fn check(mode: Mode, name: &str, row: &Row) {
    println!("{mode:?}, {name}: {row:?}, {:.1} bytes a byte", row.peak as f64 / ACCEPTED as f64);
    assert_eq!(row.panics, 0, "{mode:?}, {name}: {row:?}");
    let is_found = name.starts_with("Production") || !mode.is_unseen();
    assert!(row.of_another == 0 || !is_found, "{mode:?}, {name}: {row:?}");
    assert!(row.worst < WORST, "{mode:?}, {name}: {row:?}");
    assert!(row.peak < 32 * ACCEPTED as u64, "{mode:?}, {name}: {row:?}");
}

macro_rules! table {
    ($intent:expr, $name:literal) => {
        for mode in Mode::ALL {
            for resp3 in [false, true] {
                let row = row(mode, |failures, server| {
                    CacheBuilder::new()
                        .intent($intent)
                        .backend(backend(server, resp3))
                        .l1_enabled(false)
                        .max_value_size(ACCEPTED as u64)
                        .recovery_timeout(Duration::from_millis(200))
                        .observer(failures)
                        .build()
                        .unwrap()
                });
                check(mode, &format!("{}, RESP{}", $name, 2 + u8::from(resp3)), &row);
            }
        }
    };
}

#[test]
fn whatever_a_server_sends_no_call_of_a_minimal_cache_fails_waits_or_gets_another_keys_value() {
    table!(Intent::Minimal, "Minimal");
}

#[test]
fn whatever_a_server_sends_no_call_of_a_cache_in_production_fails_waits_or_gets_another_keys_value() {
    table!(Intent::Production, "Production");
}
