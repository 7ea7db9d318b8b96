//! Probes of servers: whether a connection is accepted, or a GET answered as expected. Each server with active
//! checks has a task, for as long as its configuration is in force.

use std::sync::{Arc, Mutex, PoisonError};

use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;
use pingora::protocols::http::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use proxy_config::upstream_health::{ActiveChecks, HttpProbe, Probe};
use tokio::task::AbortHandle;

use crate::upstream::server::Server;

/// Interim responses read before an answer to a probe.
const INTERIM_MAX: usize = 4;

/// One server to be probed.
pub struct Watch {
    pub server: Arc<Server>,
    pub peer: HttpPeer,
    pub checks: ActiveChecks,
}

/// The probes of the configuration in force.
#[derive(Default)]
pub struct Probes(Mutex<Vec<AbortHandle>>);

impl Probes {
    /// Ends all probes and begins these. Must be called on a runtime.
    pub fn replace(&self, watches: impl Iterator<Item = Watch>, connector: &Arc<Connector>) {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.drain(..).for_each(|task| task.abort());
        running
            .extend(watches.map(|watch| {
                tokio::spawn(watch_over(watch, Arc::clone(connector))).abort_handle()
            }));
    }
}

async fn watch_over(watch: Watch, connector: Arc<Connector>) {
    let Watch { server, peer, checks } = watch;
    let mut ticks = tokio::time::interval(checks.interval.as_std());
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let probe = probe(&connector, &peer, &checks.probe, &server.name);
        let good = tokio::time::timeout(checks.timeout.as_std(), probe).await;
        server.probed(&checks, good.unwrap_or(false));
    }
}

/// Whether the server is well. The connection is always a new one: an old one says nothing about
/// whether another would be accepted.
async fn probe(connector: &Connector, peer: &HttpPeer, probe: &Probe, name: &str) -> bool {
    let Ok((mut session, _)) = connector.get_http_session(&super::fresh(peer)).await else {
        return false;
    };
    let good = match probe {
        Probe::Tcp => true,
        Probe::Http(probe) => ask(&mut session, probe, name).await.unwrap_or(false),
        // Refused when the document is read.
        Probe::Grpc(_) => false,
    };
    session.shutdown().await;
    good
}

async fn ask(session: &mut HttpSession, probe: &HttpProbe, name: &str) -> pingora::Result<bool> {
    let mut head = RequestHeader::build("GET", probe.path.as_bytes(), None)?;
    head.insert_header(http::header::HOST, probe.host.as_deref().unwrap_or(name))?;
    head.insert_header(http::header::USER_AGENT, "forebay-probe")?;
    session.write_request_header(Box::new(head)).await?;
    session.finish_request_body().await?;
    for _ in 0..INTERIM_MAX {
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
