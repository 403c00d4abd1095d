//! How long operations may take, by how long the last ones took.

use std::time::Duration;

use cachekit::testing::Fault;
use cachekit::{ErrorKind, Operation};

use super::{Builder, SECOND, Setup, setup};
use harness::support::settle;

impl Setup {
    /// How long a read may take that is never answered.
    async fn timeout(&self) -> Duration {
        self.control.inject(Operation::Get, Fault::Hang);
        let asked = self.control.count(Operation::Get);
        let call = tokio::spawn({
            let cache = self.cache.clone();
            async move { cache.get::<u32>(asked).await }
        });
        while self.control.count(Operation::Get) == asked {
            settle().await;
        }
        let mut waited = Duration::ZERO;
        while !call.is_finished() {
            self.clock.advance(SECOND / 100);
            waited += SECOND / 100;
            settle().await;
        }
        assert_eq!(call.await.unwrap().unwrap_err().kind(), ErrorKind::Timeout);
        self.control.heal();
        waited
    }

    /// Reads so often, each time for so long.
    async fn read(&self, times: usize, latency: Duration) {
        for _ in 0..times {
            self.control.inject_next(1, Operation::Get, Fault::Slow(latency));
            let call = tokio::spawn({
                let cache = self.cache.clone();
                async move { cache.get::<u32>(1u32).await }
            });
            // The operation, and its timeout.
            self.clock.wait_for_sleepers(2).await;
            self.clock.advance(latency);
            assert_eq!(call.await.unwrap().unwrap(), None);
        }
    }
}

#[tokio::test]
async fn a_slow_backend_costs_no_more_than_its_own_percentile_allows() {
    let setup = setup(|builder| builder.breaker_enabled(false));
    assert_eq!(setup.timeout().await, SECOND, "before anything is known");
    for _ in 0..99 {
        assert_eq!(setup.cache.get::<u32>(1u32).await.unwrap(), None);
    }
    assert_eq!(setup.timeout().await, SECOND / 10, "the very next one");
    assert_eq!(setup.timeout().await, SECOND * 4 / 10, "while nothing is heard, there is more time");
    let mut longer = Duration::ZERO;
    for _ in 0..10 {
        assert_eq!(setup.cache.get::<u32>(1u32).await.unwrap(), None);
        longer = setup.timeout().await;
    }
    assert!(longer > SECOND / 10 && longer <= SECOND * 5, "{longer:?}: more than one in twenty took longer");
}

/// The timeout after ten reads of a second and then ten that take no time.
async fn learned(build: impl FnOnce(Builder) -> Builder) -> Duration {
    let setup = setup(|builder| build(builder.breaker_enabled(false).adaptive_initial(4 * SECOND)));
    assert_eq!(setup.timeout().await, 4 * SECOND, "`adaptive_initial`");
    setup.read(10, SECOND).await;
    for _ in 0..10 {
        assert_eq!(setup.cache.get::<u32>(1u32).await.unwrap(), None);
    }
    setup.timeout().await
}

#[tokio::test]
async fn the_window_and_the_percentile_decide_which_reads_count() {
    let all = learned(|builder| builder).await;
    assert!((SECOND * 3 / 2..SECOND * 5).contains(&all), "95 of 100 reads: {all:?}");
    let last = learned(|builder| builder.adaptive_window(10)).await;
    assert_eq!(last, SECOND / 10, "of the last ten, none took longer than the shortest timeout");
    let few = learned(|builder| builder.adaptive_percentile(20.0)).await;
    assert_eq!(few, SECOND / 10, "20 of 100 reads");
}
