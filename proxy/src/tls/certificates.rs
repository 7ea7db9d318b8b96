//! Which certificate a client is shown: by the server name it asks for (SNI, RFC 6066 section 3) and the
//! signatures it can verify.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use proxy_config::host::HostName;
use proxy_config::listener::{CertificateFiles, RefusedNames};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SigningKey};
use x509_parser::extensions::GeneralName;

use crate::tls::keys::private_key;

/// The certificates of a listener. Names are lower case; wildcards begin with `*.`. Names that are refused have none.
#[derive(Debug)]
pub struct Certificates {
    by_name: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// Shown when no name fits: the first of the document, unless such clients are refused.
    default: Option<Arc<CertifiedKey>>,
}

impl Certificates {
    /// Reads the files. Errors say which of them is wrong, and how.
    pub fn read(
        files: &[CertificateFiles],
        refused: Option<&RefusedNames>,
        provider: &CryptoProvider,
    ) -> Result<Self, String> {
        let mut by_name: HashMap<String, Vec<Arc<CertifiedKey>>> = HashMap::new();
        let mut default = None;
        let mut of_certificates = Vec::new();
        for files in files {
            let (key, names) = read_one(files, provider).map_err(|why| {
                format!("{} with {}: {why}", files.certificate.display(), files.key.display())
            })?;
            default.get_or_insert_with(|| Arc::clone(&key));
            if files.hosts.is_empty() {
                of_certificates.push((key, names));
                continue;
            }
            for name in names {
                by_name.entry(name).or_default().push(Arc::clone(&key));
            }
        }
        // Names that somebody wrote come before those that certificates happen to have.
        let written: Vec<String> = by_name.keys().cloned().collect();
        for (key, names) in of_certificates {
            for name in names.into_iter().filter(|name| !written.contains(name)) {
                by_name.entry(name).or_default().push(Arc::clone(&key));
            }
        }
        for host in refused.map_or(&[][..], |refused| &refused.hosts) {
            by_name.insert(host.canonical(), Vec::new());
        }
        match refused.is_some_and(|refused| refused.unknown) {
            true => default = None,
            false if default.is_none() => return Err("there is no certificate".to_owned()),
            false => {}
        }
        Ok(Self { by_name, default })
    }

    /// The certificates for this name: its own, else those of the nearest wildcard.
    fn named(&self, name: &str) -> Option<&[Arc<CertifiedKey>]> {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        if let Some(own) = self.by_name.get(&name) {
            return Some(own);
        }
        let mut rest = name.as_str();
        while let Some((_, below)) = rest.split_once('.') {
            if let Some(wild) = self.by_name.get(&format!("*.{below}")) {
                return Some(wild);
            }
            rest = below;
        }
        None
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|name| self.named(name));
        let candidates = named.unwrap_or(self.default.as_slice());
        // A host may have an ECDSA and an RSA certificate, for clients old and new.
        let signs =
            |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        candidates.iter().find(signs).or(candidates.first()).cloned()
    }
}

fn read_one(
    files: &CertificateFiles,
    provider: &CryptoProvider,
) -> Result<(Arc<CertifiedKey>, Vec<String>), String> {
    let chain = chain(&files.certificate)?;
    let key = private_key(&files.key, files.password_file.as_deref())?;
    let names = match files.hosts.is_empty() {
        true => names(&chain[0])?,
        false => files.hosts.iter().map(HostName::canonical).collect(),
    };
    let key = provider.key_provider.load_private_key(key).map_err(|error| error.to_string())?;
    belongs(&chain[0], &*key)?;
    Ok((Arc::new(CertifiedKey::new(chain, key)), names))
}

/// Whether key and certificate belong together. Certificates of version 1, which rustls does not look into, are as good as
/// others to those who show them.
fn belongs(certificate: &CertificateDer<'_>, key: &dyn SigningKey) -> Result<(), String> {
    let malformed = |error| format!("the certificate is malformed: {error}");
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(malformed)?;
    match key.public_key() {
        Some(own) if own.as_ref() != parsed.public_key().raw => {
            Err("the key is not that of the certificate".to_owned())
        }
        _ => Ok(()),
    }
}

/// The certificates of a PEM file, at least one.
pub fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let unreadable = |error| format!("{} cannot be read: {error}", file.display());
    let chain = CertificateDer::pem_file_iter(file).map_err(unreadable)?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    match chain.is_empty() {
        true => Err(format!("{} holds no PEM certificate", file.display())),
        false => Ok(chain),
    }
}

/// The names a certificate is for (RFC 5280 section 4.2.1.6).
fn names(certificate: &CertificateDer<'_>) -> Result<Vec<String>, String> {
    let malformed = |error| format!("the certificate is malformed: {error}");
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(malformed)?;
    let names = parsed.subject_alternative_name().map_err(|error| error.to_string())?;
    let names = names.iter().flat_map(|names| &names.value.general_names);
    let dns = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    Ok(dns.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(dir: &Path, file: &str, names: &[&str], hosts: &[&str]) -> CertificateFiles {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let files = CertificateFiles {
            certificate: dir.join(format!("{file}.pem")),
            key: dir.join(format!("{file}.key")),
            password_file: None,
            hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
        };
        std::fs::write(&files.certificate, made.cert.pem()).unwrap();
        std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        files
    }

    #[test]
    fn the_nearest_name_wins() {
        let dir = tempfile::tempdir().unwrap();
        let files = [
            made(dir.path(), "default", &["default.example"], &[]),
            made(dir.path(), "exact", &["a.example", "www.a.example"], &[]),
            made(dir.path(), "wild", &["*.a.example"], &[]),
            made(dir.path(), "hosts", &["unused.example"], &["*.b.example", "B.example"]),
        ];
        let provider = rustls::crypto::ring::default_provider();
        let all = Certificates::read(&files, None, &provider).unwrap();
        let shown = |name: &str| {
            let key = all.named(name).map_or(all.default.as_ref().unwrap(), |keys| &keys[0]);
            let position =
                files.iter().position(|files| chain(&files.certificate).unwrap()[0] == key.cert[0]);
            position.unwrap()
        };
        for (name, expected) in [
            ("a.example", 1),
            ("A.Example.", 1),
            ("www.a.example", 1),
            ("x.a.example", 2),
            ("b.example", 3),
            ("x.y.b.example", 3),
            ("unused.example", 0),
            ("other.example", 0),
            ("example", 0),
        ] {
            assert_eq!(shown(name), expected, "{name}");
        }
    }

    #[test]
    fn names_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let provider = rustls::crypto::ring::default_provider();
        let files = [made(dir.path(), "wild", &["unused.example"], &["*.a.example"])];
        let hosts = vec!["bad.a.example".parse().unwrap()];
        for unknown in [false, true] {
            let refused = RefusedNames { unknown, hosts: hosts.clone() };
            let all = Certificates::read(&files, Some(&refused), &provider).unwrap();
            assert!(all.named("BAD.a.example").is_some_and(<[_]>::is_empty));
            assert_eq!(all.named("good.a.example").map(<[_]>::len), Some(1));
            assert!(all.named("other.example").is_none());
            assert_eq!(all.default.is_none(), unknown);
        }
        let nobody = RefusedNames { unknown: true, hosts: Vec::new() };
        assert!(Certificates::read(&[], Some(&nobody), &provider).is_ok());
        assert!(Certificates::read(&[], None, &provider).is_err());
    }

    #[test]
    fn wrong_files_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let provider = rustls::crypto::ring::default_provider();
        let good = made(dir.path(), "good", &["a.example"], &[]);
        let other = made(dir.path(), "other", &["a.example"], &[]);
        let mixed = CertificateFiles { key: other.key.clone(), ..good.clone() };
        let absent =
            CertificateFiles { certificate: dir.path().join("absent.pem"), ..good.clone() };
        for (files, part) in [(mixed, "other.key"), (absent, "absent.pem cannot be read")] {
            let fault = Certificates::read(&[files], None, &provider).unwrap_err();
            assert!(fault.contains(part), "{fault}");
        }
    }
}
