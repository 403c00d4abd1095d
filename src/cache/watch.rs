//! Watching what processes tell one another.

use std::time::Duration;

use super::Cache;
use crate::backends::Backend;
use crate::bus::{AnyBus, Bus, Position};
use crate::codec::Codec;
use crate::error::{Error, ErrorKind};
use crate::frame;
use crate::key::Key;
use crate::ledger::Change;
use crate::message::Message;

/// What one process told the others, as [`Watch::next`] gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Notice {
    /// Who told it: a number that each cache of each process draws for itself.
    pub source: u64,
    /// What it is about.
    pub what: Told,
}

/// What a [`Notice`] is about.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Told {
    /// The entry of a key was set or invalidated.
    Changed(Key),
    /// The entry of a key expired ahead of its time.
    Expired(Key),
    /// A key that others wait for was computed, or given up.
    Released(Key),
    /// All entries with one of these tags are forgotten; a tag is the [number](Told::tag) of its name.
    Tags(Vec<u64>),
    /// All entries of the namespace are forgotten.
    Everything,
    /// All entries of the namespace expired ahead of their time.
    EverythingExpired,
    /// Something was told that was not heard, or not understood.
    Gap,
}

impl Told {
    fn of(message: Message<'_>) -> Self {
        match message {
            Message::Key(text) => Self::Changed(Key::from_text(text)),
            Message::ExpiredKey(text) => Self::Expired(Key::from_text(text)),
            Message::LeaseEnded(text) => Self::Released(Key::from_text(text)),
            Message::Order(Change::Tags(tags), _) => Self::Tags(tags),
            Message::Order(Change::Expiry { .. }, _) => Self::EverythingExpired,
            Message::Order(Change::Everything | Change::Nothing, _) => Self::Everything,
        }
    }

    /// The number by which [`Tags`](Self::Tags) names a tag.
    ///
    /// # Examples
    /// ```
    /// use cachekit::Told;
    /// assert_ne!(Told::tag("news"), Told::domain("news"));
    /// ```
    pub fn tag(name: &str) -> u64 {
        frame::fingerprint(name)
    }

    /// The number by which [`Tags`](Self::Tags) names all entries of a domain.
    pub fn domain(name: &str) -> u64 {
        frame::domain_tag(name)
    }
}

/// Hears what the processes over one backend tell one another about a namespace, from its first
/// [`next`](Watch::next) on.
#[derive(Debug)]
pub struct Watch {
    bus: AnyBus,
    position: Option<Position>,
}

impl Watch {
    /// What was told since the last call: waits for it at most for `wait`, or a shorter time. The first call answers at
    /// once, with nothing.
    ///
    /// # Errors
    /// What the bus says. The next call goes on.
    pub async fn next(&mut self, wait: Duration) -> Result<Vec<Notice>, Error> {
        let batch = self.bus.receive(self.position.as_ref(), wait).await?;
        let is_gap = batch.gap && self.position.replace(batch.position.clone()).is_some();
        self.position = Some(batch.position);
        let gap = || Notice { source: 0, what: Told::Gap };
        let read = batch.messages.iter().map(|bytes| match Message::read(bytes) {
            Ok((source, message)) => Notice { source, what: Told::of(message) },
            Err(_) => gap(),
        });
        Ok(is_gap.then(gap).into_iter().chain(read).collect())
    }
}

impl<B: Backend, C: Codec> Cache<B, C> {
    /// Listens to what processes tell one another about this namespace, by the bus of the backend: for tools.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if there is no backend, or it has no bus.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use cachekit::{CacheBuilder, Key, Told, backends::Memory};
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let cache = CacheBuilder::new().backend(Memory::new(1 << 20)).namespace("teas").build()?;
    /// let mut watch = cache.watch()?;
    /// watch.next(Duration::ZERO).await?;
    /// cache.invalidate("green").await?;
    /// let heard = watch.next(Duration::from_secs(1)).await?;
    /// assert_eq!(heard[0].what, Told::Changed(Key::new("teas", "green")?));
    /// # Ok::<(), cachekit::Error>(()) }).unwrap();
    /// ```
    pub fn watch(&self) -> Result<Watch, Error> {
        let guard = self.inner.tiers.l2.guard.as_ref();
        let bus = guard.and_then(|guard| guard.bus(&self.inner.namespace.bus()));
        let bus = bus.ok_or_else(|| {
            let name = self.inner.shared.about.backend;
            let message = format!("the backend ({name}) has no bus, so there is nothing to listen to: use Redis");
            Error::new(ErrorKind::Unsupported, message)
        })?;
        Ok(Watch { bus, position: None })
    }
}
