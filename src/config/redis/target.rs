//! What a URL of Redis says, decoded.
//!
//! Parsed once, so that what was checked is what gets connected to.

use std::fmt;
use std::path::PathBuf;

use crate::config::Secret;

/// Where to connect, and as whom.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) topology: Topology,
    /// Whether every connection is encrypted, to sentinels too.
    pub(crate) tls: bool,
    /// Who the servers are told it is.
    pub(crate) login: Option<Login>,
    /// The database; 0 in a cluster, which has no other.
    pub(crate) db: u32,
    /// Whether to speak RESP3 in place of RESP2.
    pub(crate) resp3: bool,
}

/// What stands at the other end.
#[derive(Debug, Clone)]
pub(crate) enum Topology {
    Server(Host),
    Socket(PathBuf),
    /// At least one node of a cluster; it tells the others.
    Cluster(Vec<Host>),
    Sentinel {
        /// At least one.
        sentinels: Vec<Host>,
        /// What the sentinels call the master and its replicas.
        master: Box<str>,
        /// Who the sentinels are told it is.
        login: Option<Login>,
    },
}

/// A host and its port; displayed as in a URL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Host {
    /// An IPv6 address has no brackets.
    pub(crate) name: Box<str>,
    pub(crate) port: u16,
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.contains(':') {
            true => write!(f, "[{}]:{}", self.name, self.port),
            false => write!(f, "{}:{}", self.name, self.port),
        }
    }
}

/// A password, and the user it belongs to unless that is the default one.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    pub(crate) user: Option<Secret<str>>,
    pub(crate) password: Secret<str>,
}
