//! A certificate that is shown in handshakes, and changed while it is: renewed by its authority, or given a fresher
//! OCSP response. Connections that are open stay as they are.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

/// When a certificate is good, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub from: i64,
    pub until: i64,
}

/// One certificate and its key; none until it is there.
#[derive(Debug)]
pub struct Shown {
    /// The file it was read from, or the name an authority is asked for.
    pub label: String,
    key: ArcSwapOption<CertifiedKey>,
    /// The same with what its authority says of it.
    stapled: ArcSwapOption<CertifiedKey>,
    /// When it is good: read once, since metrics ask for all of them. Held by who changes any of these.
    validity: Mutex<Option<Validity>>,
}

impl Shown {
    pub fn new(label: String, key: Option<CertifiedKey>) -> Arc<Shown> {
        let validity = Mutex::new(key.as_ref().and_then(of_leaf));
        let key = ArcSwapOption::new(key.map(Arc::new));
        Arc::new(Shown { label, key, stapled: ArcSwapOption::empty(), validity })
    }

    pub fn get(&self) -> Option<Arc<CertifiedKey>> {
        self.key.load_full()
    }

    /// With an OCSP response where there is one.
    pub fn stapled(&self) -> Option<Arc<CertifiedKey>> {
        self.stapled.load_full().or_else(|| self.get())
    }

    /// Sends this OCSP response with the certificate, if it is still this one that is shown.
    pub fn staple(&self, certificate: &CertificateDer<'_>, response: Option<Vec<u8>>) {
        let _changing = self.validity.lock();
        let Some(key) = self.get().filter(|key| key.cert.first() == Some(certificate)) else {
            return;
        };
        self.stapled.store(response.map(|response| {
            let mut stapled = CertifiedKey::clone(&key);
            stapled.ocsp = Some(response);
            Arc::new(stapled)
        }));
    }

    /// Handshakes from now on show this one.
    pub fn put(&self, key: CertifiedKey) {
        let mut validity = self.validity.lock();
        *validity = of_leaf(&key);
        self.stapled.store(None);
        self.key.store(Some(Arc::new(key)));
    }

    pub fn validity(&self) -> Option<Validity> {
        *self.validity.lock()
    }
}

fn of_leaf(key: &CertifiedKey) -> Option<Validity> {
    validity(key.cert.first()?).ok()
}

fn parsed<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, String> {
    let parsed = x509_parser::parse_x509_certificate(certificate);
    Ok(parsed.map_err(|error| format!("the certificate is malformed: {error}"))?.1)
}

pub fn validity(certificate: &CertificateDer<'_>) -> Result<Validity, String> {
    let parsed = parsed(certificate)?;
    let (from, until) = (parsed.validity().not_before, parsed.validity().not_after);
    Ok(Validity { from: from.timestamp(), until: until.timestamp() })
}

/// Whether key and certificate belong together. Certificates of version 1, which rustls does not look into, are as good as
/// others to those who show them.
pub fn belongs(certificate: &CertificateDer<'_>, key: &dyn SigningKey) -> Result<(), String> {
    let parsed = parsed(certificate)?;
    match key.public_key() {
        Some(own) if own.as_ref() != parsed.public_key().raw => {
            Err("the key is not that of the certificate".to_owned())
        }
        _ => Ok(()),
    }
}

/// The names a certificate is for, in lower case (RFC 5280 section 4.2.1.6).
pub fn names(certificate: &CertificateDer<'_>) -> Result<Vec<String>, String> {
    let parsed = parsed(certificate)?;
    let names = parsed.subject_alternative_name().map_err(|error| error.to_string())?;
    let names = names.iter().flat_map(|names| &names.value.general_names);
    let dns = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    Ok(dns.collect())
}

/// A key and the chain of its certificate in one PEM, which must be for this name.
pub fn from_pem(text: &[u8], host: &str) -> Result<CertifiedKey, String> {
    let unreadable = |error| format!("it cannot be read: {error}");
    let chain = CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(unreadable)?;
    let key = PrivateKeyDer::from_pem_slice(text).map_err(unreadable)?;
    let provider = rustls::crypto::ring::default_provider();
    let key = provider.key_provider.load_private_key(key).map_err(|error| error.to_string())?;
    let leaf = chain.first().ok_or("it holds no certificate")?;
    belongs(leaf, &*key)?;
    if !names(leaf)?.iter().any(|name| name == host) {
        return Err(format!("its certificate is not for {host}"));
    }
    Ok(CertifiedKey::new(chain, key))
}
