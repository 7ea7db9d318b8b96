//! Rules for certificates from an ACME authority.

use std::collections::BTreeMap;

use crate::config::Config;
use crate::findings::{Findings, child, item};
use crate::host::HostName;
use crate::listener::{Acme, ListenerTls};

pub(crate) fn check(config: &Config, findings: &mut Findings<'_>) {
    let with_tls = config.listeners.iter().filter_map(|(name, listener)| {
        let tls = listener.tls.as_ref()?;
        Some((format!("{}.tls", child("listeners", name)), tls, tls.acme.as_ref()?))
    });
    let mut accounts = BTreeMap::new();
    for (path, tls, acme) in with_tls {
        let at = format!("{path}.acme");
        check_account(acme, &at, findings);
        check_hosts(acme, &at, findings);
        check_others(tls, acme, &path, findings);
        let (other, first) =
            accounts.entry((&acme.directory, &acme.state_path)).or_insert((at.clone(), acme));
        let is_same = first.contact == acme.contact && first.authorities == acme.authorities;
        if !is_same {
            findings.add_related(
                &at,
                "the same account has another `contact` or other `authorities` elsewhere",
                "write the same, or give it a `state_path` of its own",
                (other, "written here"),
            );
        }
    }
}

fn check_account(acme: &Acme, path: &str, findings: &mut Findings<'_>) {
    let directory = acme.directory.parse::<http::Uri>().ok();
    let is_secure = directory.is_some_and(|uri| {
        uri.scheme_str() == Some("https") && uri.host().is_some_and(|host| !host.is_empty())
    });
    if !is_secure {
        let message = format!("`{}` is not the URL of a directory", acme.directory);
        let hint = "it begins with `https://`: `https://acme-v02.api.letsencrypt.org/directory` is Let's Encrypt's";
        findings.add(format!("{path}.directory"), message, hint);
    }
    if let Some(contact) = &acme.contact {
        let address = contact.strip_prefix("mailto:").unwrap_or(contact);
        let is_address = address.split_once('@').is_some_and(|(who, domain)| {
            let fits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_graphic());
            fits(who) && fits(domain) && !domain.contains('@') && !address.contains([',', '?'])
        });
        if !is_address {
            let message = format!("`{contact}` is not an address of mail");
            findings.add(format!("{path}.contact"), message, "write `operator@example.com`");
        }
    }
    if !acme.state_path.is_absolute() {
        let message = format!("`{}` is not an absolute path", acme.state_path.display());
        let hint = "name a directory that outlives the proxy: `/var/lib/forebay/acme`";
        findings.add(format!("{path}.state_path"), message, hint);
    }
    if acme.authorities.as_ref().is_some_and(|file| file.as_os_str().is_empty()) {
        findings.add(format!("{path}.authorities"), "the path is empty", "name a PEM file");
    }
}

fn check_hosts(acme: &Acme, path: &str, findings: &mut Findings<'_>) {
    if acme.hosts.is_empty() {
        let hint = "name at least one: `hosts: [ shop.example.com ]`";
        findings.add(format!("{path}.hosts"), "there is no name to ask a certificate for", hint);
    }
    for (index, host) in acme.hosts.iter().enumerate() {
        let at = item(format!("{path}.hosts"), index);
        let name = host.canonical();
        let is_address = name.starts_with('[') || name.parse::<std::net::IpAddr>().is_ok();
        if name.contains('*') {
            let message = format!("`{host}` cannot be proved by the proxy");
            let hint = "authorities prove wildcards by DNS; name each host, or fetch this certificate by other means";
            findings.add(&at, message, hint);
        } else if is_address || !name.contains('.') {
            let message = format!("`{host}` is no name that an authority knows");
            findings.add(&at, message, "write a name with its domain: `shop.example.com`");
        }
        let earlier = acme.hosts[..index].iter().position(|other| other.canonical() == name);
        if let Some(earlier) = earlier {
            let first = item(format!("{path}.hosts"), earlier);
            let message = format!("`{host}` is named twice");
            findings.add_related(&at, message, "remove one of them", (&first, "named here"));
        }
    }
}

/// What else is said of the same names.
fn check_others(tls: &ListenerTls, acme: &Acme, path: &str, findings: &mut Findings<'_>) {
    let same = |one: &HostName, other: &HostName| one.canonical() == other.canonical();
    for (index, host) in acme.hosts.iter().enumerate() {
        let at = item(format!("{path}.acme.hosts"), index);
        for (number, files) in tls.certificates.iter().enumerate() {
            if let Some(place) = files.hosts.iter().position(|other| same(other, host)) {
                let file = item(format!("{path}.certificates"), number);
                let other = item(format!("{file}.hosts"), place);
                let message = format!("`{host}` has two certificates");
                let hint =
                    "remove one; a file without `hosts` is shown until the authority's is there";
                findings.add_related(&at, message, hint, (&other, "the other one"));
            }
        }
        let refused = tls.refused.as_ref().map_or(&[][..], |refused| &refused.hosts);
        if let Some(place) = refused.iter().position(|other| same(other, host)) {
            let other = item(format!("{path}.refused.hosts"), place);
            let message = format!("`{host}` is refused");
            findings.add_related(&at, message, "remove one of the two", (&other, "refused here"));
        }
    }
}
