//! `proxy_ssl_*` and `grpc_ssl_*`: TLS to an upstream.

use std::path::PathBuf;

use proxy_config::listener::TlsVersion;
use proxy_config::upstream::{ClientIdentity, UpstreamTls};

use crate::translate::proxy_pass::{PROXY, Target};
use crate::translate::scope::Scope;
use crate::verdict::{Verdict, Verdicts};

/// The TLS in effect at a place. The error says what keeps it closed.
pub fn tls(
    target: &Target<'_>,
    scope: &Scope<'_>,
    verdicts: &mut Verdicts,
) -> Result<UpstreamTls, String> {
    let find = |name: &str| scope.one(&name.replacen(PROXY, target.family, 1));
    let mut say = |name: &str, verdict: Verdict| {
        find(name).into_iter().for_each(|line| verdicts.add(line, verdict.clone()));
    };
    for name in ["proxy_ssl_verify", "proxy_ssl_server_name", "proxy_ssl_name"] {
        say(name, Verdict::exact());
    }
    say("proxy_ssl_session_reuse", Verdict::ignored("resumption saves time only"));
    say("proxy_ssl_verify_depth", Verdict::approximate("chains may have six certificates"));
    for name in ["proxy_ssl_ciphers", "proxy_ssl_conf_command"] {
        say(name, Verdict::approximate("rustls' own suites are used, all with forward secrecy"));
    }
    say("proxy_ssl_crl", Verdict::unsupported("revocation of servers is not asked about"));
    say("proxy_ssl_protocols", Verdict::approximate("TLS 1.2 and 1.3 are spoken"));
    let on = |name: &str| find(name).is_some_and(|line| line.has("on"));
    let one = |name: &str| find(name).and_then(|line| line.argument(0));
    let (verify, names) = (on("proxy_ssl_verify"), on("proxy_ssl_server_name"));
    let host = target.names().0;
    let host = host.rsplit_once(':').map_or(host.as_str(), |(host, _)| host);
    let name = one("proxy_ssl_name").unwrap_or(host);
    if name.contains('$') && (verify || names) {
        return Err("a name of the server in a variable is not translated".to_owned());
    }
    let plain = |name: &str| match one(name) {
        Some(text) if text.contains('$') => {
            Err(format!("{name} is another file for each request, which is not translated"))
        }
        file => Ok(file.map(PathBuf::from)),
    };
    let authorities = plain("proxy_ssl_trusted_certificate")?;
    let certificate = plain("proxy_ssl_certificate")?;
    let key = plain("proxy_ssl_certificate_key")?;
    let password_file = plain("proxy_ssl_password_file")?;
    for name in [
        "proxy_ssl_trusted_certificate",
        "proxy_ssl_certificate",
        "proxy_ssl_certificate_key",
        "proxy_ssl_password_file",
    ] {
        find(name).into_iter().for_each(|line| verdicts.add(line, Verdict::exact()));
    }
    let client_certificate = certificate.zip(key).map(|(certificate, key)| ClientIdentity {
        certificate,
        key,
        password_file,
    });
    Ok(UpstreamTls {
        server_name: (verify || names).then(|| name.to_owned()),
        verify,
        authorities: authorities.filter(|_| verify),
        client_certificate,
        minimum_version: TlsVersion::V1_2,
    })
}
