//! A cluster: each key on the node that serves it.
//!
//! Every node has connections, timeouts and failures of its own, so that a lost node is felt by its keys alone. Who
//! serves which key is read from any node, and read again when a node sends a request elsewhere or does not answer.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use redis::Value;
use tokio::time::{Instant, sleep, timeout_at};

use self::map::{Map, Node, Nodes};
use self::refresh::Refresh;
use super::accepted::Accepted;
use super::connect::Way;
use super::dedicated::Dedicated;
use super::error::{self, Detour};
use super::logins::Logins;
use super::request::{Attempt, Limits, Request, Single, SizeClass};
use crate::backends::join;
use crate::config::Host;
use crate::error::{Error, ErrorKind};
use crate::key::Key;
use crate::slots;

mod map;
mod refresh;
mod table;

/// The way to a cluster.
pub(super) struct Cluster {
    /// The nodes that the URL names; any one that answers will do.
    seeds: Vec<Host>,
    nodes: Nodes,
    /// `None` until it has been read once.
    map: RwLock<Option<Arc<Map>>>,
    /// Nodes that requests were sent to and the map has not: they are just being given their first slots.
    newcomers: Mutex<Vec<Arc<Node>>>,
    refresh: Refresh,
    place: String,
}

/// How often a request may be sent elsewhere: to where its slot has moved, and on to where it is moving.
const HOPS: usize = 3;

/// How long a request waits whose keys are just being carried from node to node.
const PAUSE: Duration = Duration::from_millis(20);

/// The most newcomers that are remembered.
const NEWCOMERS: usize = 16;

/// Requests of a batch that go alone at a time, where its slots are moving.
const ALONE: usize = 64;

impl Cluster {
    /// No connection yet, and at most `pool_size` to each node ever. `way` is the way to a node, of any host.
    pub(super) fn new(seeds: &[Host], way: Way, logins: Logins, pool_size: usize, limits: Limits) -> Self {
        let names: Vec<String> = seeds.iter().map(Host::to_string).collect();
        Self {
            seeds: seeds.to_vec(),
            nodes: Nodes::new(way, logins, pool_size, limits),
            map: RwLock::default(),
            newcomers: Mutex::default(),
            refresh: Refresh::default(),
            place: names.join(","),
        }
    }

    /// See [`Router::run`](super::router::Router::run).
    pub(super) async fn run(
        self: &Arc<Self>,
        key: &Key,
        size: SizeClass,
        make: impl Fn(Attempt) -> Request + Send + Sync,
    ) -> Result<Value, Error> {
        let begun = Instant::now();
        let node = self.owner(key).await?;
        let error = match node.pool.run(size, &make).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        self.hear(&error);
        if Detour::of(&error).is_none() {
            return Err(error);
        }
        let limit = self.nodes.limits().whole();
        let deadline = begun + limit;
        match timeout_at(deadline, self.follow(key, &node.host, error, deadline, size, make)).await {
            Ok(result) => result,
            Err(_) => Err(error::no_answer(&self.place, limit)),
        }
    }

    /// Goes where an error says, until there is an answer.
    async fn follow(
        self: &Arc<Self>,
        key: &Key,
        from: &Host,
        mut error: Error,
        deadline: Instant,
        size: SizeClass,
        make: impl Fn(Attempt) -> Request + Send + Sync,
    ) -> Result<Value, Error> {
        let (mut from, mut hops) = (from.clone(), 0);
        while let Some(detour) = Detour::of(&error) {
            let (node, is_asked) = match detour {
                Detour::Moved(_) | Detour::Ask(_) if hops == HOPS => break,
                Detour::Moved(address) => (self.destination(address, &from)?, false),
                Detour::Ask(address) => (self.destination(address, &from)?, true),
                Detour::Wait if Instant::now() + PAUSE >= deadline => break,
                Detour::Wait => {
                    sleep(PAUSE).await;
                    (self.owner(key).await?, false)
                }
            };
            hops = if *detour == Detour::Wait { 0 } else { hops + 1 };
            let result = match is_asked {
                true => node.ask(size, &make).await,
                false => node.pool.run(size, &make).await,
            };
            match result {
                Ok(answer) => return Ok(answer),
                Err(next) => error = next,
            }
            self.hear(&error);
            from.clone_from(&node.host);
        }
        Err(error)
    }

    /// Sends a request for each key, those of one node in one write; answers in the order of the keys.
    ///
    /// A node that fails takes nothing from the others: their commands are carried out before the error is told.
    pub(super) async fn run_each(
        self: &Arc<Self>,
        keys: &[&Key],
        size: SizeClass,
        make: impl Fn(Attempt, usize) -> Single + Send + Sync,
    ) -> Result<Vec<Value>, Error> {
        let mut groups: Vec<(Arc<Node>, Vec<usize>)> = Vec::new();
        for (index, key) in keys.iter().enumerate() {
            let node = self.owner(key).await?;
            match groups.iter_mut().find(|(other, _)| Arc::ptr_eq(other, &node)) {
                Some((_, group)) => group.push(index),
                None => groups.push((node, vec![index])),
            }
        }
        let parts = join::all(groups.iter().map(|(node, group)| self.run_group(node, group, keys, size, &make))).await;
        let mut answers: Vec<Value> = keys.iter().map(|_| Value::Nil).collect();
        for (part, (_, group)) in parts.into_iter().zip(&groups) {
            for (answer, &index) in part?.into_iter().zip(group) {
                answers[index] = answer;
            }
        }
        Ok(answers)
    }

    /// Sends the commands of one node. If any belongs elsewhere, each goes its own way.
    async fn run_group(
        self: &Arc<Self>,
        node: &Node,
        group: &[usize],
        keys: &[&Key],
        size: SizeClass,
        make: &(impl Fn(Attempt, usize) -> Single + Send + Sync),
    ) -> Result<Vec<Value>, Error> {
        let together = |attempt| Request::All(group.iter().map(|&index| make(attempt, index)).collect());
        match node.pool.run(size, together).await {
            Ok(Value::Array(answers)) if answers.len() == group.len() => return Ok(answers),
            Ok(_) => return Err(error::strange(node.pool.place())),
            Err(error) => {
                self.hear(&error);
                if Detour::of(&error).is_none() {
                    return Err(error);
                }
            }
        }
        let mut answers = Vec::with_capacity(group.len());
        for some in group.chunks(ALONE) {
            let alone = some
                .iter()
                .map(|&index| self.run(keys[index], size, move |attempt| Request::One(make(attempt, index))));
            for answer in join::all(alone).await {
                answers.push(answer?);
            }
        }
        Ok(answers)
    }

    /// A connection to the node of a key, to be used by one alone, as far as there is room for one.
    pub(super) async fn dedicated(self: &Arc<Self>, key: &Key) -> Result<Option<Dedicated>, Error> {
        self.owner(key).await?.pool.dedicated().await
    }

    /// Whether any node answers.
    pub(super) async fn ping(self: &Arc<Self>) -> Result<(), Error> {
        self.reread().await.map(drop)
    }

    /// Draws the conclusion from a failure: what is said of the nodes may be old.
    pub(super) fn hear(self: &Arc<Self>, error: &Error) {
        if error.is_temporary() {
            self.reread_soon();
        }
    }

    pub(super) fn limits(&self) -> Limits {
        self.nodes.limits()
    }

    pub(super) fn accepted(&self) -> &Accepted {
        self.nodes.accepted()
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    async fn owner(self: &Arc<Self>, key: &Key) -> Result<Arc<Node>, Error> {
        let map = match self.map() {
            Some(map) => map,
            None => self.reread().await?,
        };
        if let Some(node) = map.owner(slots::slot(key.as_str())) {
            return Ok(Arc::clone(node));
        }
        self.reread_soon();
        let message = format!("no node of the Redis cluster at {} serves the key: see CLUSTER INFO", self.place);
        Err(Error::new(ErrorKind::Unavailable, message))
    }

    fn map(&self) -> Option<Arc<Map>> {
        // A change is one assignment: there is nothing half done to find.
        self.map.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The node a request is sent to, which the map need not have yet.
    fn destination(&self, address: &str, from: &Host) -> Result<Arc<Node>, Error> {
        let host = table::destination(address, from).ok_or_else(|| error::strange(&self.place))?;
        if let Some(node) = self.map().and_then(|map| map.node(&host).cloned()) {
            return Ok(node);
        }
        let mut newcomers = self.newcomers();
        if let Some(node) = newcomers.iter().find(|node| node.host == host) {
            return Ok(Arc::clone(node));
        }
        let node = self.nodes.node(&host);
        newcomers.truncate(NEWCOMERS - 1);
        newcomers.insert(0, Arc::clone(&node));
        Ok(node)
    }

    fn newcomers(&self) -> MutexGuard<'_, Vec<Arc<Node>>> {
        // A change is one operation of the vector: there is nothing half done to find.
        self.newcomers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("place", &self.place).field("map", &self.map()).finish_non_exhaustive()
    }
}
