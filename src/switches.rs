//! Switches: the tiers that a pause keeps calls from.

use std::sync::atomic::{AtomicU8, Ordering::SeqCst};

use tokio::sync::Notify;

use crate::event::Tier;

/// Which tiers are paused. A hit asks, so that is one load.
#[derive(Debug)]
pub(crate) struct Switches {
    paused: AtomicU8,
    resumed: Notify,
}

const BOTH: u8 = bit(Tier::L1) | bit(Tier::L2);

const fn bit(tier: Tier) -> u8 {
    match tier {
        Tier::L1 => 1,
        Tier::L2 => 2,
    }
}

impl Switches {
    /// With these tiers paused.
    pub(crate) fn new(l1: bool, l2: bool) -> Self {
        let paused = [(l1, Tier::L1), (l2, Tier::L2)].into_iter().filter(|(is_paused, _)| *is_paused);
        let paused = paused.fold(0, |all, (_, tier)| all | bit(tier));
        Self { paused: AtomicU8::new(paused), resumed: Notify::new() }
    }

    #[inline]
    pub(crate) fn is_paused(&self, tier: Tier) -> bool {
        self.paused.load(SeqCst) & bit(tier) != 0
    }

    pub(crate) fn is_any_paused(&self) -> bool {
        self.paused.load(SeqCst) != 0
    }

    pub(crate) fn are_both_paused(&self) -> bool {
        self.paused.load(SeqCst) == BOTH
    }

    /// Pauses a tier. Whether it was not paused before.
    pub(crate) fn pause(&self, tier: Tier) -> bool {
        self.paused.fetch_or(bit(tier), SeqCst) & bit(tier) == 0
    }

    /// Lets calls use a tier again. Whether it was paused before.
    pub(crate) fn resume(&self, tier: Tier) -> bool {
        let was_paused = self.paused.fetch_and(!bit(tier), SeqCst) & bit(tier) != 0;
        self.resumed.notify_waiters();
        was_paused
    }

    /// Waits until calls use one of the tiers.
    pub(crate) async fn resumed(&self) {
        loop {
            // Made before the look, so that no notice falls between.
            let notice = self.resumed.notified();
            if !self.are_both_paused() {
                return;
            }
            notice.await;
        }
    }
}
