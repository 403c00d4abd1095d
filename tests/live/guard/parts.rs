//! A backend whose parts fail alone: what is known of one says nothing of another.

use cachekit::{Capabilities, Error};

use super::*;
use harness::support::forward;

/// Two stores, each with the keys of its parity.
#[derive(Debug)]
struct Halves {
    even: Chaos<Memory>,
    odd: Chaos<Memory>,
}

impl Halves {
    fn of(&self, key: &Key) -> &Chaos<Memory> {
        if self.part(key) == 0 { &self.even } else { &self.odd }
    }

    /// The store of all these keys.
    fn of_all(&self, keys: &[Key]) -> &Chaos<Memory> {
        assert!(keys.iter().all(|key| self.part(key) == self.part(&keys[0])), "a batch of two parts");
        self.of(&keys[0])
    }
}

impl Backend for Halves {
    forward!(even: lease renew fill release ping bus forget);
    fn capabilities(&self) -> Capabilities {
        Capabilities::new("halves").parts(2)
    }
    fn part(&self, key: &Key) -> u16 {
        u16::from(key.as_str().as_bytes().last().unwrap() % 2)
    }
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, Error> {
        self.of(key).get(key).await
    }
    async fn set(&self, key: &Key, value: Bytes, ttl: Duration) -> Result<(), Error> {
        self.of(key).set(key, value, ttl).await
    }
    async fn remove(&self, key: &Key) -> Result<(), Error> {
        self.of(key).remove(key).await
    }
    async fn ttl(&self, key: &Key) -> Result<Option<Duration>, Error> {
        self.of(key).ttl(key).await
    }
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, Error> {
        self.of_all(keys).get_many(keys).await
    }
    async fn set_many(&self, items: Vec<(Key, Bytes)>, ttl: Duration) -> Result<(), Error> {
        for (key, value) in items {
            self.set(&key, value, ttl).await?;
        }
        Ok(())
    }
    async fn remove_many(&self, keys: &[Key]) -> Result<(), Error> {
        self.of_all(keys).remove_many(keys).await
    }
}

type Minimal = CacheBuilder<Halves, Postcard, Intent::Minimal>;
type Numbers = Cache<Halves, Postcard>;

struct Split {
    clock: ManualClock,
    odd: ChaosControl,
    told: Arc<Told>,
    cache: Numbers,
}

/// A cache without L1 over two parts, of which the odd one fails as told to.
fn split(build: impl FnOnce(Minimal) -> Minimal) -> Split {
    let (clock, told) = (ManualClock::new(), Arc::<Told>::default());
    let handed: Arc<dyn cachekit::Clock> = Arc::new(clock.clone());
    let half = || Chaos::with_clock(Memory::with_clock(1 << 20, Arc::clone(&handed)), Arc::clone(&handed));
    let halves = Halves { even: half(), odd: half() };
    let odd = halves.odd.control();
    let builder = CacheBuilder::new().intent(Intent::Minimal).namespace("numbers").backend(halves).l1_enabled(false);
    let builder = builder.clock(Arc::clone(&handed)).observer(Arc::clone(&told) as _).retries(0).stats(true);
    let cache = build(builder.breaker_enabled(true).failure_threshold(3)).build().unwrap();
    Split { clock, odd, told, cache }
}

#[tokio::test]
async fn breaker_of_a_dead_part_leaves_the_other_part_alone() {
    let Split { clock, odd, told, cache } = split(|builder| builder);
    for key in 0..10u32 {
        cache.set(key, key).await.unwrap();
    }
    assert_eq!((cache.health().await.parts, cache.health().await.failing_parts), (2, 0));
    odd.inject_all(Fault::Refuse);
    for _ in 0..3 {
        assert_eq!(cache.get::<u32>(1u32).await.unwrap_err().kind(), ErrorKind::Unavailable);
    }
    let asked = odd.count(Operation::Get);
    for key in 0..10u32 {
        let found = cache.get::<u32>(key).await;
        assert_eq!(found.ok(), (key % 2 == 0).then_some(Some(key)), "{key}");
    }
    assert_eq!(odd.count(Operation::Get), asked, "the dead part was not asked");
    assert_eq!((told.parts.lock().unwrap().as_slice(), cache.stats().breaker_opened), (&[1][..], 1));
    let health = cache.health().await;
    assert_eq!((health.breaker, health.failing_parts), (Some(BreakerState::Open), 1));
    assert!(health.is_up(), "half of it is used");

    odd.heal();
    clock.advance(SECOND / 4);
    for key in [1, 3, 5u32] {
        assert_eq!(cache.get::<u32>(key).await.unwrap(), Some(key));
    }
    let health = cache.health().await;
    assert_eq!((health.breaker, health.failing_parts), (Some(BreakerState::Closed), 0));
}

#[tokio::test]
async fn hung_part_opens_its_breaker_while_the_other_part_answers() {
    let Split { clock, odd, told, cache } = split(|builder| builder.adaptive_timeout_enabled(true));
    for key in 0..100u32 {
        cache.set(key, key).await.unwrap();
        assert_eq!(cache.get(key).await.unwrap(), Some(key));
    }
    odd.inject_all(Fault::Hang);
    for step in 0u32.. {
        if !told.parts.lock().unwrap().is_empty() {
            break;
        }
        assert!(step < 500, "25 seconds");
        let call = cache.clone();
        tokio::spawn(async move { call.get::<u32>(1u32).await });
        settle().await;
        clock.advance(SECOND / 20);
        assert_eq!(cache.get::<u32>(2u32).await.unwrap(), Some(2));
    }
    assert_eq!(*told.parts.lock().unwrap(), [1]);
}

#[tokio::test]
async fn part_that_hangs_leaves_permits_to_the_other() {
    let bounds = |builder: Minimal| builder.backpressure_enabled(true).max_concurrent(8).max_queued(8);
    let Split { odd, told, cache, .. } = split(|builder| bounds(builder).adaptive_timeout_enabled(false));
    cache.set(2u32, 2u32).await.unwrap();
    odd.inject_all(Fault::Hang);
    for key in 0..100u32 {
        let cache = cache.clone();
        tokio::spawn(async move { cache.get::<u32>(2 * key + 1).await });
    }
    odd.hanging().wait_for(6).await;
    settle().await;
    assert_eq!(told.refusals.lock().unwrap().len(), 100 - 6 - 6, "three quarters of the permits, and of the line");
    let readers = (0..20).map(|_| cache.get::<u32>(2u32));
    for reader in readers.collect::<Vec<_>>() {
        assert_eq!(reader.await.unwrap(), Some(2));
    }
}

#[tokio::test]
async fn batch_goes_to_each_part_by_itself() {
    let Split { odd, cache, .. } = split(|builder| builder);
    for key in 0..10u32 {
        cache.set(key, key).await.unwrap();
    }
    let found = cache.get_many::<u32, _>([7, 2, 99, 4, 1u32]).await.unwrap();
    assert_eq!(found, [Some(7), Some(2), None, Some(4), Some(1)], "in the order of the keys");
    odd.inject(Operation::Remove, Fault::Refuse);
    assert_eq!(cache.invalidate_many(0..10u32).await.unwrap_err().kind(), ErrorKind::Unavailable);
    odd.heal();
    for key in [0, 2, 8u32] {
        assert_eq!(cache.get::<u32>(key).await.unwrap(), None, "{key} is gone");
    }
    assert_eq!(odd.count(Operation::Remove), 1);
}
