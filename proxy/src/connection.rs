//! One client connection: TLS, HTTP/1 or HTTP/2, counted from accept to close.
//!
//! It begins on the latency runtime; each request may [`hop`] to the bulk runtime and back. The
//! [front door](crate::front) stands before HTTP/1, and between it and pingora heads are [vetted](crate::vetting).

use std::future::{Future, ready};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::BytesMut;
use pingora::apps::{HttpServerApp, ReusedHttpStream, ServerApp};
use pingora::protocols::http::ServerSession;
use pingora::protocols::l4::stream::Stream as TcpStream;
use pingora::protocols::tls::{SslDigest, TlsRef};
use pingora::protocols::{ALPN, SocketDigest, Ssl, Stream};
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use prometheus::{IntCounter, IntGauge};
use proxy_config::facts::Tls;
use proxy_config::listener::{Listener, ListenerTimeouts};
use proxy_config::proved::Certificate;
use tokio::sync::Notify;

use crate::acme::challenges;
use crate::drain::Drain;
use crate::edge::Edge;
use crate::failure::Failure;
use crate::frames;
use crate::front::{Door, Guest, Passed};
use crate::hop::{self, Company, Work};
use crate::introduction::introduce;
use crate::lane::charge::Charged;
use crate::prompt::{Patience, Prompt, ahead};
use crate::proxy_protocol;
use crate::runtimes::Handles;
use crate::state::State;
use crate::tls::asking::learning;
use crate::tls::{self, Live};
use crate::tunnel::departure;
use crate::vetting::{self, Vetted};

/// What an HTTP/2 client with prior knowledge sends first (RFC 9113 section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Connections of the process so far, the next one's number.
static CONNECTIONS: AtomicU64 = AtomicU64::new(1);

/// What is known of a connection ahead of its requests.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// The certificate that the client showed.
    pub certificate: Option<Arc<Certificate>>,
    /// What the TLS handshake has agreed on.
    pub tls: Option<Arc<Tls>>,
    /// Whom a PROXY protocol header names, believed or not.
    pub introduced: Option<proxy_protocol::Ends>,
    /// Number of the connection, counted by the process.
    pub number: u64,
    /// Requests it has carried, this one included.
    pub requests: u64,
    /// The connection carries no request after this one.
    pub last: bool,
    /// What a request becomes that is none any more.
    pub departing: departure::Exit,
    /// The lanes the connection counts in.
    pub charged: Charged,
    /// What the request is refused for before anything is known of it.
    pub unfit: Option<Arc<Failure>>,
}

/// The two ends of a connection and what lies between.
#[derive(Clone, Debug, Default)]
pub struct Ends {
    pub peer: Option<SocketAddr>,
    pub local: Option<SocketAddr>,
    /// The TLS version as it is logged.
    pub tls: Option<String>,
}

impl Ends {
    pub fn of(socket: Option<&SocketDigest>, tls: Option<&SslDigest>) -> Ends {
        let inet = |address: &pingora::protocols::l4::socket::SocketAddr| {
            let address = address.as_inet()?;
            Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
        };
        Ends {
            peer: socket.and_then(SocketDigest::peer_addr).and_then(inet),
            local: socket.and_then(SocketDigest::local_addr).and_then(inet),
            tls: tls.map(|tls| tls.version.replace('_', ".")),
        }
    }
}

tokio::task_local! {
    static CALLER: Caller;
}

/// Whose request is being served; must be asked from within one.
pub fn caller() -> Caller {
    CALLER.try_with(Caller::clone).unwrap_or_default()
}

/// What a listener does with each connection.
pub struct Connections {
    name: String,
    /// As it was when it was opened: it may have been taken out of the document since.
    listener: Listener,
    state: Arc<State>,
    requests: Requests,
    acceptor: Option<Live>,
    http2: bool,
    drain: Drain,
    /// True from when on connections without a request are closed: later than nobody is accepted any more, so that
    /// who was accepted last is still heard.
    closing: ShutdownWatch,
    timeouts: ListenerTimeouts,
    patience: Patience,
    terms: frames::Terms,
    host_of_target: bool,
    connections_max: i64,
    open: IntGauge,
    accepted: IntCounter,
    refused: IntCounter,
    handshake_failures: IntCounter,
    introductions_refused: IntCounter,
    /// Nothing on HTTP/1 is answered ahead of pingora without it.
    door: Option<Door>,
    /// Told to connections that wait for a request.
    leaving: Notify,
}

impl Connections {
    pub fn new(
        name: &str,
        listener: &Listener,
        requests: Requests,
        acceptor: Option<Live>,
        (closing, door): (ShutdownWatch, Option<Door>),
        state: &Arc<State>,
    ) -> Self {
        let metrics = &state.metrics;
        Self {
            name: name.to_owned(),
            listener: listener.clone(),
            state: Arc::clone(state),
            requests,
            acceptor,
            http2: listener.http2,
            drain: state.drain.clone(),
            closing,
            patience: Patience::new(name, &listener.timeouts, metrics),
            terms: frames::Terms::new(name, &listener.timeouts, metrics),
            host_of_target: listener.host_of_target,
            timeouts: listener.timeouts.clone(),
            connections_max: i64::from(listener.connections_max),
            open: metrics.connections.with_label_values(&[name]),
            accepted: metrics.connections_total.with_label_values(&[name]),
            refused: metrics.connections_refused.with_label_values(&[name]),
            handshake_failures: metrics.tls_handshake_failures.with_label_values(&[name]),
            introductions_refused: metrics.introductions_refused.with_label_values(&[name]),
            door,
            leaving: Notify::new(),
        }
    }

    /// Whether the listener expects a PROXY protocol header.
    fn is_introduced(&self) -> bool {
        let generation = self.state.current();
        let listener = generation.config.listeners.get(&self.name);
        listener.is_some_and(|listener| listener.proxy_protocol.is_some())
    }

    /// The stream with its PROXY protocol header read.
    async fn introduced(&self, stream: Stream) -> Option<(Stream, Option<proxy_protocol::Ends>)> {
        let generation = self.state.current();
        let listener = generation.config.listeners.get(&self.name)?;
        let mut stream = stream.into_any().downcast::<TcpStream>().ok()?;
        let patience = self.timeouts.handshake.as_std();
        match tokio::time::timeout(patience, introduce(&mut stream, listener)).await {
            Ok(Ok(introduced)) => Some((stream, introduced)),
            failed => {
                self.introductions_refused.inc();
                match failed {
                    Ok(Err(refusal)) => tracing::debug!(%refusal, "a connection was refused"),
                    _ => tracing::debug!("the PROXY protocol header took too long"),
                }
                None
            }
        }
    }

    /// The stream requests are read from, and who is at its other end; `None` when the client did not
    /// get that far.
    async fn open(&self, stream: Stream, acceptor: &Live) -> Option<(Stream, Caller)> {
        let stream = stream.into_any().downcast::<TcpStream>().ok()?;
        let spoken = acceptor.load_full();
        let handshake = spoken.acceptor.tls_handshake(*stream);
        let shaken = tokio::time::timeout(self.timeouts.handshake.as_std(), handshake);
        let (shaken, learned) = Box::pin(learning(shaken)).await;
        match shaken {
            // An authority has seen what it came for.
            Ok(Ok(stream)) if came_to_look(&stream) => None,
            Ok(Ok(stream)) => {
                let about = stream.get_ssl();
                let shown = about.and_then(TlsRef::peer_certificate_der);
                let certificate = shown.and_then(|der| tls::shown(der, &learned.verified));
                let text = |text: Option<&str>| text.unwrap_or_default().replace('_', ".");
                let agreed = Tls {
                    server_name: about.and_then(TlsRef::server_name).unwrap_or_default().to_owned(),
                    version: text(about.and_then(TlsRef::version)),
                    cipher: about
                        .and_then(TlsRef::current_cipher_name)
                        .unwrap_or_default()
                        .replacen("TLS13_", "TLS_", 1),
                    reused: learned.resumed,
                };
                let caller = Caller {
                    certificate: certificate.map(Arc::new),
                    tls: Some(Arc::new(agreed)),
                    ..Caller::default()
                };
                Some((Box::new(stream), caller))
            }
            failed => {
                self.handshake_failures.inc();
                match failed {
                    Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
                    _ => tracing::debug!("TLS handshake took too long"),
                }
                None
            }
        }
    }

    /// From the first byte to the last; `None` when the client did not get as far as a request.
    async fn serve(&self, mut stream: Stream) -> Option<()> {
        let mut introduced = None;
        if self.is_introduced() {
            (stream, introduced) = Box::pin(self.introduced(stream)).await?;
        }
        let mut caller = Caller::default();
        if let Some(acceptor) = &self.acceptor {
            (stream, caller) = Box::pin(self.open(stream, acceptor)).await?;
        }
        caller.introduced = introduced;
        caller.number = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
        if Box::pin(self.speaks_http2(&mut stream)).await? {
            Box::pin(self.http2(stream, caller, &self.closing)).await;
        } else {
            self.http1(stream, caller, &self.closing).await;
        }
        Some(())
    }

    async fn speaks_http2(&self, stream: &mut Stream) -> Option<bool> {
        if self.acceptor.is_some() {
            return Some(matches!(stream.selected_alpn_proto(), Some(ALPN::H2)));
        }
        if !self.http2 {
            return Some(false);
        }
        tokio::time::timeout(self.timeouts.head.as_std(), starts_with_preface(stream))
            .await
            .ok()?
            .ok()
    }

    /// Requests of an HTTP/1 connection, one after the other: what the door does not answer, pingora
    /// does.
    async fn http1(&self, stream: Stream, caller: Caller, shutdown: &ShutdownWatch) {
        let stream = Prompt::http1(stream, self.patience.clone(), self.host_of_target);
        let requests_max = u64::from(self.keep_alive_requests_max());
        let mut requests = Arc::new(Requests { caller: caller.clone(), ..self.requests.clone() });
        let mut stream: Stream = Box::new(stream);
        let departing = caller.departing.clone();
        let mut guest = Guest::new(&stream, caller);
        let mut leaving = pin!(self.leaving.notified());
        leaving.as_mut().enable();
        loop {
            if let Some(door) = &self.door {
                match door.receive(stream, &mut guest, requests_max, &mut leaving).await {
                    Passed::Over => return,
                    Passed::On(left) => stream = left,
                }
            }
            let vetted = self.vet(&mut stream, &mut guest, leaving.as_mut(), shutdown).await;
            let Some(Vetted { request, behind, unfit }) = vetted else { return };
            let last = unfit.is_some() || guest.served + 1 >= requests_max;
            let number = guest.served + 1;
            let caller = Caller { last, requests: number, unfit, ..requests.caller.clone() };
            requests = Arc::new(Requests { caller, ..Requests::clone(&requests) });
            ahead::keep(&stream, behind);
            let session = self.session(stream, request, shutdown);
            let served = requests.process_new_http(session, shutdown).await;
            let Some(reused) = served else {
                if let Some(departure) = departing.left() {
                    Box::pin(hop::drive(&self.requests.runtimes, None, departure.run())).await;
                }
                return;
            };
            guest.served += 1;
            // What pingora keeps for its next session is what was kept ahead.
            (stream, _) = reused.consume();
            let Some(more) = ahead::take(&stream) else { return };
            guest.read = more;
        }
    }

    /// The next request that is for pingora, or its stand-in.
    async fn vet<L: Future<Output = ()>>(
        &self,
        stream: &mut Stream,
        guest: &mut Guest,
        mut leaving: Pin<&mut L>,
        shutdown: &ShutdownWatch,
    ) -> Option<Vetted> {
        let idle = Duration::from_secs(whole_seconds(self.timeouts.idle));
        let closing = pin!(ready(()));
        let closes = *shutdown.borrow();
        let is_there = match closes {
            // Who begins to wait for a request is not told any more.
            true => vetting::begins(stream, guest, idle, closing).await,
            false => vetting::begins(stream, guest, idle, leaving.as_mut()).await,
        };
        if !is_there {
            return None;
        }
        // Not before: a connection that waits must not hold on to a generation.
        let generation = self.state.current();
        let listener = generation.config.listeners.get(&self.name).unwrap_or(&self.listener);
        // Apart, so that a connection that waits has no room for it.
        Box::pin(vetting::next(stream, guest, listener, leaving)).await
    }

    /// Pingora's session for a request.
    fn session(
        &self,
        stream: Stream,
        request: BytesMut,
        shutdown: &ShutdownWatch,
    ) -> ServerSession {
        let mut session = ServerSession::new_http1(stream);
        session.set_read_timeout(Some(self.timeouts.body.as_std()));
        // Of a body that nobody wanted, where the connection is to go on.
        session.set_total_drain_timeout(Some(frames::DRAIN_MAX));
        session.set_keepalive((!*shutdown.borrow()).then_some(whole_seconds(self.timeouts.idle)));
        // A client may send its next request before the answer (RFC 9112 section 9.3.2).
        session.set_pipelining_enabled(true);
        session.set_pipelined_prefix(request);
        session
    }

    fn keep_alive_requests_max(&self) -> u32 {
        let generation = self.state.current();
        let listener = generation.config.listeners.get(&self.name);
        listener.and_then(|listener| listener.keep_alive_requests_max).unwrap_or(u32::MAX)
    }

    /// Requests of an HTTP/2 connection, each in a task of its own. The connection itself moves to
    /// where its requests belong.
    async fn http2(&self, stream: Stream, caller: Caller, shutdown: &ShutdownWatch) {
        let company = Arc::new(Company::default());
        let stream = Prompt::http2(stream, self.patience.clone(), Arc::clone(&company));
        let requests = Requests { company: Some(company), caller, ..self.requests.clone() };
        let (runtimes, shutdown, terms) =
            (requests.runtimes.clone(), shutdown.clone(), self.terms.clone());
        let served = async move {
            let (mut number, closing) = (0, shutdown.clone());
            let serve = |session: Box<frames::Session>, under_way| {
                number += 1;
                let caller = Caller { requests: number, ..requests.caller.clone() };
                let made = move || (ServerSession::new_custom(session), under_way);
                let work = requests.work(made, caller, shutdown.clone());
                let (runtimes, company) = (requests.runtimes.clone(), requests.company.clone());
                tokio::spawn(async move {
                    hop::carry(&runtimes, company, work).await;
                });
            };
            frames::drive(Box::new(stream), &terms, closing, serve).await;
        };
        hop::carry(&runtimes, None, Box::pin(served)).await;
    }
}

/// Pingora's proxy, with requests that may change the runtime they run on.
#[derive(Clone)]
pub struct Requests {
    proxy: Arc<HttpProxy<Edge>>,
    runtimes: Handles,
    /// The HTTP/2 connection they share.
    company: Option<Arc<Company>>,
    caller: Caller,
}

impl Requests {
    pub fn new(proxy: Arc<HttpProxy<Edge>>, runtimes: Handles) -> Self {
        Self { proxy, runtimes, company: None, caller: Caller::default() }
    }

    /// Serves one request of this caller's. Its session is made when that begins, so that there is room for it once; what
    /// is made with it is kept until it has been served.
    fn work<K: Send + 'static>(
        &self,
        made: impl FnOnce() -> (ServerSession, K) + Send + 'static,
        caller: Caller,
        shutdown: ShutdownWatch,
    ) -> Work<Option<ReusedHttpStream>> {
        let proxy = Arc::clone(&self.proxy);
        let served = async move {
            let (session, _kept) = made();
            proxy.process_new_http(session, &shutdown).await
        };
        Box::pin(CALLER.scope(caller, served))
    }
}

#[async_trait]
impl HttpServerApp for Requests {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let work = self.work(|| (session, ()), self.caller.clone(), shutdown.clone());
        hop::carry(&self.runtimes, self.company.clone(), work).await
    }
}

/// A time as pingora's keep-alive takes it.
pub fn whole_seconds(time: proxy_config::units::Duration) -> u64 {
    time.as_std().as_secs().max(1)
}

/// Whether an authority has shaken hands to see what is shown. HTTP/1.0 is a protocol that pingora has no name for, too.
fn came_to_look(stream: &impl Ssl) -> bool {
    let agreed = stream.selected_alpn_proto();
    matches!(agreed, Some(ALPN::Custom(agreed)) if agreed.protocol() == challenges::PROTOCOL)
}

/// Looks at no more bytes than it takes to tell: pingora's own check waits for all 24, which an
/// HTTP/1.0 request may never send.
async fn starts_with_preface(stream: &mut Stream) -> std::io::Result<bool> {
    let mut seen = [0; PREFACE.len()];
    // No method in use starts with "PRI", and no request is shorter than 3 bytes.
    for length in [1, 3, PREFACE.len()] {
        if !stream.try_peek(&mut seen[..length]).await? || seen[..length] != PREFACE[..length] {
            return Ok(false);
        }
    }
    Ok(true)
}

#[async_trait]
impl ServerApp for Connections {
    async fn process_new(self: &Arc<Self>, stream: Stream, _: &ShutdownWatch) -> Option<Stream> {
        let under_way = self.drain.connection();
        self.accepted.inc();
        let open = Gauged::new(&self.open);
        if self.open.get() > self.connections_max {
            self.refused.inc();
            return None;
        }
        let connections = Arc::clone(self);
        // In a task of its own: pingora's has room for a handshake of its own, and would keep it as long as the
        // connection is open.
        tokio::spawn(async move {
            let _counted = (under_way, open);
            connections.serve(stream).await;
        });
        None
    }

    async fn cleanup(&self) {
        // Nobody is accepted any more. An error is that everything ends.
        let _ = self.closing.clone().wait_for(|closing| *closing).await;
        self.leaving.notify_waiters();
        self.requests.proxy.http_cleanup().await;
    }
}

/// Counts a gauge up for as long as it lives.
struct Gauged(IntGauge);

impl Gauged {
    fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Gauged {
    fn drop(&mut self) {
        self.0.dec();
    }
}
