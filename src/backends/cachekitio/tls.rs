//! TLS: connections that are who they say.
//!
//! One configuration serves all connections, so that roots are read once and sessions are resumed. The roots are those
//! of Mozilla, which are built in, and those of a bundle besides. Certificates are always verified.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::{ClientConfig, RootCertStore};

use super::super::bundle;
use crate::error::{Error, ErrorKind};

/// # Errors
/// [`ErrorKind::Config`] for a bundle that cannot be used.
pub(super) fn config(bundle: Option<&Path>) -> Result<Arc<ClientConfig>, Error> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for root in bundle.map_or(Ok(Vec::new()), bundle::read)? {
        roots.add(root).map_err(|_| Error::new(ErrorKind::Config, "the CA bundle cannot be used"))?;
    }
    // Named, because a process that has two providers has no default.
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|source| Error::with_source(ErrorKind::Config, "TLS cannot be set up", source))?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}
