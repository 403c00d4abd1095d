//! Look-ups: where the host is, checked every time.
//!
//! A client connects to the addresses checked here and to no others, so that a name cannot be made to lead elsewhere
//! between the check and the connect. Of a name's addresses, those that are refused are dropped, and a name of which
//! none is left is refused. One look-up at a time runs on a thread of its own, because the system's cannot be stopped.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use super::error;
use crate::config::{is_forbidden, is_public};
use crate::error::Error;

/// How long the addresses of one look-up are used.
const REMEMBERED: Duration = Duration::from_secs(30);

/// The most addresses of a name that are tried.
const MOST: usize = 16;

/// Finds the addresses of a host and port.
type LookUp = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// The addresses of one host. Clones share them.
#[derive(Clone)]
pub(super) struct Names(Arc<Shared>);

struct Shared {
    host: String,
    port: u16,
    /// Whether addresses that are not public are let through.
    private: bool,
    look_up: Box<LookUp>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// What the last look-up found, until it is too old or of no use.
    found: Option<(Instant, Arc<[SocketAddr]>)>,
    /// Why the last one found nothing.
    failure: Option<Error>,
    /// How many have ended.
    ended: u64,
    runs: bool,
}

impl Names {
    /// Those of `host`, as a URL writes it, by the system's own look-up.
    pub(super) fn new(host: &str, port: u16, private: bool) -> Self {
        Self::with(host, port, private, |host, port| Ok((host, port).to_socket_addrs()?.collect()))
    }

    fn with(
        host: &str,
        port: u16,
        private: bool,
        look_up: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Self {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Self(Arc::new(Shared {
            host: bare.to_owned(),
            port,
            private,
            look_up: Box::new(look_up),
            state: Mutex::default(),
            changed: Condvar::new(),
        }))
    }

    /// Looks up again before the next connect: the addresses did not answer.
    pub(super) fn forget(&self) {
        self.0.lock().found = None;
    }

    /// The addresses, or `None` after `limit`.
    fn addresses(&self, limit: Duration) -> Option<Result<Arc<[SocketAddr]>, Error>> {
        let start = Instant::now();
        let mut state = self.0.lock();
        let ended = state.ended;
        loop {
            if let Some((at, addresses)) = &state.found
                && at.elapsed() < REMEMBERED
            {
                return Some(Ok(Arc::clone(addresses)));
            }
            if state.ended != ended
                && let Some(failure) = &state.failure
            {
                return Some(Err(failure.clone()));
            }
            if !state.runs {
                state.runs = true;
                if let Err(failure) = self.start() {
                    state.runs = false;
                    return Some(Err(failure));
                }
            }
            let left = limit.checked_sub(start.elapsed())?;
            state = self.0.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn start(&self) -> Result<(), Error> {
        let shared = Arc::clone(&self.0);
        let thread = thread::Builder::new().name("cachekitio-lookup".into());
        thread.spawn(move || shared.run()).map(drop).map_err(|failure| error::no_thread(&failure))
    }
}

impl Shared {
    fn run(&self) {
        let found = (self.look_up)(&self.host, self.port);
        let found = found.map_err(|failure| error::no_address(&self.host, failure));
        let found = found.and_then(|addresses| self.admitted(addresses));
        let mut state = self.lock();
        (state.found, state.failure) = match found {
            Ok(addresses) => (Some((Instant::now(), addresses.into())), None),
            Err(failure) => (None, Some(failure)),
        };
        state.ended += 1;
        state.runs = false;
        drop(state);
        self.changed.notify_all();
    }

    /// Those of `addresses` that may be connected to.
    fn admitted(&self, mut addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Error> {
        if addresses.is_empty() {
            return Err(error::no_address(&self.host, io::ErrorKind::NotFound.into()));
        }
        addresses.retain(|address| self.admits(address.ip()));
        addresses.truncate(MOST);
        if addresses.is_empty() { Err(error::refused_address(&self.host, self.private)) } else { Ok(addresses) }
    }

    fn admits(&self, ip: IpAddr) -> bool {
        if self.private { !is_forbidden(ip) && !ip.is_unspecified() && !ip.is_multicast() } else { is_public(ip) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing between lock and unlock can panic half way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Resolver for Names {
    fn resolve(&self, _: &Uri, _: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        match self.addresses(*timeout.after) {
            None => Err(ureq::Error::Timeout(timeout.reason)),
            Some(Err(failure)) => Err(ureq::Error::Other(Box::new(failure))),
            Some(Ok(addresses)) => {
                let mut resolved = self.empty();
                addresses.iter().for_each(|address| resolved.push(*address));
                Ok(resolved)
            }
        }
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").field("host", &self.0.host).field("port", &self.0.port).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "names/tests.rs"]
mod tests;
