//! A request's body that is taken in whole before anybody is asked: in memory, or in a file where it is larger or where
//! its route wants all of them there. Whoever passes it on reads it from here.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use http::header::EXPECT;
use pingora::proxy::Session;
use prometheus::IntGauge;
use proxy_config::detours::To;
use proxy_config::kept_body::{KeptBody as Rules, Told};
use tokio::task::spawn_blocking;

use crate::buffer::intake::arriving;
use crate::buffer::pass::{declared, expect_no_more};
use crate::detour::Again;
use crate::exchange::Exchange;
use crate::generation::State;
use crate::lane::memory::Reserved;
use crate::respond::Failure;

/// Read from a file at once.
const PART_BYTES: usize = 32 * 1024;
/// Largest body that is sent again: what pingora remembers of one.
const AGAIN_MAX: u64 = 64 * 1024;
/// Numbers that are tried for the name of a file: others may lie there.
const NAMES_MAX: u64 = 10_000;

/// What a request has of it; on most routes, nothing.
#[derive(Default)]
pub struct KeptBody(Option<Box<Whole>>);

struct Whole {
    told: Arc<Told>,
    bytes: Bytes,
    file: Option<KeptFile>,
    length: u64,
    /// It is larger than what is kept, and no file has it: the rest comes from the client.
    goes_on: bool,
    /// So much of it was handed on.
    handed: u64,
    _counted: Counted,
    _room: Option<Reserved>,
}

impl Whole {
    fn in_memory(state: &State, bytes: Bytes, goes_on: bool, room: Reserved) -> Whole {
        let told: &[u8] = if goes_on { &[] } else { &bytes };
        let text = String::from_utf8_lossy(told).into_owned();
        let length = bytes.len() as u64;
        Whole {
            told: Arc::new(Told { text, file: String::new() }),
            bytes,
            file: None,
            length,
            goes_on,
            handed: 0,
            _counted: Counted::new(state, "memory", length),
            _room: Some(room),
        }
    }

    fn in_file(state: &State, file: KeptFile, length: u64) -> Whole {
        Whole {
            told: Arc::new(Told { text: String::new(), file: file.path.display().to_string() }),
            bytes: Bytes::new(),
            file: Some(file),
            length,
            goes_on: false,
            handed: 0,
            _counted: Counted::new(state, "file", length),
            _room: None,
        }
    }
}

/// A file that goes with its request, unless it is to stay.
struct KeptFile {
    path: PathBuf,
    file: Arc<File>,
    stays: bool,
}

impl Drop for KeptFile {
    fn drop(&mut self) {
        if !self.stays {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

struct Counted(IntGauge, i64);

impl Counted {
    fn new(state: &State, at: &str, length: u64) -> Counted {
        let bytes = i64::try_from(length).unwrap_or(i64::MAX);
        let gauge = state.metrics.kept_bodies.with_label_values(&[at]);
        gauge.add(bytes);
        Counted(gauge, bytes)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.sub(self.1);
    }
}

impl KeptBody {
    pub fn is_there(&self) -> bool {
        self.0.is_some()
    }

    pub fn told(&self) -> Option<&Arc<Told>> {
        self.0.as_ref().map(|whole| &whole.told)
    }

    /// Whether nothing more of it comes.
    pub fn is_whole(&self) -> bool {
        self.0.as_ref().is_some_and(|whole| !whole.goes_on)
    }

    /// How long it is, where all of it is here.
    pub fn length(&self) -> Option<u64> {
        self.0.as_ref().filter(|whole| !whole.goes_on).map(|whole| whole.length)
    }

    /// All of it, where it lies in memory.
    pub fn bytes(&self) -> Option<Bytes> {
        let whole = self.0.as_ref().filter(|whole| !whole.goes_on && whole.file.is_none())?;
        Some(whole.bytes.clone())
    }

    /// The next part; `None` at its end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let Some(whole) = &mut self.0 else { return Ok(None) };
        let part = match &whole.file {
            None if whole.handed == 0 => whole.bytes.clone(),
            None => Bytes::new(),
            Some(kept) => kept.read(whole.handed).await?,
        };
        whole.handed += part.len() as u64;
        Ok(Some(part).filter(|part| !part.is_empty()))
    }
}

impl KeptFile {
    /// A file that was not there, with a number for its name.
    async fn create(rules: &Rules) -> Result<KeptFile, Failure> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let folder = rules.folder.clone().unwrap_or_default();
        let made = spawn_blocking(move || {
            std::fs::create_dir_all(&folder)?;
            let mut options = std::fs::OpenOptions::new();
            options.read(true).write(true).create_new(true).mode(0o600);
            for _ in 0..NAMES_MAX {
                let number = NUMBER.fetch_add(1, Ordering::Relaxed) + 1;
                let path = folder.join(format!("{number:010}"));
                match options.open(&path) {
                    Ok(file) => return Ok((path, Arc::new(file))),
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    Err(error) => return Err(error),
                }
            }
            Err(io::Error::from(io::ErrorKind::AlreadyExists))
        });
        let made = made.await.map_err(|_| Failure::Internal)?;
        let folder = rules.folder.as_deref().unwrap_or(Path::new(""));
        let (path, file) = made.map_err(|error| unusable(folder, &error))?;
        Ok(KeptFile { path, file, stays: rules.files_stay })
    }

    async fn write(&self, at: u64, bytes: Bytes) -> Result<(), Failure> {
        let file = Arc::clone(&self.file);
        let written = spawn_blocking(move || file.write_all_at(&bytes, at)).await;
        let written = written.map_err(|_| Failure::Internal)?;
        written.map_err(|error| unusable(&self.path, &error))
    }

    /// What lies there; nothing at its end.
    async fn read(&self, at: u64) -> Result<Bytes, Failure> {
        let file = Arc::clone(&self.file);
        let read = spawn_blocking(move || {
            let mut part = vec![0; PART_BYTES];
            let length = file.read_at(&mut part, at)?;
            part.truncate(length);
            Ok(Bytes::from(part))
        });
        let read = read.await.map_err(|_| Failure::Internal)?;
        read.map_err(|error| unusable(&self.path, &error))
    }
}

fn unusable(path: &Path, error: &io::Error) -> Failure {
    tracing::warn!(path = %path.display(), %error, "a request's body cannot be kept there");
    Failure::Internal
}

/// Has a body remembered as it is read, as far as pingora does that, where its route may name another that is sent it again.
pub fn mind(session: &mut Session, exchange: &Exchange) {
    let mut pages = exchange.ruled.pages.iter();
    let obeys = exchange.upstream.as_ref().is_some_and(|upstream| upstream.x_accel);
    let may_name = obeys || pages.any(|page| matches!(page, To::Route(_)));
    if may_name && !session.is_body_empty() {
        session.downstream_session.enable_retry_buffering();
    }
}

/// Sees to it that all of the client's body can be sent again, to a route that is named in place of one that failed: what was read
/// is still there, and the rest is small. A large one of which nothing was read may still flow.
pub async fn again(state: &State, session: &mut Session, exchange: &mut Exchange) -> Again {
    if session.is_body_empty() {
        return Again::Empty;
    }
    if exchange.trail.without_body {
        return Again::Lost;
    }
    if exchange.kept_body.is_there() {
        return if exchange.kept_body.is_whole() { Again::There } else { Again::Lost };
    }
    let is_untouched = session.downstream_session.body_bytes_read() == 0;
    if declared(session.req_header()).is_some_and(|length| length > AGAIN_MAX) {
        let flows = is_untouched && !exchange.trail.is_let_go;
        return if flows { Again::There } else { Again::Lost };
    }
    match take_in_rest(state, session, exchange, is_untouched).await {
        Ok(Some(whole)) => {
            exchange.kept_body.0 = Some(Box::new(whole));
            Again::There
        }
        // Who went away is not answered, whatever is asked.
        Ok(None) | Err(_) => Again::Lost,
    }
}

/// What pingora has of the body, and what is still to come; nothing where something of it is lost.
async fn take_in_rest(
    state: &State,
    session: &mut Session,
    exchange: &mut Exchange,
    is_untouched: bool,
) -> Result<Option<Whole>, Failure> {
    let Some(route) = exchange.route.clone() else { return Ok(None) };
    let Some(room) = route.lane.hold(AGAIN_MAX) else { return Ok(None) };
    if is_untouched {
        session.downstream_session.enable_retry_buffering();
        expect_no_more(session).await?;
    }
    session.req_header_mut().remove_header(&EXPECT);
    while !session.is_body_done() && !session.downstream_session.retry_buffer_truncated() {
        let read = session.downstream_session.read_body_or_idle(false).await;
        if read.map_err(|error| Failure::of(&error.into_down()))?.is_none() {
            break;
        }
    }
    let bytes = session.downstream_session.get_retry_buffer().unwrap_or_default();
    let length = bytes.len() as u64;
    if length != session.downstream_session.body_bytes_read() as u64 {
        return Ok(None);
    }
    route.gate.check_body(length)?;
    Ok(Some(Whole::in_memory(state, bytes, false, room)))
}

/// Takes the client's body in, where the route keeps it; on a detour, what was taken in is handed on again.
pub async fn take_in(
    state: &State,
    session: &mut Session,
    exchange: &mut Exchange,
) -> Result<(), Failure> {
    if let Some(whole) = &mut exchange.kept_body.0 {
        if !whole.goes_on {
            whole.handed = 0;
        }
        return Ok(());
    }
    let Some(route) = exchange.route.clone() else { return Ok(()) };
    let generation = Arc::clone(&exchange.generation);
    let rules = generation.config.routes.get(route.index);
    let Some(rules) = rules.and_then(|route| route.kept_body.as_ref()) else { return Ok(()) };
    if exchange.trail.without_body || exchange.trail.is_inside || session.is_body_empty() {
        return Ok(());
    }
    expect_no_more(session).await?;
    session.req_header_mut().remove_header(&EXPECT);
    let most = usize::try_from(rules.memory_max.as_bytes()).unwrap_or(usize::MAX);
    let room = route.lane.hold(rules.memory_max.as_bytes()).ok_or(Failure::LaneFull)?;
    let (mut bytes, mut file, mut length, mut goes_on) = (BytesMut::new(), None, 0, false);
    while let Some(part) = arriving(session, exchange).await? {
        let at = length;
        length += part.len() as u64;
        route.gate.check_body(length)?;
        let fits = !rules.all_in_files && bytes.len() + part.len() <= most;
        if file.is_none() && (fits || rules.folder.is_none()) {
            bytes.extend_from_slice(&part);
            goes_on = !fits;
            if goes_on {
                break;
            }
            continue;
        }
        if file.is_none() {
            let kept = KeptFile::create(rules).await?;
            kept.write(0, bytes.split().freeze()).await?;
            file = Some(kept);
        }
        if let Some(kept) = &file {
            kept.write(at, part).await?;
        }
    }
    let whole = match file {
        Some(file) => Whole::in_file(state, file, length),
        None => Whole::in_memory(state, bytes.freeze(), goes_on, room),
    };
    exchange.ruled.to_client.edits.body = Some(Arc::clone(&whole.told));
    exchange.kept_body.0 = Some(Box::new(whole));
    Ok(())
}
