//! Three masters that share the slots.

use std::fs;

use super::redis::{Redis, Setup};
use super::wait_until;

const SLOTS: [(u16, u16); 3] = [(0, 5_460), (5_461, 10_922), (10_923, 16_383)];

/// A cluster that goes on with the slots it has when a node is lost.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Redis>,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        Self::start_with(Redis::setup())
    }

    pub(crate) fn start_with(setup: Setup) -> Self {
        let setup = setup.args(["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"]).args([
            "--cluster-require-full-coverage",
            "no",
            "--cluster-node-timeout",
            "1000",
        ]);
        let nodes: Vec<Redis> = SLOTS.iter().map(|_| setup.clone().start()).collect();
        let ids: Vec<String> = nodes.iter().map(|node| node.cli(&["CLUSTER", "MYID"])).collect();
        // A node that starts with a written map needs no introduction.
        for (own, node) in nodes.iter().enumerate() {
            node.kill();
            fs::write(node.dir().join("nodes.conf"), map(own, &nodes, &ids)).unwrap();
            node.restart();
        }
        let cluster = Self { nodes };
        cluster.wait_until_whole();
        cluster
    }

    /// Waits until every node serves and knows that all others do.
    pub(crate) fn wait_until_whole(&self) {
        wait_until("the cluster is whole", || {
            self.nodes.iter().all(|node| {
                let info = node.cli(&["CLUSTER", "INFO"]);
                info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384")
            })
        });
    }

    /// The URL of the whole cluster.
    pub(crate) fn url(&self) -> String {
        let hosts: Vec<String> = self.nodes.iter().map(Redis::address).collect();
        let url = self.nodes[0].url();
        let head = url.split("127.0.0.1").next().expect("a URL begins with something");
        format!("{}{}", head.replacen("://", "-cluster://", 1), hosts.join(","))
    }

    /// The node that has the slot of `key`.
    pub(crate) fn owner(&self, key: &str) -> &Redis {
        let slot: u16 = self.nodes[0].cli(&["CLUSTER", "KEYSLOT", key]).parse().unwrap();
        let index = SLOTS.iter().position(|(first, last)| (*first..=*last).contains(&slot)).unwrap();
        &self.nodes[index]
    }
}

fn map(own: usize, nodes: &[Redis], ids: &[String]) -> String {
    let mut text = String::new();
    for (index, (node, id)) in nodes.iter().zip(ids).enumerate() {
        let (first, last) = SLOTS[index];
        let (port, bus) = (node.port(), node.port() + 10_000);
        let flags = if index == own { "myself,master" } else { "master" };
        let epoch = index + 1;
        text += &format!("{id} 127.0.0.1:{port}@{bus} {flags} - 0 0 {epoch} connected {first}-{last}\n");
    }
    text + "vars currentEpoch 3 lastVoteEpoch 0\n"
}
