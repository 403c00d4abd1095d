//! One server: by TCP, by TLS, or by a unix socket.

use std::convert::Infallible;
use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use deadpool_redis::{Connection, Manager, Pool, PoolError};
use redis::aio::MultiplexedConnection;
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, PushInfo,
    RedisConnectionInfo, RedisError,
};
use tokio::net::TcpStream;

use super::error;
use super::logins::Logins;
use super::pushes::Pushes;
use super::source::{Pooled, Source};
use crate::config::{Host, Login, RedisSettings};
use crate::error::{Error, ErrorKind};

/// A pool of connections to one server.
pub(super) struct Server {
    pool: Pool,
    info: ConnectionInfo,
    logins: Logins,
    place: String,
    tls: bool,
}

impl Server {
    /// Connects to nothing yet.
    pub(super) fn new(address: ConnectionAddr, settings: &RedisSettings) -> Result<Self, Error> {
        Self::over(connection_info(address, settings)?, Logins::new(settings.provider.clone()), settings.pool_size)
    }

    /// Like [`new`](Server::new), for one of several servers: what they share is made once.
    pub(super) fn over(info: ConnectionInfo, logins: Logins, pool_size: usize) -> Result<Self, Error> {
        let (place, tls) = (info.addr().to_string(), is_tls(&info));
        let manager = Manager::new_with_config(info.clone(), connection_config()).map_err(|_| refused())?;
        let pool = Pool::builder(manager).max_size(pool_size).build().map_err(|_| refused())?;
        Ok(Self { pool, info, logins, place, tls })
    }
}

impl Server {
    /// Makes a connection outside of the pool.
    async fn connect(
        &self,
        info: &ConnectionInfo,
        config: &AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, Error> {
        let info = self.logins.now(info).await?;
        let opened = open(info, config).await;
        opened.map_err(|error| self.logins.blame(error::of_connect(&error, &self.place), &self.place))
    }
}

/// Opens a connection. The caller bounds the time.
pub(super) async fn open(
    info: ConnectionInfo,
    config: &AsyncConnectionConfig,
) -> Result<MultiplexedConnection, RedisError> {
    Client::open(info)?.get_multiplexed_async_connection_with_config(config).await
}

/// Whether a connection is encrypted.
pub(super) fn is_tls(info: &ConnectionInfo) -> bool {
    matches!(info.addr(), ConnectionAddr::TcpTls { .. })
}

/// The address of a host, by TLS if the URL says so.
pub(super) fn address(host: &Host, tls: bool) -> ConnectionAddr {
    let (host, port) = (host.name.to_string(), host.port);
    match tls {
        true => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
        false => ConnectionAddr::Tcp(host, port),
    }
}

/// How to connect to a server of the URL: its roots, the login, the database, the protocol.
pub(super) fn connection_info(address: ConnectionAddr, settings: &RedisSettings) -> Result<ConnectionInfo, Error> {
    let target = settings.target();
    let mut redis = identity(target.login.as_ref()).set_db(target.db.into());
    if target.resp3 {
        redis = redis.set_protocol(ProtocolVersion::RESP3);
    }
    let info = address.into_connection_info().map_err(|_| refused())?;
    secured(info.set_tcp_settings(tcp_settings()).set_redis_settings(redis), settings)
}

/// Who the server is told it is.
pub(super) fn identity(login: Option<&Login>) -> RedisConnectionInfo {
    let mut redis = RedisConnectionInfo::default().set_lib_name("cachekit", env!("CARGO_PKG_VERSION"));
    if let Some(login) = login {
        redis = redis.set_password(login.password.expose());
        if let Some(user) = &login.user {
            redis = redis.set_username(user.expose());
        }
    }
    redis
}

/// The same connection to another host, under the same roots.
#[cfg(any(feature = "redis-cluster", feature = "redis-sentinel"))]
pub(super) fn elsewhere(info: &ConnectionInfo, host: &Host) -> ConnectionInfo {
    let mut address = address(host, matches!(info.addr(), ConnectionAddr::TcpTls { .. }));
    if let (ConnectionAddr::TcpTls { tls_params, .. }, ConnectionAddr::TcpTls { tls_params: roots, .. }) =
        (&mut address, info.addr())
    {
        tls_params.clone_from(roots);
    }
    info.clone().set_addr(address)
}

#[cfg(feature = "redis-tls")]
fn secured(info: ConnectionInfo, settings: &RedisSettings) -> Result<ConnectionInfo, Error> {
    match info.addr() {
        ConnectionAddr::TcpTls { .. } => super::tls::secure(info, settings.ca_bundle.as_deref()),
        _ => Ok(info),
    }
}

#[cfg(not(feature = "redis-tls"))]
fn secured(info: ConnectionInfo, _: &RedisSettings) -> Result<ConnectionInfo, Error> {
    Ok(info)
}

#[async_trait]
impl Source for Server {
    async fn open(&self) -> Result<Pooled, Error> {
        if self.logins.are_given() {
            // The pool knows one login for all. How many connections there are is bounded by who asks.
            return Ok(Pooled {
                connection: self.connect(&self.info, &connection_config()).await?,
                object: Box::new(()),
            });
        }
        let object = match self.pool.get().await {
            Ok(object) => object,
            Err(PoolError::Backend(error)) => return Err(error::of_connect(&error, &self.place)),
            Err(_) => return Err(Error::new(ErrorKind::Closed, "the pool of connections to Redis is closed")),
        };
        Ok(Pooled { connection: object.as_ref().clone(), object: Box::new(Object(Some(object))) })
    }

    async fn reach(&self) {
        let reached = match self.info.addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                TcpStream::connect((host.as_str(), *port)).await.is_ok()
            }
            _ => false,
        };
        if !reached {
            pending().await
        }
    }

    async fn listen(&self, pushes: Arc<Pushes>) -> Result<MultiplexedConnection, Error> {
        self.connect(&speaking_resp3(&self.info), &pushing_config(pushes)).await
    }

    fn place(&self) -> &str {
        &self.place
    }

    fn is_tls(&self) -> bool {
        self.tls
    }
}

/// An object of the pool that never goes back into it: a connection that is given up is broken, or of a server that is
/// not the master any more.
struct Object(Option<Connection>);

impl Drop for Object {
    fn drop(&mut self) {
        drop(self.0.take().map(Connection::take));
    }
}

/// How every connection behaves. Its timeouts are ours: one for the whole operation.
pub(super) fn connection_config() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None)
        .set_pipeline_buffer_size(PIPELINE)
}

/// How a connection behaves that hands on what the server pushes.
pub(super) fn pushing_config(pushes: Arc<Pushes>) -> AsyncConnectionConfig {
    connection_config().set_push_sender(move |push: PushInfo| {
        pushes.take(push);
        Ok::<(), Infallible>(())
    })
}

/// The same, in the protocol that has pushes.
pub(super) fn speaking_resp3(info: &ConnectionInfo) -> ConnectionInfo {
    let redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    info.clone().set_redis_settings(redis)
}

/// The settings of every TCP stream.
pub(super) fn tcp_settings() -> TcpSettings {
    TcpSettings::default().set_nodelay(true).set_keepalive(TcpKeepalive::new().with_time(KEEPALIVE))
}

/// Commands that may wait for a connection's writer.
const PIPELINE: usize = 1024;
/// How long a silent connection is left alone before the system asks whether its other end is there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// The client's own words may hold parts of the URL.
fn refused() -> Error {
    let message = "the URL of Redis is one the client cannot use: write redis://user:password@host:6379/0";
    Error::new(ErrorKind::Config, message)
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("place", &self.place).finish_non_exhaustive()
    }
}
