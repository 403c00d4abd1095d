//! Reading into L1 what was hot.

use std::sync::Arc;
use std::time::Duration;

use super::roster::Roster;
use super::{BATCH, Warm};
use crate::backends::Backend;
use crate::cache::Shared;
use crate::codec::Codec;
use crate::error::{Error, ErrorKind};
use crate::key::Key;
use crate::tiers::Tiers;

/// Pauses after a failure of the backend.
const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(1);

/// The task that reads the roster, and the entries that it names.
pub(super) struct Reader<B: Backend, C: Codec> {
    shared: Arc<Shared<B>>,
    warm: Arc<Warm<B, C>>,
}

/// Some entries of one domain, and how it treats them.
struct Few<B: Backend, C: Codec> {
    domain: Box<str>,
    keys: Vec<Key>,
    tiers: Tiers<B, C>,
}

impl<B: Backend, C: Codec> Reader<B, C> {
    pub(super) fn new(shared: &Arc<Shared<B>>, warm: &Arc<Warm<B, C>>) -> Self {
        Self { shared: Arc::clone(shared), warm: Arc::clone(warm) }
    }

    /// Until everything is read, or the deadline is over.
    pub(super) async fn run(self) {
        let mut pause = SHORTEST;
        while !self.shared.tasks.closed() {
            match self.step().await {
                Ok(true) => pause = SHORTEST,
                Ok(false) => return,
                Err(_) if self.warm.tiers.clock.ticks() >= self.warm.end() => {
                    let mut state = self.warm.state();
                    state.is_read = true;
                    return state.waiting.clear();
                }
                Err(_) => {
                    self.warm.tiers.clock.sleep(pause).await;
                    pause = (pause * 2).min(LONGEST);
                }
            }
        }
    }

    /// Reads the roster, or some entries. False if there is nothing left.
    async fn step(&self) -> Result<bool, Error> {
        if self.warm.tiers.local.switches.is_any_paused() {
            return Err(Error::new(ErrorKind::Unavailable, "the cache is paused"));
        }
        self.shared.listen().await;
        if !self.warm.state().is_read {
            return self.read_roster().await.map(|()| true);
        }
        let Some(Few { domain, keys, tiers }) = self.next() else { return Ok(false) };
        let staged = tiers.stage(&keys).await;
        let mut state = self.warm.state();
        match staged {
            Ok(valid) => {
                let gone = keys.into_iter().zip(valid).filter(|(_, is_valid)| !is_valid).map(|(key, _)| key);
                state.gone.entry(domain).or_default().extend(gone);
                Ok(true)
            }
            Err(error) => {
                state.waiting.entry(domain).or_default().splice(..0, keys);
                Err(error)
            }
        }
    }

    async fn read_roster(&self) -> Result<(), Error> {
        let found = self.warm.tiers.recall::<Roster>(&self.warm.name).await?;
        let mut state = self.warm.state();
        state.is_read = true;
        for name in found.unwrap_or_default().0.into_iter().take(self.warm.most) {
            if let Some(key) = name.key(&self.warm.root) {
                state.waiting.entry(name.domain).or_default().push(key);
            }
        }
        Ok(())
    }

    /// The next entries to be read. None where L1 is full: they would take the place of hotter ones.
    fn next(&self) -> Option<Few<B, C>> {
        let is_full = self.warm.tiers.local.l1.as_ref().is_none_or(|l1| l1.is_nearly_full());
        let mut state = self.warm.state();
        if is_full {
            state.waiting.clear();
        }
        let tiers = |domain: &str| self.shared.domains.tiers(domain, &self.warm.tiers);
        let (domain, tiers) = state.waiting.keys().find_map(|domain| Some((domain.clone(), tiers(domain)?)))?;
        let waiting = state.waiting.get_mut(&domain)?;
        let keys = waiting.drain(..waiting.len().min(BATCH)).collect();
        if waiting.is_empty() {
            state.waiting.remove(&domain);
        }
        Some(Few { domain, keys, tiers })
    }
}

impl<B: Backend, C: Codec> Drop for Reader<B, C> {
    /// At its end, or if its runtime has ended: the next call goes on.
    fn drop(&mut self) {
        self.warm.state().is_reading = false;
        self.warm.ended.notify_waiters();
    }
}
