//! Sockets are bound here, before anything else starts: pingora would retry for half a minute and
//! then panic inside a service. Binding first also tells which port a `:0` became.

pub mod inherited;

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::net::TcpListener;
use std::os::fd::{AsFd, IntoRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use pingora::listeners::ListenerConfig;
use pingora::server::{Fds, ListenFds};
use proxy_config::Config;
use proxy_config::address::ListenAddress;
use proxy_config::admin::SocketAccess;
use serde::Serialize;
use socket2::{Domain, SockAddr, SockRef, Type};
use thiserror::Error;

use crate::listen::inherited::{ADMIN, Inherited};

/// What may wait in the kernel for a client that does not read, bytes. What is on its way (sent and not
/// acknowledged) comes on top, as far as the client's window and the network take it.
pub const UNSENT_BYTES: u32 = 64 * 1024;

/// Connections to a Unix socket that the kernel holds until whoever serves says how many.
const UNIX_BACKLOG: i32 = 128;

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
    descriptor: OwnedFd,
    pub address: ListenAddress,
    pub backlog_max: Option<u32>,
    /// Whom its file is open to, where it has one.
    access: SocketAccess,
}

/// All sockets of a configuration.
pub struct Sockets {
    pub listeners: BTreeMap<String, Socket>,
    pub admin: Socket,
}

/// Binds every listener and the admin listener, or none; takes sockets that are bound already first.
pub fn bind(config: &Config, inherited: &mut Inherited) -> Result<Sockets, BindFault> {
    let mut listeners = BTreeMap::new();
    for (name, listener) in &config.listeners {
        let what = format!("listener `{name}`");
        let mut socket =
            take_or_bind(&what, name, (&listener.address, SocketAccess::Everyone), inherited)?;
        socket.backlog_max = listener.backlog_max;
        listeners.insert(name.clone(), socket);
    }
    let at = (&config.admin.address, config.admin.socket_access.unwrap_or_default());
    let admin = take_or_bind("the admin listener", ADMIN, at, inherited)?;
    if !inherited.is_empty() {
        tracing::warn!(
            sockets = inherited.len(),
            "sockets were passed on that no listener asks for"
        );
    }
    Ok(Sockets { listeners, admin })
}

fn take_or_bind(
    what: &str,
    name: &str,
    (address, access): (&ListenAddress, SocketAccess),
    inherited: &mut Inherited,
) -> Result<Socket, BindFault> {
    let fault =
        |why: String| BindFault { what: what.to_owned(), address: address.to_string(), why };
    match inherited.take(name, address).map_err(fault)? {
        Some((descriptor, address)) => {
            let prepared = prepare(&descriptor, address.socket().is_some());
            prepared.map_err(|error| fault(error.to_string()))?;
            Ok(Socket { descriptor, address, backlog_max: None, access })
        }
        None => bind_at(what, address, access),
    }
}

fn prepare(descriptor: &OwnedFd, is_tcp: bool) -> io::Result<()> {
    let socket = SockRef::from(descriptor);
    socket.set_nonblocking(true)?;
    if is_tcp {
        // Connections inherit it. Without it the kernel takes megabytes for each slow client.
        socket.set_tcp_notsent_lowat(UNSENT_BYTES)?;
    }
    Ok(())
}

/// Binds a listener's socket that nobody has bound.
pub fn bind_one(what: &str, address: &ListenAddress) -> Result<Socket, BindFault> {
    bind_at(what, address, SocketAccess::Everyone)
}

fn bind_at(what: &str, address: &ListenAddress, access: SocketAccess) -> Result<Socket, BindFault> {
    let fault =
        |why: String| BindFault { what: what.to_owned(), address: address.to_string(), why };
    let bound = match address {
        ListenAddress::Socket(socket) => TcpListener::bind(socket).and_then(|listener| {
            let address = ListenAddress::Socket(listener.local_addr()?);
            let descriptor = OwnedFd::from(listener);
            prepare(&descriptor, true)?;
            Ok(Socket { descriptor, address, backlog_max: None, access })
        }),
        ListenAddress::Unix(path) => bind_unix(path, access).map(|descriptor| Socket {
            descriptor,
            address: address.clone(),
            backlog_max: None,
            access,
        }),
    };
    bound.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => fault("another program already does".to_owned()),
        io::ErrorKind::PermissionDenied if address.socket().is_some() => {
            fault("not permitted; ports below 1024 need CAP_NET_BIND_SERVICE".to_owned())
        }
        io::ErrorKind::AddrNotAvailable => fault("this machine has no such address".to_owned()),
        _ => fault(error.to_string()),
    })
}

/// A file that nobody listens at is left over from a program that was killed; any other is not touched.
fn bind_unix(path: &Path, access: SocketAccess) -> io::Result<OwnedFd> {
    let bind = || {
        let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(path)?).map(|()| socket)
    };
    let bound = match bind() {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let refused = UnixStream::connect(path)
                .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
            let is_socket = fs::symlink_metadata(path)?.file_type().is_socket();
            if !refused || !is_socket {
                return Err(error);
            }
            fs::remove_file(path)?;
            bind()
        }
        bound => bound,
    };
    let socket = bound?;
    // Before it listens: until then nobody can connect.
    fs::set_permissions(path, Permissions::from_mode(access.mode()))?;
    socket.listen(UNIX_BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

impl From<Socket> for OwnedFd {
    fn from(socket: Socket) -> OwnedFd {
        socket.descriptor
    }
}

impl Socket {
    /// The same socket once more.
    pub fn duplicate(&self) -> io::Result<Socket> {
        let descriptor = self.descriptor.try_clone()?;
        let Socket { address, backlog_max, access, .. } = self;
        Ok(Socket {
            descriptor,
            address: address.clone(),
            backlog_max: *backlog_max,
            access: *access,
        })
    }

    /// What a pingora service listens to: it takes a descriptor in this table over when its listener is
    /// added under the same address.
    pub fn into_service(self) -> (ListenerConfig, ListenFds) {
        let (key, config) = match &self.address {
            ListenAddress::Socket(address) => {
                (address.to_string(), ListenerConfig::tcp(address.to_string()))
            }
            ListenAddress::Unix(path) => {
                let path = path.to_string_lossy().into_owned();
                let permissions = Permissions::from_mode(self.access.mode());
                (path.clone(), ListenerConfig::uds(path).permissions(permissions))
            }
        };
        let mut fds = Fds::new();
        fds.add(key, self.descriptor.into_raw_fd());
        (config, Arc::new(Mutex::new(fds)))
    }

    /// The same socket, to change how many connections the kernel holds: pingora has an idea of its own of
    /// that, and the last one who says so wins.
    pub fn backlog(&self) -> io::Result<Option<Backlog>> {
        let Some(max) = self.backlog_max else { return Ok(None) };
        Ok(Some(Backlog { descriptor: self.descriptor.as_fd().try_clone_to_owned()?, max }))
    }

    /// The file of a Unix socket.
    pub fn file(&self) -> Option<PathBuf> {
        match &self.address {
            ListenAddress::Unix(path) => Some(path.clone()),
            ListenAddress::Socket(_) => None,
        }
    }
}

/// How many connections the kernel holds before they are accepted.
pub struct Backlog {
    descriptor: OwnedFd,
    max: u32,
}

impl Backlog {
    pub fn apply(&self) -> io::Result<()> {
        Ok(rustix::net::listen(&self.descriptor, i32::try_from(self.max).unwrap_or(i32::MAX))?)
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
    pub fn of(listeners: BTreeMap<String, String>, admin: String) -> Self {
        Self { listeners, admin, pid: std::process::id() }
    }

    /// Removes the file, unless another process has written it since.
    pub fn forget(path: &Path) {
        let text = fs::read(path).unwrap_or_default();
        let written = serde_json::from_slice::<serde_json::Value>(&text).unwrap_or_default();
        if written["pid"] == std::process::id() {
            // Gone already is gone enough.
            let _ = fs::remove_file(path);
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
    fn a_socket_file_is_taken_over_only_from_the_dead() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        let address = ListenAddress::Unix(path.clone());
        let first = bind_one("listener `a`", &address).unwrap();
        let fault = bind_one("listener `b`", &address).err().unwrap().to_string();
        assert!(fault.ends_with("another program already does"), "{fault}");
        drop(first);
        assert!(bind_one("listener `b`", &address).is_ok(), "nobody listens there any more");
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "a file").unwrap();
        assert!(bind_one("listener `b`", &address).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a file");
    }

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
