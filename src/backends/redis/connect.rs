//! Connecting: from an address to a client that may be believed.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::socket2::{SockRef, TcpKeepalive};
use redis::{AsyncConnectionConfig, ErrorKind, RedisConnectionInfo, RedisError};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::{JoinHandle, JoinSet};

use super::accepted::Accepted;
use super::protocol::{Checked, Socket, Verdict};
#[cfg(feature = "redis-tls")]
use super::tls::Roots;
use crate::config::Host;

#[cfg(not(feature = "redis-tls"))]
pub(super) type Roots = std::convert::Infallible;

/// The way to a server, and who it is told it is.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) address: Address,
    /// With TLS, the roots to trust.
    pub(super) tls: Option<Roots>,
    /// The login, the database, the protocol.
    pub(super) redis: RedisConnectionInfo,
    /// How long the entries are that callers take.
    pub(super) accepted: Arc<Accepted>,
}

#[derive(Debug, Clone)]
pub(super) enum Address {
    Host(Host),
    Socket(PathBuf),
}

/// An open connection. It closes when it is dropped.
pub(super) struct RawConnection {
    pub(super) client: MultiplexedConnection,
    verdict: Arc<Verdict>,
    driver: JoinHandle<()>,
}

/// How long a silent connection is left alone before the system asks whether its other end is there.
const KEEPALIVE: Duration = Duration::from_secs(60);

impl Way {
    /// The same way to another host, under the same roots.
    #[cfg(any(feature = "redis-cluster", feature = "redis-sentinel"))]
    pub(super) fn to(&self, host: &Host) -> Self {
        Self { address: Address::Host(host.clone()), ..self.clone() }
    }

    /// The same way under another name.
    pub(super) fn by(&self, redis: RedisConnectionInfo) -> Self {
        Self { redis, ..self.clone() }
    }

    /// Opens a connection. The caller bounds the time.
    pub(super) async fn open(&self, config: AsyncConnectionConfig) -> Result<RawConnection, RedisError> {
        let verdict = Arc::<Verdict>::default();
        let checked = Checked::new(self.socket().await?, Arc::clone(&self.accepted), Arc::clone(&verdict));
        let (client, driver) = MultiplexedConnection::new_with_config(&self.redis, checked, config).await?;
        Ok(RawConnection { client, verdict, driver: tokio::spawn(driver) })
    }

    async fn socket(&self) -> Result<Box<dyn Socket>, RedisError> {
        match (&self.address, &self.tls) {
            (Address::Host(host), None) => Ok(Box::new(reach(host).await?)),
            #[cfg(feature = "redis-tls")]
            (Address::Host(host), Some(roots)) => {
                Ok(Box::new(super::tls::encrypt(reach(host).await?, host, roots).await?))
            }
            #[cfg(not(feature = "redis-tls"))]
            (Address::Host(_), Some(roots)) => match *roots {},
            #[cfg(unix)]
            (Address::Socket(path), _) => Ok(Box::new(tokio::net::UnixStream::connect(path).await?)),
            #[cfg(not(unix))]
            (Address::Socket(_), _) => Err(io::Error::from(io::ErrorKind::Unsupported).into()),
        }
    }
}

/// A connection to the first address of a host that takes one.
async fn reach(host: &Host) -> Result<TcpStream, RedisError> {
    let mut attempts = JoinSet::new();
    for address in lookup_host((&*host.name, host.port)).await? {
        attempts.spawn(dial(address));
    }
    let mut failure = RedisError::from((ErrorKind::InvalidClientConfig, "the host has no address"));
    while let Some(attempt) = attempts.join_next().await {
        match attempt {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failure = error.into(),
            Err(_) => {}
        }
    }
    Err(failure)
}

async fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
    Ok(stream)
}

impl RawConnection {
    /// Why this connection was ended, if it was for what the server sent.
    pub(super) fn verdict(&self) -> &Verdict {
        &self.verdict
    }
}

impl Drop for RawConnection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host) => host.fmt(f),
            Self::Socket(path) => path.display().fmt(f),
        }
    }
}
