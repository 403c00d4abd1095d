//! Saving the roster, now and then and on `close`.

use std::collections::HashMap;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::yield_now;

use super::Warm;
use super::roster::{Hottest, Roster};
use crate::backends::Backend;
use crate::cache::Shared;
use crate::codec::Codec;
use crate::memory::Progress;

/// Between two times.
const PAUSE: Duration = Duration::from_secs(60);
/// How long a roster is kept that no process renews.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);
/// How many locks of L1 are taken without a break.
const LOCKS: usize = 16;

impl<B: Backend, C: Codec> Warm<B, C> {
    /// Saves which entries of L1 are hot, together with what other processes have found so.
    pub(in crate::cache) async fn save(&self, shared: &Shared<B>) {
        if !self.is_on() || self.tiers.local.switches.is_any_paused() {
            return;
        }
        let Some(hottest) = self.hottest(shared.domains.by_tag()).await else { return };
        // A backend that fails has the roster of before, or none: the next start is colder, and no call fails.
        let Ok(older) = self.tiers.recall::<Roster>(&self.name).await else { return };
        let now = self.tiers.clock.wall() / 1_000;
        let roster = Roster::merge(hottest, older.unwrap_or_default(), now);
        if !roster.0.is_empty() {
            let _ = self.tiers.note(&self.name, roster, KEPT).await;
        }
    }

    /// Walks through L1, a few entries at a time. `None` if there is none.
    async fn hottest(&self, domains: HashMap<u64, Box<str>>) -> Option<Hottest<'_>> {
        let l1 = self.tiers.local.l1.as_ref()?;
        let (mut hottest, mut progress) = (Hottest::new(self.most, &self.root, domains), Progress::default());
        loop {
            let now = self.tiers.clock.ticks();
            if (0..LOCKS).any(|_| l1.walk(&mut progress, now, &mut |entry| hottest.see(&entry))) {
                return Some(hottest);
            }
            yield_now().await;
        }
    }
}

/// The task that saves the roster now and then. It does not keep the cache.
pub(super) struct Saver<B: Backend, C: Codec> {
    shared: Weak<Shared<B>>,
    warm: Weak<Warm<B, C>>,
}

impl<B: Backend, C: Codec> Saver<B, C> {
    /// If there is none.
    pub(super) fn begin(shared: &Arc<Shared<B>>, warm: &Arc<Warm<B, C>>) {
        if !warm.is_saving.swap(true, SeqCst) {
            let saver = Self { shared: Arc::downgrade(shared), warm: Arc::downgrade(warm) };
            // Where nothing can be spawned, the next call tries again.
            let _ = shared.tasks.spawn_beside(saver.run());
        }
    }

    async fn run(self) {
        loop {
            let Some(clock) = self.warm.upgrade().map(|warm| Arc::clone(&warm.tiers.clock)) else { return };
            clock.sleep(PAUSE.mul_f64(0.9 + 0.2 * fastrand::f64())).await;
            let (Some(shared), Some(warm)) = (self.shared.upgrade(), self.warm.upgrade()) else { return };
            if shared.tasks.closed() {
                return;
            }
            warm.save(&shared).await;
        }
    }
}

impl<B: Backend, C: Codec> Drop for Saver<B, C> {
    /// If its runtime ended: lets the next call begin anew.
    fn drop(&mut self) {
        if let Some(warm) = self.warm.upgrade() {
            warm.is_saving.store(false, SeqCst);
        }
    }
}
