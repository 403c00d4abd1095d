//! Where connections come from.
//!
//! One server and a set of sentinels differ only in how a connection is made; what is done with it is the same.

use std::fmt;
use std::future::pending;
use std::sync::Arc;

use super::accepted::Accepted;
use super::connect::RawConnection;
use super::pushes::Pushes;
use crate::error::Error;
use async_trait::async_trait;

/// Makes connections that are ready for commands: authenticated, and on the right database.
///
/// The caller bounds the time and the number of connections.
#[async_trait]
pub(super) trait Source: fmt::Debug + Send + Sync + 'static {
    /// Makes one.
    async fn open(&self) -> Result<RawConnection, Error>;

    /// Ends once the server has accepted a connection, which is closed then. Never, where that cannot be told.
    async fn reach(&self) {
        pending().await
    }

    /// Makes one that speaks RESP3, and hands on what the server pushes. It is outside of every pool.
    async fn listen(&self, pushes: Arc<Pushes>) -> Result<RawConnection, Error>;

    /// How long the entries are that callers take.
    fn accepted(&self) -> &Accepted;

    /// Where connections lead, for messages: addresses and names of masters, never a user or a password.
    fn place(&self) -> &str;

    /// Whether connections are encrypted, for messages.
    fn is_tls(&self) -> bool;
}
