//! An authority by ACME and its resolver, to which every name is this machine.

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::authority::Authority;
use crate::harness::{eventually, free_port};

/// A program that ends with its test.
pub struct Running(Child);

impl Running {
    pub fn start(command: &mut Command, port: u16) -> Running {
        let running = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        eventually("a server", || TcpStream::connect(("127.0.0.1", port)).ok());
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What is known of an authority before it runs.
pub struct Pebble {
    pub directory: String,
    /// Who has signed the certificate of its own that it is asked by.
    own: Authority,
    asks: (u16, u16),
    /// Its own port, that of its management, its resolver's and that one's management.
    ports: [u16; 4],
    /// How long its certificates are good.
    pub validity_s: u64,
}

pub struct Runs(#[expect(dead_code, reason = "they end with it")] [Running; 2]);

impl Pebble {
    /// One that proves names at these ports, instead of 80 and 443.
    pub fn asking(http: u16, https: u16) -> Pebble {
        let ports = [(); 4].map(|()| free_port());
        Pebble {
            directory: format!("https://127.0.0.1:{}/dir", ports[0]),
            own: Authority::new(),
            asks: (http, https),
            ports,
            validity_s: 90 * 86_400,
        }
    }

    /// Whom clients of its directory have to trust.
    pub fn trusted(&self) -> PathBuf {
        self.own.file()
    }

    pub fn start(&self) -> Runs {
        let [port, other, dns, told] = self.ports;
        let at = |port: u16| format!("127.0.0.1:{port}");
        let mut resolver = Command::new("pebble-challtestsrv");
        resolver.args(["-dns01", &at(dns), "-management", &at(told), "-defaultIPv4", "127.0.0.1"]);
        for unused in ["-http01", "-https01", "-tlsalpn01", "-defaultIPv6"] {
            resolver.args([unused, ""]);
        }
        let pair = self.own.issue("pebble", &["localhost", "127.0.0.1"]);
        let config = serde_json::json!({ "pebble": {
            "listenAddress": at(port), "managementListenAddress": at(other),
            "certificate": pair.certificate, "privateKey": pair.key,
            "httpPort": self.asks.0, "tlsPort": self.asks.1, "ocspResponderURL": "",
            "certificateValidityPeriod": self.validity_s,
        }});
        let file = self.own.path("pebble.json");
        std::fs::write(&file, config.to_string()).unwrap();
        let mut pebble = Command::new("pebble");
        pebble.arg("-config").arg(file).args(["-dnsserver", &at(dns)]);
        pebble.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_WFE_NONCEREJECT", "0");
        // A name is proved each time.
        pebble.env("PEBBLE_AUTHZREUSE", "0");
        Runs([Running::start(&mut resolver, told), Running::start(&mut pebble, port)])
    }

    /// The root of what it issues, in PEM; another one each time it is started.
    pub fn root(&self) -> Vec<u8> {
        let url = format!("https://127.0.0.1:{}/roots/0", self.ports[1]);
        let told = Command::new("curl").args(["-sk", &url]).output().unwrap();
        assert!(told.status.success());
        told.stdout
    }
}
