//! The connections to one server that wait for the next exchange.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::connection::Connection;

/// How long a connection that carries nothing is kept.
const IDLE: Duration = Duration::from_secs(90);

/// Connections to addresses that a name resolved to, of one runtime.
pub(super) struct Pool {
    pub(super) addresses: Vec<SocketAddr>,
    /// The last is the newest.
    idle: Mutex<Vec<(Connection, Instant)>>,
}

impl Pool {
    pub(super) fn new(addresses: Vec<SocketAddr>) -> Self {
        Self { addresses, idle: Mutex::default() }
    }

    /// One that may carry an exchange, if there is any. Those that may not are closed.
    pub(super) fn take(&self) -> Option<Connection> {
        let mut idle = self.lock();
        while let Some((connection, since)) = idle.pop() {
            if since.elapsed() <= IDLE && connection.is_quiet() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection whose exchange came to its end.
    pub(super) fn put(&self, connection: Connection) {
        if connection.is_drained() {
            self.lock().push((connection, Instant::now()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Connection, Instant)>> {
        // Nothing between lock and unlock can panic half way through a change.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
