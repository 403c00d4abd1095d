//! What this process holds, and how it forgets.
//!
//! L1, and the fences of what is under way: forgetting one without the other would let an old value back in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use super::reclaim::Reclaim;
use crate::clock::Clock;
use crate::config::Policy;
use crate::event::Tier;
use crate::key::Key;
use crate::memory::{L1, Weighers};
use crate::order::{Belief, Fence, Fences, Orders};
use crate::switches::Switches;
use crate::tasks::Tasks;

#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) l1: Option<Arc<L1>>,
    /// Beside what a hit reads anyway.
    pub(crate) switches: Switches,
    pub(crate) fences: Fences,
    pub(crate) orders: Arc<Orders>,
    /// Of L1.
    reclaim: Option<Reclaim>,
    /// Whether L1 holds nothing more.
    shut: AtomicBool,
}

impl Local {
    pub(crate) fn new(
        policy: &Policy,
        belief: Option<Belief>,
        tasks: &Arc<Tasks>,
        clock: &Arc<dyn Clock>,
        weighers: Weighers,
    ) -> Arc<Self> {
        let orders = Orders::new(belief, clock.ticks());
        let l1 = policy.l1_max_size.map(|size| L1::new(size, Arc::clone(&orders)).weighed_by(weighers));
        #[cfg(feature = "advisor")]
        let l1 = l1.map(|l1| l1.advised(policy.advisor));
        let l1 = l1.map(Arc::new);
        let reclaim = l1.as_ref().map(|l1| Reclaim::new(l1, &orders, tasks, clock));
        let (switches, fences) = (Switches::new(policy.l1_paused, policy.l2_paused), Fences::new(&orders));
        Arc::new(Self { l1, switches, fences, orders, reclaim, shut: AtomicBool::new(false) })
    }

    /// Takes a fence of `key`.
    pub(crate) fn fence(&self, key: &Key) -> Fence {
        self.fences.take(key)
    }

    /// Drops `key` from L1. What is under way may put it back.
    pub(crate) fn evict(&self, key: &Key) {
        if let Some(l1) = &self.l1 {
            l1.remove(key);
        }
    }

    /// Forgets `key`, which another process changed, and voids what is under way for it.
    pub(crate) fn forget(&self, key: &Key) {
        self.fence(key).hear();
        self.evict(key);
    }

    /// Wakes the flights that wait for the lease of `key`, which has ended.
    pub(crate) fn wake(&self, key: &Key) {
        self.fences.wake(key);
    }

    /// Lets `key` expire in L1 at the tick `now`. What is under way may put it back.
    pub(crate) fn expire(&self, key: &Key, now: u64) {
        if let Some(l1) = &self.l1 {
            l1.expire(key, now);
        }
    }

    /// Lets `key` expire, as another process asks, and voids what is under way for it.
    pub(crate) fn hear_expiry(&self, key: &Key, now: u64) {
        self.fence(key).hear();
        self.expire(key, now);
    }

    /// Lets everything expire at the tick `now`, and voids all that is under way.
    pub(crate) fn expire_all(&self, now: u64) {
        self.orders.expire_all(now);
    }

    /// Lets what was made since an expiry began expire with it.
    pub(crate) fn end_expiry(&self, now: u64) {
        self.orders.end_expiry(now);
    }

    /// Forgets everything, what flights under way would fall back on included, and gives the memory of L1 back.
    pub(crate) fn clear(&self) {
        self.orders.clear();
        if let Some(l1) = &self.l1 {
            l1.clear();
        }
    }

    /// Forgets everything, and voids all that is under way. What L1 holds goes when it is next looked at.
    pub(crate) fn forget_all(&self) {
        self.orders.forget_all();
    }

    /// Believes nothing that L1 holds: what others told may have been missed.
    pub(crate) fn miss(&self) {
        self.orders.miss();
    }

    /// Whether L1 takes nothing in.
    pub(crate) fn keeps_nothing(&self) -> bool {
        self.is_shut() || self.switches.is_paused(Tier::L1)
    }

    /// What others change is no longer heard, so L1 is to hold nothing more.
    pub(crate) fn shut(&self) {
        self.shut.store(true, SeqCst);
    }

    fn is_shut(&self) -> bool {
        self.shut.load(SeqCst)
    }

    /// Gives the memory of what L1 has forgotten back, in the background.
    pub(crate) fn reclaim(&self) {
        if let Some(reclaim) = &self.reclaim {
            reclaim.begin();
        }
    }

    /// Lets what has this tag expire at the tick `now`, and voids what is under way if it turns out to have it.
    pub(crate) fn expire_tag(&self, tag: u64, now: u64) {
        self.orders.expire_tag(tag, now);
    }

    /// Lets what has this tag and was made since its expiry began expire with it.
    pub(crate) fn end_expiry_of(&self, tag: u64) {
        self.orders.end_expiry_of(tag);
    }

    /// Forgets what has this tag, and voids what is under way if it turns out to have it.
    pub(crate) fn forget_tag(&self, tag: u64) {
        self.orders.forget_tag(tag);
    }
}
