//! Transactions: requests at a fixed rate, whatever happens to those before them.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::latency::Latency;
use crate::reading::{Check, Pattern, Progress, Reading};

/// Connections that transactions come on, each with a schedule of its own.
const CONNECTIONS: u32 = 16;
/// How long an answer may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(30);
const BODY: &str = r#"{"description":"coffee","entries":[{"account":"a","amount":"3.20"}]}"#;
const STACK_BYTES: usize = 256 * 1024;

#[derive(Default)]
struct Samples {
    answered_us: Vec<u64>,
    sent_late_us: Vec<u64>,
    failures: u64,
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Makes the bytes of one request after the other. Anything but a 200 or 201 in answer is a failure.
pub type Requests = Arc<dyn Fn() -> Vec<u8> + Send + Sync>;

/// Sends `POST /pay` at this rate for so long and waits for the last answer.
pub fn transactions(
    address: SocketAddr,
    per_second: u32,
    duration: Duration,
) -> io::Result<Latency> {
    let request = format!(
        "POST /pay HTTP/1.1\r\nHost: proof\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    transactions_of(
        &(Arc::new(move || request.clone().into_bytes()) as Requests),
        address,
        per_second,
        duration,
    )
}

/// The same with requests of one's own.
pub fn transactions_of(
    requests: &Requests,
    address: SocketAddr,
    per_second: u32,
    duration: Duration,
) -> io::Result<Latency> {
    let begin = Instant::now() + Duration::from_millis(50);
    let every = Duration::from_secs(1) * CONNECTIONS / per_second.max(1);
    let threads = (0..CONNECTIONS)
        .map(|number| {
            let first = begin + every * number / CONNECTIONS;
            let name = format!("transactions-{number}");
            let requests = Arc::clone(requests);
            let run =
                move || send_on_schedule(&requests, address, (first, every), begin + duration);
            thread::Builder::new().name(name).stack_size(STACK_BYTES).spawn(run)
        })
        .collect::<io::Result<Vec<_>>>()?;
    let mut all = Samples::default();
    for thread in threads {
        let samples = thread.join().map_err(|_| io::Error::other("a load thread panicked"))?;
        all.answered_us.extend(samples.answered_us);
        all.sent_late_us.extend(samples.sent_late_us);
        all.failures += samples.failures;
    }
    Ok(Latency::of(all.answered_us, all.sent_late_us, all.failures))
}

fn send_on_schedule(
    requests: &Requests,
    address: SocketAddr,
    (mut due, every): (Instant, Duration),
    end: Instant,
) -> Samples {
    let (mut samples, pattern) = (Samples::default(), Pattern::default());
    // Connected before the first is due: what is measured is requests on connections that are kept.
    let mut connection = connect(address).ok();
    while due < end {
        if let Some(early) = due.checked_duration_since(Instant::now()) {
            thread::sleep(early);
            samples.sent_late_us.push(micros(due.elapsed()));
        }
        match transact(address, &mut connection, &requests(), &pattern) {
            Ok(()) => samples.answered_us.push(micros(due.elapsed())),
            Err(_) => {
                connection = None;
                samples.failures += 1;
            }
        }
        due += every;
    }
    samples
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// One exchange, on the connection there is or a new one.
fn transact(
    address: SocketAddr,
    connection: &mut Option<TcpStream>,
    request: &[u8],
    pattern: &Pattern,
) -> io::Result<()> {
    let stream = match connection {
        Some(stream) => stream,
        None => connection.insert(connect(address)?),
    };
    stream.write_all(request)?;
    let (mut reading, mut buffer) = (Reading::new(Check::Length), [0; 4096]);
    loop {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let taken = reading.take(pattern, &buffer[..read]);
        match taken.map_err(|what| io::Error::new(io::ErrorKind::InvalidData, what))? {
            Progress::Body(_) => {}
            Progress::Whole(_) if matches!(reading.status(), Some(200 | 201)) => {
                if reading.closes() {
                    *connection = None;
                }
                return Ok(());
            }
            Progress::Whole(_) => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::Origin;

    #[test]
    fn as_many_are_sent_as_were_due_and_those_without_an_answer_fail() {
        let origin = Origin::start().unwrap();
        let duration = Duration::from_millis(320);
        let latency = transactions(origin.address, 500, duration).unwrap();
        assert_eq!((latency.requests, latency.failures), (160, 0));
        assert!(latency.p50_us > 0 && latency.p50_us <= latency.p99_us);
        let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
        let latency = transactions(nobody, 500, duration).unwrap();
        assert_eq!((latency.requests, latency.failures, latency.max_us), (160, 160, 0));
    }
}
