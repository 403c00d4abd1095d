//! TLS: connections that are who they say.
//!
//! One configuration serves all connections, so that roots are read once and sessions are resumed. The roots are those
//! of Mozilla, which are built in, and those of a bundle besides. Certificates are always verified.

use std::fmt;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use ureq::unversioned::transport::time::{Duration, Instant};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport, TransportAdapter,
};

use super::super::bundle;
use super::exchange;
use crate::error::{Error, ErrorKind};

/// Makes plain connections secret ones.
pub(super) struct Tls(Arc<ClientConfig>);

impl Tls {
    /// # Errors
    /// [`ErrorKind::Config`] for a bundle that cannot be used.
    pub(super) fn new(bundle: Option<&Path>) -> Result<Self, Error> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        for root in bundle.map_or(Ok(Vec::new()), bundle::read)? {
            roots.add(root).map_err(|_| Error::new(ErrorKind::Config, "the CA bundle cannot be used"))?;
        }
        // Named, because a process that has two providers has no default.
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|source| Error::with_source(ErrorKind::Config, "TLS cannot be set up", source))?;
        Ok(Self(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl<In: Transport> Connector<In> for Tls {
    type Out = Secret;

    fn connect(&self, details: &ConnectionDetails<'_>, plain: Option<In>) -> Result<Option<Secret>, ureq::Error> {
        let Some(plain) = plain else { return Ok(None) };
        let host = details.uri.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(host).map_err(|_| ureq::Error::Tls("the host is no name for TLS"))?;
        let timeout = left(details);
        if timeout.after.is_zero() {
            return Err(ureq::Error::Timeout(timeout.reason));
        }
        let mut session = ClientConnection::new(Arc::clone(&self.0), name.to_owned())?;
        let mut socket = TransportAdapter::new(plain.boxed(), Arc::clone(&details.current_time));
        socket.set_timeout(timeout);
        session.complete_io(&mut socket)?;
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        let stream = StreamOwned::new(session, socket);
        let (arrived, seen) = (vec![0; READ].into(), Vec::new());
        Ok(Some(Secret { stream, buffers, arrived, seen, is_out_of_step: false }))
    }
}

/// What the plain connection has left of the time for both.
fn left(details: &ConnectionDetails<'_>) -> NextTimeout {
    let mut timeout = details.timeout;
    if let (Duration::Exact(limit), Instant::Exact(start)) = (timeout.after, details.now) {
        timeout.after = limit.saturating_sub(start.elapsed()).into();
    }
    timeout
}

/// The most bytes of an answer that are taken from the stream at once.
const READ: usize = 16 << 10;

/// A connection whose bytes neither the network nor the program's log gets to see.
pub(super) struct Secret {
    stream: StreamOwned<ClientConnection, TransportAdapter>,
    buffers: LazyBuffers,
    /// What arrived, and what of it the client may see and has not been given.
    arrived: Box<[u8]>,
    seen: Vec<u8>,
    /// Whether more arrived than was asked for.
    is_out_of_step: bool,
}

impl Transport for Secret {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.sock.set_timeout(timeout);
        let output = &self.buffers.output()[..amount];
        match exchange::unveil(output)? {
            Some(head) => self.stream.write_all(&head)?,
            None => self.stream.write_all(output)?,
        }
        Ok(())
    }

    fn await_input(&mut self, mut timeout: NextTimeout) -> Result<bool, ureq::Error> {
        let begun = std::time::Instant::now();
        let limit = timeout.after;
        while self.seen.is_empty() {
            self.stream.sock.set_timeout(timeout);
            let read = self.stream.read(&mut self.arrived)?;
            if read == 0 {
                return Ok(false);
            }
            self.is_out_of_step |= !exchange::veil(&self.arrived[..read], &mut self.seen)?;
            // A head that arrives in many parts has one time for all of them.
            if let Duration::Exact(limit) = limit {
                timeout.after = limit.saturating_sub(begun.elapsed()).into();
            }
            if timeout.after.is_zero() {
                return Err(ureq::Error::Timeout(timeout.reason));
            }
        }
        let room = self.buffers.input_append_buf();
        let length = self.seen.len().min(room.len());
        room[..length].copy_from_slice(&self.seen[..length]);
        self.seen.drain(..length);
        self.buffers.input_appended(length);
        Ok(length > 0)
    }

    /// Whether it may carry another request. What was sent unasked would be taken for the answer to it: there is none
    /// before TLS, in TLS, or in the socket.
    fn is_open(&mut self) -> bool {
        let plain = self.stream.sock.get_mut();
        let is_quiet = plain.buffers().input().is_empty() && plain.is_open();
        let is_in_step = self.seen.is_empty() && !self.is_out_of_step;
        is_in_step
            && is_quiet
            && self.stream.conn.process_new_packets().is_ok_and(|state| state.plaintext_bytes_to_read() == 0)
    }

    fn is_tls(&self) -> bool {
        true
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}
