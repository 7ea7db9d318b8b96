//! TLS towards clients. Pingora's own `TlsSettings` always accepts TLS 1.2 and panics on a bad
//! certificate file, so the rustls configuration is made here and handed to pingora's acceptor.
//!
//! [`certificates`] chooses what is [`shown`], [`keys`] reads keys and certificates, [`asking`] says what clients show, [`tickets`] shortens the handshakes of those who come back,
//! [`ocsp`] staples what authorities say.

pub mod asking;
pub mod certificates;
pub mod kept;
pub mod keys;
pub mod ocsp;
pub mod shown;
pub mod tickets;

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pingora::listeners::tls::Acceptor;
use proxy_config::listener::{
    ClientCertificateMode, ClientCertificates, Listener, ListenerTls, TlsVersion,
};
use proxy_config::proved::{Certificate, encoded};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, version};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::acme::challenges;
use crate::tls::asking::Asking;
use crate::tls::certificates::Certificates;
use crate::tls::kept::Kept;
use crate::tls::keys::chain;

/// TLS that cannot be spoken as the document says.
#[derive(Debug, Error)]
#[error("listeners.{listener}.tls: {why}")]
pub struct TlsFault {
    pub listener: String,
    pub why: String,
}

/// How a listener speaks TLS.
pub struct Spoken {
    pub acceptor: Acceptor,
    pub certificates: Arc<Certificates>,
}

/// What a reload can replace: new connections use the new certificates, open ones stay.
pub type Live = Arc<ArcSwap<Spoken>>;

/// What a listener speaks; `None` for cleartext. Reads the files it names.
pub fn spoken(name: &str, listener: &Listener, kept: &Kept) -> Result<Option<Spoken>, TlsFault> {
    let Some(tls) = &listener.tls else { return Ok(None) };
    let fault = |why| TlsFault { listener: name.to_owned(), why };
    pingora::tls::install_default_crypto_provider();
    let provider = Arc::new(provider(&tls.cipher_suites));
    let certificates = Arc::new(Certificates::read(tls, kept, &provider).map_err(fault)?);
    let shows = Arc::clone(&certificates);
    let config = server_config(name, listener.http2, (tls, kept), provider, shows);
    let acceptor = Acceptor::from_server_config(Arc::new(config.map_err(fault)?));
    Ok(Some(Spoken { acceptor, certificates }))
}

fn server_config(
    name: &str,
    http2: bool,
    (tls, kept): (&ListenerTls, &Kept),
    provider: Arc<CryptoProvider>,
    certificates: Arc<Certificates>,
) -> Result<ServerConfig, String> {
    let mut binding = Sha256::new();
    binding.update(format!("{name}\n{:?}\n{:?}", tls.minimum_version, tls.client_certificates));
    let versions: &[_] = match tls.minimum_version {
        TlsVersion::V1_2 => &[&version::TLS13, &version::TLS12],
        TlsVersion::V1_3 => &[&version::TLS13],
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(|error| error.to_string())?;
    let builder = match &tls.client_certificates {
        Some(asked) => builder.with_client_cert_verifier(verifier(asked, provider, &mut binding)?),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(certificates);
    let protocols: &[&[u8]] = &[b"h2", b"http/1.1", b"http/1.0"];
    let protocols = if http2 { protocols } else { &protocols[1..] };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    if tls.acme.is_some() {
        config.alpn_protocols.push(challenges::PROTOCOL.to_vec());
    }
    config.ignore_client_order = !tls.cipher_suites.is_empty();
    let tickets = tls.session_tickets.clone().unwrap_or_default();
    let asks =
        tls.client_certificates.as_ref().is_some_and(|a| a.mode == ClientCertificateMode::Asked);
    match asks {
        // What a certificate was worth is not in a ticket.
        true => config.session_storage = Arc::new(NoServerSessionStorage {}),
        false => config.ticketer = kept.tickets.ticketer(&tickets, binding.finalize().into())?,
    }
    Ok(config)
}

/// The cryptography of these suites, in this order; of all where none is named.
fn provider(suites: &[String]) -> CryptoProvider {
    let mut provider = rustls::crypto::ring::default_provider();
    if !suites.is_empty() {
        let named = |name: &String| {
            let mut all = provider.cipher_suites.iter().copied();
            all.find(|suite| iana(&format!("{:?}", suite.suite())) == iana(name))
        };
        provider.cipher_suites = suites.iter().filter_map(named).collect();
    }
    provider
}

/// The name of a suite as IANA has it: rustls writes `TLS13_` for the suites of that version.
fn iana(name: &str) -> String {
    name.replacen("TLS13_", "TLS_", 1)
}

fn verifier(
    asked: &ClientCertificates,
    provider: Arc<CryptoProvider>,
    binding: &mut Sha256,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let asks = asked.mode == ClientCertificateMode::Asked;
    let Some(file) = &asked.authorities else {
        return Ok(Arc::new(Asking::new(None, Vec::new(), provider)));
    };
    let mut roots = RootCertStore::empty();
    let authorities = chain(file)?;
    for authority in &authorities {
        binding.update(authority);
        roots.add(authority.clone()).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    let own = Arc::clone(&provider);
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    if let Some(file) = &asked.revocations {
        let lists = revocations(file)?;
        lists.iter().for_each(|list| binding.update(list));
        builder = builder.with_crls(lists);
    }
    if asked.mode == ClientCertificateMode::Optional {
        builder = builder.allow_unauthenticated();
    }
    let judge = builder.build().map_err(|error| format!("{}: {error}", file.display()))?;
    match asks {
        true => Ok(Arc::new(Asking::new(Some(judge), authorities, own))),
        false => Ok(judge),
    }
}

fn revocations(file: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let unreadable = |error| format!("{} cannot be read: {error}", file.display());
    let lists = CertificateRevocationListDer::pem_file_iter(file).map_err(unreadable)?;
    let lists = lists.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    match lists.is_empty() {
        true => Err(format!("{} holds no list of revoked certificates", file.display())),
        false => Ok(lists),
    }
}

/// What is known of a client by its certificate. `verified` is what the handshake has made of it; empty where it would
/// have failed but for a certificate that is right.
pub fn shown(certificate: &[u8], verified: &str) -> Option<Certificate> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let verified = if verified.is_empty() { "SUCCESS" } else { verified };
    let date = |time: x509_parser::time::ASN1Time| {
        let time = jiff::Timestamp::from_second(time.timestamp()).ok();
        time.map(|time| time.strftime("%b %e %H:%M:%S %Y GMT").to_string()).unwrap_or_default()
    };
    let serial = hex(parsed.raw_serial()).to_ascii_uppercase();
    Some(Certificate {
        subject: encoded(&parsed.subject().to_string()),
        fingerprint: hex(&Sha256::digest(certificate)),
        issuer: encoded(&parsed.issuer().to_string()),
        serial: serial.strip_prefix("00").unwrap_or(&serial).to_owned(),
        verified: verified.to_owned(),
        pem: pem(certificate),
        sha1: hex(&sha1::Sha1::digest(certificate)),
        valid_from: date(parsed.validity().not_before),
        valid_until: date(parsed.validity().not_after),
    })
}

fn pem(certificate: &[u8]) -> String {
    let encoded = STANDARD.encode(certificate);
    let lines = encoded.as_bytes().chunks(64).map(String::from_utf8_lossy);
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in lines {
        text.push_str(&line);
        text.push('\n');
    }
    text + "-----END CERTIFICATE-----\n"
}

#[cfg(test)]
mod tests {
    use proxy_config::listener::CIPHER_SUITES;

    use super::*;

    #[test]
    fn the_document_knows_every_suite_there_is() {
        let all = rustls::crypto::ring::default_provider().cipher_suites;
        let all: Vec<_> = all.iter().map(|suite| iana(&format!("{:?}", suite.suite()))).collect();
        assert_eq!(all, CIPHER_SUITES);
    }

    #[test]
    fn suites_are_those_that_are_named_in_their_order() {
        let named = ["TLS_CHACHA20_POLY1305_SHA256", "TLS13_AES_128_GCM_SHA256"];
        let provider = provider(&named.map(str::to_owned));
        let suites: Vec<_> =
            provider.cipher_suites.iter().map(|suite| format!("{:?}", suite.suite())).collect();
        assert_eq!(suites, ["TLS13_CHACHA20_POLY1305_SHA256", "TLS13_AES_128_GCM_SHA256"]);
    }

    #[test]
    fn a_subject_is_told_so_that_it_can_stand_in_a_header() {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "a\r\nb<c>\u{e9}");
        let key = rcgen::KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        let certificate = shown(made.der(), "").unwrap();
        assert!(certificate.subject.contains("%3Cc%3E"), "{}", certificate.subject);
        assert!(certificate.subject.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
        assert_eq!(certificate.fingerprint.len(), 64);
        assert!(shown(b"nonsense", "").is_none());
    }
}
