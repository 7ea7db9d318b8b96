//! Client certificates that are asked for and never refused: what they are worth is told to the requests of the
//! connection (`client_certificates.mode: asked`).

use std::cell::RefCell;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

/// What is learned during a handshake beside the connection itself.
#[derive(Clone, Debug, Default)]
pub struct Learned {
    /// What the client's certificate is worth; empty when it was not looked at.
    pub verified: String,
    /// A ticket was taken: the session goes on.
    pub resumed: bool,
}

tokio::task_local! {
    static LEARNED: RefCell<Learned>;
}

/// Runs a handshake; says what was learned in it.
pub async fn learning<T>(handshake: impl Future<Output = T>) -> (T, Learned) {
    LEARNED
        .scope(RefCell::default(), async {
            let done = handshake.await;
            (done, LEARNED.with(RefCell::take))
        })
        .await
}

/// Called by whoever learns something; outside a handshake it is forgotten.
pub fn learn(change: impl FnOnce(&mut Learned)) {
    // Outside a handshake there is nobody to tell.
    let _ = LEARNED.try_with(|learned| change(&mut learned.borrow_mut()));
}

/// Takes every certificate, and tells what it is worth.
#[derive(Debug)]
pub struct Asking {
    /// Says what a certificate is worth; nothing without authorities.
    judge: Option<Arc<dyn ClientCertVerifier>>,
    /// Certificates that are trusted as they are.
    trusted: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl Asking {
    pub fn new(
        judge: Option<Arc<dyn ClientCertVerifier>>,
        trusted: Vec<CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Asking {
        Asking { judge, trusted, provider }
    }
}

fn reason(error: &Error) -> &'static str {
    match error {
        Error::InvalidCertificate(error) => match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "certificate has expired"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "certificate is not yet valid"
            }
            CertificateError::Revoked => "certificate revoked",
            CertificateError::UnknownIssuer => "unable to get local issuer certificate",
            _ => "certificate verify failed",
        },
        _ => "certificate verify failed",
    }
}

fn public_key(certificate: &CertificateDer<'_>) -> Result<SubjectPublicKeyInfoDer<'static>, Error> {
    let parsed = x509_parser::parse_x509_certificate(certificate);
    let (_, parsed) =
        parsed.map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
    Ok(SubjectPublicKeyInfoDer::from(parsed.public_key().raw.to_vec()))
}

fn is_self_signed(certificate: &CertificateDer<'_>) -> bool {
    let parsed = x509_parser::parse_x509_certificate(certificate);
    parsed.is_ok_and(|(_, parsed)| parsed.subject().as_raw() == parsed.issuer().as_raw())
}

/// Whether the key of a certificate, be it one of version 1, has signed a handshake.
pub fn verify_tls13_signature_of_any(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    match verify_tls13_signature(message, certificate, signature, algorithms) {
        // Of version 1 rustls reads nothing: the key is in it all the same.
        Err(Error::InvalidCertificate(CertificateError::Other(_))) => {
            let key = public_key(certificate)?;
            verify_tls13_signature_with_raw_key(message, &key, signature, algorithms)
        }
        done => done,
    }
}

impl ClientCertVerifier for Asking {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.judge.as_ref().map_or(&[], |judge| judge.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let judged = match &self.judge {
            _ if self.trusted.iter().any(|trusted| trusted.as_ref() == certificate.as_ref()) => {
                Ok(())
            }
            Some(judge) => judge.verify_client_cert(certificate, others, now).map(|_| ()),
            None => Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)),
        };
        learn(|learned| {
            learned.verified = match &judged {
                Ok(()) => "SUCCESS".to_owned(),
                Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
                    if is_self_signed(certificate) =>
                {
                    "FAILED:self-signed certificate".to_owned()
                }
                Err(error) => format!("FAILED:{}", reason(error)),
            };
        });
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature_of_any(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
