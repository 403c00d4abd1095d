//! The wire: how a request reaches a server.
//!
//! Requests are the same for every topology. What differs is here: who answers which key, and the name of a lock.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Value};

use super::commands;
use super::dedicated::Dedicated;
use super::slots::Slots;
use crate::error::Error;
use crate::key::Key;

/// One way to the servers.
#[derive(Debug)]
pub(super) enum Wire {
    /// One server at a time: given by its address, or the master that sentinels name.
    Slots(Slots),
}

/// What is asked at once.
pub(super) enum Request {
    /// One thing; its answer is the answer.
    One(Single),
    /// Several; the answer is an array of theirs. Not atomic: each key's commands stand alone.
    All(Vec<Cmd>),
}

/// What may travel together with what others ask.
pub(super) enum Single {
    /// The value under a key. What is under it and no string is nobody's value, and reads as nothing.
    Read(Arc<str>),
    Command(Cmd),
}

impl Single {
    /// The command, where it travels alone.
    pub(super) fn into_command(self) -> Cmd {
        match self {
            Self::Read(key) => commands::on(b"GET", &key),
            Self::Command(command) => command,
        }
    }
}

/// Whether a request or its answer is so long that others should not wait behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Load {
    Light,
    Heavy,
}

impl Load {
    /// The size above which a value is worth a connection of its own.
    pub(super) const HEAVY: usize = 64 * 1024;

    pub(super) fn of(bytes: usize) -> Self {
        if bytes < Self::HEAVY { Self::Light } else { Self::Heavy }
    }
}

/// Which try this is. Every request of this backend may be carried out twice without harm, given this.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Attempt {
    /// An earlier attempt may have been carried out: its answer was lost with the connection.
    pub(super) again: bool,
    /// The server does not know the scripts by their hashes.
    pub(super) in_full: bool,
}

impl Wire {
    /// Sends the request that `make` makes and waits for its answer.
    ///
    /// A broken connection is replaced and the request made anew, once. An answer that is or holds an error is `Err`.
    pub(super) async fn run(
        &self,
        load: Load,
        make: impl Fn(Attempt) -> Request + Send + Sync,
    ) -> Result<Value, Error> {
        match self {
            Self::Slots(slots) => slots.run(load, make).await,
        }
    }

    /// The name of the lock that is the lease on `key`, on the same server as the key.
    pub(super) fn lock(&self, key: &Key) -> String {
        match self {
            Self::Slots(_) => format!("{}:lock", key.as_str()),
        }
    }

    /// Where the servers are, for messages.
    pub(super) fn place(&self) -> &str {
        match self {
            Self::Slots(slots) => slots.place(),
        }
    }

    /// How long a command may take.
    pub(super) fn timeout(&self) -> Duration {
        match self {
            Self::Slots(slots) => slots.limits().command,
        }
    }

    /// A connection to be used by one alone, as far as the pool has room for one.
    pub(super) async fn dedicated(&self) -> Result<Option<Dedicated>, Error> {
        match self {
            Self::Slots(slots) => slots.dedicated().await,
        }
    }
}
