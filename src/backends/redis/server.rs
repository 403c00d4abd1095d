//! One server: by TCP, by TLS, or by a unix socket.

use std::convert::Infallible;
use std::fmt;
use std::future::pending;
use std::sync::Arc;

use async_trait::async_trait;
use redis::{AsyncConnectionConfig, ProtocolVersion, PushInfo};
use tokio::net::TcpStream;

use super::accepted::Accepted;
use super::connect::{Address, RawConnection, Way};
use super::error;
use super::logins::{Logins, identity};
use super::pushes::Pushes;
use super::source::Source;
use crate::config::RedisSettings;
use crate::error::Error;

/// One server.
pub(super) struct Server {
    way: Way,
    logins: Logins,
    place: String,
}

impl Server {
    /// Connects to nothing yet.
    pub(super) fn new(way: Way, logins: Logins) -> Self {
        let place = way.address.to_string();
        Self { way, logins, place }
    }

    async fn connect(&self, way: &Way, config: AsyncConnectionConfig) -> Result<RawConnection, Error> {
        let opened = self.logins.now(way).await?.open(config).await;
        opened.map_err(|error| self.logins.blame(error::of_connect(&error, &self.place), &self.place))
    }
}

/// The way to a server of the URL: its roots, the login, the database, the protocol.
pub(super) fn way(address: Address, settings: &RedisSettings) -> Result<Way, Error> {
    let target = settings.target();
    let mut redis = identity(target.login.as_ref()).set_db(target.db.into());
    if target.resp3 {
        redis = redis.set_protocol(ProtocolVersion::RESP3);
    }
    #[cfg(feature = "redis-tls")]
    let tls = target.tls.then(|| super::tls::roots(settings.ca_bundle.as_deref())).transpose()?;
    #[cfg(not(feature = "redis-tls"))]
    let tls = None;
    Ok(Way { address, tls, redis, accepted: Arc::default() })
}

#[async_trait]
impl Source for Server {
    async fn open(&self) -> Result<RawConnection, Error> {
        self.connect(&self.way, connection_config()).await
    }

    async fn reach(&self) {
        let reached = match &self.way.address {
            Address::Host(host) => TcpStream::connect((&*host.name, host.port)).await.is_ok(),
            Address::Socket(_) => false,
        };
        if !reached {
            pending().await
        }
    }

    async fn listen(&self, pushes: Arc<Pushes>) -> Result<RawConnection, Error> {
        self.connect(&speaking_resp3(&self.way), pushing_config(pushes)).await
    }

    fn accepted(&self) -> &Accepted {
        &self.way.accepted
    }

    fn place(&self) -> &str {
        &self.place
    }

    fn is_tls(&self) -> bool {
        self.way.tls.is_some()
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
pub(super) fn speaking_resp3(way: &Way) -> Way {
    way.by(way.redis.clone().set_protocol(ProtocolVersion::RESP3))
}

/// Commands that may wait for a connection's writer.
const PIPELINE: usize = 1024;

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("place", &self.place).finish_non_exhaustive()
    }
}
