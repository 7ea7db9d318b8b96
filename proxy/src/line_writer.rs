//! Lines about requests on their way to files and syslog: a writer thread behind a queue that is bounded in lines and in
//! bytes. When it is full the line is dropped and counted: a slow disk slows no request that goes well. One that failed
//! waits for its error log's line, for 20 ms at most ([`crate::error_logs`]).

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use parking_lot::Mutex;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use proxy_config::access_log::LogTarget;
use proxy_config::severity::Severity;
use rustix::fs::OFlags;
use tokio::sync::oneshot;

use crate::metrics::Metrics;
use crate::operator_log::Lasting;
use crate::syslog;

/// Lines that may wait for the writer.
const QUEUE_LINES_MAX: usize = 8192;
/// A line of usual length: all that may wait are 8 MiB. Only longer ones are counted in bytes, so that the others cost no
/// more than before.
const LINE_BYTES: usize = 1024;
/// Bytes of longer lines that may wait, beside those.
const LONG_BYTES_MAX: usize = 8 << 20;

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
    Syslog(syslog::Sender),
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
            LogTarget::Syslog(target) => Open::Syslog(syslog::Sender::open(target)?),
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
            LogTarget::Syslog(target) => Open::Syslog(syslog::Sender::open(target)?),
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
    orders: Sender<Order>,
    /// Bytes of long lines that wait.
    long: Arc<AtomicUsize>,
    dropped: IntCounter,
    waiting: IntGauge,
}

/// The writer thread; kept apart so that stopping consumes it.
pub struct Writer {
    orders: Sender<Order>,
    thread: JoinHandle<()>,
}

/// Starts the writer thread of access logs.
pub fn of_requests(metrics: &Metrics) -> io::Result<(LineWriter, Writer)> {
    let counters = [&metrics.access_log_dropped, &metrics.access_log_write_errors];
    start("access-log", GATHER, counters, &metrics.access_log_waiting)
}

/// Starts the writer thread of error logs, whose lines are few and written at once.
pub fn of_failures(metrics: &Metrics) -> io::Result<(LineWriter, Writer)> {
    let counters = [&metrics.error_log_dropped, &metrics.error_log_write_errors];
    start("error-log", Duration::ZERO, counters, &metrics.error_log_waiting)
}

fn start(
    name: &'static str,
    gather: Duration,
    counters: [&IntCounterVec; 2],
    waiting: &IntGaugeVec,
) -> io::Result<(LineWriter, Writer)> {
    let (orders, inbox) = bounded(QUEUE_LINES_MAX);
    let [dropped, errors] = counters.map(|counter| counter.with_label_values::<&str>(&[]));
    let waiting = waiting.with_label_values::<&str>(&[]);
    let long = Arc::new(AtomicUsize::new(0));
    let written = Arc::clone(&long);
    let thread = std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || write_lines(&inbox, (name, gather), &errors, &written))?;
    Ok((LineWriter { orders: orders.clone(), long, dropped, waiting }, Writer { orders, thread }))
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
        let bytes = line.text.len();
        if bytes > LINE_BYTES && !self.has_room(bytes) {
            return self.dropped.inc();
        }
        if self.orders.try_send(Order::Line(Arc::clone(sink), line)).is_err() {
            if bytes > LINE_BYTES {
                self.long.fetch_sub(bytes, Ordering::Relaxed);
            }
            self.dropped.inc();
        }
    }

    /// Takes room for a long line, where there is some.
    fn has_room(&self, bytes: usize) -> bool {
        let take = |taken: usize| Some(taken + bytes).filter(|all| *all <= LONG_BYTES_MAX);
        self.long.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    /// How many lines wait, for who looks at the metrics.
    pub fn refresh_metrics(&self) {
        self.waiting.set(i64::try_from(self.orders.len()).unwrap_or(i64::MAX));
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
    long: &AtomicUsize,
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
                    if line.text.len() > LINE_BYTES {
                        long.fetch_sub(line.text.len(), Ordering::Relaxed);
                    }
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
        let (log, _inbox) = nobody_reads(1);
        let sink = Arc::new(Sink::open(&LogTarget::Off).unwrap());
        log.write(&sink, json(&entry("/kept")));
        log.write(&sink, json(&entry("/dropped")));
        log.refresh_metrics();
        assert_eq!((log.dropped.get(), log.waiting.get()), (1, 1));
    }

    #[test]
    fn long_lines_take_no_more_than_their_bytes() {
        let (log, inbox) = nobody_reads(QUEUE_LINES_MAX);
        let sink = Arc::new(Sink::open(&LogTarget::Off).unwrap());
        let long = LONG_BYTES_MAX / 3;
        for _ in 0..5 {
            log.write(&sink, vec![b'x'; long]);
            log.write(&sink, vec![b'x'; LINE_BYTES]);
        }
        assert_eq!((log.dropped.get(), inbox.len()), (2, 8));
        // Those that are written make room.
        let errors = IntCounter::new("errors", "errors").unwrap();
        log.orders.send(Order::Stop).unwrap();
        write_lines(&inbox, ("log", Duration::ZERO), &errors, &log.long);
        for _ in 0..4 {
            log.write(&sink, vec![b'x'; long]);
        }
        assert_eq!((log.dropped.get(), inbox.len()), (3, 3));
    }

    /// The way to a writer that does not write.
    fn nobody_reads(lines_max: usize) -> (LineWriter, Receiver<Order>) {
        let (orders, inbox) = bounded(lines_max);
        let dropped = IntCounter::new("dropped", "dropped").unwrap();
        let waiting = IntGauge::new("waiting", "waiting").unwrap();
        (LineWriter { orders, long: Arc::default(), dropped, waiting }, inbox)
    }
}
