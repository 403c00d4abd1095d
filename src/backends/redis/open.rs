//! Opening: the router that settings ask for.
//!
//! Nothing is connected to here. What a build lacks is refused, and never replaced by something less.

use std::sync::Arc;

#[cfg(feature = "redis-cluster")]
use super::cluster::Cluster;
use super::connect::Address;
#[cfg(feature = "redis-cluster")]
use super::error;
use super::logins::Logins;
use super::pool::Pool;
use super::request::Limits;
use super::router::Router;
#[cfg(feature = "redis-sentinel")]
use super::sentinel;
use super::server::{self, Server};
#[cfg(feature = "redis-cluster")]
use crate::config::Host;
use crate::config::{RedisSettings, Topology};
use crate::error::{Error, ErrorKind};

/// The way to what the URL names.
pub(super) fn router(settings: &RedisSettings) -> Result<Router, Error> {
    let target = settings.target();
    if target.tls && cfg!(not(feature = "redis-tls")) {
        return Err(lacks("TLS", "redis-tls"));
    }
    match &target.topology {
        Topology::Server(host) => server(Address::Host(host.clone()), settings),
        Topology::Socket(path) => server(Address::Socket(path.clone()), settings),
        #[cfg(feature = "redis-cluster")]
        Topology::Cluster(_) if settings.tracking => Err(error::no_tracking_in_clusters()),
        #[cfg(feature = "redis-cluster")]
        Topology::Cluster(nodes) => cluster(nodes, settings),
        #[cfg(not(feature = "redis-cluster"))]
        Topology::Cluster(_) => Err(lacks("a cluster", "redis-cluster")),
        #[cfg(feature = "redis-sentinel")]
        Topology::Sentinel { sentinels, master, login } => {
            let source = sentinel::Sentinels::new(sentinels, master, login.as_ref(), settings)?;
            Ok(Router::Pool(Pool::new(Arc::new(source), settings.pool_size, limits(settings))))
        }
        #[cfg(not(feature = "redis-sentinel"))]
        Topology::Sentinel { .. } => Err(lacks("sentinels", "redis-sentinel")),
    }
}

fn server(address: Address, settings: &RedisSettings) -> Result<Router, Error> {
    let server = Server::new(server::way(address, settings)?, Logins::new(settings.provider.clone()));
    Ok(Router::Pool(Pool::new(Arc::new(server), settings.pool_size, limits(settings))))
}

#[cfg(feature = "redis-cluster")]
fn cluster(nodes: &[Host], settings: &RedisSettings) -> Result<Router, Error> {
    let first = nodes.first().expect("a URL names at least one host");
    let way = server::way(Address::Host(first.clone()), settings)?;
    let logins = Logins::new(settings.provider.clone());
    Ok(Router::Cluster(Arc::new(Cluster::new(nodes, way, logins, settings.pool_size, limits(settings)))))
}

fn limits(settings: &RedisSettings) -> Limits {
    Limits { command: settings.timeout, connect: settings.connect_timeout }
}

fn lacks(what: &str, feature: &str) -> Error {
    let message = format!("the URL of Redis asks for {what}: build cachekit with its feature `{feature}`");
    Error::new(ErrorKind::Unsupported, message)
}

#[cfg(test)]
mod tests {
    use super::super::Redis;
    use super::*;

    #[test]
    fn what_a_build_lacks_is_refused_and_never_done_without() {
        let kind = |url| Redis::from_url(url).err().map(|error| (error.kind(), error.to_string()));
        for (url, feature, there) in [
            ("rediss://h", "redis-tls", cfg!(feature = "redis-tls")),
            ("redis-cluster://h", "redis-cluster", cfg!(feature = "redis-cluster")),
            ("redis-sentinel://h/m", "redis-sentinel", cfg!(feature = "redis-sentinel")),
        ] {
            match kind(url) {
                None => assert!(there, "{url}"),
                Some((kind, text)) => {
                    assert!(!there && kind == ErrorKind::Unsupported && text.contains(feature), "{text}");
                }
            }
        }
    }
}
