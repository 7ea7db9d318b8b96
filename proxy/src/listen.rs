//! Sockets are bound here, before anything else starts: pingora would retry for half a minute and
//! then panic inside a service. Binding first also tells which port a `:0` became.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::IntoRawFd;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use pingora::server::{Fds, ListenFds};
use proxy_config::Config;
use proxy_config::address::ListenAddress;
use serde::Serialize;
use socket2::SockRef;
use thiserror::Error;

/// What may wait in the kernel for a client that does not read, bytes. What is on its way (sent and not
/// acknowledged) comes on top, as far as the client's window and the network take it.
pub const UNSENT_BYTES: u32 = 64 * 1024;

/// An address that cannot be listened on.
#[derive(Debug, Error)]
#[error("{what} cannot listen on {address}: {why}")]
pub struct BindFault {
    pub what: String,
    pub address: String,
    pub why: String,
}

/// A bound socket, not yet accepting.
pub struct Socket {
    listener: TcpListener,
    pub address: SocketAddr,
}

/// All sockets of a configuration.
pub struct Sockets {
    pub listeners: BTreeMap<String, Socket>,
    pub admin: Socket,
}

/// Binds every listener and the admin listener, or none.
pub fn bind(config: &Config) -> Result<Sockets, BindFault> {
    let listeners = config
        .listeners
        .iter()
        .map(|(name, listener)| {
            Ok((name.clone(), bind_one(&format!("listener `{name}`"), &listener.address)?))
        })
        .collect::<Result<_, BindFault>>()?;
    Ok(Sockets { listeners, admin: bind_one("the admin listener", &config.admin.address)? })
}

fn bind_one(what: &str, address: &ListenAddress) -> Result<Socket, BindFault> {
    let fault =
        |why: String| BindFault { what: what.to_owned(), address: address.to_string(), why };
    let socket =
        address.socket().ok_or_else(|| fault("Unix sockets are not supported yet".to_owned()))?;
    let bound = TcpListener::bind(socket).and_then(|listener| {
        listener.set_nonblocking(true)?;
        // Connections inherit it. Without it the kernel takes megabytes for each slow client.
        SockRef::from(&listener).set_tcp_notsent_lowat(UNSENT_BYTES)?;
        let address = listener.local_addr()?;
        Ok(Socket { listener, address })
    });
    bound.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => fault("another program already does".to_owned()),
        io::ErrorKind::PermissionDenied => {
            fault("not permitted; ports below 1024 need CAP_NET_BIND_SERVICE".to_owned())
        }
        io::ErrorKind::AddrNotAvailable => fault("this machine has no such address".to_owned()),
        _ => fault(error.to_string()),
    })
}

impl Socket {
    /// Hands the socket to a pingora service: it takes a descriptor in this table over when its
    /// listener is added under the same address.
    pub fn into_fds(self) -> ListenFds {
        let mut fds = Fds::new();
        fds.add(self.address.to_string(), self.listener.into_raw_fd());
        Arc::new(Mutex::new(fds))
    }
}

/// What `--addresses-file` holds.
#[derive(Debug, Serialize)]
pub struct Addresses {
    pub listeners: BTreeMap<String, String>,
    pub admin: String,
    pub pid: u32,
}

impl Addresses {
    pub fn of(sockets: &Sockets) -> Self {
        let listeners = sockets.listeners.iter();
        Self {
            listeners: listeners.map(|(name, s)| (name.clone(), s.address.to_string())).collect(),
            admin: sockets.admin.address.to_string(),
            pid: std::process::id(),
        }
    }

    /// Writes the file whole or not at all.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        write_whole(path, &serde_json::to_vec(self)?)
    }
}

/// Writes a file that whoever waits for it finds whole or not at all.
pub fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let beside = path.with_file_name(name);
    let mut file = std::fs::File::create(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_names_the_listener() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = ListenAddress::Socket(taken.local_addr().unwrap());
        let fault = bind_one("listener `public`", &address).err().unwrap();
        assert_eq!(
            fault.to_string(),
            format!("listener `public` cannot listen on {address}: another program already does")
        );
    }
}
