//! Lines about requests on their way to files and syslog: a writer thread behind a bounded queue. When the
//! queue is full the line is dropped and counted: a slow disk never slows a request.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus::{IntCounter, IntCounterVec};
use proxy_config::access_log::LogTarget;
use proxy_config::error_log::Severity;
use rustix::fs::OFlags;
use tokio::sync::oneshot;

use crate::metrics::Metrics;
use crate::operator_log::Lasting;
use crate::syslog::Sender;

/// Lines that may wait for the writer, about 4 MiB.
const QUEUE_LINES_MAX: usize = 8192;

enum Order {
    Line(Arc<Sink>, Line),
    Reopen(Vec<Arc<Sink>>),
    Stop,
}

/// A line with its end.
struct Line {
    text: Vec<u8>,
    severity: Option<Severity>,
    /// Told once it is written.
    written: Option<oneshot::Sender<()>>,
}

/// A place lines go to, open. Only the writer thread writes.
pub struct Sink {
    target: LogTarget,
    open: Mutex<Open>,
    fault: Lasting,
}

enum Open {
    Nothing,
    Stream(BufWriter<Box<dyn Write + Send>>),
    Syslog(Sender),
}

impl Open {
    fn stream(to: impl Write + Send + 'static) -> Open {
        Open::Stream(BufWriter::new(Box::new(to)))
    }
}

impl Sink {
    /// Opens a target without writing to it, so that a reload can refuse one that cannot be opened.
    pub fn open(target: &LogTarget) -> io::Result<Sink> {
        let open = match target {
            LogTarget::Off => Open::Nothing,
            LogTarget::Stdout => Open::stream(io::stdout()),
            LogTarget::Stderr => Open::stream(io::stderr()),
            LogTarget::File(path) => Open::stream(open_file(path)?),
            LogTarget::Syslog(target) => Open::Syslog(Sender::open(target)?),
        };
        Ok(Sink { target: target.clone(), open: Mutex::new(open), fault: Lasting::default() })
    }

    pub fn target(&self) -> &LogTarget {
        &self.target
    }

    fn write(&self, line: &Line) -> io::Result<()> {
        match &mut *self.open.lock() {
            Open::Nothing => Ok(()),
            Open::Stream(stream) => stream.write_all(&line.text),
            Open::Syslog(sender) => sender.send(&line.text, line.severity),
        }
    }

    fn flush(&self) -> io::Result<()> {
        match &mut *self.open.lock() {
            Open::Stream(stream) => stream.flush(),
            Open::Nothing | Open::Syslog(_) => Ok(()),
        }
    }

    /// Opens the place anew, whatever became of the old one: that it cannot be written any more is a reason to be called. A
    /// syslog server is looked up again.
    fn reopen(&self) -> io::Result<()> {
        let flushed = self.flush();
        let anew = match &self.target {
            LogTarget::File(path) => Open::stream(open_file(path)?),
            LogTarget::Syslog(target) => Open::Syslog(Sender::open(target)?),
            LogTarget::Off | LogTarget::Stdout | LogTarget::Stderr => return flushed,
        };
        *self.open.lock() = anew;
        flushed
    }
}

/// Does not wait: a pipe that nobody reads would hold the start, a reload or every later line up
/// for ever, so it cannot be opened. Written to, it may be waited for.
fn open_file(path: &Path) -> io::Result<File> {
    let no_wait = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().create(true).append(true).custom_flags(no_wait).open(path)?;
    rustix::fs::fcntl_setfl(&file, rustix::fs::fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
    Ok(file)
}

/// How long lines about requests are gathered: waking a thread for each costs more than writing it.
const GATHER: Duration = Duration::from_millis(5);

/// The way to the writer thread.
pub struct LineWriter {
    orders: SyncSender<Order>,
    dropped: IntCounter,
}

/// The writer thread; kept apart so that stopping consumes it.
pub struct Writer {
    orders: SyncSender<Order>,
    thread: JoinHandle<()>,
}

/// Starts the writer thread of access logs.
pub fn of_requests(metrics: &Metrics) -> io::Result<(LineWriter, Writer)> {
    let counters = [&metrics.access_log_dropped, &metrics.access_log_write_errors];
    start("access-log", GATHER, counters)
}

/// Starts the writer thread of error logs, whose lines are few and written at once.
pub fn of_failures(metrics: &Metrics) -> io::Result<(LineWriter, Writer)> {
    let counters = [&metrics.error_log_dropped, &metrics.error_log_write_errors];
    start("error-log", Duration::ZERO, counters)
}

fn start(
    name: &'static str,
    gather: Duration,
    counters: [&IntCounterVec; 2],
) -> io::Result<(LineWriter, Writer)> {
    let (orders, inbox) = sync_channel(QUEUE_LINES_MAX);
    let [dropped, errors] = counters.map(|counter| counter.with_label_values::<&str>(&[]));
    let thread = std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || write_lines(&inbox, (name, gather), &errors))?;
    Ok((LineWriter { orders: orders.clone(), dropped }, Writer { orders, thread }))
}

impl LineWriter {
    /// Hands a line with its end to the writer.
    pub fn write(&self, sink: &Arc<Sink>, text: Vec<u8>) {
        self.hand_on(sink, Line { text, severity: None, written: None });
    }

    /// The same for a line that is this grave; says when it is written.
    pub fn tell(
        &self,
        sink: &Arc<Sink>,
        text: Vec<u8>,
        severity: Severity,
    ) -> oneshot::Receiver<()> {
        let (written, told) = oneshot::channel();
        self.hand_on(sink, Line { text, severity: Some(severity), written: Some(written) });
        told
    }

    fn hand_on(&self, sink: &Arc<Sink>, line: Line) {
        if self.orders.try_send(Order::Line(Arc::clone(sink), line)).is_err() {
            self.dropped.inc();
        }
    }

    /// Closes and opens files again, after they were rotated. Blocks while the queue is full.
    pub fn reopen(&self, sinks: Vec<Arc<Sink>>) {
        // The writer lives as long as the process; without it there is nothing to reopen.
        let _ = self.orders.send(Order::Reopen(sinks));
    }
}

impl Writer {
    /// Writes what is queued and stops, waiting at most `patience`.
    pub fn stop(self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut order = Order::Stop;
        while let Err(TrySendError::Full(back)) = self.orders.try_send(order) {
            if Instant::now() >= deadline {
                return;
            }
            order = back;
            std::thread::sleep(Duration::from_millis(1));
        }
        while !self.thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn write_lines(
    inbox: &Receiver<Order>,
    (name, gather): (&'static str, Duration),
    errors: &IntCounter,
) {
    // Whether it worked.
    let note = |sink: &Sink, done: io::Result<()>| {
        let Err(error) = done else { return true };
        if sink.fault.begins() {
            let target = &sink.target;
            tracing::error!(%error, name, %target, "a log cannot be written; further errors are counted");
        }
        errors.inc();
        false
    };
    // Places that lines went to since they were last flushed, and whether all of them did.
    let mut written: Vec<(Arc<Sink>, bool)> = Vec::new();
    let mut waiting: Vec<oneshot::Sender<()>> = Vec::new();
    let mut is_over = false;
    while !is_over && let Ok(order) = inbox.recv() {
        let mut next = Some(order);
        while let Some(order) = next {
            match order {
                Order::Line(sink, line) => {
                    let is_written = note(&sink, sink.write(&line));
                    waiting.extend(line.written);
                    match written.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &sink)) {
                        Some((_, all)) => *all &= is_written,
                        None => written.push((sink, is_written)),
                    }
                }
                Order::Reopen(sinks) => sinks.iter().for_each(|sink| {
                    note(sink, sink.reopen());
                }),
                Order::Stop => {
                    is_over = true;
                    break;
                }
            }
            next = inbox.try_recv().ok();
        }
        for (sink, all) in written.drain(..) {
            // Only what is flushed is written.
            if note(&sink, sink.flush()) && all {
                sink.fault.is_over();
            }
        }
        // Who has not waited for it is told for nothing.
        for told in waiting.drain(..) {
            let _ = told.send(());
        }
        std::thread::sleep(gather);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log_entry::tests::entry;
    use crate::log_entry::{Entry, json};

    #[test]
    fn lines_survive_rotation_and_hostile_values() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        let metrics = Metrics::new();
        let sink = Arc::new(Sink::open(&LogTarget::File(path.clone())).unwrap());
        let (log, writer) = of_requests(&metrics).unwrap();
        log.write(&sink, json(&entry("/one")));
        log.reopen(vec![Arc::clone(&sink)]);
        log.write(&sink, json(&Entry { user_agent: Some("a\"b\n\u{1b}"), ..entry("/two") }));
        writer.stop(Duration::from_secs(10));
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["path"], "/one");
        assert_eq!(lines[1]["user_agent"], "a\"b\n\u{1b}");
        assert_eq!(lines[1]["duration_ms"], 1.5);
    }

    #[test]
    fn a_pipe_that_nobody_reads_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
        assert!(Sink::open(&LogTarget::File(path.clone())).is_err());
        let _reader = OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
            .open(&path);
        assert!(Sink::open(&LogTarget::File(path)).is_ok());
    }

    #[tokio::test]
    async fn who_tells_of_a_failure_knows_when_it_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("error.log");
        let sink = Arc::new(Sink::open(&LogTarget::File(path.clone())).unwrap());
        let (log, _writer) = of_failures(&Metrics::new()).unwrap();
        log.tell(&sink, b"one\n".to_vec(), Severity::Error).await.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one\n");
    }

    #[test]
    fn a_log_comes_back_from_a_full_disk() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("error.log");
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        let metrics = Metrics::new();
        let sink = Arc::new(Sink::open(&LogTarget::File(path.clone())).unwrap());
        let (log, writer) = of_failures(&metrics).unwrap();
        log.write(&sink, b"lost\n".to_vec());
        std::fs::remove_file(&path).unwrap();
        log.reopen(vec![Arc::clone(&sink)]);
        log.write(&sink, b"kept\n".to_vec());
        writer.stop(Duration::from_secs(10));
        assert_eq!(std::fs::read(&path).unwrap(), b"kept\n");
        assert!(metrics.error_log_write_errors.with_label_values::<&str>(&[]).get() > 0);
        assert!(sink.fault.begins(), "it is over, and would be told again");
    }

    #[test]
    fn a_syslog_server_is_looked_up_again() {
        let server = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        server.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let target = format!("server={}", server.local_addr().unwrap()).parse().unwrap();
        let sink = Arc::new(Sink::open(&LogTarget::Syslog(target)).unwrap());
        let (log, _writer) = of_failures(&Metrics::new()).unwrap();
        let sender = || {
            log.write(&sink, b"line\n".to_vec());
            server.recv_from(&mut [0; 256]).unwrap().1
        };
        let before = sender();
        assert_eq!(before, sender());
        log.reopen(vec![Arc::clone(&sink)]);
        assert_ne!(before, sender(), "another socket, to where the name leads now");
    }

    #[test]
    fn a_full_queue_drops_and_counts() {
        let (orders, _inbox) = sync_channel(1);
        let dropped = IntCounter::new("dropped", "dropped").unwrap();
        let log = LineWriter { orders, dropped: dropped.clone() };
        let sink = Arc::new(Sink::open(&LogTarget::Off).unwrap());
        log.write(&sink, json(&entry("/kept")));
        log.write(&sink, json(&entry("/dropped")));
        assert_eq!(dropped.get(), 1);
    }
}
