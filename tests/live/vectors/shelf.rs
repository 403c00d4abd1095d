//! Items by the text of their key, as other processes leave them on a server.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use cachekit::backends::Memory;
use cachekit::{Backend, Capabilities, Error, Forgotten, Key, Order};

use harness::support::forward;

/// A backend whose items a test can read and plant.
#[derive(Debug, Clone)]
pub(super) struct Shelf {
    items: Arc<Mutex<BTreeMap<String, Bytes>>>,
    memory: Memory,
    parts: u16,
}

impl Shelf {
    /// A shelf with these items.
    pub(super) fn with<const N: usize>(items: [(&str, Vec<u8>); N]) -> Self {
        let items = items.into_iter().map(|(key, bytes)| (key.to_owned(), bytes.into())).collect();
        Self { items: Arc::new(Mutex::new(items)), memory: Memory::new(1 << 20), parts: 1 }
    }

    /// The same, of so many parts. All entries are in the first.
    pub(super) fn of_parts(self, parts: u16) -> Self {
        Self { parts, ..self }
    }

    pub(super) fn put(&self, key: &str, bytes: Vec<u8>) {
        self.items.lock().unwrap().insert(key.to_owned(), bytes.into());
    }

    pub(super) fn bytes(&self, key: &str) -> Bytes {
        let items = self.items.lock().unwrap();
        items.get(key).unwrap_or_else(|| panic!("no `{key}` among {:?}", items.keys())).clone()
    }

    /// The keys of all items, in order.
    pub(super) fn keys(&self) -> Vec<String> {
        self.items.lock().unwrap().keys().cloned().collect()
    }
}

impl Backend for Shelf {
    forward!(memory: lease renew fill release ping bus part);
    fn capabilities(&self) -> Capabilities {
        Capabilities::new("shelf").parts(self.parts)
    }
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, Error> {
        Ok(self.items.lock().unwrap().get(key.as_str()).cloned())
    }
    async fn set(&self, key: &Key, value: Bytes, _: Duration) -> Result<(), Error> {
        self.items.lock().unwrap().insert(key.as_str().to_owned(), value);
        Ok(())
    }
    async fn remove(&self, key: &Key) -> Result<(), Error> {
        self.items.lock().unwrap().remove(key.as_str());
        Ok(())
    }
    async fn ttl(&self, key: &Key) -> Result<Option<Duration>, Error> {
        Ok(self.get(key).await?.map(|_| Duration::from_secs(660)))
    }
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, Error> {
        let items = self.items.lock().unwrap();
        Ok(keys.iter().map(|key| items.get(key.as_str()).cloned()).collect())
    }
    async fn set_many(&self, items: Vec<(Key, Bytes)>, _: Duration) -> Result<(), Error> {
        self.items.lock().unwrap().extend(items.into_iter().map(|(key, value)| (key.as_str().to_owned(), value)));
        Ok(())
    }
    async fn remove_many(&self, keys: &[Key]) -> Result<(), Error> {
        self.items.lock().unwrap().retain(|key, _| !keys.iter().any(|removed| removed.as_str() == key));
        Ok(())
    }
    async fn forget(&self, order: &Order) -> Result<Forgotten, Error> {
        let mut items = self.items.lock().unwrap();
        let found: Vec<_> = order.keys().iter().map(|key| items.get(key.as_str()).cloned()).collect();
        let (changes, forgotten) = order.carry_out(&found);
        items.extend(changes.into_iter().map(|(key, bytes)| (key.as_str().to_owned(), bytes)));
        Ok(forgotten)
    }
}
