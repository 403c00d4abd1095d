//! Where connections come from.
//!
//! One server and a set of sentinels differ only in how a connection is made; what is done with it is the same.

use std::fmt;
use std::future::pending;
use std::sync::Arc;

use async_trait::async_trait;
use redis::aio::MultiplexedConnection;

use super::pushes::Pushes;
use crate::error::Error;

/// Makes connections that are ready for commands: authenticated, and on the right database.
///
/// The caller bounds the time and the number of connections.
#[async_trait]
pub(super) trait Source: fmt::Debug + Send + Sync + 'static {
    /// Makes one.
    async fn open(&self) -> Result<Pooled, Error>;

    /// Ends once the server has accepted a connection, which is closed then. Never, where nobody can tell.
    async fn reach(&self) {
        pending().await
    }

    /// Makes one that speaks RESP3, and hands on what the server pushes. It is outside of every pool.
    async fn listen(&self, pushes: Arc<Pushes>) -> Result<MultiplexedConnection, Error>;

    /// Where connections lead, for messages: addresses and names of masters, never a user or a password.
    fn place(&self) -> &str;

    /// Whether connections are encrypted, for messages.
    fn is_tls(&self) -> bool;
}

/// A connection, and the pool's object it belongs to.
pub(super) struct Pooled {
    pub(super) connection: MultiplexedConnection,
    /// What dropping gives the connection up, and with it its place in the pool.
    pub(super) object: Box<dyn Send + Sync>,
}
