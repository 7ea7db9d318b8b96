//! What an authority says of a certificate goes with it: asked of openssl's responder, seen by openssl's client.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rcgen::{CustomExtension, ExtendedKeyUsagePurpose, SerialNumber};

use crate::authority::{Authority, Pair};
use crate::harness::{Proxy, dead_address, eventually, to};
use crate::origin::Origin;

const SERIAL: &str = "80A1B2C3";

/// A certificate that names a responder at this port, and the issuer's after it.
fn certificate(authority: &Authority, port: u16) -> Pair {
    let url = format!("http://127.0.0.1:{port}/");
    let mut access = vec![0x06, 8, 0x2b, 6, 1, 5, 5, 7, 0x30, 1, 0x86];
    access.push(u8::try_from(url.len()).unwrap());
    access.extend_from_slice(url.as_bytes());
    for _ in 0..2 {
        let length = u8::try_from(access.len()).unwrap();
        access = [&[0x30, length][..], &access].concat();
    }
    let pair = authority.issue_as("site", &["a.example"], |params| {
        params.serial_number = Some(SerialNumber::from(vec![0, 0x80, 0xa1, 0xb2, 0xc3]));
        let oid = &[1, 3, 6, 1, 5, 5, 7, 1, 1];
        let access = CustomExtension::from_oid_content(oid, access);
        params.custom_extensions.push(access);
    });
    let leaf = fs::read_to_string(&pair.certificate).unwrap();
    let issuer = fs::read_to_string(authority.file()).unwrap();
    fs::write(&pair.certificate, leaf + &issuer).unwrap();
    pair
}

/// A responder that says this of it, and signs as this pair.
fn responder(authority: &Authority, says: &str, signer: &Pair) -> Origin {
    let revoked = if says == "R" { "250101000000Z" } else { "" };
    let line = format!("{says}\t491231235959Z\t{revoked}\t{SERIAL}\tunknown\t/CN=site\n");
    fs::write(authority.path("index.txt"), line).unwrap();
    let path = |name: &str| authority.path(name).display().to_string();
    let shown = |path: &PathBuf| path.display().to_string();
    let (question, answer) = (path("question"), path("answer"));
    let arguments = [
        ["-index", &path("index.txt")],
        ["-CA", &path("authority.pem")],
        ["-rsigner", &shown(&signer.certificate)],
        ["-rkey", &shown(&signer.key)],
        ["-reqin", &question],
        ["-respout", &answer],
        ["-ndays", "7"],
    ];
    let arguments = arguments.as_flattened().iter().map(|&text| text.to_owned());
    let arguments: Vec<String> = arguments.collect();
    Origin::start(move |exchange| {
        let Some(body) = exchange.body() else { return false };
        fs::write(&question, body).unwrap();
        let made = Command::new("openssl").arg("ocsp").args(&arguments).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        let answer = fs::read(&answer).unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", answer.len());
        exchange.write([head.as_bytes(), &answer].concat())
    })
}

/// The issuer as a signer.
fn itself(authority: &Authority) -> Pair {
    let key: PathBuf = authority.path("authority.key");
    fs::write(&key, authority.key_pem()).unwrap();
    Pair { certificate: authority.file(), key }
}

/// What openssl's client is told with the certificate.
fn stapled(proxy: &Proxy) -> String {
    let at = proxy.public.to_string();
    let mut client = Command::new("openssl");
    client.args(["s_client", "-status", "-servername", "a.example", "-connect", &at]);
    let said = client.stdin(Stdio::null()).output().unwrap();
    String::from_utf8_lossy(&said.stdout).into_owned()
}

fn is_good(proxy: &Proxy) -> bool {
    let said = stapled(proxy);
    said.contains("OCSP Response Status: successful") && said.contains("Cert Status: good")
}

fn fetches(proxy: &Proxy, result: &str) -> f64 {
    proxy.metric(&format!("forebay_proxy_ocsp_fetches_total{{result=\"{result}\"}}"))
}

fn proxy(origin: &Origin, pair: &Pair) -> Proxy {
    let tls = format!(", tls: {{ certificates: [ {} ], ocsp_stapling: true }}", pair.yaml());
    Proxy::with_listener(&tls, &to(&[origin.address]))
}

#[test]
fn a_fresh_answer_goes_with_the_certificate_and_outlives_a_reload() {
    let (authority, origin) = (Authority::new(), Origin::saying("ok"));
    let responder = responder(&authority, "V", &itself(&authority));
    let pair = certificate(&authority, responder.address.port());
    let proxy = proxy(&origin, &pair);
    eventually("a stapled answer", || is_good(&proxy).then_some(()));
    let expiry = proxy.metrics();
    let expiry = expiry.lines().find(|line| line.starts_with("forebay_proxy_ocsp_expiry_seconds{"));
    let until: f64 = expiry.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(until > 1.7e9, "{until}");
    assert!(proxy.reload());
    assert!(is_good(&proxy), "from the first handshake on");
    assert_eq!((fetches(&proxy, "good"), responder.requests()), (1.0, 1), "nobody is asked again");
}

#[test]
fn whom_the_issuer_has_put_in_charge_is_believed_and_nobody_else() {
    let (authority, origin) = (Authority::new(), Origin::saying("ok"));
    let stranger = Authority::new();
    let signers = ExtendedKeyUsagePurpose::OcspSigning;
    let own = |of: &Authority, file: &str, usage: ExtendedKeyUsagePurpose| {
        of.issue_as(file, &["r.example"], |params| params.extended_key_usages = vec![usage])
    };
    for (signer, is_believed) in [
        (own(&authority, "responder", signers.clone()), true),
        (own(&authority, "server", ExtendedKeyUsagePurpose::ServerAuth), false),
        (own(&stranger, "responder", signers), false),
        (itself(&stranger), false),
    ] {
        let responder = responder(&authority, "V", &signer);
        let pair = certificate(&authority, responder.address.port());
        let proxy = proxy(&origin, &pair);
        let result = if is_believed { "good" } else { "refused" };
        eventually(result, || (fetches(&proxy, result) >= 1.0).then_some(()));
        match is_believed {
            true => eventually("a stapled answer", || is_good(&proxy).then_some(())),
            false => assert!(stapled(&proxy).contains("OCSP response: no response sent")),
        }
    }
}

#[test]
fn without_a_good_answer_handshakes_go_on_without() {
    let (authority, origin) = (Authority::new(), Origin::saying("ok"));
    let revoked = responder(&authority, "R", &itself(&authority));
    for (at, result) in [(revoked.address, "revoked"), (dead_address(), "unreachable")] {
        let pair = certificate(&authority, at.port());
        let proxy = proxy(&origin, &pair);
        eventually(result, || (fetches(&proxy, result) >= 1.0).then_some(()));
        assert!(stapled(&proxy).contains("OCSP response: no response sent"));
    }
    // No responder is named: that is said, once.
    let plain = authority.issue("plain", &["a.example"]);
    let proxy = proxy(&origin, &plain);
    let line = "names no OCSP responder";
    proxy.says(line);
    assert!(proxy.reload());
    assert!(stapled(&proxy).contains("OCSP response: no response sent"));
    assert_eq!(proxy.stderr().matches(line).count(), 1);
}
