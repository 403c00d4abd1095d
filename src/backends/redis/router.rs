//! The router: which server a request goes to.
//!
//! Requests are the same for one server and for a cluster. What differs is here: the server of a key, and the name of
//! what stands beside it, its lock, say.

use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "redis-cluster")]
use redis::Cmd;
use redis::Value;

use super::accepted::Accepted;
#[cfg(feature = "redis-cluster")]
use super::cluster::Cluster;
use super::connect::RawConnection;
use super::dedicated::Dedicated;
use super::pool::Pool;
use super::pushes::Pushes;
use super::request::{Attempt, Request, Single, SizeClass};
use super::{commands, error};
use crate::error::Error;
use crate::key::Key;
#[cfg(feature = "redis-cluster")]
use crate::slots;

/// The way to the servers.
#[derive(Debug)]
pub(super) enum Router {
    /// One server at a time: given by its address, or the master that sentinels name.
    Pool(Pool),
    /// Each key on the node that serves it.
    #[cfg(feature = "redis-cluster")]
    Cluster(Arc<Cluster>),
}

impl Router {
    /// Sends the request about `key` that `make` makes and waits for its answer.
    ///
    /// A broken connection is replaced and the request made anew, once. An answer that is or holds an error is `Err`.
    #[cfg_attr(not(feature = "redis-cluster"), expect(unused_variables, reason = "one server has all keys"))]
    pub(super) async fn run(
        &self,
        key: &Key,
        size: SizeClass,
        make: impl Fn(Attempt) -> Request + Send + Sync,
    ) -> Result<Value, Error> {
        match self {
            Self::Pool(pool) => pool.run(size, make).await,
            #[cfg(feature = "redis-cluster")]
            Self::Cluster(cluster) => cluster.run(key, size, |attempt| make(attempt).apart()).await,
        }
    }

    /// Sends what `make` makes for each of `keys`, in one write to each server; answers in their order.
    pub(super) async fn run_each(
        &self,
        keys: &[&Key],
        size: SizeClass,
        make: impl Fn(Attempt, usize) -> Single + Send + Sync,
    ) -> Result<Vec<Value>, Error> {
        match self {
            Self::Pool(pool) => {
                let all = |attempt| Request::All((0..keys.len()).map(|index| make(attempt, index)).collect());
                match pool.run(size, all).await? {
                    Value::Array(answers) if answers.len() == keys.len() => Ok(answers),
                    _ => Err(error::strange(pool.place())),
                }
            }
            #[cfg(feature = "redis-cluster")]
            Self::Cluster(cluster) => cluster.run_each(keys, size, |attempt, index| make(attempt, index).apart()).await,
        }
    }

    /// What is under a key: a value or nothing.
    pub(super) async fn read(&self, key: &Key, size: SizeClass) -> Result<Value, Error> {
        match self {
            Self::Pool(pool) => pool.run(size, |_| Request::One(Single::Read(Arc::clone(key.text())))).await,
            #[cfg(feature = "redis-cluster")]
            Self::Cluster(cluster) => {
                let answer = cluster.run(key, size, |_| Request::One(read_one(key).into())).await?;
                only(answer).ok_or_else(|| error::strange(cluster.place()))
            }
        }
    }

    /// What is under several keys, in their order.
    pub(super) async fn read_each(&self, keys: &[Key], size: SizeClass) -> Result<Vec<Value>, Error> {
        match self {
            Self::Pool(pool) => {
                let names = || keys.iter().map(Key::as_str);
                let all = |_| Request::One(commands::on_all(b"MGET", names()).into());
                match pool.run(size, all).await? {
                    Value::Array(values) if values.len() == keys.len() => Ok(values),
                    _ => Err(error::strange(pool.place())),
                }
            }
            #[cfg(feature = "redis-cluster")]
            Self::Cluster(cluster) => {
                let each: Vec<&Key> = keys.iter().collect();
                let answers = cluster.run_each(&each, size, |_, index| read_one(&keys[index]).into()).await?;
                let values: Option<Vec<Value>> = answers.into_iter().map(only).collect();
                values.ok_or_else(|| error::strange(cluster.place()))
            }
        }
    }

    /// Checks that the server answers, or any of a cluster's.
    pub(super) async fn ping(&self) -> Result<(), Error> {
        match self {
            Self::Pool(pool) => pool.run(SizeClass::Small, |_| Request::One(commands::ping().into())).await.map(drop),
            #[cfg(feature = "redis-cluster")]
            Self::Cluster(cluster) => cluster.ping().await,
        }
    }

    /// Whether one command may name any keys. In a cluster, keys of one command must be on one node.
    pub(super) fn is_single_node(&self) -> bool {
        match self {
            Self::Pool(_) => true,
            #[cfg(feature = "redis-cluster")]
            Self::Cluster(_) => false,
        }
    }

    /// The name of something beside `key`, on the same server: its `lock`, say. What is in braces names the slot there.
    pub(super) fn companion_key(&self, key: &Key, name: &str) -> String {
        match self {
            Self::Pool(_) => format!("{}:{name}", key.as_str()),
            #[cfg(feature = "redis-cluster")]
            Self::Cluster(_) if key.as_str().contains('{') => format!("{}:{name}", key.as_str()),
            #[cfg(feature = "redis-cluster")]
            Self::Cluster(_) => format!("{{{}}}:{name}", key.as_str()),
        }
    }

    /// How many parts there are that keep bookkeeping of their own.
    pub(super) fn parts(&self) -> u16 {
        match self {
            Self::Pool(_) => 1,
            #[cfg(feature = "redis-cluster")]
            Self::Cluster(_) => slots::GROUPS,
        }
    }

    /// The part that `key` belongs to. It stays the same when slots are given to other nodes.
    #[cfg_attr(not(feature = "redis-cluster"), expect(unused_variables, reason = "one server has all keys"))]
    pub(super) fn part(&self, key: &Key) -> u16 {
        match self {
            Self::Pool(_) => 0,
            #[cfg(feature = "redis-cluster")]
            Self::Cluster(_) => slots::group(key.as_str()),
        }
    }

    /// How long the entries are that callers take.
    pub(super) fn accepted(&self) -> &Accepted {
        match self {
            Self::Pool(pool) => pool.accepted(),
            #[cfg(feature = "redis-cluster")]
            Self::Cluster(cluster) => cluster.accepted(),
        }
    }

    /// Where the servers are, for messages.
    pub(super) fn place(&self) -> &str {
        match self {
            Self::Pool(pool) => pool.place(),
            #[cfg(feature = "redis-cluster")]
            Self::Cluster(cluster) => cluster.place(),
        }
    }

    /// How long a command may take.
    pub(super) fn timeout(&self) -> Duration {
        match self {
            Self::Pool(pool) => pool.limits().command,
            #[cfg(feature = "redis-cluster")]
            Self::Cluster(cluster) => cluster.limits().command,
        }
    }

    /// A connection over which the server pushes what it has to say. It does not count as one of the pool.
    pub(super) async fn listen(&self, pushes: &Arc<Pushes>) -> Result<RawConnection, Error> {
        match self {
            Self::Pool(pool) => pool.listen(pushes).await,
            #[cfg(feature = "redis-cluster")]
            Self::Cluster(_) => Err(error::no_tracking_in_clusters()),
        }
    }

    /// A connection to the server of `key`, to be used by one alone, as far as the pool has room for one.
    #[cfg_attr(not(feature = "redis-cluster"), expect(unused_variables, reason = "one server has all keys"))]
    pub(super) async fn dedicated(&self, key: &Key) -> Result<Option<Dedicated>, Error> {
        match self {
            Self::Pool(pool) => pool.dedicated().await,
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
