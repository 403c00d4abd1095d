//! TLS: whom to trust.
//!
//! The roots of the system, and those of a bundle besides. They are read once, when the backend is made, so that a
//! bundle that cannot be used is known at once and no connect reads files. Certificates are always verified.

use std::path::Path;
use std::sync::Arc;

use redis::{ErrorKind as Kind, RedisError};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::super::bundle;
use crate::config::Host;
use crate::error::{Error, ErrorKind};

/// How connections are encrypted, and whom to trust.
pub(super) type Roots = Arc<ClientConfig>;

/// The roots of the system and those of the bundle.
pub(super) fn roots(bundle: Option<&Path>) -> Result<Roots, Error> {
    let mut roots = RootCertStore::empty();
    // Systems carry odd ones.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for root in bundle.map_or(Ok(Vec::new()), bundle::read)? {
        roots.add(root).map_err(|_| unusable())?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let config = config.with_safe_default_protocol_versions().map_err(|_| unusable())?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

/// The same connection, encrypted, if the certificate is the host's.
pub(super) async fn encrypt(stream: TcpStream, host: &Host, roots: &Roots) -> Result<TlsStream<TcpStream>, RedisError> {
    let name = ServerName::try_from(host.name.to_string());
    let name = name.map_err(|_| (Kind::InvalidClientConfig, "no certificate has such a name"))?;
    Ok(TlsConnector::from(Arc::clone(roots)).connect(name, stream).await?)
}

fn unusable() -> Error {
    Error::new(ErrorKind::Config, "the TLS roots cannot be used: see the CA bundle")
}
