//! Viewers: clients that ask again as soon as they have got an answer, as fast as it comes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::net::TcpStream;

use crate::processors::give_way;
use crate::reading::{Check, Pattern, Progress, Reading};

/// What is read at once: fits into the nearest caches together with what it is compared with.
const READ_BYTES: usize = 64 * 1024;
/// Before a client that got no answer, or not 2xx, asks again.
const PAUSE: Duration = Duration::from_millis(100);

/// What viewers have got so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub bytes: u64,
    pub responses: u64,
    /// Answers that are not 2xx: the proxy said no.
    pub refused: u64,
    /// No answer, or a wrong one.
    pub failures: u64,
}

impl Counts {
    pub fn since(self, before: Counts) -> Counts {
        Counts {
            bytes: self.bytes - before.bytes,
            responses: self.responses - before.responses,
            refused: self.refused - before.refused,
            failures: self.failures - before.failures,
        }
    }
}

/// Who asks for what.
#[derive(Clone, Debug)]
pub struct Watching {
    pub address: SocketAddr,
    pub clients: usize,
    /// Whole request heads; each client asks them in turn.
    pub requests: Vec<String>,
    /// Run only when nothing else on these processors is ready, so that other load does not wait for
    /// viewers' own work.
    pub gives_way: bool,
}

#[derive(Default)]
struct Shared {
    bytes: AtomicU64,
    responses: AtomicU64,
    refused: AtomicU64,
    failures: AtomicU64,
    last_failure: Mutex<Option<String>>,
    /// Microseconds from asking to the first byte, of every client's first answer.
    first_bytes_us: Mutex<Vec<u64>>,
    stop: AtomicBool,
    pattern: Pattern,
}

/// Viewers at work on a thread of their own; dropped, they go on until the process ends.
pub struct Viewers {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

impl Viewers {
    pub fn start(watching: Watching) -> io::Result<Viewers> {
        let shared = Arc::new(Shared::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let on = Arc::clone(&shared);
        let run = move || {
            if watching.gives_way {
                give_way();
            }
            runtime.block_on(async {
                let requests: Arc<[String]> = watching.requests.into();
                for _ in 0..watching.clients {
                    tokio::spawn(watch(watching.address, Arc::clone(&requests), Arc::clone(&on)));
                }
                while !on.stop.load(Ordering::Acquire) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            });
        };
        let thread = thread::Builder::new().name("viewers".to_owned()).spawn(run)?;
        Ok(Viewers { shared, thread })
    }

    pub fn counts(&self) -> Counts {
        let read = |count: &AtomicU64| count.load(Ordering::Acquire);
        Counts {
            bytes: read(&self.shared.bytes),
            responses: read(&self.shared.responses),
            refused: read(&self.shared.refused),
            failures: read(&self.shared.failures),
        }
    }

    /// Waits until there have been so many answers; `false` when that takes longer than it may.
    pub fn have_answers(&self, count: u64, within: Duration) -> bool {
        let begun = Instant::now();
        while self.counts().responses < count {
            if begun.elapsed() > within {
                return false;
            }
            thread::sleep(Duration::from_millis(5));
        }
        true
    }

    /// Microseconds from asking to the first byte, of every client's first answer so far.
    pub fn first_bytes_us(&self) -> Vec<u64> {
        self.shared.first_bytes_us.lock().clone()
    }

    /// Ends them; returns what the last failure was.
    pub fn stop(self) -> Option<String> {
        self.shared.stop.store(true, Ordering::Release);
        // A panic there shows as bytes that are missing.
        let _ = self.thread.join();
        self.shared.last_failure.lock().take()
    }
}

async fn watch(address: SocketAddr, requests: Arc<[String]>, shared: Arc<Shared>) {
    loop {
        let Err(fault) = ask_again_and_again(address, &requests, &shared).await;
        let count = if fault.refused { &shared.refused } else { &shared.failures };
        count.fetch_add(1, Ordering::AcqRel);
        *shared.last_failure.lock() = Some(fault.what);
        tokio::time::sleep(PAUSE).await;
    }
}

struct Fault {
    refused: bool,
    what: String,
}

fn failed(what: &impl ToString) -> Fault {
    Fault { refused: false, what: what.to_string() }
}

async fn ask_again_and_again(
    address: SocketAddr,
    requests: &[String],
    shared: &Shared,
) -> Result<std::convert::Infallible, Fault> {
    let mut stream = connect(address).await?;
    let mut check = Check::Every;
    loop {
        for request in requests {
            if ask(&stream, request, check, shared).await? {
                stream = connect(address).await?;
            }
        }
        check = Check::Ends;
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream, Fault> {
    let stream = TcpStream::connect(address).await.map_err(|error| failed(&error))?;
    stream.set_nodelay(true).map_err(|error| failed(&error))?;
    Ok(stream)
}

/// Asks and reads the answer; whether the server closes the connection after it.
async fn ask(
    stream: &TcpStream,
    request: &str,
    check: Check,
    shared: &Shared,
) -> Result<bool, Fault> {
    let asked = Instant::now();
    let mut rest = request.as_bytes();
    while !rest.is_empty() {
        stream.writable().await.map_err(|error| failed(&error))?;
        match stream.try_write(rest) {
            Ok(count) => rest = &rest[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(failed(&error)),
        }
    }
    let (mut reading, mut seen) = (Reading::new(check), false);
    loop {
        stream.readable().await.map_err(|error| failed(&error))?;
        let taken = match read_some(stream, &mut reading, shared) {
            Ok(taken) => taken.map_err(|what| failed(&what))?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(failed(&error)),
        };
        if !seen && check == Check::Every {
            seen = true;
            let micros = u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX);
            shared.first_bytes_us.lock().push(micros);
        }
        let (Progress::Body(bytes) | Progress::Whole(bytes)) = taken;
        match reading.status() {
            Some(200..300) => {
                shared.bytes.fetch_add(bytes, Ordering::AcqRel);
            }
            Some(status) => return Err(Fault { refused: true, what: format!("status {status}") }),
            None => {}
        }
        if matches!(taken, Progress::Whole(_)) {
            shared.responses.fetch_add(1, Ordering::AcqRel);
            return Ok(reading.closes());
        }
    }
}

thread_local! {
    /// One buffer for all clients of a thread: what is read lies in the nearest cache.
    static BUFFER: std::cell::RefCell<Vec<u8>> = std::cell::RefCell::new(vec![0; READ_BYTES]);
}

fn read_some(
    stream: &TcpStream,
    reading: &mut Reading,
    shared: &Shared,
) -> io::Result<Result<Progress, String>> {
    BUFFER.with_borrow_mut(|buffer| {
        let read = stream.try_read(buffer)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(reading.take(&shared.pattern, &buffer[..read]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::Origin;

    #[test]
    fn viewers_count_what_they_get_and_say_why_they_get_nothing() {
        let origin = Origin::start().unwrap();
        let watch = |path: &str| {
            let requests = vec![format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")];
            let address = origin.address;
            Viewers::start(Watching { address, clients: 3, requests, gives_way: true }).unwrap()
        };
        let viewers = watch("/film/300000/x");
        while viewers.counts().responses < 10 || viewers.first_bytes_us().len() < 3 {
            thread::sleep(Duration::from_millis(1));
        }
        let counts = viewers.counts();
        assert!(counts.bytes >= 10 * 300_000 && counts.failures == 0, "{counts:?}");
        assert_eq!(viewers.stop(), None);
        let viewers = watch("/not-the-pattern");
        while viewers.counts().failures == 0 {
            thread::sleep(Duration::from_millis(1));
        }
        let said = viewers.stop().unwrap();
        assert!(said.contains("other bytes than the origin's"), "{said}");
    }
}
