//! Requests that the proxy asks itself, as parts of a client's: what a page includes. They take the whole way of a
//! request, by the same engine as [`crate::detour`]s, gate and proof of their own route among it. What was decided for
//! the client's request holds for them: its address, its limits and its place in a lane.

pub mod bounds;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, EXPECT, RANGE, TRANSFER_ENCODING, UPGRADE};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::HttpTask;
use pingora::proxy::Session;
use pingora::proxy::subrequest::{BodyMode, Ctx, CtxBuilder};
use proxy_config::detours::To;
use proxy_config::program::Walk;
use proxy_config::proved::Proved;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::cache::conditional;
use crate::connection::Caller;
use crate::detour::trail::{Detour, Why};
use crate::edge::Edge;
use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::generation::Generation;
use crate::hop;
use crate::inside::bounds::Bounds;
use crate::rules;

/// What a request inside has of the one it is part of.
#[derive(Clone)]
pub struct Origin {
    generation: Arc<Generation>,
    request_id: String,
    client: Option<IpAddr>,
    peer: Option<SocketAddr>,
    local: Option<SocketAddr>,
    tls: Option<String>,
    caller: Caller,
    proved: Proved,
    walk: Walk,
    /// What the client asked for.
    asked: (Method, String),
    /// The head to ask with.
    head: RequestHeader,
    to: To,
    depth: u32,
    bounds: Option<Arc<Bounds>>,
    /// The page itself, whose parts are put together outside.
    is_raw: bool,
}

/// A request inside, under way.
pub struct Inside {
    /// A task of its own: parts of parts would pile up on one stack.
    _run: Run,
    answers: mpsc::Receiver<HttpTask>,
    /// The request has no body; while this is there nobody takes it for one that was broken off.
    _body: mpsc::Sender<HttpTask>,
    ended: bool,
}

/// Ends with whoever asked.
struct Run(JoinHandle<()>);

impl Drop for Run {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What is asked for inside.
pub enum Ask {
    /// The page of the request itself, as it was asked for, its parts left to whoever asks.
    Itself,
    Part(To),
}

/// Begins a request inside.
pub fn begin(
    edge: &Edge,
    session: &Session,
    exchange: &Exchange,
    ask: Ask,
) -> Result<Inside, Failure> {
    let spawner = session.subrequest_spawner.as_ref().ok_or(Failure::Internal)?;
    let mut head = session.req_header().clone();
    let own = || String::from_utf8_lossy(head.raw_path()).into_owned();
    let asked =
        exchange.trail.asked.clone().unwrap_or_else(|| {
            (head.method.clone(), exchange.ruled.asked.clone().unwrap_or_else(own))
        });
    let is_raw = matches!(ask, Ask::Itself);
    let (to, walk) = match ask {
        Ask::Part(to) => {
            head.set_method(Method::GET);
            (to, exchange.ruled.walk.clone())
        }
        // Steps led here from where it was asked for, and do so again.
        Ask::Itself => match &exchange.trail.entrance {
            Some((path, route)) => {
                head.set_raw_path(path.as_bytes()).map_err(|_| Failure::Internal)?;
                let to = route.clone().map_or_else(|| To::Path(path.clone()), To::Route);
                (to, exchange.ruled.walk.clone())
            }
            None => (To::Path(rules::asked_for(&head, exchange).into_owned()), Walk::default()),
        },
    };
    // What a part is made of is read here, whole and plain.
    let framing = [ACCEPT_ENCODING, CONTENT_LENGTH, EXPECT, RANGE, TRANSFER_ENCODING, UPGRADE];
    for name in framing.into_iter().chain(conditional::LEFT_OUT) {
        head.remove_header(&name);
    }
    let origin = Origin {
        generation: Arc::clone(&exchange.generation),
        request_id: exchange.request_id.clone(),
        client: exchange.client,
        peer: exchange.peer,
        local: exchange.local,
        tls: exchange.tls.clone(),
        caller: exchange.caller.clone(),
        proved: exchange.proved.clone(),
        walk,
        asked,
        head,
        to,
        depth: exchange.trail.depth + u32::from(!is_raw),
        bounds: exchange.trail.bounds.clone(),
        is_raw,
    };
    let about: Ctx =
        CtxBuilder::new().body_mode(BodyMode::NoBody).user_ctx(Box::new(origin)).build();
    let (prepared, handle) = spawner.create_subrequest(&session.downstream_session, about);
    let runtimes = edge.state.runtimes.clone();
    Ok(Inside {
        _run: Run(tokio::spawn(async move { hop::drive(&runtimes, None, prepared.run()).await })),
        answers: handle.rx,
        _body: handle.tx,
        ended: false,
    })
}

/// The request that this one is part of, where it is one inside.
pub fn origin(session: &Session) -> Option<Origin> {
    let about = session.subrequest_ctx.as_ref()?;
    about.user_ctx()?.downcast_ref::<Origin>().cloned()
}

impl Origin {
    /// Makes an exchange that of a request inside; says where it goes.
    pub fn adopt(self, session: &mut Session, exchange: &mut Exchange) -> Detour {
        *session.req_header_mut() = self.head;
        exchange.generation = self.generation;
        exchange.request_id = self.request_id;
        (exchange.client, exchange.peer, exchange.local) = (self.client, self.peer, self.local);
        (exchange.tls, exchange.caller, exchange.proved) = (self.tls, self.caller, self.proved);
        exchange.ruled.walk = self.walk;
        let trail = &mut exchange.trail;
        trail.asked = Some(self.asked);
        (trail.depth, trail.is_raw, trail.is_inside) = (self.depth, self.is_raw, true);
        (trail.bounds, trail.limited) = (self.bounds, true);
        Detour { to: self.to.into(), why: Why::Inside }
    }
}

impl Inside {
    /// The head of the answer.
    pub async fn head(&mut self) -> Result<ResponseHeader, Failure> {
        loop {
            match self.answers.recv().await {
                Some(HttpTask::Header(head, _)) if head.status.is_informational() => {}
                Some(HttpTask::Header(head, ends)) => {
                    self.ended = ends;
                    return Ok(*head);
                }
                _ => return Err(Failure::UpstreamBroken),
            }
        }
    }

    /// The next part of its body; nothing when it is whole.
    pub async fn part(&mut self) -> Result<Option<Bytes>, Failure> {
        while !self.ended {
            match self.answers.recv().await {
                Some(HttpTask::Body(part, ends)) => {
                    self.ended = ends;
                    if let Some(part) = part.filter(|part| !part.is_empty()) {
                        return Ok(Some(part));
                    }
                }
                Some(HttpTask::Done | HttpTask::Trailer(_)) => self.ended = true,
                Some(HttpTask::Header(..)) => {}
                Some(HttpTask::Failed(_) | HttpTask::UpgradedBody(..)) | None => {
                    return Err(Failure::UpstreamBroken);
                }
            }
        }
        // What it has still to do, such as giving back a connection, is done.
        while self.answers.recv().await.is_some() {}
        Ok(None)
    }
}
