//! Asks name servers for the addresses of a name: both families of one server, the next server for the next name. One that
//! is silent is asked again, or the next in its place; one that answers is believed, also when it says that it failed.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::dns::message::{Answer, Kind, Name, question, read};

/// How long one attempt waits for an answer.
const ATTEMPT: Duration = Duration::from_secs(5);
/// Attempts for one question; whoever asks has a time of his own, too.
const ATTEMPTS_MAX: usize = 12;
/// Between attempts when a server refuses to listen.
const PAUSE: Duration = Duration::from_millis(200);
/// Largest answer over UDP that is taken.
const DATAGRAM_BYTES_MAX: usize = 4096;
/// Aliases followed from one question to the next.
const ALIASES_MAX: usize = 10;
/// The port of DNS.
const PORT: u16 = 53;

/// Why a name has no addresses.
#[derive(Debug, Error)]
pub enum Fault {
    #[error("it cannot be asked for")]
    Name,
    #[error("the name server says that it failed (code {0})")]
    Code(u8),
    #[error("it has no address")]
    Nothing,
    #[error("it stands for too many other names")]
    Aliases,
    #[error("no name server answered: {0}")]
    Silent(io::Error),
}

/// The servers, and whose turn it is.
pub struct Stub {
    servers: Vec<SocketAddr>,
    turn: AtomicUsize,
}

impl Stub {
    /// Those given, or those of the machine.
    pub fn new(servers: &[SocketAddr]) -> Result<Stub, String> {
        let servers = match servers {
            [] => of_machine()?,
            given => given.to_vec(),
        };
        match servers.is_empty() {
            true => Err("the machine names no name server".to_owned()),
            false => Ok(Stub { servers, turn: AtomicUsize::new(0) }),
        }
    }

    /// The addresses of a name, in the order they were told, and how many seconds they may be kept.
    pub async fn look_up(&self, name: &str) -> Result<(Vec<IpAddr>, u32), Fault> {
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut name = Name::of(name).ok_or(Fault::Name)?;
        let mut ttl_s = u32::MAX;
        for _ in 0..ALIASES_MAX {
            let (v4, v6) =
                tokio::join!(self.ask(first, &name, Kind::A), self.ask(first, &name, Kind::Aaaa));
            let (v4, v6) = (v4?, v6?);
            ttl_s = ttl_s.min(v4.ttl_s).min(v6.ttl_s);
            let addresses: Vec<IpAddr> = v4.addresses.into_iter().chain(v6.addresses).collect();
            if !addresses.is_empty() {
                return Ok((addresses, ttl_s));
            }
            // As nginx has it, what is said of the second family is what is followed.
            name = v6.alias.ok_or(Fault::Nothing)?;
        }
        Err(Fault::Aliases)
    }

    async fn ask(&self, first: usize, name: &Name, kind: Kind) -> Result<Answer, Fault> {
        let mut last = io::Error::from(io::ErrorKind::TimedOut);
        for attempt in 0..ATTEMPTS_MAX {
            let server = self.servers[(first + attempt) % self.servers.len()];
            match timeout(ATTEMPT, converse(server, name, kind)).await {
                Ok(Ok(answer)) if answer.code == 0 => return Ok(answer),
                Ok(Ok(answer)) => return Err(Fault::Code(answer.code)),
                Ok(Err(error)) => {
                    last = error;
                    tokio::time::sleep(PAUSE).await;
                }
                Err(_) => last = io::Error::from(io::ErrorKind::TimedOut),
            }
        }
        Err(Fault::Silent(last))
    }
}

fn of_machine() -> Result<Vec<SocketAddr>, String> {
    let read = hickory_resolver::system_conf::read_system_conf();
    let (config, _) = read.map_err(|error| error.to_string())?;
    Ok(config.name_servers().iter().map(|server| SocketAddr::new(server.ip, PORT)).collect())
}

/// One question over UDP, and over TCP what is too long for that.
async fn converse(server: SocketAddr, name: &Name, kind: Kind) -> io::Result<Answer> {
    let any: IpAddr = match server.is_ipv4() {
        true => Ipv4Addr::UNSPECIFIED.into(),
        false => Ipv6Addr::UNSPECIFIED.into(),
    };
    let id = fastrand::u16(..);
    let asked = question(id, name, kind);
    // A port of its own for each question is half of what keeps others from answering it.
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    socket.connect(server).await?;
    socket.send(&asked).await?;
    let mut bytes = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let length = socket.recv(&mut bytes).await?;
        // What is malformed or answers another question is not what was waited for.
        match read(&bytes[..length], kind).filter(|answer| answer.id == id) {
            Some(answer) if answer.truncated => break,
            Some(answer) => return Ok(answer),
            None => {}
        }
    }
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(asked.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    stream.write_all(&[&length.to_be_bytes()[..], &asked].concat()).await?;
    let length = stream.read_u16().await?;
    let mut bytes = vec![0; usize::from(length)];
    stream.read_exact(&mut bytes).await?;
    let answer = read(&bytes, kind).filter(|answer| answer.id == id);
    answer.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}
