//! A master, a replica, and three sentinels that watch them.

use super::server::{Server, Setup};
use super::wait_until;

/// A master is declared dead after a second.
#[derive(Debug)]
pub(crate) struct Sentinels {
    /// The first is the master until a failover.
    pub(crate) servers: Vec<Server>,
    pub(crate) sentinels: Vec<Server>,
}

impl Sentinels {
    /// The name the sentinels know the master by.
    pub(crate) const NAME: &str = "mymaster";

    pub(crate) fn start() -> Self {
        Self::start_with(Server::setup(), Server::setup())
    }

    /// `servers` and `sentinels` differ in their passwords, if they have any.
    pub(crate) fn start_with(servers: Setup, sentinels: Setup) -> Self {
        let master = servers.clone().start();
        let replica = servers.args(["--replicaof".into(), "127.0.0.1".into(), master.port().to_string()]).start();
        let servers = vec![master, replica];
        let master = &servers[0];
        let (name, port) = (Self::NAME, master.port());
        let mut watched = format!("sentinel monitor {name} 127.0.0.1 {port} 2\n");
        watched += &format!("sentinel down-after-milliseconds {name} 1000\n");
        watched += &format!("sentinel failover-timeout {name} 3000\n");
        if let Some(password) = master.password() {
            watched += &format!("sentinel auth-pass {name} {password}\n");
        }
        let sentinels: Vec<Server> = (0..3).map(|_| sentinels.clone().sentinel(&watched).start()).collect();
        let group = Self { servers, sentinels };
        group.wait_until_ready();
        group
    }

    fn wait_until_ready(&self) {
        wait_until("the replica follows", || self.servers[0].says(&["INFO", "replication"], "state=online"));
        wait_until("the sentinels know one another and the replica", || {
            self.sentinels.iter().all(|sentinel| {
                let info = sentinel.cli(&["INFO", "sentinel"]);
                info.contains("status=ok") && info.contains("slaves=1,sentinels=3")
            })
        });
    }

    /// The URL by which clients find the master, with the passwords if there are any.
    pub(crate) fn url(&self) -> String {
        let hosts: Vec<String> = self.sentinels.iter().map(Server::address).collect();
        let login = self.servers[0].password().map(|password| format!(":{password}@")).unwrap_or_default();
        let query = self.sentinels[0].password().map(|password| format!("?sentinel_pass={password}"));
        format!("redis-sentinel://{login}{}/{}/0{}", hosts.join(","), Self::NAME, query.unwrap_or_default())
    }

    /// The port of the master, as a sentinel says.
    pub(crate) fn master_port(&self) -> u16 {
        let address = self.sentinels[0].cli(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", Self::NAME]);
        address.lines().nth(1).unwrap().parse().unwrap()
    }
}
