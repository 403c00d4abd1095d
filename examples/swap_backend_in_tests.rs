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

/// The service. What it is tested with differs in `B` alone, whose default is that of the program.
#[derive(Clone)]
struct Rates<B: Backend = AnyBackend> {
    cache: TypedCache<String, u64, B>,
    exchange: Exchange,
}

impl<B: Backend> Rates<B> {
    fn new(cache: &Cache<B, Standard>, exchange: Exchange) -> Result<Self, cachekit::Error> {
        Ok(Self { cache: cache.typed("rates")?, exchange })
    }

    async fn in_dollars(&self, cents: u64, currency: &str) -> Result<u64, ComputeError<UnknownCurrency>> {
        let (exchange, name) = (self.exchange.clone(), currency.to_owned());
        let rate = self.cache.get_or_compute(currency, move || async move { exchange.rate(&name).await }).await?;
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
    cache.close(Duration::from_secs(10)).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use cachekit::backends::Memory;
    use cachekit::testing::{Chaos, Fault, ManualClock};
    use cachekit::{Environment, Intent, Operation};

    use super::*;

    /// The cache of the program over another backend: nothing waits, nothing is random.
    fn rates<B: Backend>(backend: B, clock: &ManualClock) -> Rates<B> {
        let cache = CacheBuilder::from_environment(Environment::default())
            .backend(backend)
            .intent(Intent::Deterministic(Intent::Production))
            .clock(Arc::new(clock.clone()))
            .ttl(Duration::from_secs(60))
            .build()
            .unwrap();
        Rates::new(&cache, Exchange::default()).unwrap()
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
