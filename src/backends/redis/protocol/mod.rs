//! The protocol: what is said on a connection, checked before the client reads it.
//!
//! The client believes what a server declares: it keeps bytes for as long as more are announced, and gives each answer
//! to the oldest request, whatever it is. So every connection goes through [`Checked`]. It follows the requests that are
//! written and knows what each may be answered: the type, the number of parts, and the most bytes. What is longer, of
//! another type, or was not asked for ends the connection before the client sees a byte of it.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

pub(super) use self::checked::{Checked, Socket};
pub(super) use self::fault::Fault;

mod checked;
mod fault;
mod replies;
mod requests;
mod rules;

/// Why a connection was ended, until that is taken to be told.
#[derive(Debug, Default)]
pub(super) struct Verdict(AtomicU8);

impl Verdict {
    fn give(&self, fault: Fault) {
        self.0.store(fault as u8, Relaxed);
    }

    /// The fault, for the first who asks.
    pub(super) fn take(&self) -> Option<Fault> {
        if self.0.load(Relaxed) == 0 { None } else { Fault::of(self.0.swap(0, Relaxed)) }
    }
}
