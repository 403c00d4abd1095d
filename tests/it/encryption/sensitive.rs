//! Values that only encrypting caches take.

use cachekit::backends::Memory;
use cachekit::codec::Encrypted;
use cachekit::{Cache, Codec, Sensitive, Storable};

use super::Spy;
use super::{contains, keyring, secure};
use harness::support::Broken;

/// Takes what any cache takes, whatever its codec.
async fn put<T: cachekit::Value + Clone, C: Codec>(cache: &Cache<Spy, C>, value: T) -> T {
    cache.set("generic", value).await.unwrap();
    cache.get("generic").await.unwrap().unwrap()
}

#[tokio::test]
async fn a_sensitive_value_is_stored_and_read_where_it_is_encrypted() {
    let spy = Spy::new();
    let cache = secure(&spy, keyring(1));
    let load = || async { Ok::<_, Broken>(Sensitive::new("telltale".to_owned())) };
    for _ in 0..2 {
        assert_eq!(cache.get_or_compute("42", load).await.unwrap().expose(), "telltale");
        assert_eq!(cache.entry("42").get_or_compute(load).await.unwrap().expose(), "telltale");
    }
    assert_eq!(cache.get::<Sensitive<String>>("42").await.unwrap().unwrap().into_inner(), "telltale");
    cache.set("43", Sensitive::new(7u32)).await.unwrap();
    assert_eq!(cache.entry("43").skip_l1_read().get::<Sensitive<u32>>().await.unwrap(), Some(Sensitive::new(7)));
    assert_eq!(cache.get::<u32>("43").await.unwrap(), Some(7), "an entry of its form");
    assert!(spy.all().iter().all(|(_, entry)| !contains(entry, b"tale")));
    assert_eq!(put(&cache, 7u32).await, 7);
}

/// A type of the program's own that serde knows nothing of.
#[derive(Debug, PartialEq)]
struct Card {
    number: u64,
}

impl<C: Codec> Storable<Encrypted<C>> for Card {
    type Form = u64;
    fn into_form(self) -> u64 {
        self.number
    }
    fn from_form(number: u64) -> Self {
        Self { number }
    }
}

#[tokio::test]
async fn a_type_can_be_marked_by_hand() {
    let cache = secure(&Memory::new(1 << 20), keyring(1));
    let card = cache.get_or_compute("42", || async { Ok::<_, Broken>(Card { number: 4_111 }) }).await.unwrap();
    assert_eq!(card, Card { number: 4_111 });
    assert_eq!(cache.get::<Card>("42").await.unwrap(), Some(card));
}

#[test]
fn a_sensitive_value_shows_nothing() {
    let value = Sensitive::new(String::from("telltale"));
    assert_eq!(format!("{value:?} {value:#?}"), "Sensitive(..) Sensitive(..)");
}
