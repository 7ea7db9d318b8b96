//! Ports for programs that have to be told one.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// So many free ports at an address of this machine that no other process uses: what is free there stays so until
/// whoever it is for listens.
pub fn free<const COUNT: usize>() -> [SocketAddr; COUNT] {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let own = Ipv4Addr::new(127, 64 | high, middle, low);
    let held = [(); COUNT].map(|()| TcpListener::bind((own, 0)).expect("a free port"));
    held.each_ref().map(|listener| listener.local_addr().expect("it has an address"))
}
