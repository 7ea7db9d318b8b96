//! Large bodies that are not copied into this process, where nothing is encrypted on the way: what is left of one passed
//! through goes from socket to socket; a stored one from its pages to the socket. The sockets are out of their streams
//! meanwhile, and go back to the runtime where their connections are at home.

use std::io;
use std::time::Instant;

use tokio::task::yield_now;

use crate::failure::Failure;
use crate::fill::reply::Reply;
use crate::front::pass::Client;
use crate::prompt::quantum::QUANTUM_BYTES;
use crate::prompt::{self, within};
use crate::raw::Pages;
use crate::sendfile::FileOutlet;
use crate::splice::{self, Splice};

/// The way from a server's socket to a client's; none where there is no such way or the process has run out of what it
/// takes.
pub fn way(client: &mut Client, reply: &mut Reply) -> Option<Splice> {
    let to = prompt::lend(&mut client.stream)?;
    let Some(from) = reply.lend_socket() else {
        prompt::give_back(&mut client.stream, to, &client.home).ok()?;
        return None;
    };
    // No more than a quantum is between them: the part in hand that a lane's memory is reserved for.
    match Splice::between(from, to, QUANTUM_BYTES) {
        Ok(splice) => Some(splice),
        Err((from, to)) => {
            reply.put_back(from, &client.home);
            prompt::give_back(&mut client.stream, to, &client.home).ok()?;
            None
        }
    }
}

/// The last bytes of a body, on their way.
pub struct End {
    outlet: splice::PipeOutlet,
    bytes: usize,
}

/// Moves what is left of a body but for its end; the connection to the server is free then.
///
/// Errors: what broke the answer off.
pub async fn move_rest(
    splice: Splice,
    client: &mut Client,
    reply: &mut Reply,
) -> Result<End, Failure> {
    loop {
        let bytes = tokio::select! {
            biased;
            taken = reply.take_in(&splice, QUANTUM_BYTES) => taken?,
            () = splice.outlet().gone() => return Err(Failure::ClientGone),
        };
        client.lane.pace.wait(bytes).await;
        if reply.is_done() {
            let (from, outlet) = splice.end();
            reply.put_back(from, &client.home);
            return Ok(End { outlet, bytes });
        }
        send(client, splice.outlet(), bytes).await?;
        // The others' turn, as after any quantum.
        yield_now().await;
    }
}

/// Sends the end, and has the client's stream whole again.
///
/// Errors: `ClientGone`.
pub async fn send_end(client: &mut Client, end: End) -> Result<(), Failure> {
    let End { outlet, bytes } = end;
    send(client, &outlet, bytes).await?;
    let back = prompt::give_back(&mut client.stream, outlet.into_socket(), &client.home);
    back.map_err(|_| Failure::ClientGone)
}

/// Sends what was taken in. A client has its time for each step of it.
async fn send(
    client: &mut Client,
    outlet: &splice::PipeOutlet,
    bytes: usize,
) -> Result<(), Failure> {
    let patience = within(&client.stream).ok_or(Failure::Internal)?.patience();
    let mut left = bytes;
    while left > 0 {
        let sent = patience.to_write(outlet.send(left)).await;
        let sent = sent.map_err(|_| Failure::ClientGone)?;
        left -= sent;
        client.bytes_out += sent;
    }
    Ok(())
}

/// Sends a head and the bytes `first..end` of pages behind it; `None`, and nothing is sent, where
/// there is no such way.
pub async fn send_pages(
    client: &mut Client,
    head: &[u8],
    pages: &Pages,
    (first, end): (u64, u64),
    first_byte: &mut Option<Instant>,
) -> Option<io::Result<()>> {
    let patience = within(&client.stream)?.patience().clone();
    let outlet = match FileOutlet::to(prompt::lend(&mut client.stream)?) {
        Ok(outlet) => outlet,
        Err(socket) => {
            prompt::give_back(&mut client.stream, socket, &client.home).ok()?;
            return None;
        }
    };
    let sending = async {
        patience.to_write(outlet.begin(head)).await?;
        *first_byte = Some(Instant::now());
        let mut at = first;
        while at < end {
            let most = usize::try_from(end - at).unwrap_or(QUANTUM_BYTES).min(QUANTUM_BYTES);
            client.lane.pace.wait(most).await;
            let mut left = most;
            while left > 0 {
                let sent = patience.to_write(outlet.send(pages, at, left)).await?;
                left -= sent;
                at += sent as u64;
                client.bytes_out += sent;
            }
            // The others' turn, as after any quantum.
            yield_now().await;
        }
        Ok(())
    };
    let sent: io::Result<()> = sending.await;
    let back = prompt::give_back(&mut client.stream, outlet.into_socket(), &client.home);
    Some(sent.and(back))
}
