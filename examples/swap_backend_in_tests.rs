//! A service that runs over any backend, and its tests: over memory, with a clock that stands still, and with a backend
//! that fails.
//!
//! ```text
//! cargo run --example swap_backend_in_tests --features testing
//! cargo test --example swap_backend_in_tests --features testing
//! ```
//! A program names the feature `testing` among its dev-dependencies alone; here the example needs it for its tests.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use cachekit::backends::AnyBackend;
use cachekit::codec::Standard;
use cachekit::{Backend, Cache, CacheBuilder, ComputeError, TypedCache};

/// Where rates come from: a fake one in this example.
#[derive(Clone, Default)]
struct Exchange {
    asked: Arc<AtomicU64>,
}

#[derive(Debug, thiserror::Error)]
#[error("the exchange knows no currency {0}")]
struct UnknownCurrency(String);

impl Exchange {
    async fn rate(&self, currency: &str) -> Result<u64, UnknownCurrency> {
        let asked = self.asked.fetch_add(1, Relaxed);
        if currency == "EUR" { Ok(107 + asked) } else { Err(UnknownCurrency(currency.to_owned())) }
    }
}

/// The service. What it is tested with differs in `B` alone, whose default is that of the program. Share it as an `Arc`:
/// `#[derive(Clone)]` would ask for a `B` that is `Clone`, which a backend need not be.
struct Rates<B: Backend = AnyBackend> {
    cache: TypedCache<String, u64, B>,
    exchange: Exchange,
}

impl<B: Backend> Rates<B> {
    fn new(cache: &Cache<B, Standard>, exchange: Exchange) -> Result<Self, cachekit::Error> {
        Ok(Self { cache: cache.typed("rates")?, exchange })
    }

    /// Forgets what a bank has told.
    async fn distrust(&self, bank: &str) -> Result<(), cachekit::Error> {
        self.cache.cache().invalidate_tag(bank).await
    }

    async fn in_dollars(&self, cents: u64, currency: &str) -> Result<u64, ComputeError<UnknownCurrency>> {
        let (exchange, name) = (self.exchange.clone(), currency.to_owned());
        let entry = self.cache.entry(currency).tags(["ecb"]);
        let rate = entry.get_or_compute(move || async move { exchange.rate(&name).await }).await?;
        Ok(cents * rate / 100)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let cache = CacheBuilder::from_env().namespace("bank").ttl(Duration::from_secs(60)).build()?;
    let rates = Rates::new(&cache, Exchange::default())?;
    println!("10.00 EUR are {} cents", rates.in_dollars(1_000, "EUR").await?);
    if let Err(ComputeError::Failed(error)) = rates.in_dollars(1_000, "XXX").await {
        println!("{error}");
    }
    rates.distrust("ecb").await?;
    cache.close(Duration::from_secs(10)).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use cachekit::backends::Memory;
    use cachekit::codec::{Compressed, Postcard};
    use cachekit::testing::{Chaos, Fault, ManualClock};
    use cachekit::{Environment, Intent, Operation};

    use super::*;

    type Settings<B> = CacheBuilder<B, Compressed<Postcard>, Intent::Deterministic<Intent::Production>>;

    /// The cache of the program over another backend: nothing waits, nothing is random. Of what the program relies on, a
    /// test turns on what it is about.
    fn rates_with<B: Backend>(
        backend: B,
        clock: &ManualClock,
        set: impl FnOnce(Settings<B>) -> Settings<B>,
    ) -> Rates<B> {
        let settings = CacheBuilder::from_environment(Environment::default())
            .backend(backend)
            .intent(Intent::Deterministic(Intent::Production))
            .clock(Arc::new(clock.clone()))
            .ttl(Duration::from_secs(60));
        Rates::new(&set(settings).build().unwrap(), Exchange::default()).unwrap()
    }

    fn rates<B: Backend>(backend: B, clock: &ManualClock) -> Rates<B> {
        rates_with(backend, clock, |settings| settings)
    }

    #[tokio::test]
    async fn a_rate_is_asked_for_once_a_minute() {
        let clock = ManualClock::new();
        let rates = rates(Memory::with_clock(1 << 20, Arc::new(clock.clone())), &clock);
        assert_eq!(rates.in_dollars(1_000, "EUR").await.unwrap(), 1_070);
        clock.advance(Duration::from_secs(59));
        assert_eq!(rates.in_dollars(1_000, "EUR").await.unwrap(), 1_070);
        clock.advance(Duration::from_secs(1));
        assert_eq!(rates.in_dollars(1_000, "EUR").await.unwrap(), 1_080);
    }

    #[tokio::test]
    async fn tags_need_the_ledger_and_stale_rates_work_in_the_background() {
        let clock = ManualClock::new();
        let set = |settings: Settings<_>| settings.namespace_index(true).background(true).swr_enabled(true);
        let rates = rates_with(Memory::with_clock(1 << 20, Arc::new(clock.clone())), &clock, set);
        assert_eq!(rates.in_dollars(1_000, "EUR").await.unwrap(), 1_070);
        clock.advance(Duration::from_secs(30));
        assert_eq!(rates.in_dollars(1_000, "EUR").await.unwrap(), 1_070, "stale, and renewed behind the answer");
        while rates.cache.cache().pending() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(rates.in_dollars(1_000, "EUR").await.unwrap(), 1_080);
        rates.distrust("ecb").await.unwrap();
        assert_eq!(rates.in_dollars(1_000, "EUR").await.unwrap(), 1_090);
    }

    #[tokio::test]
    async fn two_processes_share_a_rate() {
        let (clock, backend) = (ManualClock::new(), Memory::new(1 << 20));
        let (one, two) = (rates(backend.clone(), &clock), rates(backend, &clock));
        assert_eq!(one.in_dollars(1_000, "EUR").await.unwrap(), 1_070);
        assert_eq!(two.in_dollars(1_000, "EUR").await.unwrap(), 1_070);
        assert_eq!(two.exchange.asked.load(Relaxed), 0);
    }

    #[tokio::test]
    async fn a_backend_that_fails_costs_a_computation_and_no_error() {
        let (clock, chaos) = (ManualClock::new(), Chaos::new(Memory::new(1 << 20)));
        let (rates, faults) = (rates(chaos.clone(), &clock), chaos.control());
        faults.inject(Operation::Get, Fault::Refuse);
        faults.inject(Operation::Set, Fault::Refuse);
        assert_eq!(rates.in_dollars(1_000, "EUR").await.unwrap(), 1_070);
        assert_eq!(rates.in_dollars(1_000, "EUR").await.unwrap(), 1_070, "memory has it");
        assert_eq!(rates.exchange.asked.load(Relaxed), 1);
    }

    #[tokio::test]
    async fn an_error_is_that_of_the_exchange_and_is_not_kept() {
        let rates = rates(Memory::new(1 << 20), &ManualClock::new());
        for _ in 0..2 {
            let error = rates.in_dollars(1_000, "XXX").await.unwrap_err();
            assert_eq!(error.failed().unwrap().to_string(), "the exchange knows no currency XXX");
        }
        assert_eq!(rates.exchange.asked.load(Relaxed), 2);
    }
}
