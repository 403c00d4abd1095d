//! The protocol: what is said on a connection, checked before the client reads it.
//!
//! The client believes what a server declares: it keeps bytes for as long as more are announced, and gives each answer
//! to the oldest request, whatever it is. So every connection goes through [`Checked`]. It follows the requests that are
//! written and knows what each may be answered: the type, the number of parts, and the most bytes. What is longer, of
//! another type, or was not asked for ends the connection before the client sees a byte of it.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};

pub(super) use self::checked::{Checked, Socket};
pub(super) use self::fault::Fault;
pub(super) use self::rules::KEYS;

mod checked;
mod fault;
#[cfg(any(test, fuzzing))]
pub(in super::super) mod fuzzing;
mod replies;
mod requests;
mod rules;

/// Why a connection was ended, if it was for what the server sent.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// The number of the fault.
    fault: AtomicU8,
    is_told: AtomicBool,
}

impl Verdict {
    pub(super) fn give(&self, fault: Fault) {
        self.fault.store(fault as u8, Relaxed);
    }

    pub(super) fn get(&self) -> Option<Fault> {
        Fault::of(self.fault.load(Relaxed))
    }

    /// The same, once: the first caller that asks tells of it.
    pub(super) fn take(&self) -> Option<Fault> {
        self.get().filter(|_| !self.is_told.swap(true, Relaxed))
    }
}
