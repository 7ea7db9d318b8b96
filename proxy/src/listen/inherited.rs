//! Sockets that are bound already when the process starts: by the service manager (socket activation), or by the
//! process that this one replaces.

use std::io;
use std::os::fd::OwnedFd;

use listenfd::ListenFd;
use proxy_config::address::ListenAddress;
use socket2::SockRef;

/// What the admin listener's socket is called; no listener can have this name.
pub const ADMIN: &str = "@admin";

/// Sockets nobody has asked for yet, with the names they were given.
#[derive(Default)]
pub struct Inherited(Vec<(Option<String>, OwnedFd)>);

impl Inherited {
    pub fn named(sockets: Vec<(String, OwnedFd)>) -> Inherited {
        Inherited(sockets.into_iter().map(|(name, socket)| (Some(name), socket)).collect())
    }

    /// Those of the service manager (`LISTEN_FDS`), which are called as `LISTEN_FDNAMES` says.
    pub fn from_service_manager() -> io::Result<Inherited> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':').map(str::to_owned);
        let mut given = ListenFd::from_env();
        let mut sockets = Vec::new();
        for index in 0..given.len() {
            let name = names.next();
            let tcp = given.take_tcp_listener(index).map(|tcp| tcp.map(OwnedFd::from));
            let socket = match tcp {
                Ok(socket) => socket,
                Err(_) => given.take_unix_listener(index)?.map(OwnedFd::from),
            };
            sockets.extend(socket.map(|socket| (name, socket)));
        }
        Ok(Inherited(sockets))
    }

    /// The socket for a listener: the one of its name, or else the one at its address.
    ///
    /// Errors: one of its name that listens elsewhere.
    pub fn take(
        &mut self,
        name: &str,
        address: &ListenAddress,
    ) -> Result<Option<(OwnedFd, ListenAddress)>, String> {
        let named = self.0.iter().position(|(is, _)| is.as_deref() == Some(name));
        let at_address = || {
            let at = |socket: &OwnedFd| local(socket).is_some_and(|local| local == *address);
            self.0.iter().position(|(_, socket)| at(socket))
        };
        let Some(index) = named.or_else(at_address) else { return Ok(None) };
        let (_, socket) = self.0.remove(index);
        match local(&socket) {
            Some(local) if fits(address, &local) => Ok(Some((socket, local))),
            Some(local) => Err(format!("the socket of this name that was passed on is {local}")),
            None => {
                Err("the socket of this name that was passed on is none to listen at".to_owned())
            }
        }
    }

    /// How many there are that nobody has asked for.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whether a socket is where the document wants one; port 0 is any.
fn fits(wanted: &ListenAddress, is: &ListenAddress) -> bool {
    match (wanted, is) {
        (ListenAddress::Socket(wanted), ListenAddress::Socket(is)) if wanted.port() == 0 => {
            wanted.ip() == is.ip()
        }
        (wanted, is) => wanted == is,
    }
}

/// Where a socket listens; nothing when it does not.
fn local(socket: &OwnedFd) -> Option<ListenAddress> {
    let socket = SockRef::from(socket);
    if !socket.is_listener().unwrap_or(false) {
        return None;
    }
    let address = socket.local_addr().ok()?;
    let path = || address.as_pathname().map(|path| ListenAddress::Unix(path.to_owned()));
    address.as_socket().map(ListenAddress::Socket).or_else(path)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn sockets_are_found_by_name_or_address() {
        let bound = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (first, second) = (bound(), bound());
        let address = |of: &TcpListener| ListenAddress::Socket(of.local_addr().unwrap());
        let (at_first, at_second) = (address(&first), address(&second));
        let mut inherited =
            Inherited(vec![(Some("public".to_owned()), first.into()), (None, second.into())]);
        let any = ListenAddress::Socket("127.0.0.1:0".parse().unwrap());
        assert!(inherited.take("other", &any).unwrap().is_none());
        let (_, found) = inherited.take("other", &at_second).unwrap().unwrap();
        assert_eq!(found, at_second);
        let (socket, found) = inherited.take("public", &any).unwrap().unwrap();
        assert_eq!((found, inherited.len()), (at_first, 0));
        let mut inherited = Inherited::named(vec![("public".to_owned(), socket)]);
        assert!(inherited.take("public", &at_second).is_err());
        let client = TcpStream::connect(bound().local_addr().unwrap()).unwrap();
        let mut inherited = Inherited::named(vec![("public".to_owned(), client.into())]);
        assert!(inherited.take("public", &any).is_err(), "a connection");
    }
}
