//! What each process does.

use std::env;
use std::fs::File;
use std::io::{Write, stdin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cachekit::backends::Redis;
use cachekit::codec::{Checked, Postcard};
use cachekit::{Cache, CacheBuilder, Error, Intent, RedisSettings, Settings};
use fastrand::Rng;
use redis::aio::MultiplexedConnection;
use tokio::sync::Mutex as AsyncMutex;
use tokio::task::JoinSet;

use super::super::child::{now, say};
use super::{BOUND, OWNED, PROCESSES, SHARED, TAGS};
use crate::servers::eventually;

pub(super) const MODULE: &str = module_path!();
pub(super) const URL: &str = "CACHEKIT_TEST_STALENESS_URL";
pub(super) const TRUTH: &str = "CACHEKIT_TEST_STALENESS_TRUTH";
pub(super) const LOG: &str = "CACHEKIT_TEST_STALENESS_LOG";
pub(super) const NUMBER: &str = "CACHEKIT_TEST_STALENESS_NUMBER";
/// Longer than the server is ever stopped: what is given up may be carried out afterwards, in whatever order.
const PATIENCE: Duration = Duration::from_secs(4);
const TASKS: u64 = 8;

struct Actor {
    cache: Cache<Redis, Checked<Postcard>>,
    truth: MultiplexedConnection,
    log: Mutex<File>,
    number: u64,
    /// Held while a key of one's own is set.
    own: Vec<AsyncMutex<()>>,
    done: AtomicU64,
    ended: AtomicBool,
}

/// Does nothing unless started by the test of this folder.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plays_its_role() {
    let Ok(url) = env::var(URL) else { return };
    let actor = Arc::new(Actor::new(&url).await);
    // What a process before this one asked for is done by then.
    eventually("the server answers", async || actor.cache.ping().await.is_ok()).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        tasks.spawn(Arc::clone(&actor).act(Rng::with_seed(actor.number * 1_000 + task)));
    }
    tasks.spawn(Arc::clone(&actor).watch());
    let ends = Arc::clone(&actor);
    std::thread::spawn(move || {
        stdin().lines().for_each(drop);
        ends.ended.store(true, SeqCst);
    });
    tasks.join_all().await;
    actor.note(&format!("s {}", actor.cache.stats().l1_hits));
    say("done");
}

fn tag(key: u64) -> Option<String> {
    (key < SHARED).then(|| format!("tag {}", key % TAGS))
}

impl Actor {
    async fn new(url: &str) -> Self {
        let mut settings = RedisSettings::new(url).unwrap();
        settings.timeout = PATIENCE;
        let mut rest = Settings::default();
        (rest.lease_hold, rest.lease_wait) = (Some(Duration::from_secs(2)), Some(Duration::from_millis(500)));
        let builder = CacheBuilder::new().intent(Intent::Production).namespace("proof").settings(rest);
        let builder = builder.max_staleness(BOUND).recovery_timeout(Duration::from_millis(300));
        let builder = builder.adaptive_timeout_enabled(false);
        let truth = redis::Client::open(env::var(TRUTH).unwrap()).unwrap();
        Self {
            cache: builder.backend(Redis::new(settings).unwrap()).build().unwrap(),
            truth: truth.get_multiplexed_async_connection().await.unwrap(),
            log: Mutex::new(File::create(env::var(LOG).unwrap()).unwrap()),
            number: env::var(NUMBER).unwrap().parse().unwrap(),
            own: (0..OWNED).map(|_| AsyncMutex::default()).collect(),
            done: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        }
    }

    async fn act(self: Arc<Self>, mut rng: Rng) {
        while !self.ended.load(SeqCst) {
            match rng.u32(..1_000) {
                0..860 => self.read(rng.u64(..SHARED + OWNED)).await,
                860..910 => self.set(&mut rng).await,
                910..980 => self.forget_some(&mut rng).await,
                980..997 => self.forget_tags(&mut rng).await,
                _ => self.forget_all(&mut rng).await,
            }
            if self.done.fetch_add(1, SeqCst) % 100 == 99 {
                say("100");
            }
            tokio::time::sleep(Duration::from_millis(rng.u64(4..14))).await;
        }
    }

    /// Looks at what L1 has, beside all else: whoever waits for the server reads nothing.
    async fn watch(self: Arc<Self>) {
        let mut rng = Rng::with_seed(self.number);
        while !self.ended.load(SeqCst) {
            let (key, begun) = (rng.u64(..SHARED + OWNED), now());
            let found: Option<(u64, u64)> = self.cache.entry(key).skip_l2_read().get().await.unwrap();
            if let Some((found, version)) = found {
                assert_eq!(found, key, "another key's value");
                self.note(&format!("r {key} {version} {begun}"));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn read(&self, key: u64) {
        let mut truth = self.truth.clone();
        let compute = move || async move {
            let version: Option<u64> = redis::cmd("GET").arg(key).query_async(&mut truth).await?;
            Ok::<_, redis::RedisError>((key, version.unwrap_or(0)))
        };
        let (begun, tag) = (now(), tag(key));
        let entry = self.cache.entry(key).tags(tag.as_deref());
        let (found, version): (u64, u64) = entry.get_or_compute(compute).await.unwrap();
        assert_eq!(found, key, "another key's value");
        self.note(&format!("r {key} {version} {begun}"));
    }

    /// Counts the versions of some keys up, and returns them.
    async fn bump(&self, keys: &[u64]) -> Vec<u64> {
        let mut all = redis::pipe();
        for key in keys {
            all.cmd("INCR").arg(key);
        }
        all.query_async(&mut self.truth.clone()).await.unwrap()
    }

    async fn change(&self, kind: char, keys: &[u64], change: impl AsyncFnOnce(&[u64]) -> Result<(), Error>) {
        let versions = self.bump(keys).await;
        if change(&versions).await.is_ok() {
            let acknowledged = now();
            for (key, version) in keys.iter().zip(versions) {
                self.note(&format!("{kind} {key} {version} {acknowledged}"));
            }
        }
    }

    async fn forget_some(&self, rng: &mut Rng) {
        let key = rng.u64(..SHARED);
        let keys: [u64; 3] = std::array::from_fn(|number| (key + 5 * number as u64) % SHARED);
        match rng.u32(..7) {
            0..4 => self.change('i', &[key], async |_| self.cache.invalidate(key).await).await,
            4 | 5 => self.change('e', &[key], async |_| self.cache.expire(key).await).await,
            _ => self.change('m', &keys, async |_| self.cache.invalidate_many(keys).await).await,
        }
    }

    async fn forget_tags(&self, rng: &mut Rng) {
        let number = rng.u64(..TAGS);
        let (one, next) = (tag(number).unwrap(), tag((number + 1) % TAGS).unwrap());
        let tagged = |tags: [u64; 2]| (0..SHARED).filter(move |key| tags.contains(&(key % TAGS))).collect::<Vec<_>>();
        if rng.u32(..4) > 0 {
            return self.change('t', &tagged([number; 2]), async |_| self.cache.invalidate_tag(&one).await).await;
        }
        let tags = [&*one, &*next];
        self.change('T', &tagged([number, (number + 1) % TAGS]), async |_| self.cache.invalidate_tags(tags).await)
            .await;
    }

    async fn forget_all(&self, rng: &mut Rng) {
        let keys: Vec<u64> = (0..SHARED).collect();
        match rng.u32(..3) {
            0 => self.change('n', &keys, async |_| self.cache.invalidate_namespace().await).await,
            1 => self.change('c', &keys, async |_| self.cache.clear().await).await,
            _ => self.change('x', &keys, async |_| self.cache.expire_all().await).await,
        }
    }

    async fn set(&self, rng: &mut Rng) {
        let own = rng.u64(..OWNED / PROCESSES as u64) * PROCESSES as u64 + self.number;
        let _turn = self.own[own as usize].lock().await;
        let key = SHARED + own;
        let set = async |versions: &[u64]| self.cache.set(key, (key, versions[0])).await;
        self.change('w', &[key], set).await;
    }

    fn note(&self, line: &str) {
        self.log.lock().unwrap().write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}
