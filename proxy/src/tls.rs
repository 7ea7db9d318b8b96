//! TLS towards clients. Pingora's own `TlsSettings` always accepts TLS 1.2 and panics on a bad
//! certificate file, so the rustls configuration is made here and handed to pingora's acceptor.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use pingora::listeners::tls::Acceptor;
use pingora::tls::{ServerConfig, load_certs_and_key_files, version};
use proxy_config::listener::{Listener, ListenerTls, TlsVersion};
use thiserror::Error;

/// A certificate that cannot be served.
#[derive(Debug, Error)]
#[error("listeners.{listener}.tls: {certificate} with {key}: {why}", certificate = certificate.display(), key = key.display())]
pub struct TlsFault {
    pub listener: String,
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub why: String,
}

/// An acceptor that a reload can replace: new connections use the new certificate, open ones stay.
pub type LiveAcceptor = Arc<ArcSwap<Acceptor>>;

/// The acceptor of a listener; `None` for cleartext. Reads the certificate files.
pub fn acceptor(name: &str, listener: &Listener) -> Result<Option<Acceptor>, TlsFault> {
    let Some(tls) = &listener.tls else { return Ok(None) };
    let config = server_config(name, tls, listener.http2)?;
    Ok(Some(Acceptor::from_server_config(Arc::new(config))))
}

fn server_config(name: &str, tls: &ListenerTls, http2: bool) -> Result<ServerConfig, TlsFault> {
    pingora::tls::install_default_crypto_provider();
    let files = tls.certificates.first().expect("validation asks for one certificate");
    let fault = |why: String| TlsFault {
        listener: name.to_owned(),
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        why,
    };
    for path in [&files.certificate, &files.key] {
        if let Err(error) = std::fs::File::open(path) {
            return Err(fault(format!("{} cannot be read: {error}", path.display())));
        }
    }
    let (certificate, key) = (files.certificate.to_string_lossy(), files.key.to_string_lossy());
    let (chain, key) = load_certs_and_key_files(&certificate, &key)
        .map_err(|error| fault(error.to_string()))?
        .ok_or_else(|| fault("the files hold no PEM certificate or no private key".to_owned()))?;
    let versions: &[_] = match tls.minimum_version {
        TlsVersion::V1_2 => &[&version::TLS13, &version::TLS12],
        TlsVersion::V1_3 => &[&version::TLS13],
    };
    let mut config = ServerConfig::builder_with_protocol_versions(versions)
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| fault(error.to_string()))?;
    let protocols: &[&[u8]] = if http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}
