//! Replacing the program while it serves (USR2): the new one is started by the old and is given its listening
//! sockets, so at no moment is there nobody to accept. Once it serves, the old one tells its clients that their
//! connections end, finishes what is under way, tunnels included, and is gone. When the new one does not come
//! up, nothing has happened.
//!
//! The two talk over a Unix socket with a name of its own, to which only the process that was started is let.

use std::fmt::Write as _;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg, sockopt,
};
use thiserror::Error;

use crate::listen::inherited::Inherited;

/// Where the new process finds the old.
const TAKE_OVER: &str = "FOREBAY_TAKE_OVER";
/// Sockets that can be handed over, and bytes of their names.
const SOCKETS_MAX: usize = 250;
const NAMES_BYTES_MAX: usize = 64 * 1024;
/// How long the new process may take to serve.
const START_MAX: Duration = Duration::from_secs(60);
/// How often is looked whether it has ended.
const LOOK: Duration = Duration::from_millis(10);
/// What it says when it serves.
const SERVING: u8 = b'+';

/// Why there is no new process.
#[derive(Debug, Error)]
pub enum UpgradeFault {
    #[error("the new process cannot be started: {0}")]
    Start(io::Error),
    #[error("the sockets cannot be handed over: {0}")]
    HandOver(io::Error),
    #[error("the new process ended before it served")]
    Ended,
    #[error("the new process did not serve in time")]
    Late,
}

/// Which program a successor is.
pub struct Succession {
    /// As it was when this process started: the file may be another by now.
    program: PathBuf,
}

impl Succession {
    pub fn now() -> io::Result<Succession> {
        Ok(Succession { program: std::env::current_exe()? })
    }

    /// Starts the program again, hands these sockets over and waits until it serves; returns its process id. Blocks.
    pub fn begin(&self, sockets: &[(String, OwnedFd)]) -> Result<u32, UpgradeFault> {
        let name = format!("forebay-upgrade-{}-{:016x}", std::process::id(), fastrand::u64(..));
        let address = SocketAddr::from_abstract_name(&name).map_err(UpgradeFault::HandOver)?;
        let door = UnixListener::bind_addr(&address).map_err(UpgradeFault::HandOver)?;
        door.set_nonblocking(true).map_err(UpgradeFault::HandOver)?;
        let mut arguments = std::env::args_os();
        // Called as `nginx` it does other things.
        let called = arguments.next().unwrap_or_else(|| self.program.clone().into());
        let mut child = Command::new(&self.program)
            .arg0(called)
            .args(arguments)
            .env(TAKE_OVER, &name)
            .env_remove("LISTEN_FDS")
            .env_remove("LISTEN_FDNAMES")
            // Of whoever is the main process.
            .env_remove("WATCHDOG_PID")
            .stdin(Stdio::null())
            .spawn()
            .map_err(UpgradeFault::Start)?;
        let serves = hand_over(&door, &mut child, sockets);
        if serves.is_err() {
            let _ = child.kill();
            let _ = child.wait();
        }
        serves.map(|()| child.id())
    }
}

fn hand_over(
    door: &UnixListener,
    child: &mut Child,
    sockets: &[(String, OwnedFd)],
) -> Result<(), UpgradeFault> {
    let deadline = Instant::now() + START_MAX;
    let mut stream = until(deadline, child, || door.accept().map(|(stream, _)| stream))?;
    let peer = sockopt::socket_peercred(&stream);
    let is_child = peer.is_ok_and(|peer| {
        u32::try_from(peer.pid.as_raw_nonzero().get()).is_ok_and(|pid| pid == child.id())
    });
    if !is_child {
        return Err(UpgradeFault::HandOver(io::ErrorKind::PermissionDenied.into()));
    }
    send(&stream, sockets).map_err(UpgradeFault::HandOver)?;
    stream.set_nonblocking(true).map_err(UpgradeFault::HandOver)?;
    let mut word = [0];
    let read = until(deadline, child, || stream.read(&mut word))?;
    match read == 1 && word[0] == SERVING {
        true => Ok(()),
        false => Err(UpgradeFault::Ended),
    }
}

/// Tries until it would not have to wait, the process has ended, or it is too late.
fn until<T>(
    deadline: Instant,
    child: &mut Child,
    mut attempt: impl FnMut() -> io::Result<T>,
) -> Result<T, UpgradeFault> {
    loop {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return done.map_err(UpgradeFault::HandOver),
        }
        if child.try_wait().map_err(UpgradeFault::Start)?.is_some() {
            return Err(UpgradeFault::Ended);
        }
        if Instant::now() >= deadline {
            return Err(UpgradeFault::Late);
        }
        std::thread::sleep(LOOK);
    }
}

/// The process that this one replaces, waiting to hear that it serves.
pub struct Predecessor(UnixStream);

/// How this process comes to its sockets.
#[derive(Default)]
pub struct Arrival {
    pub inherited: Inherited,
    predecessor: Option<Predecessor>,
}

impl Arrival {
    /// Takes the sockets of the process before this one, or those of the service manager.
    pub fn now() -> io::Result<Arrival> {
        let Some(name) = std::env::var_os(TAKE_OVER) else {
            return Ok(Arrival {
                inherited: Inherited::from_service_manager()?,
                predecessor: None,
            });
        };
        let address = SocketAddr::from_abstract_name(name.as_encoded_bytes())?;
        let stream = UnixStream::connect_addr(&address)?;
        stream.set_read_timeout(Some(START_MAX))?;
        let sockets = receive(&stream)?;
        Ok(Arrival { inherited: Inherited::named(sockets), predecessor: Some(Predecessor(stream)) })
    }

    /// Tells the process before this one, if there is one, that it may go.
    pub fn serves(self) {
        if let Some(Predecessor(mut stream)) = self.predecessor
            && let Err(error) = stream.write_all(&[SERVING])
        {
            tracing::warn!(%error, "the process before this one cannot be told that it may go");
        }
    }
}

/// Names, a line each, and in the same order the sockets.
fn send(stream: &UnixStream, sockets: &[(String, OwnedFd)]) -> io::Result<()> {
    let mut names = String::new();
    for (name, _) in sockets {
        // Writing to a String cannot fail.
        let _ = writeln!(names, "{name}");
    }
    if sockets.len() > SOCKETS_MAX || names.len() > NAMES_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "there are too many listeners"));
    }
    let descriptors: Vec<BorrowedFd<'_>> = sockets.iter().map(|(_, fd)| fd.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    let sent =
        sendmsg(stream, &[IoSlice::new(names.as_bytes())], &mut control, SendFlags::NOSIGNAL)?;
    let mut rest = stream;
    rest.write_all(&names.as_bytes()[sent..])?;
    // An empty line ends it.
    rest.write_all(b"\n")
}

fn receive(stream: &UnixStream) -> io::Result<Vec<(String, OwnedFd)>> {
    let (mut names, mut descriptors) = (Vec::new(), Vec::new());
    while names.last() != Some(&b'\n') || !(names.ends_with(b"\n\n") || names == b"\n") {
        let mut bytes = [0; 4096];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(SOCKETS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut into = [IoSliceMut::new(&mut bytes)];
        let received = recvmsg(stream, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(sockets) = message {
                descriptors.extend(sockets);
            }
        }
        names.extend_from_slice(&bytes[..received.bytes]);
        if received.bytes == 0 || names.len() > NAMES_BYTES_MAX {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let names = String::from_utf8_lossy(&names);
    let names: Vec<&str> = names.lines().filter(|name| !name.is_empty()).collect();
    if names.len() != descriptors.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not every socket has a name"));
    }
    Ok(names.into_iter().map(str::to_owned).zip(descriptors).collect())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn sockets_and_their_names_arrive() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let addresses: Vec<_> = listeners.iter().map(|one| one.local_addr().unwrap()).collect();
        let named: Vec<(String, OwnedFd)> = ["public", "@admin", "third"]
            .map(str::to_owned)
            .into_iter()
            .zip(listeners.map(OwnedFd::from))
            .collect();
        send(&ours, &named).unwrap();
        drop(named);
        let received = receive(&theirs).unwrap();
        let names: Vec<_> = received.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["public", "@admin", "third"]);
        for address in addresses {
            assert!(TcpStream::connect(address).is_ok(), "it still listens");
        }
        drop(received);
        send(&ours, &[]).unwrap();
        assert!(receive(&theirs).unwrap().is_empty());
        drop(ours);
        assert!(receive(&theirs).is_err());
    }
}
