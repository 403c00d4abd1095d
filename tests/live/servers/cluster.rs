//! Three masters that share the slots.

use std::fs;

use super::server::{Server, Setup};
use super::{Reply, wait_until};

const SLOTS: [(u16, u16); 3] = [(0, 5_460), (5_461, 10_922), (10_923, 16_383)];

/// A cluster that goes on with the slots it has when a node is lost.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Server>,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        Self::start_with(Server::setup())
    }

    pub(crate) fn start_with(setup: Setup) -> Self {
        let setup = setup.args(["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"]).args([
            "--cluster-require-full-coverage",
            "no",
            "--cluster-node-timeout",
            "1000",
        ]);
        let nodes: Vec<Server> = SLOTS.iter().map(|_| setup.clone().start()).collect();
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

    /// The URL of the whole cluster, with the password if there is one.
    pub(crate) fn url(&self) -> String {
        let hosts: Vec<String> = self.nodes.iter().map(Server::address).collect();
        let url = self.nodes[0].url();
        let head = url.split("127.0.0.1").next().expect("a URL begins with something");
        format!("{}{}", head.replacen("://", "-cluster://", 1), hosts.join(","))
    }

    /// The node that had the slot of `key` at first.
    pub(crate) fn owner(&self, key: &str) -> &Server {
        &self.nodes[owner(key)]
    }

    /// Gives the slot of `key` to the next node, without what is in it.
    pub(crate) fn move_slot(&self, key: &str) -> &Server {
        let (slot, from) = (slot(key).to_string(), self.owner(key));
        let to = &self.nodes[(owner(key) + 1) % self.nodes.len()];
        let id = to.cli(&["CLUSTER", "MYID"]);
        while let Reply::List(keys) = from.call(&["CLUSTER", "GETKEYSINSLOT", &slot, "1000"]) {
            let Some(Reply::Text(key)) = keys.first() else { break };
            assert_eq!(from.cli(&[b"DEL", &key[..]]), "1");
        }
        for node in [to, from] {
            assert_eq!(node.cli(&["CLUSTER", "SETSLOT", &slot, "NODE", &id]), "OK");
        }
        to
    }
}

fn owner(key: &str) -> usize {
    let slot = slot(key);
    SLOTS.iter().position(|(first, last)| (*first..=*last).contains(&slot)).expect("every slot has a node")
}

/// CRC-16/XMODEM, cut to the number of slots.
fn slot(key: &str) -> u16 {
    let crc = key.bytes().fold(0u16, |crc, byte| {
        (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 })
    });
    crc % 16_384
}

fn map(own: usize, nodes: &[Server], ids: &[String]) -> String {
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
