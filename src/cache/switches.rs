//! Pausing and resuming a cache, for incidents.
//!
//! A call that begins while a tier is paused is one with options that skip that tier. What is under way when the pause
//! begins asks again before each step of its own.

use super::{Cache, Inner};
use crate::backends::Backend;
use crate::codec::Codec;
use crate::event::{Event, Tier};
use crate::invalidate::Subscription;
use crate::key::Key;
use crate::tiers::Options;

impl<B: Backend, C: Codec> Cache<B, C> {
    /// Lets every call go to its computation: nothing is read from L1 or the backend, and nothing is stored there, until
    /// [`resume`](Cache::resume). For incidents, when what the cache answers, or the backend itself, is the trouble.
    ///
    /// Reaches all clones, tenants and domains. The variable `CACHEKIT_PAUSED=true` does it from the start. While it lasts:
    /// - Calls of one key still share one computation. Its failure is returned: no older value stands in for it.
    /// - `get` finds nothing, and `exists` says no.
    /// - `set` stores nothing, and forgets the older value as [`invalidate`](Cache::invalidate) does.
    /// - Invalidations and expiries of all ranges work as ever, here, in the backend and in other processes, and are
    ///   tried again in the background where they fail. So nothing is believed after the pause that was forgotten in it.
    /// - What other processes change is not listened to. `resume` makes up for it.
    /// - Computations under way go on, are answered, and are not stored; an operation on the backend that has begun
    ///   ends, and leases are given back.
    ///
    /// Beside those of changes, of [`ping`](Cache::ping) and of [`health`](Cache::health), no command is sent to the
    /// backend: the names of hot entries are not saved for a [warm start](Cache::warm_up), either.
    /// [`Event::Switched`](crate::Event::Switched) tells of the pause, and each call is counted in
    /// [`Stats::l1_bypassed`](crate::Stats::l1_bypassed) and [`Stats::l2_bypassed`](crate::Stats::l2_bypassed).
    ///
    /// # Cost
    /// A hit asks whether L1 is paused, which is one load.
    ///
    /// # Examples
    /// ```
    /// use cachekit::CacheBuilder;
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let prices = CacheBuilder::new().namespace("prices").build()?;
    /// let price = async |now: u32| prices.get_or_compute(7, move || async move { Ok::<_, std::io::Error>(now) }).await;
    /// assert_eq!((price(100).await?, price(200).await?), (100, 100));
    /// prices.pause();
    /// assert_eq!((price(300).await?, price(400).await?), (300, 400));
    /// assert_eq!(prices.stats().l1_bypassed, 2);
    /// prices.resume();
    /// assert_eq!((price(500).await?, price(600).await?), (500, 500));
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub fn pause(&self) {
        self.pause_tier(Tier::L1);
        self.pause_tier(Tier::L2);
    }

    /// Pauses one tier as [`pause`](Cache::pause) does both. The other goes on.
    ///
    /// While the backend alone is paused, L1 answers and keeps what is computed, and other processes are still heard. What
    /// is computed meanwhile is not in the backend, which may have an older value, until that expires.
    pub fn pause_tier(&self, tier: Tier) {
        if self.inner.tiers.local.switches.pause(tier) {
            self.inner.shared.observers.tell(Event::Switched { tier, paused: true });
        }
    }

    /// Ends a pause of either tier, or of both.
    ///
    /// L1 may have missed changes, and values that were read or computed past it. So it believes nothing from before, and
    /// each entry is read from the backend once more; without a backend, it is computed anew. What the backend holds is as
    /// good as before the pause: if the incident left wrong values there, [`clear`](Cache::clear) it first.
    pub fn resume(&self) {
        self.inner.resume(&[Tier::L1, Tier::L2]);
    }

    /// Ends the pause of one tier.
    pub fn resume_tier(&self, tier: Tier) {
        self.inner.resume(&[tier]);
    }

    /// Whether a tier is paused.
    pub fn is_paused(&self, tier: Tier) -> bool {
        self.inner.tiers.local.switches.is_paused(tier)
    }
}

impl<B: Backend, C: Codec> Inner<B, C> {
    fn resume(&self, tiers: &[Tier]) {
        let switches = &self.tiers.local.switches;
        // While both are paused, the bus is not read.
        if switches.are_both_paused() || tiers.contains(&Tier::L1) && switches.is_paused(Tier::L1) {
            match &self.shared.subscription {
                Some(Subscription(bus_reader)) => bus_reader.miss(),
                None => self.tiers.local.miss(),
            }
        }
        for tier in tiers.iter().copied().filter(|tier| switches.resume(*tier)) {
            self.shared.observers.tell(Event::Switched { tier, paused: false });
        }
    }

    /// The options of a call that begins now, which goes by what is paused. Tells of that.
    pub(super) fn bypass(&self, key: &Key, options: Options) -> Options {
        let passing = self.without_paused(options);
        if passing.skip_l1_write && !options.skip_l1_write && self.tiers.local.l1.is_some() {
            self.observers.tell(Event::Bypassed { key, tier: Tier::L1 });
        }
        if passing.skip_l2_write && !options.skip_l2_write && self.tiers.l2.guard.is_some() {
            self.observers.tell(Event::Bypassed { key, tier: Tier::L2 });
        }
        passing
    }

    /// These options without the tiers that are paused.
    pub(super) fn without_paused(&self, options: Options) -> Options {
        let paused = |tier| self.tiers.local.switches.is_paused(tier);
        let Options { skip_l1_read, skip_l1_write, skip_l2_read, skip_l2_write, .. } = options;
        let (l1, l2) = (paused(Tier::L1), paused(Tier::L2));
        Options {
            skip_l1_read: skip_l1_read || l1,
            skip_l1_write: skip_l1_write || l1,
            skip_l2_read: skip_l2_read || l2,
            skip_l2_write: skip_l2_write || l2,
            ..options
        }
    }
}
