//! How loaded values are kept, and why they had to be loaded.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use cachekit::{CacheBuilder, Computed, Intent, Loader, MissReason, Outcome, blocking};

use harness::support::Broken;

/// Prices, each loaded price higher than the one before; items beginning with `?` are not kept.
#[derive(Default)]
struct Prices(AtomicU32);

fn decided(item: &str, price: u32) -> Computed<u32> {
    let computed = Computed::new(price).tags([item, "prices"]).ttl(Duration::from_secs(60));
    if item.starts_with('?') { computed.do_not_store() } else { computed }
}

impl Loader for Prices {
    type Key = String;
    type Value = u32;
    type Error = Broken;

    async fn load(&self, _: &String) -> Result<u32, Broken> {
        Ok(self.0.fetch_add(1, SeqCst))
    }

    fn decide(&self, item: &String, price: u32) -> Computed<u32> {
        decided(item, price)
    }
}

impl blocking::Loader for Prices {
    type Key = String;
    type Value = u32;
    type Error = Broken;

    fn load(&self, _: &String) -> Result<u32, Broken> {
        Ok(self.0.fetch_add(1, SeqCst))
    }

    fn decide(&self, item: &String, price: u32) -> Computed<u32> {
        decided(item, price)
    }
}

#[tokio::test]
async fn a_loader_decides_tags_life_and_whether_its_values_are_kept() {
    let shop = CacheBuilder::new().intent(Intent::Minimal).build().unwrap();
    let prices = shop.typed("prices").unwrap().with_loader(Prices::default());
    let (lamp, desk, odd) = ("lamp".to_owned(), "desk".to_owned(), "?".to_owned());
    assert_eq!((prices.get(&lamp).await.unwrap(), prices.get(&lamp).await.unwrap()), (0, 0));
    let left = prices.typed().remaining(&lamp).await.unwrap().unwrap();
    assert!(left <= Duration::from_secs(60), "{left:?}");
    shop.invalidate_tag("lamp").await.unwrap();
    let fetched = prices.fetch(&lamp).await.unwrap();
    assert_eq!(
        (*fetched.value(), fetched.outcome(), fetched.miss_reason()),
        (1, Outcome::Computed, Some(MissReason::Tag))
    );
    assert!(fetched.has_tag("lamp") && fetched.has_tag("prices"));
    assert_eq!(prices.fetch(&lamp).await.unwrap().miss_reason(), None, "a hit");
    let many = prices.get_many([lamp.clone(), desk.clone(), odd.clone()]).await;
    assert_eq!(many.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!((prices.get(&desk).await.unwrap(), prices.get(&odd).await.unwrap()), (2, 4), "what is odd is not kept");
    assert_eq!(prices.refresh(&desk).await.unwrap(), 5);
    shop.invalidate_tag("prices").await.unwrap();
    assert_eq!((prices.get(&lamp).await.unwrap(), prices.get(&desk).await.unwrap()), (6, 7));
}

#[test]
fn a_blocking_loader_decides_as_well() {
    let shop = CacheBuilder::new().intent(Intent::Minimal).build_blocking().unwrap();
    let prices = shop.typed("prices").unwrap().with_loader(Prices::default());
    let (lamp, desk) = ("lamp".to_owned(), "desk".to_owned());
    assert_eq!((prices.get(&lamp).unwrap(), prices.get(&desk).unwrap()), (0, 1));
    shop.invalidate_tag("lamp").unwrap();
    assert_eq!((prices.get(&lamp).unwrap(), prices.get(&desk).unwrap()), (2, 1));
    shop.invalidate_tag("prices").unwrap();
    assert_eq!(prices.get(&desk).unwrap(), 3);
}

#[tokio::test]
async fn a_call_that_joins_knows_why_the_value_was_computed() {
    let cache = CacheBuilder::new().intent(Intent::Minimal).build().unwrap();
    let load = || async {
        tokio::task::yield_now().await;
        Ok::<_, Broken>(1u32)
    };
    let (one, two) = tokio::join!(cache.fetch(7, load), cache.fetch(7, load));
    for (fetched, outcome) in [(one.unwrap(), Outcome::Computed), (two.unwrap(), Outcome::Joined)] {
        assert_eq!((fetched.outcome(), fetched.miss_reason()), (outcome, Some(MissReason::New)));
    }
}
