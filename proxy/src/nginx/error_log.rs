//! nginx's error log: `2026/11/27 08:44:15 [notice] 123#124: text`, one line an event, written at
//! once, to every target whose level takes it.

use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use forebay_nginx::include::reason;
use proxy_config::access_log::LogTarget;
pub use proxy_config::severity::Severity as Level;
use proxy_config::syslog::SCHEME;
use proxy_config::units::UnitError;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use crate::syslog::Sender;

/// A failure that has been said, on standard error and in the error log.
pub struct Told;

/// Nothing of the proxy is graver than an error: what is, ends the process and is said by it.
fn level_of(level: tracing::Level) -> Level {
    match level {
        tracing::Level::ERROR => Level::Error,
        tracing::Level::WARN => Level::Warn,
        tracing::Level::INFO => Level::Notice,
        _ => Level::Debug,
    }
}

/// One target of the log.
pub struct Sink {
    level: Level,
    to: To,
}

enum To {
    Stderr,
    File(PathBuf, File),
    Syslog(LogTarget, Sender),
}

impl Sink {
    /// `target` is a path, `stderr` or what syslog is named by; the error names it as nginx does.
    pub fn open(target: &str, level: Level) -> Result<Sink, String> {
        if target == "stderr" {
            return Ok(Sink { level, to: To::Stderr });
        }
        if target.starts_with(SCHEME) {
            let target: LogTarget = target.parse().map_err(|fault: UnitError| fault.message)?;
            return Sink::open_syslog(&target, level);
        }
        let path = PathBuf::from(target);
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = file.map_err(|error| open_failed(target, &error))?;
        Ok(Sink { level, to: To::File(path, file) })
    }

    fn open_syslog(target: &LogTarget, level: Level) -> Result<Sink, String> {
        let LogTarget::Syslog(of) = target else { return Err(format!("{target} is no syslog")) };
        let sender = Sender::open(of).map_err(|error| format!("{target}: {}", reason(&error)))?;
        Ok(Sink { level, to: To::Syslog(target.clone(), sender) })
    }

    fn write(&self, line: &[u8], level: Level) {
        // There is no place left to say that this fails.
        let _ = match &self.to {
            To::File(_, file) => (&mut &*file).write_all(line),
            To::Stderr => io::stderr().write_all(line),
            To::Syslog(_, sender) => sender.send(line, Some(level)),
        };
    }

    fn file(&self) -> Option<&File> {
        match &self.to {
            To::File(_, file) => Some(file),
            To::Stderr | To::Syslog(..) => None,
        }
    }
}

/// `open() "a.log" failed (2: No such file or directory)`
pub fn open_failed(path: &str, error: &io::Error) -> String {
    format!("open() \"{path}\" failed ({})", reason(error))
}

/// Says what ends the process, or keeps it from starting: in the log, and on standard error.
pub fn tell(sinks: &[Sink], level: Level, text: &str) {
    let line = line(level, None, text);
    let is_stderr = |sink: &Sink| matches!(sink.to, To::Stderr);
    for sink in sinks.iter().filter(|sink| sink.level <= level && !is_stderr(sink)) {
        sink.write(line.as_bytes(), level);
    }
    eprintln!("nginx: [{}] {text}", level.name());
}

fn line(level: Level, connection: Option<u64>, text: &str) -> String {
    let time = jiff::Zoned::now().strftime("%Y/%m/%d %H:%M:%S").to_string();
    let (process, thread) = (std::process::id(), rustix::thread::gettid().as_raw_nonzero());
    let mut line = format!("{time} [{}] {process}#{thread}: ", level.name());
    if let Some(connection) = connection {
        // Writing to a String cannot fail.
        let _ = write!(line, "*{connection} ");
    }
    // What a request brings along must not begin a line of its own.
    line.extend(text.chars().map(|c| if c.is_control() { ' ' } else { c }));
    line.push('\n');
    line
}

/// The targets in force. Clones write to the same.
#[derive(Clone)]
pub struct ErrorLog(Arc<ArcSwap<Vec<Sink>>>);

impl ErrorLog {
    /// Sends what the proxy traces there from now on.
    pub fn start(sinks: Vec<Sink>) -> ErrorLog {
        use tracing_subscriber::layer::SubscriberExt as _;
        use tracing_subscriber::util::SubscriberInitExt as _;
        let log = ErrorLog(Arc::new(ArcSwap::from_pointee(sinks)));
        tracing_subscriber::registry().with(log.clone()).init();
        log
    }

    /// Goes on with other targets.
    pub fn retarget(&self, sinks: Vec<Sink>) {
        self.0.store(Arc::new(sinks));
        tracing::callsite::rebuild_interest_cache();
    }

    /// Opens the files again, after they were rotated. One that cannot be opened stays as it was,
    /// and the new one says so.
    pub fn reopen(&self) {
        let now = self.0.load();
        let reopened: Result<Vec<Sink>, String> = now
            .iter()
            .map(|sink| match &sink.to {
                To::File(path, _) => Sink::open(&path.to_string_lossy(), sink.level),
                To::Stderr => Sink::open("stderr", sink.level),
                To::Syslog(target, _) => Sink::open_syslog(target, sink.level),
            })
            .collect();
        match reopened {
            Ok(sinks) => self.0.store(Arc::new(sinks)),
            Err(fault) => tell(&now, Level::Emerg, &fault),
        }
    }

    /// As [`tell`], to the targets in force.
    pub fn tell(&self, level: Level, text: &str) {
        tell(&self.0.load(), level, text);
    }

    /// Hands the first file on, for standard error to become.
    pub fn take_stderr<T>(&self, with: impl FnOnce(Option<&File>) -> T) -> T {
        with(self.0.load().iter().find_map(Sink::file))
    }

    fn lowest(&self) -> Level {
        self.0.load().iter().map(|sink| sink.level).min().unwrap_or(Level::Emerg)
    }

    /// Below warnings, libraries say what concerns only those who work on them.
    fn takes(&self, metadata: &Metadata<'_>) -> bool {
        let level = level_of(*metadata.level());
        let own = metadata.target().starts_with("forebay_proxy");
        level >= self.lowest() && (own || level >= Level::Warn)
    }
}

impl<S: Subscriber> Layer<S> for ErrorLog {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.takes(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.takes(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match self.lowest() {
            Level::Debug => LevelFilter::DEBUG,
            Level::Info | Level::Notice => LevelFilter::INFO,
            Level::Warn => LevelFilter::WARN,
            _ => LevelFilter::ERROR,
        })
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = level_of(*event.metadata().level());
        let mut said = Said::default();
        event.record(&mut said);
        let line = line(level, said.connection, &said.text());
        for sink in self.0.load().iter().filter(|sink| sink.level <= level) {
            sink.write(line.as_bytes(), level);
        }
    }
}

/// What an event says: its message, and behind it its fields as `, name: value`.
#[derive(Default)]
struct Said {
    message: String,
    fields: String,
    connection: Option<u64>,
}

impl Said {
    fn text(self) -> String {
        if self.message.is_empty() {
            return self.fields.trim_start_matches(", ").to_owned();
        }
        self.message + &self.fields
    }
}

impl Visit for Said {
    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "connection" => self.connection = Some(value),
            _ => self.record_debug(field, &value),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            // Where a record of the `log` crate came from.
            name if name.starts_with("log.") => Ok(()),
            name => write!(self.fields, ", {name}: {value:?}"),
        };
    }
}

/// The log named on the command line, or the default: where messages go before nginx.conf names
/// others. A log that cannot be opened is said and done without.
pub fn first_log(target: &str) -> Vec<Sink> {
    match Sink::open(target, Level::Notice) {
        Ok(sink) => vec![sink],
        Err(error) => {
            eprintln!("nginx: [alert] could not open error log file: {error}");
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_nginxs_form() {
        let line = line(Level::Warn, Some(7), "a\nb");
        let form = r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[warn\] \d+#\d+: \*7 a b\n$";
        assert!(is_match(form, &line), "{line}");
    }

    #[test]
    fn each_target_takes_what_is_grave_enough() {
        use tracing_subscriber::layer::SubscriberExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let open = |name: &str, level| Sink::open(&path(name), level).unwrap();
        let sinks = vec![open("all", Level::Debug), open("grave", Level::Error)];
        let log = ErrorLog(Arc::new(ArcSwap::from_pointee(sinks)));
        let registry = tracing_subscriber::registry().with(log.clone());
        tracing::subscriber::with_default(registry, || {
            tracing::error!(upstream = "a:1", "no answer");
            tracing::info!("said");
            std::fs::rename(path("grave"), path("rotated")).unwrap();
            log.reopen();
            tracing::error!(connection = 9_u64, "again");
        });
        let read = |name: &str| std::fs::read_to_string(path(name)).unwrap();
        assert!(is_match(
            r"\[error\].*: no answer, upstream: a:1\n.*\[notice\].*: said\n",
            &read("all")
        ));
        assert_eq!(read("rotated").lines().count(), 1);
        assert!(is_match(r"#\d+: \*9 again\n$", &read("grave")));
    }

    #[test]
    fn errors_of_the_system_are_numbered() {
        let fault = Sink::open("/nowhere/at/all.log", Level::Error).err().unwrap();
        assert_eq!(fault, "open() \"/nowhere/at/all.log\" failed (2: No such file or directory)");
    }

    fn is_match(form: &str, text: &str) -> bool {
        form.parse::<proxy_config::pattern::Regex>().unwrap().compile().unwrap().is_match(text)
    }
}
