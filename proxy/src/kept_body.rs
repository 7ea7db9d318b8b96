//! A request's body that is taken in whole before anybody is asked: in memory, or in a file where it is larger or where
//! its route wants all of them there. Whoever passes it on reads it from here.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::EXPECT;
use pingora::proxy::Session;
use prometheus::IntGauge;
use proxy_config::detours::To;
use proxy_config::kept_body::Told;

use crate::buffer::intake::arriving;
use crate::buffer::pass::{declared, expect_no_more};
use crate::detour::Again;
use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::kept_folder::KeptFile;
use crate::lane::memory::Reserved;
use crate::state::State;

/// Largest body that is sent again: what pingora remembers of one.
const AGAIN_MAX: u64 = 64 * 1024;

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
            let mut kept = KeptFile::create(&state.kept_folders, rules, &state.metrics).await?;
            kept.write(0, bytes.split().freeze()).await?;
            file = Some(kept);
        }
        if let Some(kept) = &mut file {
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
