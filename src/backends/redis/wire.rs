//! The wire: how a request reaches a server.
//!
//! Requests are the same for every topology. What differs is here: who answers which key, and the name of a lock.

use std::sync::Arc;
use std::time::Duration;

use redis::{Arg, Cmd, RedisError, Value};

use super::accepted::Accepted;
#[cfg(feature = "redis-cluster")]
use super::cluster::Cluster;
use super::connect::Connection;
use super::dedicated::Dedicated;
use super::protocol::Fault;
use super::pushes::Pushes;
use super::refusal::Lacks;
use super::slots::Slots;
use super::{commands, error};
use crate::backends::late::LONG;
use crate::error::Error;
use crate::key::Key;

/// One way to the servers.
#[derive(Debug)]
pub(super) enum Wire {
    /// One server at a time: given by its address, or the master that sentinels name.
    Slots(Slots),
    /// Each key on the node that serves it.
    #[cfg(feature = "redis-cluster")]
    Cluster(Arc<Cluster>),
}

/// What is asked at once.
pub(super) enum Request {
    /// One thing; its answer is the answer.
    One(Single),
    /// Several; the answer is an array of theirs. Not atomic: each stands alone.
    All(Vec<Single>),
}

impl Request {
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
    /// The value under a key. What is under it and no string is nobody's value, and reads as nothing.
    Read(Arc<str>),
    Command(Cmd),
    /// A command whose answer is nothing where the server refuses it for a reason that `excuses`.
    Look {
        command: Cmd,
        excuses: Excuses,
    },
    /// Commands that are carried out as one; the answer is an array of theirs. All keys are on one server.
    Atomic(Vec<Cmd>),
    /// Commands that are carried out one behind another; the answer is that of the last.
    Row(Vec<Cmd>),
}

impl Single {
    pub(super) fn look(command: Cmd, excuses: Excuses) -> Self {
        Self::Look { command, excuses }
    }

    fn too_long(&self) -> Option<Fault> {
        let command = match self {
            Self::Read(_) => return Some(Fault::TooLong),
            Self::Command(command) | Self::Look { command, .. } => command,
            Self::Atomic(_) | Self::Row(_) => return None,
        };
        match command.args_iter().next() {
            Some(Arg::Simple(b"MGET")) => Some(Fault::TooLong),
            Some(Arg::Simple(b"XREAD" | b"XRANGE" | b"XINFO")) => Some(Fault::LongMessage),
            _ => None,
        }
    }
}

impl From<Cmd> for Single {
    fn from(command: Cmd) -> Self {
        Self::Command(command)
    }
}

/// Whether a request or its answer is so long that others should not wait behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Load {
    Light,
    /// The answer is long.
    Heavy,
    /// The request is long. A server that does not take it ends the connection, and with it what others wait for.
    Bulk,
}

impl Load {
    /// The size above which a value is worth a connection of its own.
    pub(super) const HEAVY: usize = LONG;

    /// Of an answer of so many bytes.
    pub(super) fn of(bytes: usize) -> Self {
        if bytes < Self::HEAVY { Self::Light } else { Self::Heavy }
    }

    /// Of a request of so many bytes.
    pub(super) fn of_request(bytes: usize) -> Self {
        if bytes < Self::HEAVY { Self::Light } else { Self::Bulk }
    }
}

/// Which try this is. Every request of this backend may be carried out twice without harm, given this.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Attempt {
    /// An earlier attempt may have been carried out: its answer was lost with the connection.
    pub(super) again: bool,
    /// The server does not know the scripts by their hashes.
    pub(super) in_full: bool,
    /// What the server does not let this backend do.
    pub(super) lacks: Lacks,
}

impl Wire {
    /// Sends the request about `key` that `make` makes and waits for its answer.
    ///
    /// A broken connection is replaced and the request made anew, once. An answer that is or holds an error is `Err`.
    #[cfg_attr(not(feature = "redis-cluster"), expect(unused_variables, reason = "one server has all keys"))]
    pub(super) async fn run(
        &self,
        key: &Key,
        load: Load,
        make: impl Fn(Attempt) -> Request + Send + Sync,
    ) -> Result<Value, Error> {
        match self {
            Self::Slots(slots) => slots.run(load, make).await,
            #[cfg(feature = "redis-cluster")]
            Self::Cluster(cluster) => cluster.run(key, load, make).await,
        }
    }

    /// Sends what `make` makes for each of `keys`, in one write to each server; answers in their order.
    pub(super) async fn run_each(
        &self,
        keys: &[&Key],
        load: Load,
        make: impl Fn(Attempt, usize) -> Single + Send + Sync,
    ) -> Result<Vec<Value>, Error> {
        match self {
            Self::Slots(slots) => {
                let all = |attempt| Request::All((0..keys.len()).map(|index| make(attempt, index)).collect());
                match slots.run(load, all).await? {
                    Value::Array(answers) if answers.len() == keys.len() => Ok(answers),
                    _ => Err(error::strange(slots.place())),
                }
            }
            #[cfg(feature = "redis-cluster")]
            Self::Cluster(cluster) => cluster.run_each(keys, load, make).await,
        }
    }

    /// What is under a key: a value or nothing.
    pub(super) async fn read(&self, key: &Key, load: Load) -> Result<Value, Error> {
        match self {
            Self::Slots(slots) => slots.run(load, |_| Request::One(Single::Read(Arc::clone(key.text())))).await,
            #[cfg(feature = "redis-cluster")]
            Self::Cluster(cluster) => {
                let answer = cluster.run(key, load, |_| Request::One(read_one(key).into())).await?;
                only(answer).ok_or_else(|| error::strange(cluster.place()))
            }
        }
    }

    /// What is under several keys, in their order.
    pub(super) async fn read_each(&self, keys: &[Key], load: Load) -> Result<Vec<Value>, Error> {
        match self {
            Self::Slots(slots) => {
                let names = || keys.iter().map(Key::as_str);
                let all = |_| Request::One(commands::on_all(b"MGET", names()).into());
                match slots.run(load, all).await? {
                    Value::Array(values) if values.len() == keys.len() => Ok(values),
                    _ => Err(error::strange(slots.place())),
                }
            }
            #[cfg(feature = "redis-cluster")]
            Self::Cluster(cluster) => {
                let each: Vec<&Key> = keys.iter().collect();
                let answers = cluster.run_each(&each, load, |_, index| read_one(&keys[index]).into()).await?;
                let values: Option<Vec<Value>> = answers.into_iter().map(only).collect();
                values.ok_or_else(|| error::strange(cluster.place()))
            }
        }
    }

    /// Checks that the server answers, or any of a cluster's.
    pub(super) async fn ping(&self) -> Result<(), Error> {
        match self {
            Self::Slots(slots) => slots.run(Load::Light, |_| Request::One(commands::ping().into())).await.map(drop),
            #[cfg(feature = "redis-cluster")]
            Self::Cluster(cluster) => cluster.ping().await,
        }
    }

    /// Whether one command may name any keys. In a cluster, keys of one command must be on one node.
    pub(super) fn is_whole(&self) -> bool {
        match self {
            Self::Slots(_) => true,
            #[cfg(feature = "redis-cluster")]
            Self::Cluster(_) => false,
        }
    }

    /// The name of something beside `key`, on the same server: its `lock`, say.
    pub(super) fn beside(&self, key: &Key, name: &str) -> String {
        match self {
            Self::Slots(_) => format!("{}:{name}", key.as_str()),
            #[cfg(feature = "redis-cluster")]
            Self::Cluster(_) => format!("{{{}}}:{name}", key.as_str()),
        }
    }

    /// How long the entries are that callers take.
    pub(super) fn accepted(&self) -> &Accepted {
        match self {
            Self::Slots(slots) => slots.accepted(),
            #[cfg(feature = "redis-cluster")]
            Self::Cluster(cluster) => cluster.accepted(),
        }
    }

    /// Where the servers are, for messages.
    pub(super) fn place(&self) -> &str {
        match self {
            Self::Slots(slots) => slots.place(),
            #[cfg(feature = "redis-cluster")]
            Self::Cluster(cluster) => cluster.place(),
        }
    }

    /// How long a command may take.
    pub(super) fn timeout(&self) -> Duration {
        match self {
            Self::Slots(slots) => slots.limits().command,
            #[cfg(feature = "redis-cluster")]
            Self::Cluster(cluster) => cluster.limits().command,
        }
    }

    /// A connection over which the server pushes what it has to say. It does not count as one of the pool.
    pub(super) async fn listen(&self, pushes: &Arc<Pushes>) -> Result<Connection, Error> {
        match self {
            Self::Slots(slots) => slots.listen(pushes).await,
            #[cfg(feature = "redis-cluster")]
            Self::Cluster(_) => Err(error::no_tracking_in_clusters()),
        }
    }

    /// A connection to the server of `key`, to be used by one alone, as far as the pool has room for one.
    #[cfg_attr(not(feature = "redis-cluster"), expect(unused_variables, reason = "one server has all keys"))]
    pub(super) async fn dedicated(&self, key: &Key) -> Result<Option<Dedicated>, Error> {
        match self {
            Self::Slots(slots) => slots.dedicated().await,
            #[cfg(feature = "redis-cluster")]
            Self::Cluster(cluster) => cluster.dedicated(key).await,
        }
    }
}

/// The command that reads one key where each has to be named alone: as MGET does, it reads what is no string as
/// nothing.
#[cfg(feature = "redis-cluster")]
fn read_one(key: &Key) -> Cmd {
    commands::on_all(b"MGET", std::iter::once(key.as_str()))
}

/// The one part of an answer.
#[cfg(feature = "redis-cluster")]
fn only(answer: Value) -> Option<Value> {
    let Value::Array(parts) = answer else { return None };
    <[Value; 1]>::try_from(parts).ok().map(|[part]| part)
}
