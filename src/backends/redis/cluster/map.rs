//! The map: the table with connections behind it.
//!
//! A node keeps its connections from one map to the next, and loses them when no slot is its any more.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use redis::{Cmd, Value};

use super::table::Range;
use crate::backends::redis::accepted::Accepted;
use crate::backends::redis::connect::Way;
use crate::backends::redis::logins::Logins;
use crate::backends::redis::pool::Pool;
use crate::backends::redis::request::{Attempt, Limits, Request, Single, SizeClass};
use crate::backends::redis::server::Server;
use crate::config::Host;
use crate::error::Error;

/// A node, with connections of its own: what befalls one node is no matter of the others.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) host: Host,
    pub(super) pool: Pool,
}

impl Node {
    /// Sends a request to this node while it is only being given the slot: only then is it answered before all is
    /// there.
    pub(super) async fn ask(
        &self,
        size: SizeClass,
        make: impl Fn(Attempt) -> Request + Send + Sync,
    ) -> Result<Value, Error> {
        let is_one = matches!(make(Attempt::default()), Request::One(_));
        let answer = self.pool.run(size, |attempt| asking(make(attempt))).await?;
        Ok(without_asking(answer, is_one))
    }
}

/// The request, with the word before each command that the node was named.
fn asking(request: Request) -> Request {
    let singles = match request {
        Request::One(single) => vec![single],
        Request::All(singles) => singles,
    };
    Request::All(singles.into_iter().flat_map(|single| [redis::cmd("ASKING").into(), asking_each(single)]).collect())
}

/// The node takes the word for one command, or for all that are carried out as one.
fn asking_each(single: Single) -> Single {
    let Single::Row(commands) = single else { return single };
    let mut row: Vec<Cmd> = commands.into_iter().flat_map(|command| [redis::cmd("ASKING"), command]).collect();
    row.remove(0);
    Single::Row(row)
}

/// The answer to a request, from that to what [`asking`] made of it.
fn without_asking(answer: Value, is_one: bool) -> Value {
    let Value::Array(answers) = answer else { return answer };
    let mut answers = answers.into_iter().skip(1).step_by(2);
    match is_one {
        true => answers.next().unwrap_or(Value::Nil),
        false => Value::Array(answers.collect()),
    }
}

/// How nodes are connected to.
pub(super) struct Nodes {
    /// Of any host.
    way: Way,
    logins: Logins,
    /// The most connections to each node.
    pool_size: usize,
    limits: Limits,
}

impl Nodes {
    pub(super) fn new(way: Way, logins: Logins, pool_size: usize, limits: Limits) -> Self {
        Self { way, logins, pool_size, limits }
    }

    /// A node that is not connected to yet.
    pub(super) fn node(&self, host: &Host) -> Arc<Node> {
        let server = Server::new(self.way.to(host), self.logins.clone());
        let pool = Pool::new(Arc::new(server), self.pool_size, self.limits);
        Arc::new(Node { host: host.clone(), pool })
    }

    pub(super) fn accepted(&self) -> &Accepted {
        &self.way.accepted
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }
}

/// Who serves which slots.
#[derive(Debug, Default)]
pub(super) struct Map {
    /// By their first slots.
    ranges: Vec<(Range, Arc<Node>)>,
    nodes: HashMap<Host, Arc<Node>>,
}

impl Map {
    /// The map of a table, over the nodes that are known.
    pub(super) fn new(table: Vec<Range>, known: &[Arc<Node>], nodes: &Nodes) -> Self {
        let known: HashMap<&Host, &Arc<Node>> = known.iter().map(|node| (&node.host, node)).collect();
        let mut map = Self::default();
        for range in table {
            let node = match map.nodes.get(&range.node).or(known.get(&range.node).copied()) {
                Some(node) => Arc::clone(node),
                None => nodes.node(&range.node),
            };
            map.nodes.insert(range.node.clone(), Arc::clone(&node));
            map.ranges.push((range, node));
        }
        map
    }

    /// Who serves a slot, if anybody does.
    pub(super) fn owner(&self, slot: u16) -> Option<&Arc<Node>> {
        let behind = self.ranges.partition_point(|(range, _)| range.first <= slot);
        let (range, node) = self.ranges[..behind].last()?;
        (slot <= range.last).then_some(node)
    }

    pub(super) fn node(&self, host: &Host) -> Option<&Arc<Node>> {
        self.nodes.get(host)
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.values()
    }
}

impl fmt::Debug for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nodes").field("pool_size", &self.pool_size).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::backends::redis::connect::Address;
    use crate::backends::redis::pipeline::Pipeline;

    fn nodes() -> Nodes {
        let address = Address::Host(Host { name: "seed".into(), port: 1 });
        let way = Way { address, tls: None, redis: Default::default(), accepted: Arc::default() };
        let second = Duration::from_secs(1);
        Nodes::new(way, Logins::new(None), 2, Limits { command: second, connect: second })
    }

    fn range(first: u16, last: u16, port: u16) -> Range {
        Range { first, last, node: Host { name: "h".into(), port } }
    }

    #[test]
    fn a_slot_has_the_owner_its_range_names_or_none() {
        let map = Map::new(vec![range(1, 5, 1), range(6, 6, 2), range(9, 16_383, 1)], &[], &nodes());
        let owners = [0, 1, 5, 6, 7, 8, 9, 16_383].map(|slot| map.owner(slot).map(|node| node.host.port));
        assert_eq!(owners, [None, Some(1), Some(1), Some(2), None, None, Some(1), Some(1)]);
        assert_eq!(map.nodes().count(), 2);
        assert_eq!(Map::default().owner(0).map(|node| &node.host), None);
    }

    #[test]
    fn a_node_keeps_its_connections_from_map_to_map() {
        let nodes = nodes();
        let first = Map::new(vec![range(0, 9, 1), range(10, 19, 2)], &[], &nodes);
        let known: Vec<_> = first.nodes().cloned().collect();
        let second = Map::new(vec![range(0, 19, 2)], &known, &nodes);
        assert!(Arc::ptr_eq(first.owner(10).unwrap(), second.owner(0).unwrap()));
        assert_eq!(second.nodes().count(), 1, "who serves nothing is forgotten");
    }

    #[test]
    fn asking_goes_before_each_command_and_out_of_the_answer() {
        let Request::All(singles) = asking(Request::All(vec![redis::cmd("GET").into(), redis::cmd("TTL").into()]))
        else {
            panic!("several commands stay several");
        };
        let pipeline: Pipeline = singles.into_iter().collect();
        let names: Vec<_> = pipeline.commands().cmd_iter().map(|command| command.get_packed_command()).collect();
        let expected = ["ASKING", "GET", "ASKING", "TTL"].map(|name| redis::cmd(name).get_packed_command());
        assert_eq!(names, expected);
        let answer = || Value::Array(vec![Value::Okay, Value::Int(1), Value::Okay, Value::Int(2)]);
        assert_eq!(without_asking(answer(), false), Value::Array(vec![Value::Int(1), Value::Int(2)]));
        assert_eq!(without_asking(answer(), true), Value::Int(1));
    }
}
