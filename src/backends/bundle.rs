//! CA bundles: further roots to trust.
//!
//! A bundle is read once, when a backend is made, so that one that cannot be used is known at once.

use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::error::{Error, ErrorKind};

/// The certificates of a bundle, at least one and all of them usable.
pub(super) fn read(bundle: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let refuse = |what: &str| {
        let message = format!(
            "the CA bundle (CACHEKIT_CA_BUNDLE, REQUESTS_CA_BUNDLE or SSL_CERT_FILE, unless the program names it) {what}: \
             name a PEM file of root certificates, or leave it out"
        );
        Error::new(ErrorKind::Config, message)
    };
    let text = std::fs::read(bundle).map_err(|_| refuse("cannot be read"))?;
    let roots: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|_| refuse("has a part that is not PEM"))?;
    if roots.is_empty() {
        return Err(refuse("holds no certificate"));
    }
    let mut checked = RootCertStore::empty();
    if roots.iter().any(|root| checked.add(root.clone()).is_err()) {
        return Err(refuse("holds a certificate that cannot be a root"));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundles_that_cannot_be_used_say_why() {
        let directory = tempfile::tempdir().unwrap();
        let bundle = directory.path().join("roots.pem");
        let refusal = || read(&bundle).unwrap_err().to_string();
        assert!(refusal().contains("cannot be read") && refusal().contains("REQUESTS_CA_BUNDLE"), "{}", refusal());
        std::fs::write(&bundle, "").unwrap();
        assert!(refusal().contains("holds no certificate"), "{}", refusal());
        std::fs::write(&bundle, "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n").unwrap();
        assert!(refusal().contains("not PEM"), "{}", refusal());
        std::fs::write(&bundle, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        assert!(refusal().contains("cannot be a root"), "{}", refusal());
    }
}
