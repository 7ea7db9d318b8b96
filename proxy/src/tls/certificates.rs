//! Which certificate a client is shown: by the server name it asks for (SNI, RFC 6066 section 3) and the
//! signatures it can verify.

use std::collections::HashMap;
use std::sync::Arc;

use proxy_config::host::HostName;
use proxy_config::listener::{CertificateFiles, ListenerTls};
use rustls::SignatureScheme;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::acme::challenges::{Challenges, is_authority};
use crate::tls::kept::Kept;
use crate::tls::keys::{chain, private_key};
use crate::tls::shown::{Shown, belongs, names};

/// The certificates of a listener. Names are lower case; wildcards begin with `*.`. Names that are refused have none.
pub struct Certificates {
    by_name: HashMap<String, Vec<Arc<Shown>>>,
    /// Shown when no name fits: the first of the document, unless such clients are refused.
    default: Option<Arc<Shown>>,
    /// All, in the order of the document; those of an authority come last.
    all: Vec<Arc<Shown>>,
    challenges: Challenges,
    pub is_stapling: bool,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates").field("all", &self.all).finish_non_exhaustive()
    }
}

impl Certificates {
    /// Reads the files. Errors say which of them is wrong, and how.
    pub fn read(tls: &ListenerTls, kept: &Kept, provider: &CryptoProvider) -> Result<Self, String> {
        let mut by_name: HashMap<String, Vec<Arc<Shown>>> = HashMap::new();
        let (mut all, mut of_certificates) = (Vec::new(), Vec::new());
        for files in &tls.certificates {
            let (key, names) = read_one(files, provider).map_err(|why| {
                format!("{} with {}: {why}", files.certificate.display(), files.key.display())
            })?;
            let shown = Shown::new(files.certificate.display().to_string(), Some(key));
            all.push(Arc::clone(&shown));
            if files.hosts.is_empty() {
                of_certificates.push((shown, names));
                continue;
            }
            for name in names {
                by_name.entry(name).or_default().push(Arc::clone(&shown));
            }
        }
        let issued = tls.acme.as_ref().map(|acme| kept.issued.of(acme)).transpose()?;
        // Names that somebody wrote come before those that certificates happen to have.
        let written: Vec<String> = by_name.keys().cloned().collect();
        for name in issued.iter().flatten() {
            by_name.entry(name.host.clone()).or_default().push(Arc::clone(&name.shown));
            all.push(Arc::clone(&name.shown));
        }
        for (shown, names) in of_certificates {
            for name in names.into_iter().filter(|name| !written.contains(name)) {
                by_name.entry(name).or_default().push(Arc::clone(&shown));
            }
        }
        for host in tls.refused.iter().flat_map(|refused| &refused.hosts) {
            by_name.insert(host.canonical(), Vec::new());
        }
        let refuses_unknown = tls.refused.as_ref().is_some_and(|refused| refused.unknown);
        if all.is_empty() && !refuses_unknown {
            return Err("there is no certificate".to_owned());
        }
        let default = all.first().filter(|_| !refuses_unknown).cloned();
        let is_stapling = tls.ocsp_stapling == Some(true);
        if is_stapling {
            // What is known already is sent from the first handshake on.
            all.iter().for_each(|shown| kept.staples.apply(shown));
        }
        let challenges = kept.issued.challenges.clone();
        Ok(Self { by_name, default, all, challenges, is_stapling })
    }

    pub fn all(&self) -> &[Arc<Shown>] {
        &self.all
    }

    /// What is there for a name, its own before those of wildcards, the nearest first. One that is empty is refused.
    fn named(&self, name: &str) -> impl Iterator<Item = &[Arc<Shown>]> {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let own = self.by_name.get(&name);
        let below = std::iter::successors(Some(name), |rest| {
            rest.split_once('.').map(|(_, below)| below.to_owned())
        });
        let wild = below.skip(1).filter_map(|below| self.by_name.get(&format!("*.{below}")));
        own.into_iter().chain(wild).map(Vec::as_slice)
    }

    fn there(&self, shown: &Shown) -> Option<Arc<CertifiedKey>> {
        if self.is_stapling { shown.stapled() } else { shown.get() }
    }

    /// What a client is shown that asks for this name: the first whose signatures it can verify.
    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        // A host may have an ECDSA and an RSA certificate, for clients old and new.
        let pick = |of: &[Arc<Shown>]| {
            let there: Vec<_> = of.iter().filter_map(|shown| self.there(shown)).collect();
            let signs = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(schemes).is_some();
            there.iter().find(signs).or(there.first()).cloned()
        };
        for candidates in name.into_iter().flat_map(|name| self.named(name)) {
            // Where the authority has issued none yet, what is less near is shown.
            match pick(candidates) {
                None if !candidates.is_empty() => {}
                chosen => return chosen,
            }
        }
        pick(self.default.as_slice())
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if is_authority(&hello) {
            return self.challenges.shown(&hello);
        }
        self.choose(hello.server_name(), hello.signature_schemes())
    }
}

fn read_one(
    files: &CertificateFiles,
    provider: &CryptoProvider,
) -> Result<(CertifiedKey, Vec<String>), String> {
    let chain = chain(&files.certificate)?;
    let key = private_key(&files.key, files.password_file.as_deref())?;
    let names = match files.hosts.is_empty() {
        true => names(&chain[0])?,
        false => files.hosts.iter().map(HostName::canonical).collect(),
    };
    let key = provider.key_provider.load_private_key(key).map_err(|error| error.to_string())?;
    belongs(&chain[0], &*key)?;
    Ok((CertifiedKey::new(chain, key), names))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proxy_config::listener::RefusedNames;

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

    fn tls(files: &[CertificateFiles], more: serde_json::Value) -> ListenerTls {
        let mut tls: ListenerTls = serde_json::from_value(more).unwrap();
        tls.certificates = files.to_vec();
        tls
    }

    fn read(tls: &ListenerTls) -> Result<Certificates, String> {
        Certificates::read(tls, &Kept::default(), &rustls::crypto::ring::default_provider())
    }

    /// Which of the files is shown for a name.
    fn shown(all: &Certificates, files: &[CertificateFiles], name: &str) -> Option<usize> {
        let key = all.choose(Some(name), &[SignatureScheme::ECDSA_NISTP256_SHA256])?;
        files.iter().position(|files| chain(&files.certificate).unwrap()[0] == key.cert[0])
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
        let all = read(&tls(&files, serde_json::json!({}))).unwrap();
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
            assert_eq!(shown(&all, &files, name), Some(expected), "{name}");
        }
    }

    #[test]
    fn an_authoritys_certificate_takes_over_when_it_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let files = [
            made(dir.path(), "default", &["default.example"], &[]),
            made(dir.path(), "before", &["a.example"], &[]),
            made(dir.path(), "wild", &["*.b.example"], &[]),
        ];
        let acme = serde_json::json!({ "acme": {
            "directory": "https://acme.example/directory", "hosts": ["a.example", "x.b.example", "c.example"],
            "state_path": dir.path().join("state"),
        }});
        let (both, alone) = (tls(&files, acme.clone()), tls(&[], acme));
        let (kept, provider) = (Kept::default(), rustls::crypto::ring::default_provider());
        let all = Certificates::read(&both, &kept, &provider).unwrap();
        let only = Certificates::read(&alone, &kept, &provider).unwrap();
        for (name, before) in [("a.example", 1), ("x.b.example", 2), ("c.example", 0)] {
            assert_eq!(shown(&all, &files, name), Some(before), "{name}");
            assert!(only.choose(Some(name), &[]).is_none(), "nothing is made up");
        }
        for name in kept.issued.names() {
            let made = rcgen::generate_simple_self_signed(vec![name.host.clone()]).unwrap();
            let pem = made.signing_key.serialize_pem() + &made.cert.pem();
            name.install(crate::tls::shown::from_pem(pem.as_bytes(), &name.host).unwrap());
            for of in [&all, &only] {
                let chosen = of.choose(Some(&name.host), &[]).unwrap();
                assert_eq!(chosen.cert[0], *made.cert.der(), "{}", name.host);
            }
        }
        assert_eq!(shown(&all, &files, "other.example"), Some(0));
        let first = only.choose(None, &[]).unwrap();
        assert_eq!(names(&first.cert[0]).unwrap(), ["a.example"]);
    }

    #[test]
    fn names_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let files = [made(dir.path(), "wild", &["unused.example"], &["*.a.example"])];
        for unknown in [false, true] {
            let refused = RefusedNames { unknown, hosts: vec!["bad.a.example".parse().unwrap()] };
            let all =
                read(&ListenerTls { refused: Some(refused), ..tls(&files, serde_json::json!({})) });
            let all = all.unwrap();
            assert_eq!(shown(&all, &files, "BAD.a.example"), None);
            assert_eq!(shown(&all, &files, "good.a.example"), Some(0));
            assert_eq!(shown(&all, &files, "other.example").is_none(), unknown);
        }
        let nobody = serde_json::json!({ "refused": { "unknown": true } });
        assert!(read(&tls(&[], nobody)).is_ok());
        assert!(read(&tls(&[], serde_json::json!({}))).is_err());
    }

    #[test]
    fn wrong_files_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let good = made(dir.path(), "good", &["a.example"], &[]);
        let other = made(dir.path(), "other", &["a.example"], &[]);
        let mixed = CertificateFiles { key: other.key.clone(), ..good.clone() };
        let absent =
            CertificateFiles { certificate: dir.path().join("absent.pem"), ..good.clone() };
        for (files, part) in [(mixed, "other.key"), (absent, "absent.pem cannot be read")] {
            let fault = read(&tls(&[files], serde_json::json!({}))).unwrap_err();
            assert!(fault.contains(part), "{fault}");
        }
    }
}
