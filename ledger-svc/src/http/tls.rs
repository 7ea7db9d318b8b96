//! TLS on the main listener, for a ledger with no proxy on its own machine: a certificate of files that are read again
//! when they are replaced.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Why a certificate cannot be served.
#[derive(Debug, Error)]
pub enum TlsError {
    #[error("cannot read {}: {reason}; it must be a PEM file", path.display())]
    Unreadable { path: PathBuf, reason: rustls::pki_types::pem::Error },
    #[error("{} has no certificate; it must be a PEM file, the server's own first", path.display())]
    NoCertificate { path: PathBuf },
    #[error("the certificate in {} does not go with the key in {}: {reason}", certificate.display(), key.display())]
    Mismatched { certificate: PathBuf, key: PathBuf, reason: rustls::Error },
}

/// A certificate and what is made of it for each connection.
#[derive(Debug)]
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    config: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads both PEM files: the certificate with its chain, and its key.
    pub fn read(certificate: &Path, key: &Path) -> Result<Tls, TlsError> {
        let config = RwLock::new(config(certificate, key)?);
        Ok(Tls { certificate: certificate.to_owned(), key: key.to_owned(), config })
    }

    /// Reads them again, for connections to come; what was read before stays in force on an error.
    pub fn read_again(&self) -> Result<(), TlsError> {
        let config = config(&self.certificate, &self.key)?;
        *self.config.write() = config;
        Ok(())
    }

    pub async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let config = Arc::clone(&self.config.read());
        TlsAcceptor::from(config).accept(stream).await
    }
}

fn config(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |reason| TlsError::Unreadable { path, reason }
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(unreadable(certificate))?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate { path: certificate.to_owned() });
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(unreadable(key))?;
    let mismatched = |reason| TlsError::Mismatched {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        reason,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(mismatched)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(mismatched)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
