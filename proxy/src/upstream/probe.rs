//! Probes of servers: whether a connection is accepted, or a GET answered as expected. Each server with active
//! checks has a task, for as long as its configuration is in force.

use std::sync::Arc;

use parking_lot::Mutex;
use pingora::http::RequestHeader;
use pingora::protocols::http::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use proxy_config::upstream_health::{ActiveChecks, HttpProbe, Probe};
use tokio::task::AbortHandle;

use crate::upstream::bounds::INTERIM_MAX;
use crate::upstream::connector::Connector;
use crate::upstream::resolve::Addresses;
use crate::upstream::server::Server;
use crate::upstream::transport::Transport;

/// One server to be probed.
pub struct Watch {
    pub server: Arc<Server>,
    /// What stands in Host unless the check says otherwise.
    pub host: String,
    pub peer: HttpPeer,
    pub addresses: Option<Arc<Addresses>>,
    pub transport: Arc<Transport>,
    pub checks: ActiveChecks,
}

/// The probes of the configuration in force.
#[derive(Default)]
pub struct Probes(Mutex<Vec<AbortHandle>>);

impl Probes {
    /// Ends all probes and begins these. Must be called on a runtime.
    pub fn replace(&self, watches: impl Iterator<Item = Watch>, connector: &Arc<Connector>) {
        let mut running = self.0.lock();
        running.drain(..).for_each(|task| task.abort());
        running
            .extend(watches.map(|watch| {
                tokio::spawn(watch_over(watch, Arc::clone(connector))).abort_handle()
            }));
    }
}

async fn watch_over(watch: Watch, connector: Arc<Connector>) {
    let checks = &watch.checks;
    let mut ticks = tokio::time::interval(checks.interval.as_std());
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let probe = probe(&connector, &watch);
        let good = tokio::time::timeout(checks.timeout.as_std(), probe).await;
        watch.server.probed(checks, good.unwrap_or(false));
    }
}

/// Whether the server is well. The connection is always a new one: an old one says nothing about
/// whether another would be accepted.
async fn probe(connector: &Connector, watch: &Watch) -> bool {
    let mut peer = super::seat::fresh(&watch.peer);
    if let Some(addresses) = &watch.addresses {
        addresses.place(&mut peer);
    }
    let Ok(mut session) = connector.get_http_session(&peer).await else { return false };
    let tls = session.digest().and_then(|digest| digest.ssl_digest.as_deref());
    let allowed = watch.transport.accepts(tls);
    let good = match &watch.checks.probe {
        _ if !allowed => false,
        Probe::Tcp => true,
        Probe::Http(probe) => ask(&mut session, probe, watch).await.unwrap_or(false),
        Probe::Grpc(service) => check(&mut session, service, watch).await.unwrap_or(false),
    };
    session.shutdown().await;
    good
}

async fn ask(session: &mut HttpSession, probe: &HttpProbe, watch: &Watch) -> pingora::Result<bool> {
    let mut head = RequestHeader::build("GET", probe.path.as_bytes(), None)?;
    head.insert_header(http::header::HOST, probe.host.as_deref().unwrap_or(&watch.host))?;
    head.insert_header(http::header::USER_AGENT, "forebay-probe")?;
    if session.as_http2().is_some() {
        watch.transport.fit_http2(&mut head);
    }
    session.write_request_header(Box::new(head)).await?;
    session.finish_request_body().await?;
    for _ in 0..=INTERIM_MAX {
        session.read_response_header().await?;
        let status = session.response_header().map(|head| head.status);
        match status {
            Some(status) if status.is_informational() => {}
            Some(status) => return Ok(probe.statuses.contains(&status.as_u16())),
            None => break,
        }
    }
    Ok(false)
}

/// A message of gRPC, not compressed, after its length.
fn message(bytes: &[u8]) -> Option<Vec<u8>> {
    let length = u32::try_from(bytes.len()).ok()?;
    Some([&[0][..], &length.to_be_bytes()[..], bytes].concat())
}

/// `HealthCheckRequest { service }` of grpc.health.v1: field 1, text of less than 128 bytes.
fn question(service: &str) -> Option<Vec<u8>> {
    let length = u8::try_from(service.len()).ok().filter(|length| *length < 128)?;
    let fields = match length {
        0 => Vec::new(),
        _ => [&[0x0a, length][..], service.as_bytes()].concat(),
    };
    message(&fields)
}

/// `HealthCheckResponse { status: SERVING }`: field 1 is 1.
const SERVING: [u8; 7] = [0, 0, 0, 0, 2, 0x08, 1];

async fn check(session: &mut HttpSession, service: &str, watch: &Watch) -> pingora::Result<bool> {
    let HttpSession::H2(session) = session else { return Ok(false) };
    let Some(question) = question(service) else { return Ok(false) };
    let mut head = RequestHeader::build("POST", b"/grpc.health.v1.Health/Check", None)?;
    head.insert_header(http::header::HOST, watch.host.as_str())?;
    head.insert_header(http::header::CONTENT_TYPE, "application/grpc")?;
    head.insert_header(http::header::TE, "trailers")?;
    watch.transport.fit_http2(&mut head);
    session.write_request_header(Box::new(head), false)?;
    session.write_request_body(question.into(), true).await?;
    session.read_response_header().await?;
    let mut answer = Vec::new();
    while let Some(part) = session.read_response_body().await? {
        answer.extend_from_slice(&part);
        if answer.len() > SERVING.len() {
            break;
        }
    }
    Ok(answer == SERVING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_of_the_health_service() {
        assert_eq!(question("").unwrap(), [0; 5]);
        assert_eq!(question("app").unwrap(), [0, 0, 0, 0, 5, 0x0a, 3, b'a', b'p', b'p']);
        assert!(question(&"x".repeat(128)).is_none());
    }
}
