//! TLS of a listener: the certificates of its servers, each shown for the names of its own, and what is asked of
//! clients.

use std::path::PathBuf;

use proxy_config::host::{HostName, HostPattern};
use proxy_config::listener::{
    CertificateFiles, ClientCertificateMode, ClientCertificates, Listener, ListenerTls,
    SessionTickets, TlsVersion,
};

use crate::translate::scope::Scope;
use crate::translate::site::Site;
use crate::translate::value::time;
use crate::tree::Directive;
use crate::verdict::{Verdict, Verdicts};

/// Adds what a server of the listener says of TLS. `is_first`: it is the default where none says that it is. The error says why the listener cannot be opened for it.
pub fn tls(
    listener: &mut Listener,
    site: &Site<'_>,
    (is_default, is_first): (bool, bool),
    verdicts: &mut Verdicts,
) -> Result<(), String> {
    let tls = listener.tls.get_or_insert_with(empty);
    if let Some(line) = site.scope.one("ssl") {
        verdicts.add(line, Verdict::exact());
    }
    minimum_version(tls, &site.scope, verdicts);
    tickets(tls, &site.scope, verdicts);
    client_certificates(tls, &site.scope, verdicts);
    stapling(tls, &site.scope, verdicts);
    if refused(tls, site, is_default || is_first, verdicts) {
        return Ok(());
    }
    let certificates = site.scope.effective("ssl_certificate");
    let keys = site.scope.effective("ssl_certificate_key");
    if certificates.is_empty() || certificates.len() != keys.len() {
        // nginx shows the default server's, where this one has none.
        return match (certificates.is_empty(), tls.certificates.is_empty()) {
            (true, false) => Ok(()),
            _ => Err("nginx refuses it: there is no ssl_certificate with its key".to_owned()),
        };
    }
    let passwords = site.scope.one("ssl_password_file");
    for (certificate, key) in certificates.iter().zip(keys) {
        let verdict = add(tls, (certificate, key, passwords), &site.hosts, is_default);
        if let Some(line) = passwords {
            verdicts.add(line, verdict.clone());
        }
        verdicts.add(certificate, verdict.clone());
        verdicts.add(key, verdict);
    }
    match tls.certificates.is_empty() {
        true => Err("it has no certificate Forebay can load; it is not opened".to_owned()),
        false => Ok(()),
    }
}

/// `ssl_reject_handshake`: nobody is shown a certificate for the names of this server.
fn refused(
    tls: &mut ListenerTls,
    site: &Site<'_>,
    is_default: bool,
    verdicts: &mut Verdicts,
) -> bool {
    let Some(line) = site.scope.one("ssl_reject_handshake") else { return false };
    if !line.has("on") {
        verdicts.add(line, Verdict::exact());
        return false;
    }
    let (names, expressions): (Vec<_>, Vec<_>) =
        site.hosts.iter().partition(|host| matches!(host, HostPattern::Name(_)));
    let verdict = match expressions.is_empty() {
        true => {
            Verdict::approximate("the alert is access_denied in the place of unrecognized_name")
        }
        false => Verdict::unsupported("names of an expression are not refused"),
    };
    verdicts.add(line, verdict);
    let refused = tls.refused.get_or_insert_default();
    refused.unknown |= is_default;
    refused.hosts.extend(names.into_iter().filter_map(|host| match host {
        HostPattern::Name(name) => Some(name.clone()),
        HostPattern::Regex(_) => None,
    }));
    true
}

fn empty() -> ListenerTls {
    ListenerTls {
        certificates: Vec::new(),
        refused: None,
        minimum_version: TlsVersion::V1_2,
        cipher_suites: Vec::new(),
        client_certificates: None,
        session_tickets: None,
        acme: None,
        ocsp_stapling: None,
    }
}

fn add(
    tls: &mut ListenerTls,
    (certificate, key, passwords): (&Directive, &Directive, Option<&Directive>),
    hosts: &[HostPattern],
    is_default: bool,
) -> Verdict {
    let (Some(chain), Some(private)) = (certificate.argument(0), key.argument(0)) else {
        return Verdict::unsupported("it names no file");
    };
    let foreign = |text: &str| text.contains('$') || text.contains(':');
    if foreign(chain) || foreign(private) {
        return Verdict::unsupported("certificates are loaded from files only");
    }
    if chain == private {
        return Verdict::unsupported("put the key into a file of its own");
    }
    let mut lost = Vec::new();
    let hosts: Vec<HostName> = hosts
        .iter()
        .filter_map(|host| match host {
            HostPattern::Name(name) => Some(name.clone()),
            HostPattern::Regex(_) => {
                lost.push(
                    "clients that ask for a name of an expression are shown the first".to_owned(),
                );
                None
            }
        })
        .collect();
    let (certificate, key) = (PathBuf::from(chain), PathBuf::from(private));
    if certificate.is_relative() || key.is_relative() {
        lost.push(
            "nginx starts relative paths at its own directory, Forebay where it is started"
                .to_owned(),
        );
    }
    let password_file = passwords.and_then(|line| line.argument(0)).map(PathBuf::from);
    // As texts: taking thousands of paths apart to compare them takes seconds.
    let same = |known: &&mut CertificateFiles| {
        known.certificate.as_os_str() == certificate.as_os_str()
            && known.key.as_os_str() == key.as_os_str()
    };
    if let Some(known) = tls.certificates.iter_mut().find(same) {
        let new = hosts.into_iter().filter(|host| !known.hosts.contains(host));
        known.hosts.extend(new.collect::<Vec<_>>());
        known.password_file = known.password_file.take().or(password_file);
        return Verdict::exact();
    }
    let others = !tls.certificates.is_empty() || tls.refused.as_ref().is_some_and(|r| r.unknown);
    if hosts.is_empty() && others && !is_default {
        return Verdict::ignored("no name leads to its server, so nobody is shown it");
    }
    let files = CertificateFiles { certificate, key, password_file, hosts };
    match is_default {
        true => tls.certificates.insert(0, files),
        false => tls.certificates.push(files),
    }
    Verdict::with_differences(&lost)
}

fn minimum_version(tls: &mut ListenerTls, scope: &Scope<'_>, verdicts: &mut Verdicts) {
    let Some(line) = scope.one("ssl_protocols") else { return };
    let mut differences = Vec::new();
    let old: Vec<&str> =
        line.texts().filter(|version| !["TLSv1.2", "TLSv1.3"].contains(version)).collect();
    if !old.is_empty() {
        differences.push(format!("clients that speak only {} cannot connect", old.join(", ")));
    }
    match (line.has("TLSv1.2"), line.has("TLSv1.3")) {
        (_, true) if !line.has("TLSv1.2") && old.is_empty() => {
            tls.minimum_version = TlsVersion::V1_3;
        }
        (true, true) => {}
        _ => differences.push("Forebay speaks TLS 1.3 too".to_owned()),
    }
    verdicts.add(line, Verdict::with_differences(&differences));
}

/// What the authority says of a certificate goes with it.
fn stapling(tls: &mut ListenerTls, scope: &Scope<'_>, verdicts: &mut Verdicts) {
    let Some(line) = scope.one("ssl_stapling") else { return };
    if !line.has("on") {
        verdicts.add(line, Verdict::exact());
        return;
    }
    tls.ocsp_stapling = Some(true);
    let how =
        "for all certificates of the address; the issuer's has to stand after each in its file";
    verdicts.add(line, Verdict::approximate(how));
    if let Some(line) = scope.one("ssl_stapling_verify") {
        verdicts.add(
            line,
            match line.has("on") {
                true => Verdict::exact(),
                false => Verdict::approximate("what is stapled is verified all the same"),
            },
        );
    }
    for name in ["ssl_stapling_responder", "ssl_stapling_file"] {
        if let Some(line) = scope.one(name) {
            verdicts.add(
                line,
                Verdict::approximate("the responder that the certificate names is asked"),
            );
        }
    }
}

/// How long sessions can be resumed; by tickets, whatever nginx keeps them in.
fn tickets(tls: &mut ListenerTls, scope: &Scope<'_>, verdicts: &mut Verdicts) {
    let Some(line) = scope.one("ssl_session_timeout") else { return };
    match line.argument(0).and_then(time).filter(|time| !time.is_zero()) {
        Some(lifetime) => {
            verdicts.add(line, Verdict::exact());
            tls.session_tickets = Some(SessionTickets { lifetime, key_file: None });
        }
        None => verdicts.add(line, Verdict::unsupported("it is no time above zero")),
    }
}

/// `ssl_verify_client`: asked for here, and held against what each server demands by its routes (`identity`).
fn client_certificates(tls: &mut ListenerTls, scope: &Scope<'_>, verdicts: &mut Verdicts) {
    let Some(line) = scope.one("ssl_verify_client").filter(|line| !line.has("off")) else { return };
    verdicts.add(line, Verdict::exact());
    let authorities =
        scope.one("ssl_client_certificate").or_else(|| scope.one("ssl_trusted_certificate"));
    for name in ["ssl_client_certificate", "ssl_trusted_certificate"] {
        let Some(line) = scope.one(name) else { continue };
        let both = authorities.is_some_and(|first| first.id != line.id);
        verdicts.add(
            line,
            match both {
                true => {
                    Verdict::approximate("only the authorities of ssl_client_certificate are known")
                }
                false => Verdict::exact(),
            },
        );
    }
    if let Some(line) = scope.one("ssl_verify_depth") {
        verdicts.add(line, Verdict::approximate("chains may have six certificates"));
    }
    let revocations = scope.one("ssl_crl");
    if let Some(line) = revocations {
        verdicts.add(line, Verdict::exact());
    }
    let file = |line: Option<&Directive>| line.and_then(|line| line.argument(0)).map(PathBuf::from);
    let asked = ClientCertificates {
        authorities: file(authorities),
        mode: ClientCertificateMode::Asked,
        revocations: file(revocations),
    };
    match &tls.client_certificates {
        None => tls.client_certificates = Some(asked),
        Some(known) if *known == asked => {}
        Some(_) => {
            let why =
                "another server of this address has other authorities, which hold for all of them";
            verdicts.add(line, Verdict::approximate(why));
        }
    }
}
