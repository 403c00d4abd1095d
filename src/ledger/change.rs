//! What an order is about.

/// The most tags of one order: they fit into one message of a bus, with the times of sixteen parts of a backend.
pub(crate) const MAX_TAGS: usize = 94;

/// What is forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing: the ledger is made, if there is none.
    Nothing,
    /// What has one of these tags, at most [`MAX_TAGS`].
    Tags(Vec<u64>),
    Everything,
    /// Everything expires, at this moment of the wall clock.
    Expiry {
        at: u64,
    },
}
