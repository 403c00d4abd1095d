//! The connections of one service: those that wait for a request, and handles to end them all.

use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::connection::{Connection, Handle};

/// Longer than servers leave a silent connection open, by most settings, is no use.
const MAX_IDLE: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(super) struct Pool(Mutex<State>);

#[derive(Default)]
struct State {
    /// The last is the newest.
    idle: Vec<(Connection, Instant)>,
    open: Vec<Weak<TcpStream>>,
    stopped: bool,
}

impl Pool {
    /// One that may carry a request, if there is any. Those that may not are closed.
    pub(super) fn take(&self) -> Option<Connection> {
        loop {
            let (mut connection, since) = self.lock().idle.pop()?;
            if since.elapsed() <= MAX_IDLE && connection.is_quiet() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection whose answer was read to its end.
    pub(super) fn put(&self, connection: Connection) {
        let mut state = self.lock();
        if !state.stopped {
            state.idle.push((connection, Instant::now()));
        }
    }

    /// Takes note of a new connection, so that it can be interrupted. Returns whether it may be used.
    pub(super) fn add(&self, handle: &Handle) -> bool {
        let mut state = self.lock();
        state.open.retain(|open| open.strong_count() > 0);
        state.open.push(Arc::downgrade(handle));
        !state.stopped
    }

    /// Ends every connection, whatever it is doing, and all that are made later.
    pub(super) fn stop(&self) {
        let (idle, open) = {
            let mut state = self.lock();
            state.stopped = true;
            (std::mem::take(&mut state.idle), std::mem::take(&mut state.open))
        };
        drop(idle);
        for handle in open.iter().filter_map(Weak::upgrade) {
            let _ = handle.shutdown(Shutdown::Both);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing between lock and unlock can panic half way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
