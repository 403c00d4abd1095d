//! Shares: parts of the budget of L1 that some entries may take together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The most bytes that some entries take together, and how many they take.
#[derive(Debug)]
pub(crate) struct Share {
    most: usize,
    used: AtomicUsize,
}

impl Share {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, used: AtomicUsize::new(0) })
    }

    #[cfg(test)]
    pub(super) fn used(&self) -> usize {
        self.used.load(Relaxed)
    }
}

/// What one entry takes of a share, until this is dropped.
#[derive(Debug)]
pub(super) struct Charge {
    share: Arc<Share>,
    weight: usize,
}

impl Charge {
    pub(super) fn new(share: Arc<Share>, weight: usize) -> Self {
        share.used.fetch_add(weight, Relaxed);
        Self { share, weight }
    }

    /// Of the same share.
    pub(super) fn of(&self, weight: usize) -> Self {
        Self::new(Arc::clone(&self.share), weight)
    }

    /// Whether it alone is more than the share.
    pub(super) fn is_too_much(&self) -> bool {
        self.weight > self.share.most
    }

    /// Whether an entry of the share has to give way, where this one replaces what takes `older`.
    pub(super) fn is_over(&self, older: usize) -> bool {
        self.share.used.load(Relaxed).saturating_sub(older) > self.share.most
    }

    pub(super) fn weight(&self) -> usize {
        self.weight
    }

    pub(super) fn is_in_share_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.share, &other.share)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.share.used.fetch_sub(self.weight, Relaxed);
    }
}
