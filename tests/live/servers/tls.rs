//! Certificates for servers of tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::reaper;

/// An authority of its own: whoever trusts one trusts no other.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    bundle: PathBuf,
}

/// The files of one server.
pub(super) struct Issued {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, format!("authority {:016x}", fastrand::u64(..)));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let bundle = reaper::fresh_dir().join("authority.pem");
        fs::write(&bundle, params.self_signed(&key).unwrap().pem()).unwrap();
        Self { issuer: Issuer::new(params, key), bundle }
    }

    /// The file with the authority's certificate.
    pub(crate) fn bundle(&self) -> &Path {
        &self.bundle
    }

    /// What a server of the test's own needs to be one that is trusted with the bundle.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        self.issue().config()
    }

    /// A certificate for `localhost`, `127.0.0.1` and `cachekit.test`, for servers and for clients.
    pub(super) fn issue(&self) -> Issued {
        let names = ["localhost", "127.0.0.1", "cachekit.test"].map(String::from);
        let mut params = CertificateParams::new(names).unwrap();
        // Python 3.13 and later ask for it.
        params.use_authority_key_identifier_extension = true;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let dir = reaper::fresh_dir();
        let issued = Issued { certificate: dir.join("server.pem"), key: dir.join("key.pem") };
        fs::write(&issued.certificate, certificate.pem()).unwrap();
        fs::write(&issued.key, key.serialize_pem()).unwrap();
        issued
    }
}

impl Issued {
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        let chain = CertificateDer::pem_file_iter(&self.certificate).unwrap().collect::<Result<_, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_file(&self.key).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        Arc::new(config.with_single_cert(chain, key).unwrap())
    }
}
