//! What a request that passed through has made out of date.

use http::header::{CONTENT_LOCATION, LOCATION};
use pingora::http::{RequestHeader, ResponseHeader};

use crate::cache::answer::{host, own_key, scheme};
use crate::cache::policy::Policy;
use crate::cache::tags::invalidated_groups;
use crate::exchange::Exchange;

/// Forgets what a request that passed through has made out of date (RFC 9111 section 4.4): its own
/// URI, and those of the same host that the response names.
pub fn invalidate(
    policy: &Policy,
    request: &RequestHeader,
    exchange: &Exchange,
    response: &ResponseHeader,
) {
    if !policy.invalidates || request.method.is_safe() || response.status.as_u16() >= 400 {
        return;
    }
    let own = own_key(policy, request, &request.headers, exchange);
    policy.cache.invalidate(&own.uri);
    for group in invalidated_groups(&response.headers, &own.uri) {
        policy.cache.invalidate_tag(&group);
    }
    let (scheme, host) = (scheme(exchange), host(request));
    for name in [LOCATION, CONTENT_LOCATION] {
        let named = response.headers.get(name).and_then(|value| value.to_str().ok());
        let Some(named) = named else { continue };
        let origin = format!("{scheme}://{host}");
        let target = named.strip_prefix(origin.as_str()).unwrap_or(named);
        if target.starts_with('/') && !target.starts_with("//") {
            policy.cache.invalidate(&policy.key.uri(scheme, host, target));
        }
    }
}
