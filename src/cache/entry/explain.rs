//! Why a call would be answered as it would.

use std::fmt;

use super::Entry;
use crate::backends::Backend;
use crate::cache::Inner;
use crate::codec::Codec;
use crate::error::Error;
use crate::event::{MissReason, Outcome};
use crate::frame;
use crate::key::{IntoKey, Key};
use crate::stored::EntryState;
use crate::tiers::TierEntry;

/// What both tiers have under a key: what [`Entry::explain`] gives.
///
/// `Display` says it in three lines, without the text of the key.
#[derive(Debug, Clone)]
pub struct Explanation {
    key: Key,
    l1: Option<TierEntry>,
    l2: Option<TierEntry>,
}

impl Explanation {
    /// The name of the entry, as the backend has it; it may carry personal data.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// What L1 has. `None` where there is no L1.
    pub fn l1(&self) -> Option<&TierEntry> {
        self.l1.as_ref()
    }

    /// What the backend has. `None` where there is none.
    pub fn l2(&self) -> Option<&TierEntry> {
        self.l2.as_ref()
    }

    /// Whether the entry that would answer has this tag.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.answering().is_some_and(|entry| entry.tags.contains(&frame::fingerprint(tag)))
    }

    /// What a `get` would be answered with, or why it would find nothing. Whether the entry is one of the type that it
    /// asks for, nothing but the call can tell.
    ///
    /// # Errors
    /// The reason of the miss.
    pub fn verdict(&self) -> Result<Outcome, MissReason> {
        let answered = self.answering().map(|entry| match entry.state {
            EntryState::Stale => Outcome::Stale,
            _ if self.l1.as_ref().is_some_and(TierEntry::is_valid) => Outcome::L1Hit,
            _ => Outcome::L2Hit,
        });
        answered.ok_or_else(|| self.reason())
    }

    fn answering(&self) -> Option<&TierEntry> {
        [&self.l1, &self.l2].into_iter().flatten().find(|entry| entry.is_valid())
    }

    /// The last reason, L1 first, but that nothing is known of the key.
    fn reason(&self) -> MissReason {
        let reasons = [&self.l2, &self.l1].into_iter().flatten().map(|entry| match entry.state {
            EntryState::Missing(reason) => reason,
            _ => MissReason::Expired,
        });
        reasons.into_iter().find(|reason| *reason != MissReason::New).unwrap_or(MissReason::New)
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, entry) in [("L1", &self.l1), ("L2", &self.l2)] {
            match entry {
                Some(entry) => writeln!(f, "{name}: {entry}")?,
                None => writeln!(f, "{name}: there is none")?,
            }
        }
        match self.verdict() {
            Ok(outcome) => write!(f, "a get is answered: {outcome:?}"),
            Err(reason) => write!(f, "a get finds nothing: {reason}"),
        }
    }
}

impl<B: Backend, C: Codec, K: IntoKey> Entry<'_, B, C, K> {
    /// Says where the key is in each tier, what its dates, tags and sizes are, and what a `get` would be answered with,
    /// whatever the type of the value. Changes nothing: the look counts as no read, and nothing is kept in L1.
    ///
    /// # Errors
    /// If the key is unusable. A backend that fails is part of the explanation.
    ///
    /// # Cost
    /// A read of the backend, and of the records of its tags where a call needs them. Checks its checksum or its seal.
    ///
    /// # Examples
    /// ```
    /// use cachekit::{CacheBuilder, EntryState, Intent, MissReason, Outcome, backends::Memory};
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let shop = CacheBuilder::new().intent(Intent::Production).namespace("shop").backend(Memory::new(1 << 20)).build()?;
    /// shop.entry(42).tags(["prices"]).set(9.99).await?;
    /// let why = shop.entry(42).explain().await?;
    /// assert!(why.verdict() == Ok(Outcome::L1Hit) && why.has_tag("prices"));
    /// assert_eq!(why.l2().unwrap().state, EntryState::Fresh);
    /// shop.invalidate_tag("prices").await?;
    /// let why = shop.entry(42).explain().await?;
    /// assert_eq!(why.verdict(), Err(MissReason::Tag));
    /// println!("{why}");
    /// # Ok::<(), cachekit::Error>(()) }).unwrap();
    /// ```
    pub async fn explain(self) -> Result<Explanation, Error> {
        self.cache.inner.explain(&self.key).await
    }
}

impl<B: Backend, C: Codec> Inner<B, C> {
    async fn explain(&self, key: &impl IntoKey) -> Result<Explanation, Error> {
        let key = self.key(key)?;
        let (l1, l2) = (self.tiers.explain_l1(&key), self.tiers.explain_l2(&key).await);
        Ok(Explanation { key, l1, l2 })
    }
}
