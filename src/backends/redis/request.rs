//! Requests: what is asked of a server, and what is known before it is asked.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::{Arg, Cmd, RedisError, Value};

use super::protocol::Fault;
use super::refusal::Lacks;
use crate::backends::late::LONG;

/// What is asked at once.
pub(super) enum Request {
    /// One thing; its answer is the answer.
    One(Single),
    /// Several; the answer is an array of theirs. Not atomic: each stands alone.
    All(Vec<Single>),
}

impl Request {
    /// See [`Single::apart`].
    #[cfg(feature = "redis-cluster")]
    pub(super) fn apart(self) -> Self {
        match self {
            Self::One(single) => Self::One(single.apart()),
            Self::All(singles) => Self::All(singles.into_iter().map(Single::apart).collect()),
        }
    }

    /// How an answer to it may be too long, if it is one to something that other programs can write.
    pub(super) fn too_long(&self) -> Option<Fault> {
        match self {
            Self::One(single) => single.too_long(),
            Self::All(singles) => singles.iter().find_map(Single::too_long),
        }
    }
}

/// Whether a refusal is as good an answer as nothing.
pub(super) type Excuses = fn(&RedisError) -> bool;

/// What may travel together with what others ask.
pub(super) enum Single {
    /// The value under a key. What is under it and is no string is no value of a cache, and reads as nothing.
    Read(Arc<str>),
    Command(Cmd),
    /// A request for a lease, which may be answered with the value under the key.
    Lease(Cmd),
    /// A script about one key. Several of one kind travel as one script about all of their keys.
    Script(Kind, Cmd),
    /// A command whose answer is nothing where the server refuses it for a reason that `excuses`.
    Look {
        command: Cmd,
        excuses: Excuses,
    },
    /// Several travel as one transaction.
    Store(Box<Store>),
    /// Removes what its command names. Several travel as one command.
    Remove(Cmd),
    /// Commands that are carried out as one; the answer is an array of theirs. All keys are on one server.
    Atomic(Vec<Cmd>),
    /// Commands that are carried out one behind another; the answer is that of the last.
    Row(Vec<Cmd>),
    /// A request, and a message for others behind it. The answer is [`is_told`], or if the message could not be appended,
    /// that to the request. Messages of several travel as one entry.
    Telling(Box<Single>, Arc<Append>),
}

/// What a script decides about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// As [`Single::Lease`], of an entry of which nothing was seen.
    Lease,
    /// Whether a short value fills by a lease.
    Fill,
    Release,
}

/// A message, and the stream that it is appended to.
#[derive(Debug)]
pub(super) struct Append {
    pub(super) stream: Arc<str>,
    pub(super) message: Bytes,
}

/// The answer to a change that others were told of in the same write.
pub(super) fn told() -> Value {
    Value::BulkString(Vec::new())
}

/// Whether others were told of a change in the same write.
pub(super) fn is_told(answer: &Value) -> bool {
    matches!(answer, Value::BulkString(_))
}

impl Single {
    pub(super) fn look(command: Cmd, excuses: Excuses) -> Self {
        Self::Look { command, excuses }
    }

    /// The same, with a message behind it, if there is any.
    pub(super) fn telling(self, append: Option<&Arc<Append>>) -> Self {
        match append {
            Some(append) => Self::Telling(Box::new(self), Arc::clone(append)),
            None => self,
        }
    }

    /// The same, to be sent apart from others: in a cluster, one transaction, script or command names keys of one slot.
    #[cfg(feature = "redis-cluster")]
    pub(super) fn apart(self) -> Self {
        match self {
            Self::Store(store) => Self::Atomic(vec![store.set, store.unlock]),
            Self::Script(Kind::Lease, command) => Self::Lease(command),
            Self::Remove(command) | Self::Script(_, command) => Self::Command(command),
            single => single,
        }
    }

    /// Whether the answer may be the value under the key.
    pub(super) fn reads_entry(&self) -> bool {
        matches!(self, Self::Read(_) | Self::Lease(_) | Self::Script(Kind::Lease, _))
    }

    fn too_long(&self) -> Option<Fault> {
        let command = match self {
            _ if self.reads_entry() => return Some(Fault::TooLong),
            Self::Command(command) | Self::Look { command, .. } => command,
            _ => return None,
        };
        match command.args_iter().next() {
            Some(Arg::Simple(b"MGET")) => Some(Fault::TooLong),
            Some(Arg::Simple(b"XREAD" | b"XRANGE" | b"XINFO")) => Some(Fault::LongMessage),
            _ => None,
        }
    }
}

/// Stores a value and removes the lock of its key, as one.
pub(super) struct Store {
    pub(super) set: Cmd,
    pub(super) unlock: Cmd,
}

impl From<Cmd> for Single {
    fn from(command: Cmd) -> Self {
        Self::Command(command)
    }
}

/// Whether a request or its answer is so long that others should not wait behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SizeClass {
    /// Neither is long.
    Small,
    /// The answer is long.
    LargeAnswer,
    /// The request is long. A server that does not take it ends the connection, and with it what others wait for.
    LargeRequest,
}

impl SizeClass {
    /// The size above which a value is worth a connection of its own.
    pub(super) const LARGE: usize = LONG;

    /// Of an answer of so many bytes.
    pub(super) fn of(bytes: usize) -> Self {
        if bytes < Self::LARGE { Self::Small } else { Self::LargeAnswer }
    }

    /// Of a request of so many bytes.
    pub(super) fn of_request(bytes: usize) -> Self {
        if bytes < Self::LARGE { Self::Small } else { Self::LargeRequest }
    }
}

/// Which try this is. Every request of this backend may be carried out twice without harm, given this.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Attempt {
    /// An earlier attempt may have been carried out: its answer was lost with the connection.
    pub(super) again: bool,
    /// It shares a write with no other.
    pub(super) alone: bool,
    /// The server does not know the scripts by their hashes.
    pub(super) in_full: bool,
    /// What the server does not let this backend do.
    pub(super) lacks: Lacks,
}

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// A command.
    pub(super) command: Duration,
    /// A connect, with its handshakes.
    pub(super) connect: Duration,
}

impl Limits {
    /// A command that has to connect first.
    pub(super) fn whole(self) -> Duration {
        self.connect.saturating_add(self.command)
    }
}

/// What the server answers to one request.
pub(super) type Answer = Result<Value, RedisError>;
