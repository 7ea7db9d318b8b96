//! Messages for a syslog server (RFC 3164): one datagram each, over UDP or to a socket of this machine. It is never waited
//! for, and one that was away is found again with the next message.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use proxy_config::severity::Severity;
use proxy_config::syslog::Syslog;

use crate::machine;

/// Longest message (RFC 5426 section 3.2 has 2048 as what all should take; more is cut off).
const MESSAGE_MAX: usize = 8192;

pub struct Sender {
    target: Syslog,
    way: Way,
}

enum Way {
    Udp(UdpSocket, SocketAddr),
    Unix(UnixDatagram, PathBuf),
}

impl Sender {
    /// Nothing is sent yet. Blocks on the look-up of the server's name.
    pub fn open(target: &Syslog) -> io::Result<Sender> {
        let way = match target.server.strip_prefix("unix:") {
            Some(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.set_nonblocking(true)?;
                Way::Unix(socket, path.into())
            }
            None => {
                let server = target.server.to_socket_addrs()?.next();
                let server = server.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
                let socket = match server {
                    SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)),
                    SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)),
                }?;
                socket.set_nonblocking(true)?;
                Way::Udp(socket, server)
            }
        };
        Ok(Sender { target: target.clone(), way })
    }

    /// Sends a line, with or without its end. Not connected, so that what happened to one message is not told of the next.
    pub fn send(&self, line: &[u8], severity: Option<Severity>) -> io::Result<()> {
        let message = self.message(line, severity, &jiff::Zoned::now());
        match &self.way {
            Way::Udp(socket, server) => socket.send_to(&message, server),
            Way::Unix(socket, path) => socket.send_to(&message, path),
        }
        .map(drop)
    }

    fn message(&self, line: &[u8], severity: Option<Severity>, now: &jiff::Zoned) -> Vec<u8> {
        let Syslog { tag, hostname, .. } = &self.target;
        let priority = self.target.priority(severity);
        let time = now.strftime("%b %e %H:%M:%S");
        let host = if *hostname { format!("{} ", machine::name()) } else { String::new() };
        let mut message = format!("<{priority}>{time} {host}{tag}: ").into_bytes();
        message.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line));
        message.truncate(MESSAGE_MAX);
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender(target: &str) -> Sender {
        Sender::open(&target.parse().unwrap()).unwrap()
    }

    #[test]
    fn messages_have_the_form_of_rfc_3164() {
        let now = "2026-11-07T08:44:15[UTC]".parse().unwrap();
        let of = |target: &str, severity| {
            let message = sender(target).message(b"GET /a\n", severity, &now);
            String::from_utf8(message).unwrap()
        };
        assert_eq!(of("server=127.0.0.1:9,nohostname", None), "<190>Nov  7 08:44:15 nginx: GET /a");
        assert_eq!(
            of("server=127.0.0.1:9,tag=shop,facility=user", Some(Severity::Error)),
            format!("<11>Nov  7 08:44:15 {} shop: GET /a", machine::name())
        );
    }

    #[test]
    fn a_server_that_was_away_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let sender = sender(&format!("server=unix:{},nohostname", path.display()));
        assert!(sender.send(b"lost", None).is_err());
        let server = UnixDatagram::bind(&path).unwrap();
        sender.send(b"heard", None).unwrap();
        let mut bytes = [0; 256];
        let length = server.recv(&mut bytes).unwrap();
        assert!(bytes[..length].ends_with(b" nginx: heard"));
    }

    #[test]
    fn a_message_to_nobody_does_not_spoil_the_next() {
        let there = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = there.local_addr().unwrap();
        drop(there);
        let sender = sender(&format!("server={address}"));
        sender.send(b"lost", None).unwrap();
        sender.send(b"lost", None).unwrap();
        let server = UdpSocket::bind(address).unwrap();
        server.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
        sender.send(b"heard", None).unwrap();
        let mut bytes = [0; 256];
        let length = server.recv(&mut bytes).unwrap();
        assert!(bytes[..length].ends_with(b": heard"));
    }
}
