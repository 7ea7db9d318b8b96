//! What a script may be told of a request that its head does not say.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use pingora::proxy::Session;

use crate::exchange::Exchange;
use crate::fastcgi::Gateway;
use crate::rules;
use crate::upstream::Upstream;

/// Who asks, and for what.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// As far as trusted proxies say.
    pub client: Option<IpAddr>,
    pub port: Option<u16>,
    /// The listener's end of the connection.
    pub local: Option<SocketAddr>,
    /// Path and query as the client asked for them, where the head says something else by now.
    pub request_uri: Option<String>,
    /// The upstream's own parameters, rendered.
    pub params: Vec<(String, String)>,
}

impl Caller {
    /// For an upstream that runs scripts; nothing for others.
    pub fn for_upstream(
        session: &Session,
        exchange: &Exchange,
        listener: &str,
        upstream: &Upstream,
    ) -> Option<Arc<Caller>> {
        let gateway = upstream.gateway.as_ref()?;
        Some(Arc::new(Caller::of(session, exchange, listener, gateway)))
    }

    fn of(session: &Session, exchange: &Exchange, listener: &str, gateway: &Gateway) -> Caller {
        let asked = exchange.trail.asked.as_ref().map(|(_, target)| target.clone());
        let address = |address: Option<&pingora::protocols::l4::socket::SocketAddr>| {
            address.and_then(|address| address.as_inet()).copied()
        };
        Caller {
            client: exchange.client,
            port: address(session.client_addr()).map(|address| address.port()),
            local: address(session.server_addr()),
            request_uri: asked.or_else(|| exchange.ruled.asked.clone()),
            params: rules::render_params(session.req_header(), exchange, listener, &gateway.params),
        }
    }
}
