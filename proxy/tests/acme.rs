//! Certificates from an authority by ACME, from the first question to their renewal.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::client::Client;
use crate::harness::{BINARY, PATIENCE, Proxy, eventually, free_port, to};
use crate::operating::openapi::certificates_are_described;
use crate::origin::Origin;
use crate::pebble::Pebble;

const TOKEN: &str = "an-operators-token";

/// A document whose listener `public` has certificates of this authority, beside the one that speaks cleartext.
struct Site {
    dir: TempDir,
    origin: Origin,
    pebble: Pebble,
    http: u16,
}

impl Site {
    fn new() -> Site {
        let http = free_port();
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("token"), TOKEN).unwrap();
        let pebble = Pebble::asking(http, free_port());
        Site { dir, origin: Origin::saying("ok"), pebble, http }
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// The one folder of the authority in it.
    fn folder(&self) -> PathBuf {
        let mut all = fs::read_dir(self.state()).unwrap();
        all.next().unwrap().unwrap().path()
    }

    fn acme(&self, hosts: &str) -> String {
        format!(
            "tls: {{ acme: {{ directory: '{}', hosts: [ {hosts} ], contact: ops@a.example, state_path: {}, authorities: {} }} }}",
            self.pebble.directory,
            self.state().display(),
            self.pebble.trusted().display()
        )
    }

    fn start(&self, hosts: &str) -> Proxy {
        let plain = format!("}}, plain: {{ address: '127.0.0.1:{}'", self.http);
        self.with(&format!(", {} {plain}", self.acme(hosts)))
    }

    fn with(&self, listener: &str) -> Proxy {
        let token = self.dir.path().join("token");
        let admin = format!("tokens: [ {{ name: o, file: {}, role: operator }} ]", token.display());
        Proxy::with_both(listener, &admin, &to(&[self.origin.address]))
    }

    fn client(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&self.pebble.root()).unwrap()).unwrap();
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
    }
}

type Tls = StreamOwned<ClientConnection, TcpStream>;

fn connect(at: SocketAddr, config: &Arc<ClientConfig>, name: &str) -> io::Result<Tls> {
    let stream = TcpStream::connect(at)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connection = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
    let mut tls = StreamOwned::new(connection, stream);
    while tls.conn.is_handshaking() {
        tls.conn.complete_io(&mut tls.sock)?;
    }
    Ok(tls)
}

/// The certificate shown for a name, once there is one that is right.
fn shown(at: SocketAddr, config: &Arc<ClientConfig>, name: &str) -> Option<Vec<u8>> {
    let tls = connect(at, config, name).ok()?;
    Some(tls.conn.peer_certificates()?[0].to_vec())
}

/// The answer's status; none when the connection is no more.
fn get(tls: &mut Tls, path: &str) -> Option<u16> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n");
    tls.write_all(request.as_bytes()).ok()?;
    let (mut answer, mut byte) = (Vec::new(), [0]);
    while !answer.ends_with(b"\r\n\r\nok") {
        tls.read_exact(&mut byte).ok()?;
        answer.push(byte[0]);
    }
    String::from_utf8_lossy(&answer).split(' ').nth(1)?.parse().ok()
}

fn ask(proxy: &Proxy, method: &str, body: &str) -> Value {
    let length = body.len();
    let request = format!(
        "{method} /certificates HTTP/1.1\r\nHost: admin\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    Client::to(proxy.admin).ask(&request).json()
}

/// What the admin API says of the first certificate.
fn told(proxy: &Proxy) -> Value {
    ask(proxy, "GET", "")["public"][0].clone()
}

fn orders(proxy: &Proxy, host: &str, result: &str) -> f64 {
    let series = "forebay_proxy_acme_orders_total";
    proxy.metric(&format!("{series}{{host=\"{host}\",result=\"{result}\"}}"))
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn certificates_are_fetched_shown_renewed_and_kept() {
    let site = Site::new();
    let _authority = site.pebble.start();
    let proxy = site.start("a.example, www.a.example");
    let config = site.client();
    let both = ["a.example", "www.a.example"];
    let [first, www] = both.map(|name| eventually(name, || shown(proxy.public, &config, name)));
    assert_ne!(first, www, "each has its own");
    assert!(shown(proxy.public, &config, "b.example").is_none());

    let about = told(&proxy);
    assert_eq!(
        (&about["host"], &about["state"]),
        (&"a.example".into(), &"issued".into()),
        "{about}"
    );
    assert_eq!(about["names"], serde_json::json!(["a.example"]));
    certificates_are_described(&proxy, TOKEN);
    let expiry =
        "forebay_proxy_certificate_expiry_seconds{certificate=\"a.example\",listener=\"public\"}";
    assert!(proxy.metric(expiry) > 1.7e9, "{}", proxy.metrics());
    let folder = site.folder();
    for file in ["account.json", "a.example.pem", "www.a.example.pem"] {
        assert_eq!(mode(&folder.join(file)), 0o600, "{file}");
    }
    assert_eq!(mode(&site.state()), 0o700);
    assert!(!folder.join("a.example.json").exists(), "nothing went wrong");
    // Tokens that no order waits for are the routes' to answer.
    let mut plain = Client::to(SocketAddr::from(([127, 0, 0, 1], site.http)));
    let asked = "GET /.well-known/acme-challenge/x HTTP/1.1\r\nHost: a.example\r\n\r\n";
    assert_eq!(plain.ask(asked).text(), "ok");

    let mut kept = connect(proxy.public, &config, "a.example").unwrap();
    assert_eq!(get(&mut kept, "/before"), Some(200));
    let renewed = ask(&proxy, "POST", r#"{ "renew": "a.example" }"#);
    assert_eq!(renewed["renewing"], "a.example", "{renewed}");
    let second = eventually("another one", || {
        shown(proxy.public, &config, "a.example").filter(|now| *now != first)
    });
    assert_eq!(get(&mut kept, "/after"), Some(200), "on the connection from before");
    assert_eq!(shown(proxy.public, &config, "www.a.example"), Some(www));
    let issued = || orders(&proxy, "a.example", "issued");
    eventually("both orders", || (issued() == 2.0).then_some(()));
    let unknown = ask(&proxy, "POST", r#"{ "renew": "b.example" }"#);
    assert_eq!(unknown["status"], 404, "{unknown}");

    proxy.signal(Signal::KILL);
    drop(proxy);
    let proxy = site.start("a.example, www.a.example");
    let again = eventually("the same", || shown(proxy.public, &config, "a.example"));
    assert_eq!(again, second, "it was kept");
    assert!(proxy.reload());
    assert_eq!(shown(proxy.public, &config, "a.example"), Some(second));
    assert_eq!(orders(&proxy, "a.example", "issued"), 0.0);
}

#[test]
fn what_is_short_lived_is_renewed_by_itself_and_names_are_proved_in_handshakes_too() {
    let mut site = Site::new();
    let port = free_port();
    site.pebble = Pebble::asking(free_port(), port);
    site.pebble.validity_s = 12;
    let _authority = site.pebble.start();
    // No listener speaks cleartext.
    let acme = site.acme("a.example");
    let proxy = site.with(&format!(", {acme} }}, other: {{ address: '127.0.0.1:{port}', {acme}"));
    let config = site.client();
    let first = eventually("a certificate", || shown(proxy.public, &config, "a.example"));
    let mut kept = connect(proxy.public, &config, "a.example").unwrap();
    eventually("the renewed one", || {
        shown(proxy.public, &config, "a.example").filter(|now| *now != first)
    });
    assert_eq!(get(&mut kept, "/"), Some(200), "on the connection from before");
    let other = SocketAddr::from(([127, 0, 0, 1], port));
    eventually("the same on both listeners", || {
        let both = (shown(proxy.public, &config, "a.example"), shown(other, &config, "a.example"));
        (both.0.is_some() && both.0 == both.1).then_some(())
    });
}

#[test]
fn an_authority_that_is_away_is_asked_again() {
    let site = Site::new();
    let proxy = site.start("a.example");
    eventually("an attempt", || (orders(&proxy, "a.example", "unreachable") >= 1.0).then_some(()));
    let about = told(&proxy);
    assert_eq!(about["state"], "failing", "{about}");
    assert!(about["why"].as_str().unwrap().contains("refused"), "{about}");
    // Nothing is made up meanwhile, and all else goes on.
    let nobody = Arc::new(RootCertStore::empty());
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let nobody = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(nobody)
        .with_no_client_auth();
    let fault = connect(proxy.public, &Arc::new(nobody), "a.example").err().unwrap().to_string();
    assert!(fault.contains("AccessDenied"), "{fault}");
    let mut plain = Client::to(SocketAddr::from(([127, 0, 0, 1], site.http)));
    assert_eq!(plain.ask("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").text(), "ok");
    let _authority = site.pebble.start();
    let config = site.client();
    eventually("a certificate", || shown(proxy.public, &config, "a.example"));
    let failures = "forebay_proxy_acme_failures{host=\"a.example\"}";
    eventually("no failures", || (proxy.metric(failures) == 0.0).then_some(()));
}

#[test]
fn a_name_that_is_not_proved_is_left_alone_for_a_while_by_the_next_process_too() {
    let mut site = Site::new();
    // Somebody else answers where the authority asks.
    let elsewhere = Origin::saying("not the answer");
    site.pebble = Pebble::asking(elsewhere.address.port(), free_port());
    let _authority = site.pebble.start();
    let proxy = site.start("a.example");
    eventually("a refusal", || (orders(&proxy, "a.example", "refused") == 1.0).then_some(()));
    let about = told(&proxy);
    assert!(about["why"].as_str().unwrap().contains("urn:ietf:params:acme:error:"), "{about}");
    assert_eq!((&about["state"], &about["failures"]), (&"failing".into(), &1.into()));
    proxy.signal(Signal::KILL);
    drop(proxy);
    let proxy = site.start("a.example");
    let again = told(&proxy);
    assert_eq!((&again["tries_again"], &again["why"]), (&about["tries_again"], &about["why"]));
    let until: jiff::Timestamp = again["tries_again"].as_str().unwrap().parse().unwrap();
    let wait = until.as_second() - jiff::Timestamp::now().as_second();
    assert!(wait > 120, "{wait}");
    assert_eq!(orders(&proxy, "a.example", "refused"), 0.0);
    // Who has put it right need not wait.
    ask(&proxy, "POST", r#"{ "renew": "a.example" }"#);
    eventually("another attempt", || (orders(&proxy, "a.example", "refused") == 1.0).then_some(()));
    assert_eq!(told(&proxy)["failures"], 2);
}

#[test]
fn what_is_broken_in_the_directory_is_made_anew() {
    let site = Site::new();
    let authority = site.pebble.start();
    let proxy = site.start("a.example");
    let config = site.client();
    let first = eventually("a certificate", || shown(proxy.public, &config, "a.example"));
    // Until then it is an attempt that the end of the process breaks off.
    eventually("its end", || (orders(&proxy, "a.example", "issued") == 1.0).then_some(()));
    let folder = site.folder();
    drop(proxy);
    for (file, content) in [("a.example.pem", "half of it"), ("account.json", "{")] {
        fs::write(folder.join(file), content).unwrap();
    }
    let proxy = site.start("a.example");
    eventually("another one", || shown(proxy.public, &config, "a.example").filter(|n| *n != first));
    proxy.says("put aside");
    assert!(
        folder.join("a.example.pem.broken").exists() && folder.join("account.json.broken").exists()
    );
    // An authority that has forgotten everybody.
    drop(authority);
    let _another = site.pebble.start();
    let config = site.client();
    ask(&proxy, "POST", r#"{ "renew": "a.example" }"#);
    eventually("one of the new root", || shown(proxy.public, &config, "a.example"));
    drop(proxy);

    let dir = tempfile::tempdir().unwrap();
    let (document, file) = (dir.path().join("proxy.yaml"), dir.path().join("file"));
    fs::write(&file, "").unwrap();
    let acme = site
        .acme("a.example")
        .replace(&site.state().display().to_string(), &file.display().to_string());
    fs::write(&document, format!("version: 1\nlisteners: {{ s: {{ address: '127.0.0.1:0', {acme} }} }}\nadmin: {{ address: '127.0.0.1:0' }}\n{}", to(&[site.origin.address]))).unwrap();
    for command in ["run", "check"] {
        let ran = Command::new(BINARY).arg(command).arg(&document).output().unwrap();
        let said = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
        assert!(!ran.status.success());
        assert!(
            said.contains("listeners.s.tls: acme.state_path: ") && said.contains("file"),
            "{said}"
        );
    }
}
