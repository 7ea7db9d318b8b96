//! Another service says whether a request may pass: it is asked with GET for a fixed path, with the
//! headers of the request and none of its body.
//!
//! 2xx lets the request pass, and the headers the route names go on with it, in place of whatever the
//! client sent under these names; 401 and 403 refuse it, with the service's `WWW-Authenticate`. Anything
//! else is a failure: nobody passes because a service is down.

pub mod ask;

use std::sync::Arc;

use http::HeaderName;
use prometheus::IntCounterVec;
use proxy_config::route_access::AuthSubrequest;

use crate::metrics::Metrics;
use crate::upstream::Upstream;

/// The service a route asks.
pub struct AuthRequest {
    upstream: Arc<Upstream>,
    path: String,
    /// It is told what is asked for.
    is_told: bool,
    copied: Vec<HeaderName>,
    route: String,
    results: IntCounterVec,
}

impl AuthRequest {
    pub fn new(
        config: &AuthSubrequest,
        upstream: Arc<Upstream>,
        route: &str,
        metrics: &Metrics,
    ) -> AuthRequest {
        let results = metrics.auth_requests.clone();
        for result in ["allowed", "refused", "failed"] {
            results.with_label_values(&[route, result]);
        }
        AuthRequest {
            upstream,
            path: config.path.clone(),
            is_told: config.request_headers.is_none(),
            copied: config.copy_headers.iter().filter_map(|name| name.parse().ok()).collect(),
            route: route.to_owned(),
            results,
        }
    }
}
