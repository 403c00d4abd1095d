//! TLS: whom to trust.
//!
//! The roots of the system, and those of a bundle besides. They are read once, when the backend is made, so that a
//! bundle that cannot be used is known at once and no connect reads files. Certificates are always verified.

use std::path::Path;

use redis::{Client, ConnectionInfo, TlsCertificates};
use rustls::RootCertStore;
use rustls::crypto::ring::default_provider;

use super::super::bundle;
use crate::error::{Error, ErrorKind};

/// The connection, by TLS under these roots.
pub(super) fn secure(info: ConnectionInfo, bundle: Option<&Path>) -> Result<ConnectionInfo, Error> {
    let client = Client::build_with_tls(info, certificates(bundle)?)
        .map_err(|_| Error::new(ErrorKind::Config, "the TLS roots cannot be used: see the CA bundle"))?;
    Ok(client.get_connection_info().clone())
}

/// The roots, for the client.
pub(super) fn certificates(bundle: Option<&Path>) -> Result<TlsCertificates, Error> {
    // The client takes the process's provider and panics where there is none and two are compiled in. One that the
    // program has installed stays.
    let _ = default_provider().install_default();
    let mut pem = String::new();
    let mut checked = RootCertStore::empty();
    // The client refuses all for one it cannot read, and systems carry odd ones.
    for root in rustls_native_certs::load_native_certs().certs {
        if checked.add(root.clone()).is_ok() {
            push_pem(&mut pem, &root);
        }
    }
    for root in bundle.map_or(Ok(Vec::new()), bundle::read)? {
        push_pem(&mut pem, &root);
    }
    Ok(TlsCertificates { client_tls: None, root_cert: Some(pem.into_bytes()) })
}

/// Appends a certificate as PEM, the one form the client takes.
fn push_pem(out: &mut String, certificate: &[u8]) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    out.push_str("-----BEGIN CERTIFICATE-----\n");
    for line in certificate.chunks(48) {
        for group in line.chunks(3) {
            let bits = group.iter().fold(0, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - group.len()));
            for place in 0..4 {
                let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
                out.push(if place <= group.len() { char::from(digit) } else { '=' });
            }
        }
        out.push('\n');
    }
    out.push_str("-----END CERTIFICATE-----\n");
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    use super::*;

    #[test]
    fn pem_of_any_length_reads_back() {
        for length in [1, 2, 3, 47, 48, 49, 50, 1000] {
            let certificate: Vec<u8> = (0..length).map(|byte| (byte * 7 + 200) as u8).collect();
            let mut pem = String::new();
            push_pem(&mut pem, &certificate);
            let back = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
            assert_eq!(&*back, &certificate[..], "{length} bytes");
        }
    }
}
