//! The CachekitIO API, as its protocol says.
//!
//! The service is closed; its protocol is published, and the original client is free to use. The server keeps to the
//! first and is tried with the second, so whoever passes here speaks what the service speaks. It is as strict as the
//! protocol allows: a client that leaves out what the protocol asks for is refused.
//!
//! It has a thread and a runtime of its own, so that no test can starve it. It writes HTTP/1.1 by hand, for only so can
//! it answer as no server should.
//!
//! Facts about the protocol that are not evident from the code:
//! - Everything lies under `/v1/cache/`, health too: `GET /v1/cache/health`.
//! - The key is checked after it is decoded, once: `[A-Za-z0-9_.:-]`, at most 400, no `..`, so escapes do not help.
//! - The store keeps whole seconds. An entry lives until the second it was written in plus its TTL: up to 1 s less.
//! - A lock that is held is no error: status 200 and `{"lock_id": null}`.
//! - Nothing but reads tells whether a key exists: `DELETE` and `PATCH` of an absent key answer 200.
//! - The original client trusts what `SSL_CERT_FILE` names and does not read `REQUESTS_CA_BUNDLE`.
//!   `CACHEKIT_ALLOW_CUSTOM_HOST` opens its list of names, and never loopback or private addresses, nor `localhost`: a
//!   private server needs a name.

mod answer;
mod failing;
mod fault;
mod path;
mod python;
mod request;
mod routes;
mod serve;
mod store;
mod tests;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::Authority;

pub(crate) use self::fault::{Fault, Rule};
pub(crate) use self::request::Request;
use self::serve::{Shared, State};
pub(crate) use self::store::Class;

/// One server, on a free port of 127.0.0.1. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Api {
    port: u16,
    authority: PathBuf,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Api {
    /// Starts a server that whoever trusts `authority` believes to be `localhost`, 127.0.0.1 or `cachekit.test`.
    pub(crate) fn start(authority: &Authority) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::new());
        let (served, acceptor) = (Arc::clone(&shared), serve::acceptor(&authority.issue()));
        let thread = thread::spawn(move || serve::run(&served, listener, acceptor));
        Self { port, authority: authority.bundle().into(), shared, thread: Some(thread) }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The URL to configure a client with.
    pub(crate) fn url(&self) -> String {
        self.url_of("localhost")
    }

    /// The URL under another name of the server.
    pub(crate) fn url_of(&self, host: &str) -> String {
        format!("https://{host}:{}", self.port)
    }

    /// The PEM file with the certificate to trust.
    pub(crate) fn ca(&self) -> &Path {
        &self.authority
    }

    /// The API key that may do everything.
    pub(crate) fn key(&self) -> String {
        self.key_of(Class::Live)
    }

    /// The API key of a class.
    pub(crate) fn key_of(&self, class: Class) -> String {
        self.state().store.api_key(class)
    }

    /// How many entries there are that a read would find.
    pub(crate) fn entries(&self) -> usize {
        self.state().store.entries()
    }

    /// The bytes a read of `key` would find, fresh or stale.
    pub(crate) fn peek(&self, key: &str) -> Option<Vec<u8>> {
        self.state().store.peek(key)
    }

    /// All requests that were read, in the order of their reading.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    /// How many connections were made, with TLS agreed on.
    pub(crate) fn connections(&self) -> usize {
        self.state().connections
    }

    /// How many connections are open.
    pub(crate) fn open(&self) -> usize {
        self.state().open
    }

    /// How many connections were open at once, at most.
    pub(crate) fn most_open(&self) -> usize {
        self.state().most_open
    }

    /// Lets time pass for entries and locks.
    pub(crate) fn advance(&self, duration: Duration) {
        self.state().store.advance(duration);
    }

    /// Stops the server's clock at a whole second: from now on time passes by [`advance`](Self::advance) alone.
    pub(crate) fn stop_clock(&self) {
        self.state().store.stop_clock();
    }

    /// Fails requests as told: those of one method if [`Fault::on`] says so, the next few if [`Fault::times`] does,
    /// else all until [`clear`](Self::clear). Of several faults that fit, the one told first happens.
    pub(crate) fn fault(&self, rule: impl Into<Rule>) {
        self.state().faults.push(rule.into());
    }

    /// Ends all faults. Requests that wait for an answer go on waiting.
    pub(crate) fn clear(&self) {
        self.state().faults.clear();
    }

    /// Closes every connection, as a server does with idle ones.
    pub(crate) fn cut(&self) {
        self.shared.cut();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.shared.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
