//! What TLS costs (1.3, an EC key): handshakes, and answers on connections that stay.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use proxy_load::reading::{Check, Pattern, Progress, Reading};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};

use crate::cost::request;
use crate::running::Running;

/// Whose name the certificate has.
pub const NAME: &str = "bench.test";
const CLIENTS: usize = 8;
const PATIENCE: Duration = Duration::from_secs(20);
/// Before anything is measured.
const WARM_UP: Duration = Duration::from_millis(500);

/// A certificate that signs itself, and its key (P-256), as PEM.
pub fn certificate() -> Result<(String, String)> {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
    Ok((made.cert.pem(), made.signing_key.serialize_pem()))
}

/// Microseconds of the peer's processor time for a connection with a full handshake and one hit of 1 KiB, for one
/// that resumes, for a hit on a connection that stays, and milliseconds for 10^9 bytes of a cached 2 MiB.
pub fn over_tls(running: &Running<'_>) -> Result<Vec<f64>> {
    let client = Client::of(running)?;
    let small = request("kept", 1 << 10, "Connection: close\r\n");
    let full = client.measured(running, &small, Visit::Anew { resumes: false })?;
    let resumed = client.measured(running, &small, Visit::Anew { resumes: true })?;
    let hit = client.measured(running, &request("kept", 1 << 10, ""), Visit::Staying)?;
    let large = client.measured(running, &request("kept", 2 << 20, ""), Visit::Staying)?;
    let micros = |of: &Measured| of.cpu_seconds * 1e6 / of.answers as f64;
    let per_gigabyte = large.cpu_seconds * 1e3 / (large.bytes as f64 / 1e9);
    Ok(vec![micros(&full), micros(&resumed), micros(&hit), per_gigabyte])
}

/// How clients come.
#[derive(Clone, Copy, PartialEq)]
enum Visit {
    /// For each answer on a new connection.
    Anew {
        resumes: bool,
    },
    Staying,
}

struct Measured {
    cpu_seconds: f64,
    answers: u64,
    bytes: u64,
}

#[derive(Clone)]
struct Client {
    address: SocketAddr,
    roots: Arc<RootCertStore>,
}

#[derive(Default)]
struct Shared {
    answers: AtomicU64,
    bytes: AtomicU64,
    stop: AtomicBool,
}

impl Client {
    fn of(running: &Running<'_>) -> Result<Client> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(running.bench.certificate.0.as_bytes())?)?;
        Ok(Client { address: running.tls_address, roots: Arc::new(roots) })
    }

    fn config(&self, resumes: bool) -> Result<Arc<ClientConfig>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?;
        let mut config =
            builder.with_root_certificates(Arc::clone(&self.roots)).with_no_client_auth();
        if !resumes {
            config.resumption = Resumption::disabled();
        }
        Ok(Arc::new(config))
    }

    fn measured(&self, running: &Running<'_>, request: &str, visit: Visit) -> Result<Measured> {
        let shared = Arc::new(Shared::default());
        let clients: Vec<JoinHandle<Result<()>>> = (0..CLIENTS)
            .map(|_| {
                let config = self.config(visit == Visit::Anew { resumes: true })?;
                let (client, request) = (self.clone(), request.to_owned());
                let shared = Arc::clone(&shared);
                Ok(spawn(move || client.visit(&config, &request, visit, &shared)))
            })
            .collect::<Result<_>>()?;
        sleep(WARM_UP);
        let read = |of: &AtomicU64| of.load(Ordering::Acquire);
        let (account, answers, bytes) =
            (running.account(), read(&shared.answers), read(&shared.bytes));
        sleep(running.bench.duration);
        let longest = Instant::now() + PATIENCE;
        // Without an answer there is no figure: a slow machine is measured for longer.
        while read(&shared.answers) == answers && Instant::now() < longest {
            sleep(WARM_UP);
        }
        let measured = Measured {
            cpu_seconds: running.account().since(&account).cpu_seconds,
            answers: read(&shared.answers) - answers,
            bytes: read(&shared.bytes) - bytes,
        };
        shared.stop.store(true, Ordering::Release);
        for client in clients {
            client.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
        }
        ensure!(measured.answers > 0, "no answer over TLS while it was measured");
        Ok(measured)
    }

    fn visit(
        &self,
        config: &Arc<ClientConfig>,
        request: &str,
        visit: Visit,
        shared: &Shared,
    ) -> Result<()> {
        let pattern = Pattern::default();
        let mut connection = None;
        let (mut visits, mut buffer) = (0_u64, vec![0; 256 * 1024]);
        while !shared.stop.load(Ordering::Acquire) {
            let mut stream = match connection.take() {
                Some(stream) => stream,
                None => self.connected(config)?,
            };
            let (bytes, closes) = asked(&mut stream, request, &pattern, &mut buffer)?;
            visits += 1;
            shared.answers.fetch_add(1, Ordering::AcqRel);
            shared.bytes.fetch_add(bytes, Ordering::AcqRel);
            match visit {
                Visit::Staying => connection = Some(stream).filter(|_| !closes),
                Visit::Anew { resumes } => {
                    let resumed = stream.conn.handshake_kind() == Some(HandshakeKind::Resumed);
                    ensure!(resumed == (resumes && visits > 1), "a handshake of the other kind");
                }
            }
        }
        Ok(())
    }

    fn connected(
        &self,
        config: &Arc<ClientConfig>,
    ) -> Result<StreamOwned<ClientConnection, TcpStream>> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let connection = ClientConnection::new(Arc::clone(config), ServerName::try_from(NAME)?)?;
        Ok(StreamOwned::new(connection, stream))
    }
}

/// Asks and reads the whole answer: the bytes of its body, and whether it is the connection's last.
fn asked(
    stream: &mut StreamOwned<ClientConnection, TcpStream>,
    request: &str,
    pattern: &Pattern,
    buffer: &mut [u8],
) -> Result<(u64, bool)> {
    stream.write_all(request.as_bytes())?;
    let (mut reading, mut bytes) = (Reading::new(Check::Ends), 0);
    loop {
        let read = stream.read(buffer).context("no answer over TLS")?;
        ensure!(read > 0, io::Error::from(io::ErrorKind::UnexpectedEof));
        let taken = reading.take(pattern, &buffer[..read]).map_err(anyhow::Error::msg)?;
        let (Progress::Body(more) | Progress::Whole(more)) = taken;
        bytes += more;
        if matches!(taken, Progress::Whole(_)) {
            ensure!(reading.status() == Some(200), "status {:?}", reading.status());
            return Ok((bytes, reading.closes()));
        }
    }
}
